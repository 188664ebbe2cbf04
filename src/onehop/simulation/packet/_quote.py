"""What an ICMP error quotes: the first bytes of the packet that it is about.

A quote is often cut off, so it is read less strictly than a packet: its IP header must be whole, and so must
the first eight bytes behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from onehop.simulation.packet._checksum import update
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


class Ends(Protocol):
    """A tuple, as far as a quote holds one."""

    @property
    def src(self) -> Ip: ...
    @property
    def dst(self) -> Ip: ...
    @property
    def src_port(self) -> int: ...
    @property
    def dst_port(self) -> int: ...


def rewrite_quote(data: bytes, version: int, before: Ends, after: Ends) -> bytes:
    """What an error quotes, with one tuple in the place of another; checksums in it are carried forward."""
    head = _ipv4(data) if version == 4 else _ipv6(data)
    if head is None:
        return data
    protocol, _, _, at = head
    was = Words(data)
    was.put(12 if version == 4 else 8, after.src.packed + after.dst.packed)
    if version == 4:
        was.cover(10)
    if protocol in (TCP, UDP, SCTP):
        was.put_port(at, before.src_port, after.src_port)
        was.put_port(at + 2, before.dst_port, after.dst_port)
    elif protocol == (ICMP if version == 4 else ICMP6):
        if version == 4:
            was.changed.clear()  # ICMP in IPv4 covers no addresses
        was.put_port(at + 4, before.src_port, after.src_port)
    where = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}.get(protocol)
    if where is not None and (protocol != UDP or was.word(at + where)):
        was.cover(at + where, zero=0xFFFF if protocol == UDP else 0)
    return bytes(was.data)


class Words:
    """Bytes that are being changed, and by how much that changes a checksum."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.changed: list[tuple[int, int]] = []

    def word(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 2], "big")

    def put(self, at: int, new: bytes) -> None:
        for i in range(0, len(new), 2):
            was, now = self.word(at + i), int.from_bytes(new[i : i + 2], "big")
            if was != now:
                self.changed.append((was, now))
        self.data[at : at + len(new)] = new

    def put_port(self, at: int, before: int, after: int) -> None:
        if before != after:
            self.put(at, after.to_bytes(2, "big"))

    def cover(self, at: int, zero: int = 0) -> None:
        """Carry a checksum forward, if it is there; `zero` is written where it comes out as 0."""
        if at + 2 > len(self.data):
            return
        checksum = self.word(at)
        for was, now in self.changed:
            checksum = update(checksum, was, now)
        self.data[at : at + 2] = (checksum or zero).to_bytes(2, "big")


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
