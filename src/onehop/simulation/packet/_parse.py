"""Bytes to values, as a row of cursors: each reads its own header and knows what it needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from onehop.model.vocabulary import Drop
from onehop.simulation.packet._values import (
    ARP,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    MAX_EXTENSIONS,
    ROUTING,
    SCTP,
    TCP,
    UDP,
    VLAN_TAGS,
    Arp,
    Extension,
    Frame,
    Icmp,
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
)


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that are no packet, and why."""

    why: str
    drop: Drop = Drop.MALFORMED


class _Bad(Exception):
    """Ends the parsing from within; never leaves this module."""

    def __init__(self, why: str, drop: Drop = Drop.MALFORMED) -> None:
        super().__init__(why)
        self.malformed = Malformed(why, drop)


def parse(data: bytes) -> Frame | Malformed:
    """A frame as it comes from a port."""
    try:
        return _ethernet(data)
    except _Bad as bad:
        return bad.malformed


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise _Bad(why)


def _ethernet(data: bytes) -> Frame:
    _need(len(data) >= 14, "shorter than an Ethernet header")
    dst, src = data[:6].hex(":"), data[6:12].hex(":")
    ethertype, at = int.from_bytes(data[12:14], "big"), 14
    vlans: list[Vlan] = []
    while ethertype in VLAN_TAGS and len(vlans) < 2:
        _need(len(data) >= at + 4, "cut off within a VLAN tag")
        tci, following = struct.unpack_from("!HH", data, at)
        vlans.append(Vlan(tci, ethertype))
        ethertype, at = following, at + 4
    payload: Ipv4 | Ipv6 | Arp | Other
    if vlans or ethertype not in (IPV4, IPV6, ARP):
        return Frame(dst, src, Other(ethertype, data[at:]), tuple(vlans))
    if ethertype == ARP:
        payload, end = _arp(data), at + 28
    elif ethertype == IPV4:
        payload, end = _ipv4(data)
    else:
        payload, end = _ipv6(data)
    return Frame(dst, src, payload, (), data[end:])


def _arp(data: bytes) -> Arp:
    _need(len(data) >= 14 + 28, "cut off within ARP")
    *form, operation = struct.unpack_from("!HHBBH", data, 14)
    _need(form == [1, IPV4, 6, 4], "ARP for something else than IPv4 over Ethernet")
    return Arp(
        operation,
        data[22:28].hex(":"),
        IPv4Address(data[28:32]),
        data[32:38].hex(":"),
        IPv4Address(data[38:42]),
    )


def _ipv4(data: bytes) -> tuple[Ipv4, int]:
    """The packet at byte 14, and where it ends."""
    room = len(data) - 14
    _need(room >= 20, "cut off within the IPv4 header")
    version, tos, length, id, flags, ttl, protocol, checksum = struct.unpack_from("!BBHHHBBH", data, 14)
    header = (version & 0x0F) * 4
    _need(version >> 4 == 4, "an IPv4 packet of another version")
    _need(header >= 20, "an IPv4 header shorter than the least")
    _need(header <= length <= room, "an IPv4 length that does not fit the frame")
    end = 14 + length
    offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
    _need(offset + length - header <= 0xFFFF, "a fragment that reaches beyond the largest packet")
    payload = _transport(protocol, data[14 + header : end], offset, more, ICMP)
    packet = Ipv4(
        src=IPv4Address(data[26:30]),
        dst=IPv4Address(data[30:34]),
        payload=payload,
        ttl=ttl,
        tos=tos,
        id=id,
        reserved_flag=bool(flags & 0x8000),
        dont_fragment=bool(flags & 0x4000),
        more_fragments=more,
        offset=offset,
        options=data[34 : 14 + header],
        checksum=checksum,
    )
    return packet, end


