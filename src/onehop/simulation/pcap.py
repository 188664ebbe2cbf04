"""Reading packet captures: the classic pcap format, of Ethernet."""

from __future__ import annotations

import struct
from collections.abc import Iterator

ETHERNET = 1
MAX_FRAME = 262144
_MAGIC = {0xA1B2C3D4: 1e-6, 0xA1B23C4D: 1e-9}  # to the unit of the fractions of a second


class BadCapture(ValueError):
    """A file that cannot be read, told in a sentence."""


def frames(data: bytes) -> Iterator[tuple[float, bytes]]:
    """The frames of a capture with their times. Raises BadCapture."""
    order, unit = _header(data)
    at = 24
    while at < len(data):
        if len(data) < at + 16:
            raise BadCapture(f"the capture ends within a packet's header, at byte {at}")
        seconds, fraction, size, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        if size > MAX_FRAME or len(data) < at + size:
            raise BadCapture(f"the capture ends within a packet, at byte {at}")
        yield seconds + fraction * unit, data[at : at + size]
        at += size


def _header(data: bytes) -> tuple[str, float]:
    """The byte order, and the unit of fractions of a second."""
    if len(data) < 24:
        raise BadCapture("too short to be a capture")
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        raise BadCapture("a pcapng file; convert it: editcap -F pcap IN OUT")
    for order in "<>":
        (magic,) = struct.unpack_from(order + "I", data)
        if magic in _MAGIC:
            (link,) = struct.unpack_from(order + "I", data, 20)
            if link & 0xFFFF != ETHERNET:
                raise BadCapture(f"a capture of link type {link & 0xFFFF}; only Ethernet (1) can be traced")
            return order, _MAGIC[magic]
    raise BadCapture("not a pcap file")
