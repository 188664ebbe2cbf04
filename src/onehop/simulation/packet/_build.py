"""Values to bytes. Checksums and lengths that are None are computed."""

from __future__ import annotations

import struct

from onehop.simulation.packet._checksum import checksum
from onehop.simulation.packet._values import (
    ICMP6,
    Arp,
    Frame,
    Icmp,
    IpPacket,
    Ipv4,
    Ipv6,
    Other,
    Raw,
    Sctp,
    Tcp,
    Udp,
)


def build(frame: Frame) -> bytes:
    tags = b"".join(struct.pack("!HH", tag.tpid, tag.tci) for tag in frame.vlans)
    head = _mac(frame.dst) + _mac(frame.src) + tags + struct.pack("!H", frame.ethertype)
    return head + _payload(frame.payload) + frame.trailer


def _payload(payload: Ipv4 | Ipv6 | Arp | Other) -> bytes:
    if isinstance(payload, Other):
        return payload.data
    return _arp(payload) if isinstance(payload, Arp) else build_ip(payload)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _arp(arp: Arp) -> bytes:
    return (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, arp.operation)
        + _mac(arp.sender_mac)
        + arp.sender_ip.packed
        + _mac(arp.target_mac)
        + arp.target_ip.packed
    )


def build_ip(ip: IpPacket) -> bytes:
    return _ipv4(ip) if isinstance(ip, Ipv4) else _ipv6(ip)


def _ipv4(ip: Ipv4) -> bytes:
    payload = _transport(ip)
    length = 20 + len(ip.options)
    flags = ip.reserved_flag << 15 | ip.dont_fragment << 14 | ip.more_fragments << 13 | ip.offset >> 3
    first = struct.pack(
        "!BBHHHBB",
        0x40 | length >> 2,
        ip.tos,
        length + len(payload),
        ip.id,
        flags,
        ip.ttl,
        ip.protocol,
    )
    last = ip.src.packed + ip.dst.packed + ip.options
    value = checksum(first, last) if ip.checksum is None else ip.checksum
    return first + value.to_bytes(2, "big") + last + payload


def _ipv6(ip: Ipv6) -> bytes:
    payload = _transport(ip)
    following = [*(e.protocol for e in ip.extensions), ip.protocol]
    extensions = b"".join(
        bytes((after,)) + e.body for e, after in zip(ip.extensions, following[1:], strict=True)
    )
    return (
        struct.pack(
            "!IHBB",
            6 << 28 | ip.tos << 20 | ip.flow_label,
            len(extensions) + len(payload),
            following[0],
            ip.ttl,
        )
        + ip.src.packed
        + ip.dst.packed
        + extensions
        + payload
    )


def _transport(ip: IpPacket) -> bytes:
    match ip.payload:
        case Tcp() as tcp:
            return _checked(ip, _tcp(tcp), 16, tcp.checksum)
        case Udp() as udp:
            length = 8 + len(udp.data) if udp.length is None else udp.length
            head = struct.pack("!HHHH", udp.src, udp.dst, length, 0)
            return _checked(ip, head + udp.data, 6, udp.checksum, zero=0xFFFF)
        case Icmp() as icmp:
            head = struct.pack("!BBH", icmp.type, icmp.code, 0) + icmp.rest
            return _checked(ip, head + icmp.data, 2, icmp.checksum)
        case Sctp() as sctp:
            return struct.pack("!HH", sctp.src, sctp.dst) + sctp.data
        case Raw() as raw:
            return raw.data


def _tcp(tcp: Tcp) -> bytes:
    offset = (20 + len(tcp.options)) >> 2
    head = struct.pack(
        "!HHIIHHHH",
        tcp.src,
        tcp.dst,
        tcp.seq,
        tcp.ack,
        offset << 12 | tcp.reserved << 9 | tcp.flags,
        tcp.window,
        0,
        tcp.urgent,
    )
    return head + tcp.options + tcp.data


def _checked(ip: IpPacket, segment: bytes, at: int, given: int | None, zero: int = 0) -> bytes:
    """The segment with its checksum in place; `zero` is written where the sum comes out as 0."""
    value = given
    if value is None:
        value = checksum(_pseudo_header(ip, len(segment)), segment) or zero
    return segment[:at] + value.to_bytes(2, "big") + segment[at + 2 :]


def _pseudo_header(ip: IpPacket, length: int) -> bytes:
    if isinstance(ip, Ipv4) and isinstance(ip.payload, Icmp):
        return b""  # ICMP in IPv4 sums up itself alone
    protocol = ICMP6 if isinstance(ip.payload, Icmp) else ip.protocol
    return ip.src.packed + ip.dst.packed + struct.pack("!II", length, protocol)
