"""The Internet checksum (RFC 1071)."""

from __future__ import annotations


def ones_sum(*parts: bytes) -> int:
    """The ones' complement sum of 16-bit words; each part but the last is of even length."""
    # 2**16 is 1 modulo 65535, so that the remainder of the whole number is the sum of its words.
    data = b"".join(parts)
    number = int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")
    return number % 0xFFFF or (0xFFFF if number else 0)


def checksum(*parts: bytes) -> int:
    return ones_sum(*parts) ^ 0xFFFF


def header_checksum_is_right(header: bytes) -> bool:
    """Whether a header that contains its checksum sums up as it should."""
    return ones_sum(header) == 0xFFFF


def update(checksum: int, before: int, after: int) -> int:
    """The checksum after one 16-bit word has changed (RFC 1624, equation 3)."""
    total = (checksum ^ 0xFFFF) + (before ^ 0xFFFF) + after
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
