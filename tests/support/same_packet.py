"""Whether a frame is the one that was expected; the answer is a sentence where it is not.

Whole frames are compared, but for what a standard leaves to the one who answers: how much an ICMP error
quotes, and its time to live.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from onehop.simulation.packet import Frame, Icmp, Ipv4, Ipv6, Malformed, build, parse

MIN_QUOTE = 28


def difference(got: Frame | Malformed, expected: Frame) -> str | None:
    """What is wrong with a frame; None if nothing is."""
    if isinstance(got, Malformed):
        return f"malformed: {got.why}"
    whole = parse(build(expected))  # lengths and checksums computed
    assert isinstance(whole, Frame), whole
    if build(got) == build(whole):
        return None
    if _is_error(got) and _is_error(whole):
        got, whole = _without_leeway(got, whole)
        if got == whole:
            return None
    return "; ".join(_differences("", got, whole)) or "other bytes, though the same packet"


def _is_error(frame: Frame) -> bool:
    packet = frame.payload
    if not isinstance(packet, Ipv4 | Ipv6) or not isinstance(packet.payload, Icmp):
        return False
    return packet.payload.type in ((3, 11, 12) if isinstance(packet, Ipv4) else (1, 2, 3, 4))


def _without_leeway(got: Frame, expected: Frame) -> tuple[Frame, Frame]:
    size = min(len(_icmp(frame).data) for frame in (got, expected))
    if size < MIN_QUOTE:
        return got, expected
    return _cut(got, size), _cut(expected, size)


def _icmp(frame: Frame) -> Icmp:
    assert isinstance(frame.payload, Ipv4 | Ipv6) and isinstance(frame.payload.payload, Icmp)
    return frame.payload.payload


def _cut(frame: Frame, size: int) -> Frame:
    """The error without what may differ: its TTL and id; in the quote TTL and checksum (bytes 8, 10, 11)."""
    packet, icmp = frame.payload, _icmp(frame)
    quote = bytearray(icmp.data[:size])
    if isinstance(packet, Ipv4):
        quote[8], quote[10], quote[11] = 0, 0, 0
        packet = replace(packet, checksum=0, id=0, dont_fragment=False, tos=0)
    else:
        quote[7] = 0
    assert isinstance(packet, Ipv4 | Ipv6)
    return replace(
        frame, payload=replace(packet, ttl=0, payload=replace(icmp, data=bytes(quote), checksum=0))
    )


def _differences(path: str, got: Any, expected: Any) -> list[str]:
    if type(got) is type(expected) and is_dataclass(got):
        return [
            found
            for f in fields(got)
            for found in _differences(
                f"{path}.{f.name}".lstrip("."), getattr(got, f.name), getattr(expected, f.name)
            )
        ]
    return [] if got == expected else [f"{path} is {got!r}, not {expected!r}"]
