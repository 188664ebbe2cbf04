"""Packets as people write them, in scenarios: `tcp a:4000 > c:80 SYN ttl 63`.

    [vlan N] KIND ... WORDS

    tcp SRC:PORT > DST:PORT [SYN ACK FIN RST PSH]    no flag: SYN
    udp SRC:PORT > DST:PORT
    icmp SRC > DST TYPE [id N] [seq N] [mtu N] [about PACKET]    ICMPv6 where the addresses are IPv6
    ip SRC > DST proto N
    who-has IP tell IP       an ARP request, or a neighbour solicitation
    is-at IP tell IP|all     an ARP reply, or a neighbour advertisement; `all`: unasked, to everybody
    eth ETHERTYPE

SRC, DST and IP are addresses, or the names of ports: their first address of the scenario's family. Words:
`ttl N`, `dscp N`, `id N`, `seq N`, `ack N`, `df`, `size N` (bytes of payload), `length N` (of the whole IP
packet), `fragment OFFSET[+]`, `payload HEX`, `as IP` (where an advertisement comes from), `from-mac` and
`to-mac` with a MAC, the name of a port, or `broadcast`. What is not told is
filled in as a well-behaved machine would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from onehop.model import Port
from onehop.simulation.packet import (
    BROADCAST,
    ICMP,
    ICMP6,
    Arp,
    Extension,
    Frame,
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Other,
    Raw,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    Vlan,
    build_ip,
    is_multicast_mac,
    multicast_mac,
)
from tests.support.world import World

KINDS = ("tcp", "udp", "icmp", "ip", "who-has", "is-at", "eth", "vlan")
_NUMBERS = {"ttl", "dscp", "id", "seq", "ack", "size", "length", "proto", "mtu"}
_TEXTS = {"payload", "from-mac", "to-mac", "fragment", "tell", "as"}
NO_FLAGS = TcpFlag(0)
_FLAGS = {flag.name for flag in TcpFlag}

# type and code, of ICMP and of ICMPv6
_ICMP: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "echo-request": ((8, 0), (128, 0)),
    "echo-reply": ((0, 0), (129, 0)),
    "time-exceeded": ((11, 0), (3, 0)),
    "unreachable net": ((3, 0), (1, 0)),
    "unreachable host": ((3, 1), (1, 3)),
    "unreachable port": ((3, 3), (1, 4)),
    "unreachable prohibited": ((3, 13), (1, 1)),
    "too-big": ((3, 4), (2, 0)),
    "timestamp": ((13, 0), (139, 0)),  # in IPv6, a node information query
    "router-advertisement": ((9, 0), (134, 0)),
}
_ERRORS = ("time-exceeded", "too-big", "unreachable")


class BadText(ValueError):
    """A packet that cannot be read."""


@dataclass
class Told:
    """What the text says, word by word."""

    kind: str = ""
    src: str = ""
    dst: str = ""
    sport: int = 0
    dport: int = 0
    vlan: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    flags: TcpFlag = NO_FLAGS
    df: bool = False
    icmp: str = ""
    about: str = ""


def is_whole(text: str) -> bool:
    """Whether a text tells a whole packet, rather than changes to one."""
    return text.split()[0] in KINDS


def sent(text: str, world: World, at: Port) -> Frame:
    """The frame that a machine at a port sends."""
    told = read(text)
    frame = _frame(told, world, at)
    src = _mac(told, "from-mac", world) or frame.src or world.mac_at(at)
    dst = _mac(told, "to-mac", world) or frame.dst or world.mac_towards(at, _destination(frame))
    return _dressed(frame, src, dst, told)


def received(text: str, world: World, at: Port, about: Frame | None = None) -> Frame:
    """The frame that a machine at a port gets. `about` is what an ICMP error quotes, unless it says so."""
    told = read(text)
    frame = _frame(told, world, at, about)
    src = _mac(told, "from-mac", world) or frame.src or world.mac_towards(at, _source(frame))
    dst = _mac(told, "to-mac", world) or frame.dst or world.mac_at(at)
    return _dressed(frame, src, dst, told)


def changed(frame: Frame, text: str, world: World, sender: Port, at: Port) -> Frame:
    """A frame as it reaches a port: what the way changes, and what the text says has changed."""
    told = read_words(text.split() if text != "same" else [])
    if "ttl" in told.numbers and isinstance(frame.payload, Ipv4 | Ipv6):
        ip: IpPacket = replace(frame.payload, ttl=told.numbers["ttl"])
        if isinstance(ip, Ipv4):
            ip = replace(ip, checksum=None)
        frame = replace(frame, src=world.router_mac(at), dst=world.mac_at(at), payload=ip)
    src, dst = _mac(told, "from-mac", world), _mac(told, "to-mac", world)
    return replace(frame, src=src or frame.src, dst=dst or frame.dst)


def source_port(text: str) -> str:
    """The text in the place of the source address."""
    told = read(text)
    return (
        told.texts.get("tell", "")
        if told.kind == "who-has"
        else told.dst
        if told.kind == "is-at"
        else told.src
    )


# --- reading --------------------------------------------------------------------------------------------


def read(text: str) -> Told:
    words = text.split()
    if not words:
        raise BadText("an empty packet")
    if words[0] == "vlan":
        return replace(read(" ".join(words[2:])), vlan=int(words[1]))
    kind, rest = words[0], words[1:]
    if kind not in KINDS:
        raise BadText(f"{kind!r} is no kind of packet: {', '.join(KINDS)}")
    if kind == "eth":
        return replace(read_words(rest[1:]), kind=kind, sport=int(rest[0], 0))
    if kind in ("who-has", "is-at"):
        return replace(read_words(rest[1:]), kind=kind, dst=rest[0])
    if len(rest) < 3 or rest[1] != ">":
        raise BadText(f"{text!r}: a packet runs from SOURCE > DESTINATION")
    has_ports = kind in ("tcp", "udp")
    src, sport = _end(rest[0], has_ports)
    dst, dport = _end(rest[2], has_ports)
    return replace(read_words(rest[3:]), kind=kind, src=src, dst=dst, sport=sport, dport=dport)


def read_words(words: list[str]) -> Told:
    told = Told()
    left = iter(words)
    for word in left:
        if word == "about":
            told.about = " ".join(left)
        elif not _read_word(word, left, told):
            raise BadText(f"{word!r} is not understood")
    return told


def _read_word(word: str, left: Iterator[str], told: Told) -> bool:
    if word in _NUMBERS:
        told.numbers[word] = int(next(left), 0)
    elif word in _TEXTS:
        told.texts[word] = next(left)
    elif word in _FLAGS:
        told.flags |= TcpFlag[word]
    elif word == "df":
        told.df = True
    elif word == "unreachable":
        told.icmp = f"unreachable {next(left)}"
    elif word in _ICMP:
        told.icmp = word
    else:
        return False
    return True


def _end(text: str, has_port: bool) -> tuple[str, int]:
    if not has_port:
        return text.strip("[]"), 0
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise BadText(f"{text!r} needs a port: ADDRESS:PORT")
    return host.strip("[]"), int(port)


# --- building -------------------------------------------------------------------------------------------


def _frame(told: Told, world: World, at: Port, about: Frame | None = None) -> Frame:
    """The frame, with MACs only where the kind of packet says them."""
    if told.kind == "eth":
        return Frame("", "", Other(told.sport, _data(told, 46)))
    if told.kind in ("who-has", "is-at"):
        return _neighbour(told, world, at)
    src, dst = world.ip(told.src), world.ip(told.dst)
    if src.version != dst.version:
        raise BadText(f"{told.src} and {told.dst} are of different families")
    return Frame("", "", _ip(told, src, dst, _transport(told, world, src.version, at, about)))


def _ip(told: Told, src: Ip, dst: Ip, payload: Transport) -> IpPacket:
    ttl, tos = told.numbers.get("ttl", 64), told.numbers.get("dscp", 0) << 2
    offset, more = _fragment(told)
    if isinstance(src, IPv4Address) and isinstance(dst, IPv4Address):
        id = told.numbers.get("id", 0) if told.kind != "icmp" else 0
        return Ipv4(
            src, dst, payload, ttl, tos, id, dont_fragment=told.df, more_fragments=more, offset=offset
        )
    assert isinstance(src, IPv6Address) and isinstance(dst, IPv6Address)
    extensions: tuple[Extension, ...] = ()
    if offset or more:
        body = bytes(1) + (offset | more).to_bytes(2, "big") + told.numbers.get("id", 0).to_bytes(4, "big")
        extensions = (Extension(44, body),)
    return Ipv6(src, dst, payload, ttl, tos, extensions=extensions)


def _fragment(told: Told) -> tuple[int, bool]:
    text = told.texts.get("fragment", "0")
    return int(text.rstrip("+")), text.endswith("+")


def _transport(told: Told, world: World, version: int, at: Port, about: Frame | None) -> Transport:
    if _fragment(told)[0]:
        return Raw({"tcp": 6, "udp": 17, "icmp": ICMP if version == 4 else ICMP6}[told.kind], _data(told))
    header = {4: 20, 6: 40}[version] + {"tcp": 20, "udp": 8, "icmp": 8, "ip": 0}[told.kind]
    data = _data(told, max(told.numbers.get("length", header) - header, 0))
    if told.kind == "tcp":
        numbers = {name: told.numbers.get(name, 0) for name in ("seq", "ack")}
        return Tcp(told.sport, told.dport, told.flags or TcpFlag.SYN, data=data, **numbers)
    if told.kind == "udp":
        return Udp(told.sport, told.dport, data)
    if told.kind == "ip":
        return Raw(told.numbers["proto"], data)
    return _icmp(told, world, version, at, about, data)


def _icmp(told: Told, world: World, version: int, at: Port, about: Frame | None, data: bytes) -> Icmp:
    if not told.icmp:
        raise BadText(f"an ICMP packet needs a type: {', '.join(_ICMP)}")
    type, code = _ICMP[told.icmp][version == 6]
    if told.icmp.startswith(_ERRORS):
        quoted = sent(told.about, world, at) if told.about else about
        if quoted is None or not isinstance(quoted.payload, Ipv4 | Ipv6):
            raise BadText("an ICMP error is about a packet: about PACKET")
        rest = told.numbers.get("mtu", 0).to_bytes(4, "big")
        return Icmp(type, code, rest, build_ip(quoted.payload))
    echo = [told.numbers.get(name, 0).to_bytes(2, "big") for name in ("id", "seq")]
    return Icmp(type, code, b"".join(echo), data)


def _neighbour(told: Told, world: World, at: Port) -> Frame:
    """ARP or neighbour discovery. `who-has T tell S`: S asks. `is-at T tell R`: T's owner answers R."""
    target, other = world.ip(told.dst), told.texts.get("tell", "all")
    asks = told.kind == "who-has"
    mac = _mac(told, "from-mac", world) or world.mac_of(at, world.ip(other) if asks else target)
    if isinstance(target, IPv6Address):
        if asks:
            return _solicitation(target, world.ip(other), mac)
        return _advertisement(target, told, mac, world, at)
    peer = world.ip(other)
    assert isinstance(peer, IPv4Address)
    if asks:
        return Frame(BROADCAST, mac, Arp(1, mac, peer, "00:00:00:00:00:00", target))
    to = _mac(told, "to-mac", world) or world.mac_of(at, peer)
    return Frame(to, mac, Arp(2, mac, target, to, peer))


