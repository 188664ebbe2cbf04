"""Other addresses and ports on a packet, with every checksum that covers them carried forward (RFC 1624).

A checksum that was wrong stays wrong: it is the receiver's business. A UDP checksum of 0 means that there is
none; one that comes out as 0 is written as 0xffff. SCTP and other protocols cover no addresses. A later
fragment has nothing but its IP header.

An ICMP error about a connection's packet is translated inside, too: the quoted addresses and ports or echo
id, the quoted IPv4 header's checksum, the quoted transport checksum as far as it is there, and ICMP's own.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from onehop.simulation.packet import (
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Tcp,
    Transport,
    Udp,
    rewrite_quote,
    update,
)
from onehop.simulation.packet import ones_sum as _sum
from onehop.simulation.state import Tuple

TransportT = TypeVar("TransportT", Tcp, Udp)


def rewritten(ip: IpPacket, before: Tuple, after: Tuple) -> IpPacket:
    """A packet of one tuple, as one of another. Echo ids stand in both ports."""
    return _with_addresses(ip, after.src, after.dst, _transport(ip, before, after))


def rewritten_error(ip: IpPacket, before: Tuple, after: Tuple, src: Ip, dst: Ip) -> IpPacket:
    """An ICMP error between other addresses. What it quotes is a packet of the tuple reversed."""
    icmp = ip.payload
    assert isinstance(icmp, Icmp)
    data = rewrite_quote(icmp.data, ip.src.version, before.reversed(), after.reversed())
    checksum = icmp.checksum
    if checksum is not None:
        checksum = carried(checksum, icmp.data, data)
        if isinstance(ip, Ipv6):
            checksum = carried(checksum, ip.src.packed + ip.dst.packed, src.packed + dst.packed)
    return _with_addresses(ip, src, dst, replace(icmp, data=data, checksum=checksum))


def between(ip: IpPacket, src: Ip, dst: Ip) -> IpPacket:
    """A packet between other addresses, and nothing else."""
    return rewritten(ip, Tuple(ip.protocol, ip.src, ip.dst), Tuple(ip.protocol, src, dst))


def carried(checksum: int, before: bytes, after: bytes) -> int:
    """A checksum after some of the words that it covers have become others."""
    for at in range(0, len(before) - 1, 2):
        old, new = before[at : at + 2], after[at : at + 2]
        if old != new:
            checksum = update(checksum, _sum(old), _sum(new))
    return checksum


def _with_addresses(ip: IpPacket, src: Ip, dst: Ip, payload: Transport) -> IpPacket:
    if isinstance(ip, Ipv4):
        assert isinstance(src, IPv4Address) and isinstance(dst, IPv4Address)
        checksum = ip.checksum
        if checksum is not None:
            checksum = carried(checksum, ip.src.packed + ip.dst.packed, src.packed + dst.packed)
        return replace(ip, src=src, dst=dst, payload=payload, checksum=checksum)
    assert isinstance(src, IPv6Address) and isinstance(dst, IPv6Address)
    return replace(ip, src=src, dst=dst, payload=payload)


def _transport(ip: IpPacket, before: Tuple, after: Tuple) -> Transport:
    match ip.payload:
        case Tcp() as tcp:
            checksum = _covering(tcp.checksum, before, after, ip)
            return replace(tcp, src=after.src_port, dst=after.dst_port, checksum=checksum)
        case Udp() as udp:
            checksum = _covering(udp.checksum, before, after, ip) if udp.checksum else udp.checksum
            if udp.checksum:
                checksum = checksum or 0xFFFF
            return replace(udp, src=after.src_port, dst=after.dst_port, checksum=checksum)
        case Icmp() as icmp:
            return _echo(ip, icmp, before, after)
        case other:
            return other


def _covering(checksum: int | None, before: Tuple, after: Tuple, ip: IpPacket) -> int | None:
    """The checksum of TCP or UDP: it covers both addresses and both ports."""
    if checksum is None:
        return None
    words = [
        t.src.packed + t.dst.packed + t.src_port.to_bytes(2, "big") + t.dst_port.to_bytes(2, "big")
        for t in (replace(before, src=ip.src, dst=ip.dst), after)
    ]
    return carried(checksum, *words)


def _echo(ip: IpPacket, icmp: Icmp, before: Tuple, after: Tuple) -> Icmp:
    """ICMP: an echo's id, and in IPv6 the addresses that the checksum covers."""
    rest, checksum = icmp.rest, icmp.checksum
    if before.src_port != after.src_port:
        rest = after.src_port.to_bytes(2, "big") + icmp.rest[2:]
    if checksum is not None:
        checksum = carried(checksum, icmp.rest, rest)
        if isinstance(ip, Ipv6):
            addresses = after.src.packed + after.dst.packed
            checksum = carried(checksum, ip.src.packed + ip.dst.packed, addresses)
    return replace(icmp, rest=rest, checksum=checksum)
