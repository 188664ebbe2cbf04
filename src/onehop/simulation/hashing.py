"""The hash that spreads connections over ways, defined so that Python and C compute the same.

`connection_hash` is FNV-1a with 32 bits over these bytes, in this order:

    depth          1   how many devices the walk has entered, this router included
    protocol       1
    source         4 or 16, as on the wire
    destination    4 or 16
    source port    2, big endian    (an echo: its id, in both; other protocols: 0)
    destination port 2

and then the finish of MurmurHash3, because FNV leaves the upper bits poorly mixed. The depth keeps routers in
a row from all making the same choice.

`choose` takes the upper bits: way `i` is chosen when `hash * total >> 32` lies in its share of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from onehop.simulation.state import Tuple

_M32 = 0xFFFFFFFF


def connection_hash(tuple: Tuple, depth: int) -> int:
    value = 0x811C9DC5
    ports = tuple.src_port.to_bytes(2, "big") + tuple.dst_port.to_bytes(2, "big")
    for byte in bytes((depth, tuple.protocol)) + tuple.src.packed + tuple.dst.packed + ports:
        value = ((value ^ byte) * 0x01000193) & _M32
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _M32
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _M32
    return value ^ value >> 16


def choose(hash: int, weights: Sequence[int]) -> int:
    """The index that a hash falls to; weights are at least 1."""
    point = hash * sum(weights) >> 32
    for i, weight in enumerate(weights):
        if point < weight:
            return i
        point -= weight
    raise AssertionError("a point lies within the total")