def _solicitation(target: IPv6Address, asker: Ip, mac: str) -> Frame:
    assert isinstance(asker, IPv6Address)
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | (int(target) & 0xFFFFFF))
    option = bytes((1, 1)) + bytes.fromhex(mac.replace(":", ""))
    icmp = Icmp(135, 0, bytes(4), target.packed + option)
    return Frame(multicast_mac(group), mac, Ipv6(asker, group, icmp, ttl=255))


def _advertisement(target: IPv6Address, told: Told, mac: str, world: World, at: Port) -> Frame:
    option = bytes((2, 1)) + bytes.fromhex(mac.replace(":", ""))
    unasked = told.texts.get("tell", "all") == "all"
    peer = IPv6Address("ff02::1") if unasked else world.ip(told.texts["tell"])
    source = world.ip(told.texts["as"]) if "as" in told.texts else target
    assert isinstance(peer, IPv6Address) and isinstance(source, IPv6Address)
    flags = (0x80 if world.is_gateway(target) else 0) | (0x20 if unasked else 0x60)
    icmp = Icmp(136, 0, bytes((flags, 0, 0, 0)), target.packed + option)
    to = multicast_mac(peer) if unasked else world.mac_of(at, peer)
    return Frame(to, mac, Ipv6(source, peer, icmp, ttl=255))


