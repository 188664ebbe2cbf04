"""The few frames that the slow path reads or makes itself. Pure: bytes in, bytes out."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

__all__ = ["between", "checksum", "completed", "question", "tagged"]

_ARP, _IPV4, _IPV6, _VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
_TCP, _UDP, _ICMP6 = 6, 17, 58
_FIELD = {_TCP: 16, _UDP: 6}  # where a transport header has its checksum
_ETHERNET = 14
_BROADCAST = b"\xff" * 6


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    return ~_sum(data) & 0xFFFF


def _sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def question(address: bytes, mac: bytes, source: bytes) -> bytes:
    """The frame by which a router's interface asks who has an address. Addresses are 4 or 16 bytes."""
    if len(address) == 4:
        arp = struct.pack("!HHBBH", 1, _IPV4, 6, 4, 1) + mac + source + bytes(6) + address
        return _BROADCAST + mac + _ARP.to_bytes(2, "big") + arp
    group = IPv6Address("ff02::1:ff00:0").packed[:13] + address[13:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + address + b"\x01\x01" + mac
    pseudo = source + group + struct.pack("!II", len(body), _ICMP6)
    body = body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    ip = struct.pack("!IHBB", 6 << 28, len(body), _ICMP6, 255) + source + group
    return b"\x33\x33" + group[12:] + mac + _IPV6.to_bytes(2, "big") + ip + body


def between(frame: bytes, src: bytes, dst: bytes) -> bytes:
    """A frame with other MACs."""
    return dst + src + frame[12:]


def tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + struct.pack("!HH", _VLAN, vlan) + frame[12:]


def completed(frame: bytes) -> bytes:
    """A frame with its transport checksum finished, if its sender left that to the hardware.

    Then the field holds the sum of the pseudo header alone. A finished one is hardly ever the same, and if it
    is, finishing it again gives what it was.
    """
    if len(frame) < _ETHERNET + 20:
        return frame
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _IPV4:
        return _completed4(frame)
    if kind == _IPV6 and len(frame) >= _ETHERNET + 40:
        size = int.from_bytes(frame[18:20], "big")
        return _finish(frame, _ETHERNET + 40, size, frame[20], frame[22:54])
    return frame


def _completed4(frame: bytes) -> bytes:
    header = (frame[14] & 15) * 4
    if int.from_bytes(frame[20:22], "big") & 0x3FFF:  # a fragment
        return frame
    size = int.from_bytes(frame[16:18], "big") - header
    return _finish(frame, _ETHERNET + header, size, frame[23], frame[26:34])


def _finish(frame: bytes, at: int, size: int, protocol: int, addresses: bytes) -> bytes:
    offset = _FIELD.get(protocol)
    if offset is None or size < offset + 2 or at + size > len(frame):
        return frame
    pseudo = addresses + struct.pack("!II", size, protocol)
    field = at + offset
    if int.from_bytes(frame[field : field + 2], "big") != _sum(pseudo):
        return frame
    bare = frame[at:field] + b"\0\0" + frame[field + 2 : at + size]
    final = checksum(pseudo + bare) or (0xFFFF if protocol == _UDP else 0)
    return frame[:field] + final.to_bytes(2, "big") + frame[field + 2 :]


def plain(address: bytes) -> bytes:
    """An address as packets have it: 4 bytes for IPv4, which tables hold mapped into IPv6."""
    return address[12:] if address[:12] == bytes(10) + b"\xff\xff" else address


def text(address: bytes) -> str:
    raw = plain(address)
    return str(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw))
