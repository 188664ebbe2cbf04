"""What an ICMP error quotes: the first bytes of the packet that it is about.

A quote is often cut off, so it is read less strictly than a packet: its IP header must be whole, and so must
the first eight bytes behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from onehop.simulation.packet._values import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    MAX_EXTENSIONS,
    ROUTING,
    SCTP,
    TCP,
    UDP,
    Ip,
)


@dataclass(frozen=True, slots=True)
class Quote:
    """The quoted packet's tuple. For an echo, `src_port` is its id and `dst_port` its type."""

    protocol: int
    src: Ip
    dst: Ip
    src_port: int
    dst_port: int


def parse_quote(data: bytes, version: int) -> Quote | None:
    """The packet quoted behind an ICMP error's header; None if it says too little."""
    head = _ipv4(data) if version == 4 else _ipv6(data)
    if head is None:
        return None
    protocol, src, dst, at = head
    first = data[at : at + 8]
    if len(first) < 8:
        return None
    if protocol in (TCP, UDP, SCTP):
        ports = int.from_bytes(first[:2], "big"), int.from_bytes(first[2:4], "big")
    elif protocol == (ICMP if version == 4 else ICMP6):
        ports = int.from_bytes(first[4:6], "big"), first[0]
    else:
        ports = 0, 0
    return Quote(protocol, src, dst, *ports)


def _ipv4(data: bytes) -> tuple[int, Ip, Ip, int] | None:
    if len(data) < 20 or data[0] >> 4 != 4 or data[0] & 0x0F < 5:
        return None
    if int.from_bytes(data[6:8], "big") & 0x1FFF:
        return None  # a later fragment has no ports
    return data[9], IPv4Address(data[12:16]), IPv4Address(data[16:20]), (data[0] & 0x0F) * 4


def _ipv6(data: bytes) -> tuple[int, Ip, Ip, int] | None:
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    protocol, at = data[6], 40
    for _ in range(MAX_EXTENSIONS):
        if protocol not in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
            break
        if len(data) < at + 8:
            return None
        if protocol == FRAGMENT and int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8:
            return None
        size = 8 if protocol == FRAGMENT else (data[at + 1] + 1) * 8
        protocol, at = data[at], at + size
    return protocol, IPv6Address(data[8:24]), IPv6Address(data[24:40]), at
