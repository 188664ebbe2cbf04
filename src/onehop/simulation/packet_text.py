"""Packets as people write them, for traces and tests; and back.

    tcp 10.0.1.5:4000 > 10.0.2.7:80              a SYN; flags otherwise: SYN,ACK
    udp [fd00:1::5]:4000 > [fd00:2::7]:53
    icmp 10.0.1.5 > 10.0.2.7                     an echo request; `reply`, or type=3 code=1, otherwise
    proto 47 10.0.1.5 > 10.0.2.7
    arp who-has 10.0.1.7 [tell 10.0.1.5]
    arp 10.0.1.5 is-at 02:00:00:00:00:05
    nd who-has fd00:1::7 [tell fd00:1::5]
    nd fd00:1::5 is-at 02:00:00:00:00:05

`SOURCE >` may be left out: then it is the port's own address, and 40000. Behind it may stand, in any order:
TCP flags, `reply`, `df`, and ttl= dscp= id= seq= size= (bytes of data) type= code= vlan= src-mac= dst-mac=.
Without MACs, the frame goes from the port's MAC to that of the destination on the same subnet, or of the
gateway. At a router's uplink it comes from outside, to the router: its source has to be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from onehop.model import Network, Port, Subnet
from onehop.model.formats import Format, canonical, parse_cidr, parse_ip, parse_protocol
from onehop.model.view import View
from onehop.simulation.addresses import addresses_of, link_local
from onehop.simulation.flow import ECHO_REPLY, ECHO_REQUEST
from onehop.simulation.neighbours import ADVERTISEMENT, SOLICITATION, discovery_of, owner_of
from onehop.simulation.packet import (
    BROADCAST,
    ICMP,
    ICMP6,
    Arp,
    Frame,
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Raw,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    Vlan,
    multicast_mac,
)

NO_MAC = "00:00:00:00:00:00"
MAC_OUTSIDE = "02:00:00:00:00:01"  # of whoever is beyond an uplink
DEFAULT_PORT = 40000


class BadPacketText(ValueError):
    """A packet that cannot be read, told in a sentence."""


@dataclass
class _Options:
    flags: TcpFlag = TcpFlag.SYN
    reply: bool = False
    df: bool = False
    numbers: dict[str, int] | None = None
    src_mac: str | None = None
    dst_mac: str | None = None

    def number(self, name: str, default: int) -> int:
        return (self.numbers or {}).get(name, default)


_NUMBERS = {
    "ttl": 255,
    "dscp": 63,
    "id": 65535,
    "seq": 65535,
    "size": 65000,
    "type": 255,
    "code": 255,
    "vlan": 4094,
}


def read(view: View, port: Port, text: str) -> Frame:
    """The frame that a text describes, as the machine at a port would send it. Raises BadPacketText."""
    words = text.split()
    if len(words) < 2 or len(text) > 500:
        raise BadPacketText(
            f"{text[:60]!r} is no packet; write, for example, 'tcp 10.0.1.5:4000 > 10.0.2.7:80'"
        )
    if words[0] == "arp":
        return _arp(port, words[1:])
    if words[0] == "nd":
        return _nd(port, words[1:])
    return _ip(view, port, words)


# --- ARP and neighbour discovery --------------------------------------------------------------------------


def _arp(port: Port, words: list[str]) -> Frame:
    match words:
        case ["who-has", target, *rest] if not rest or rest[0] == "tell":
            sender = _address(rest[1]) if len(rest) == 2 else _own(port, 4)
            ip = _address(target)
            if isinstance(ip, IPv4Address) and isinstance(sender, IPv4Address):
                return Frame(BROADCAST, port.mac, Arp(1, port.mac, sender, NO_MAC, ip))
        case [owner, "is-at", mac]:
            ip = _address(owner)
            if isinstance(ip, IPv4Address):
                return Frame(BROADCAST, port.mac, Arp(2, _mac(mac), ip, BROADCAST, ip))
    raise BadPacketText(
        "write 'arp who-has 10.0.1.7 tell 10.0.1.5' or 'arp 10.0.1.5 is-at 02:00:00:00:00:05'"
    )


def _nd(port: Port, words: list[str]) -> Frame:
    match words:
        case ["who-has", target, *rest] if not rest or rest[0] == "tell":
            sender = _address(rest[1]) if len(rest) == 2 else _own(port, 6)
            ip = _address(target)
            if isinstance(ip, IPv6Address) and isinstance(sender, IPv6Address):
                group = IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + ip.packed[13:])
                option = b"" if sender.is_unspecified else b"\x01\x01" + _mac_bytes(port.mac)
                icmp = Icmp(SOLICITATION, data=ip.packed + option)
                return Frame(multicast_mac(group), port.mac, Ipv6(sender, group, icmp, ttl=255))
        case [owner, "is-at", mac]:
            ip = _address(owner)
            if isinstance(ip, IPv6Address):
                icmp = Icmp(
                    ADVERTISEMENT, rest=b"\x20\0\0\0", data=ip.packed + b"\x02\x01" + _mac_bytes(_mac(mac))
                )
                all_nodes = IPv6Address("ff02::1")
                return Frame(multicast_mac(all_nodes), port.mac, Ipv6(ip, all_nodes, icmp, ttl=255))
    raise BadPacketText(
        "write 'nd who-has fd00:1::7 tell fd00:1::5' or 'nd fd00:1::5 is-at 02:00:00:00:00:05'"
    )


# --- IP ---------------------------------------------------------------------------------------------------


def _ip(view: View, port: Port, words: list[str]) -> Frame:
    number = 0
    name, words = words[0], words[1:]
    if name == "proto":
        number, words = _protocol(words[0]), words[1:]
    elif name not in ("tcp", "udp", "sctp", "icmp"):
        raise BadPacketText(f"{name!r} is none of tcp, udp, sctp, icmp, proto, arp and nd")
    source, target, rest = _ends(words)
    options = _options(rest)
    dst, dst_port = _end(target)
    if source is None and port.router is not None:
        raise BadPacketText("a packet from outside does not say its source: write SOURCE > DESTINATION")
    src, src_port = _end(source) if source else (_own(port, dst.version), DEFAULT_PORT)
    if name in ("tcp", "udp", "sctp") and (dst_port is None or src_port is None):
        raise BadPacketText(f"{name} needs ports: write {name} 10.0.1.5:4000 > 10.0.2.7:80")
    payload = _transport(name, number, src.version, src_port or 0, dst_port or 0, options)
    packet: IpPacket
    ttl, tos = options.number("ttl", 64), options.number("dscp", 0) << 2
    if isinstance(src, IPv4Address) and isinstance(dst, IPv4Address):
        packet = Ipv4(src, dst, payload, ttl=ttl, tos=tos, dont_fragment=options.df)
    elif isinstance(src, IPv6Address) and isinstance(dst, IPv6Address):
        packet = Ipv6(src, dst, payload, ttl=ttl, tos=tos)
    else:
        raise BadPacketText("source and destination are of different families")
    vlan = options.number("vlan", 0)
    return Frame(
        dst=options.dst_mac or mac_for(view, port, dst),
        src=options.src_mac or (port.mac if port.router is None else MAC_OUTSIDE),
        payload=packet,
        vlans=(Vlan(vlan),) if vlan else (),
    )


def _ends(words: list[str]) -> tuple[str | None, str, list[str]]:
    if ">" in words[:2]:
        at = words.index(">")
        if at + 1 < len(words):
            return (words[0] if at else None), words[at + 1], words[at + 2 :]
    elif words:
        return None, words[0], words[1:]
    raise BadPacketText("write where it goes: SOURCE > DESTINATION")


def _end(text: str) -> tuple[Ip, int | None]:
    """`10.0.1.5:80`, `[fd00::5]:80`, or an address alone."""
    head, colon, tail = text.rpartition(":")
    if text.startswith("[") and head.endswith("]"):
        return _address(head[1:-1]), _number("port", tail, 65535)
    if colon and text.count(":") == 1:
        return _address(head), _number("port", tail, 65535)
    return _address(text.strip("[]")), None


def _options(words: list[str]) -> _Options:
    options = _Options(numbers={})
    assert options.numbers is not None
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in _NUMBERS:
            options.numbers[name] = _number(name, value, _NUMBERS[name])
        elif equals and name in ("src-mac", "dst-mac"):
            setattr(options, name.replace("-", "_"), _mac(value))
        elif word in ("reply", "df"):
            setattr(options, word, True)
        else:
            options.flags = _flags(word)
    return options


def _flags(word: str) -> TcpFlag:
    flags = TcpFlag(0)
    for name in word.upper().split(","):
        if name == "NONE":
            continue
        if name not in TcpFlag.__members__:
            raise BadPacketText(f"{word!r} is neither an option nor TCP flags such as SYN,ACK")
        flags |= TcpFlag[name]
    return flags


def _transport(name: str, number: int, version: int, src: int, dst: int, options: _Options) -> Transport:
    data = bytes(options.number("size", 0))
    if name == "tcp":
        return Tcp(src, dst, options.flags, data=data)
    if name == "udp":
        return Udp(src, dst, data)
    if name == "sctp":
        return Sctp(src, dst, bytes(8) + data)
    if name == "proto":
        return Raw(number, data)
    protocol = ICMP if version == 4 else ICMP6
    type = (ECHO_REPLY if options.reply else ECHO_REQUEST)[protocol]
    rest = options.number("id", 1).to_bytes(2, "big") + options.number("seq", 1).to_bytes(2, "big")
    return Icmp(options.number("type", type), options.number("code", 0), rest, data)


def mac_for(view: View, port: Port, dst: Ip) -> str:
    """The MAC that a machine would send to: of the destination on its subnet, or of the gateway."""
    if dst.is_multicast:
        return multicast_mac(dst)
    if str(dst) == "255.255.255.255":
        return BROADCAST
    if port.network is None:
        return port.mac
    network = view.get(Network, port.network)
    assert network is not None
    subnets = [view.get(Subnet, a.subnet) for a in port.addresses]
    on_link = dst.is_link_local or any(s is not None and dst in parse_cidr(s.cidr) for s in subnets)
    gateways = [s.gateway for s in subnets if s is not None and parse_cidr(s.cidr).version == dst.version]
    target = dst if on_link else next((parse_ip(g) for g in gateways if g is not None), dst)
    owner = owner_of(view, network.id, target)
    return owner.mac if owner is not None else NO_MAC[:-2] + "01"


# --- words ------------------------------------------------------------------------------------------------


def _address(text: str) -> Ip:
    try:
        return parse_ip(canonical(text, Format.IP))
    except ValueError as error:
        raise BadPacketText(str(error)) from None


def _mac(text: str) -> str:
    try:
        return canonical(text, Format.MAC)
    except ValueError as error:
        raise BadPacketText(str(error)) from None


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _protocol(text: str) -> int:
    try:
        return parse_protocol(canonical(text, Format.PROTOCOL))
    except ValueError as error:
        raise BadPacketText(str(error)) from None


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= most):
        raise BadPacketText(f"{name} is a number from 0 to {most}, not {text[:20]!r}")
    return int(text)


def _own(port: Port, version: int) -> Ip:
    own = [ip for ip in addresses_of(port) if ip.version == version]
    if own:
        return own[0]
    if version == 6:
        return link_local(port.mac)
    raise BadPacketText(f"port {port.name} has no IPv4 address to send from; write SOURCE > DESTINATION")


# --- and back ---------------------------------------------------------------------------------------------


def describe(frame: Frame) -> str:
    """A frame in the same words."""
    tag = f" vlan={frame.vlans[0].id}" if frame.vlans else ""
    match frame.payload:
        case Arp(1, _, sender, _, target):
            return f"arp who-has {target} tell {sender}"
        case Arp(_, mac, sender):
            return f"arp {sender} is-at {mac}"
        case Ipv4() | Ipv6() as ip:
            return _describe_ip(ip)
        case other:
            return f"ethertype 0x{other.ethertype:04x} {frame.src} > {frame.dst}{tag}"


def _describe_ip(ip: IpPacket) -> str:
    message = discovery_of(ip) if isinstance(ip, Ipv6) and _is_discovery(ip) else None
    if message is not None and message.type == SOLICITATION:
        return f"nd who-has {message.target} tell {ip.src}"
    if message is not None and message.target_mac is not None:
        return f"nd {message.target} is-at {message.target_mac}"
    ends = f"{ip.src} > {ip.dst}"
    fragment = ip.fragment
    more = "" if fragment is None else f" fragment {fragment.offset}{'+' if fragment.more else ''}"
    match ip.payload:
        case Tcp(src, dst, flags):
            names = ",".join(f.name or "" for f in TcpFlag if f in flags) or "NONE"
            text = f"tcp {_with_port(ip.src, src)} > {_with_port(ip.dst, dst)} {names}"
        case Udp(src, dst) | Sctp(src, dst):
            name = "udp" if isinstance(ip.payload, Udp) else "sctp"
            text = f"{name} {_with_port(ip.src, src)} > {_with_port(ip.dst, dst)}"
        case Icmp() as icmp:
            text = f"icmp {ends} {_describe_icmp(ip.protocol, icmp)}"
        case Raw(protocol):
            text = f"proto {protocol} {ends}"
    return f"{text}{more} ttl={ip.ttl}"


def _describe_icmp(protocol: int, icmp: Icmp) -> str:
    if icmp.type == ECHO_REQUEST[protocol]:
        return f"id={icmp.id}"
    return (
        f"reply id={icmp.id}" if icmp.type == ECHO_REPLY[protocol] else f"type={icmp.type} code={icmp.code}"
    )


def _is_discovery(ip: Ipv6) -> bool:
    return isinstance(ip.payload, Icmp) and ip.payload.type in (SOLICITATION, ADVERTISEMENT)


def _with_port(ip: Ip, port: int) -> str:
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