def _data(told: Told, default: int = 0) -> bytes:
    if "payload" in told.texts:
        return bytes.fromhex(told.texts["payload"])
    size = told.numbers.get("size", default)
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def _mac(told: Told, word: str, world: World) -> str | None:
    text = told.texts.get(word)
    if text is None:
        return None
    if text == "broadcast":
        return BROADCAST
    return text if text.count(":") == 5 else world.port(text).mac


def _destination(frame: Frame) -> Ip | None:
    return frame.payload.dst if isinstance(frame.payload, Ipv4 | Ipv6) else None


def _source(frame: Frame) -> Ip | None:
    return frame.payload.src if isinstance(frame.payload, Ipv4 | Ipv6) else None


def _dressed(frame: Frame, src: str, dst: str, told: Told) -> Frame:
    if told.vlan is None:
        return replace(frame, src=src, dst=dst)
    payload = frame.payload
    if isinstance(payload, Ipv4 | Ipv6):  # behind a tag, nobody looks into it
        payload = Other(frame.ethertype, build_ip(payload))
    return replace(frame, src=src, dst=dst, payload=payload, vlans=(Vlan(told.vlan),))


__all__ = [
    "BadText",
    "changed",
    "ip_address",
    "is_multicast_mac",
    "is_whole",
    "read",
    "received",
    "sent",
    "source_port",
]
