"""Packets as typed, frozen values: `parse` makes them of bytes, `build` makes bytes of them.

`parse` never raises. What it cannot read is `Malformed`, with a sentence and the reason for the drop.
What it reads comes back exactly: `build(parse(data)) == data`, wrong checksums, options and padding
included. A checksum or length that is None is computed by `build`; what was parsed keeps its own.

What is looked into: Ethernet, up to two VLAN tags, ARP for IPv4, IPv4 with options, IPv6 with at most
`MAX_EXTENSIONS` extension headers, TCP, UDP, SCTP, ICMP and ICMPv6 with neighbour discovery and the packets
that ICMP errors quote. What stands behind a VLAN tag is not looked into: to a virtual switch it is `Other`.
Options and extension headers are carried and never acted upon.
"""

from onehop.simulation.packet._build import build, build_ip
from onehop.simulation.packet._checksum import header_checksum_is_right, ones_sum, update
from onehop.simulation.packet._parse import Malformed, parse
from onehop.simulation.packet._quote import Quote, parse_quote, rewrite_quote
from onehop.simulation.packet._values import (
    ARP,
    BROADCAST,
    FRAGMENT,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    MAX_EXTENSIONS,
    SCTP,
    TCP,
    UDP,
    Arp,
    Extension,
    Fragment,
    Frame,
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Other,
    Raw,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    Vlan,
    is_multicast_mac,
    multicast_mac,
    with_ttl,
)

__all__ = [
    "ARP",
    "BROADCAST",
    "ICMP",
    "ICMP6",
    "IPV4",
    "IPV6",
    "MAX_EXTENSIONS",
    "SCTP",
    "TCP",
    "UDP",
    "Arp",
    "FRAGMENT",
    "Extension",
    "Fragment",
    "Frame",
    "Icmp",
    "Ip",
    "IpPacket",
    "Ipv4",
    "Ipv6",
    "Malformed",
    "Other",
    "Quote",
    "Raw",
    "Sctp",
    "Tcp",
    "TcpFlag",
    "Transport",
    "Udp",
    "Vlan",
    "build",
    "build_ip",
    "header_checksum_is_right",
    "is_multicast_mac",
    "multicast_mac",
    "ones_sum",
    "parse",
    "parse_quote",
    "rewrite_quote",
    "update",
    "with_ttl",
]
