"""Digests of what a host holds, so that a feed resumes by content.

Objects fall into 256 buckets by their id. A bucket's digest is the sum of a hash of each (id, revision) in
it: it does not depend on order, and changes in constant time. Two sides whose digests of a bucket agree hold
the same in it. This guards against loss, not against a host that lies: it could only deceive itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from zlib import crc32

BUCKETS = 256
_MODULUS = 1 << 64


def bucket_of(id: str) -> int:
    return crc32(id.encode()) & (BUCKETS - 1)


def digests(held: Iterable[tuple[str, int]]) -> list[int]:
    """One digest per bucket of these (id, revision) pairs."""
    sums = [0] * BUCKETS
    for id, revision in held:
        sums[bucket_of(id)] += _hash(id, revision)
    return [total % _MODULUS for total in sums]


def differing(mine: list[int], theirs: list[int]) -> list[int]:
    """The buckets that are not the same."""
    return [n for n, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]


def _hash(id: str, revision: int) -> int:
    return int.from_bytes(blake2b(b"%s %d" % (id.encode(), revision), digest_size=8).digest())