def _ipv6(data: bytes) -> tuple[Ipv6, int]:
    """The packet at byte 14, and where it ends."""
    room = len(data) - 14
    _need(room >= 40, "cut off within the IPv6 header")
    word, length, protocol, ttl = struct.unpack_from("!IHBB", data, 14)
    _need(word >> 28 == 6, "an IPv6 packet of another version")
    _need(length <= room - 40, "an IPv6 length that does not fit the frame")
    end = 54 + length
    extensions, protocol, at = _extensions(data[:end], protocol)
    offset, more = _fragment_of(extensions)
    _need(offset + end - at <= 0xFFFF, "a fragment that reaches beyond the largest packet")
    packet = Ipv6(
        src=IPv6Address(data[22:38]),
        dst=IPv6Address(data[38:54]),
        payload=_transport(protocol, data[at:end], offset, more, ICMP6),
        ttl=ttl,
        tos=word >> 20 & 0xFF,
        flow_label=word & 0xFFFFF,
        extensions=extensions,
    )
    return packet, end


def _extensions(data: bytes, protocol: int) -> tuple[tuple[Extension, ...], int, int]:
    """The extension headers from byte 54 on, the protocol behind them, and where that begins."""
    found: list[Extension] = []
    at = 54
    while protocol in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
        if len(found) == MAX_EXTENSIONS:
            raise _Bad(f"more than {MAX_EXTENSIONS} extension headers", Drop.UNSUPPORTED)
        _need(protocol != HOP_BY_HOP or not found, "hop-by-hop options that are not the first header")
        _need(len(data) >= at + 8, "cut off within an extension header")
        size = 8 if protocol == FRAGMENT else (data[at + 1] + 1) * 8
        _need(len(data) >= at + size, "cut off within an extension header")
        if protocol == ROUTING and data[at + 2] == 0:
            raise _Bad("a routing header of type 0 (RFC 5095)", Drop.UNSUPPORTED)
        found.append(Extension(protocol, data[at + 1 : at + size]))
        is_later = protocol == FRAGMENT and int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8
        _need(protocol != FRAGMENT or all(e.protocol != FRAGMENT for e in found[:-1]), "two fragment headers")
        protocol, at = data[at], at + size
        if is_later:
            break  # what follows is the middle of a packet
    return tuple(found), protocol, at


def _fragment_of(extensions: tuple[Extension, ...]) -> tuple[int, bool]:
    for extension in extensions:
        if extension.protocol == FRAGMENT:
            word = int.from_bytes(extension.body[1:3], "big")
            return word & 0xFFF8, bool(word & 1)
    return 0, False


def _transport(protocol: int, data: bytes, offset: int, more: bool, icmp: int) -> Transport:
    """The transport header of a whole packet or first fragment, which must hold all of that header."""
    _need(not more or (len(data) > 0 and len(data) % 8 == 0), "a fragment whose length is no multiple of 8")
    if offset:
        _need(len(data) > 0, "an empty fragment")
        return Raw(protocol, data)
    if protocol == TCP:
        return _tcp(data)
    if protocol == UDP:
        return _udp(data, more)
    if protocol == SCTP:
        _need(len(data) >= 12, "cut off within the SCTP header")
        return Sctp(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), data[4:])
    if protocol == icmp:
        _need(len(data) >= 8, "cut off within the ICMP header")
        return Icmp(data[0], data[1], data[4:8], data[8:], int.from_bytes(data[2:4], "big"))
    return Raw(protocol, data)


def _tcp(data: bytes) -> Tcp:
    _need(len(data) >= 20, "cut off within the TCP header")
    src, dst, seq, ack, word, window, checksum, urgent = struct.unpack_from("!HHIIHHHH", data)
    header = (word >> 12) * 4
    _need(20 <= header <= len(data), "a TCP header length that does not fit the packet")
    return Tcp(
        src,
        dst,
        TcpFlag(word & 0x1FF),
        seq,
        ack,
        window,
        urgent,
        data[20:header],
        data[header:],
        word >> 9 & 0x7,
        checksum,
    )


def _udp(data: bytes, more: bool) -> Udp:
    _need(len(data) >= 8, "cut off within the UDP header")
    src, dst, length, checksum = struct.unpack_from("!HHHH", data)
    _need(length >= 8 and (more or length <= len(data)), "a UDP length that does not fit the packet")
    return Udp(src, dst, data[8:], length, checksum)
