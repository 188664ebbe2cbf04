"""The layers of a packet. MACs are canonical text, as in the model; addresses are `ipaddress` values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address

from onehop.simulation.packet._checksum import update

Ip = IPv4Address | IPv6Address

# ethertypes
IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD
VLAN_TAGS = (0x8100, 0x88A8)

# IP protocols
ICMP = 1
TCP = 6
UDP = 17
ICMP6 = 58
SCTP = 132

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
DESTINATION_OPTIONS = 60
MAX_EXTENSIONS = 6

BROADCAST = "ff:ff:ff:ff:ff:ff"


def is_multicast_mac(mac: str) -> bool:
    """Whether a MAC means several machines; the broadcast MAC does too."""
    return bool(int(mac[1], 16) & 1)


def multicast_mac(ip: Ip) -> str:
    """The MAC that a multicast address is sent to (RFC 1112, RFC 2464)."""
    raw = ip.packed
    head = bytes((0x33, 0x33)) if len(raw) == 16 else bytes((0x01, 0x00, 0x5E, raw[1] & 0x7F))
    return (head + raw[len(head) - 6 :]).hex(":")


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN tag: priority and id share its second half."""

    tci: int
    tpid: int = 0x8100

    @property
    def id(self) -> int:
        return self.tci & 0x0FFF


@dataclass(frozen=True, slots=True)
class Arp:
    """ARP for IPv4 over Ethernet. `operation`: 1 asks, 2 answers."""

    operation: int
    sender_mac: str
    sender_ip: IPv4Address
    target_mac: str
    target_ip: IPv4Address


@dataclass(frozen=True, slots=True)
class Other:
    """What is not looked into: another ethertype (or an 802.3 length), or anything behind a VLAN tag."""

    ethertype: int
    data: bytes


class TcpFlag(IntFlag):
    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32
    ECE = 64
    CWR = 128
    NS = 256


@dataclass(frozen=True, slots=True)
class Tcp:
    src: int
    dst: int
    flags: TcpFlag = TcpFlag.SYN
    seq: int = 0
    ack: int = 0
    window: int = 65535
    urgent: int = 0
    options: bytes = b""
    data: bytes = b""
    reserved: int = 0  # the three bits between data offset and flags
    checksum: int | None = None


@dataclass(frozen=True, slots=True)
class Udp:
    src: int
    dst: int
    data: bytes = b""
    length: int | None = None
    checksum: int | None = None  # 0: none (IPv4 only)


@dataclass(frozen=True, slots=True)
class Sctp:
    """`data` begins with the verification tag; its CRC is carried as it is."""

    src: int
    dst: int
    data: bytes = bytes(8)


@dataclass(frozen=True, slots=True)
class Icmp:
    """ICMP in IPv4, ICMPv6 in IPv6. `rest` is the second half of its header: an echo's id and number."""

    type: int
    code: int = 0
    rest: bytes = bytes(4)
    data: bytes = b""
    checksum: int | None = None

    @property
    def id(self) -> int:
        return int.from_bytes(self.rest[:2], "big")


@dataclass(frozen=True, slots=True)
class Raw:
    """Another protocol, or a fragment that is not the first."""

    protocol: int
    data: bytes = b""


Transport = Tcp | Udp | Sctp | Icmp | Raw


@dataclass(frozen=True, slots=True)
class Fragment:
    """What makes a packet a fragment; `offset` is in bytes."""

    id: int
    offset: int
    more: bool


@dataclass(frozen=True, slots=True)
class Ipv4:
    src: IPv4Address
    dst: IPv4Address
    payload: Transport
    ttl: int = 64
    tos: int = 0
    id: int = 0
    reserved_flag: bool = False
    dont_fragment: bool = False
    more_fragments: bool = False
    offset: int = 0  # in bytes
    options: bytes = b""
    checksum: int | None = None

    @property
    def protocol(self) -> int:
        return _protocol(self.payload, ICMP)

    @property
    def dscp(self) -> int:
        return self.tos >> 2

    @property
    def fragment(self) -> Fragment | None:
        if not self.more_fragments and self.offset == 0:
            return None
        return Fragment(self.id, self.offset, self.more_fragments)


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension header: its own protocol number, and all of it after the first byte."""

    protocol: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Ipv6:
    src: IPv6Address
    dst: IPv6Address
    payload: Transport
    ttl: int = 64  # the hop limit
    tos: int = 0  # the traffic class
    flow_label: int = 0
    extensions: tuple[Extension, ...] = field(default=())

    @property
    def protocol(self) -> int:
        return _protocol(self.payload, ICMP6)

    @property
    def dscp(self) -> int:
        return self.tos >> 2

    @property
    def fragment(self) -> Fragment | None:
        """None also for an atomic fragment, which is whole (RFC 6946)."""
        for extension in self.extensions:
            if extension.protocol == FRAGMENT:
                word = int.from_bytes(extension.body[1:3], "big")
                fragment = Fragment(int.from_bytes(extension.body[3:7], "big"), word & 0xFFF8, bool(word & 1))
                return fragment if fragment.offset or fragment.more else None
        return None


IpPacket = Ipv4 | Ipv6


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame. `trailer` is what stands behind the payload: padding, in general."""

    dst: str
    src: str
    payload: Ipv4 | Ipv6 | Arp | Other
    vlans: tuple[Vlan, ...] = ()
    trailer: bytes = b""

    @property
    def ethertype(self) -> int:
        """The ethertype behind any VLAN tags."""
        if isinstance(self.payload, Other):
            return self.payload.ethertype
        if isinstance(self.payload, Arp):
            return ARP
        return IPV4 if isinstance(self.payload, Ipv4) else IPV6


def _protocol(payload: Transport, icmp: int) -> int:
    match payload:
        case Tcp():
            return TCP
        case Udp():
            return UDP
        case Icmp():
            return icmp
        case Sctp():
            return SCTP
        case Raw():
            return payload.protocol


def with_ttl(ip: IpPacket, ttl: int) -> IpPacket:
    """The packet with another TTL. A header checksum is carried forward, not made anew (RFC 1624)."""
    if isinstance(ip, Ipv4) and ip.checksum is not None:
        checksum = update(ip.checksum, ip.ttl << 8 | ip.protocol, ttl << 8 | ip.protocol)
        return replace(ip, ttl=ttl, checksum=checksum)
    return replace(ip, ttl=ttl)
