"""The tables of connections, as the agent reads and changes them: records of what ports of this host opened,
hints to where replies go.

Programs write these tables while this reads them: what is read is a moment's picture. Records are put and
removed by programs too (`bpf/hand_over.h`), which keep the counts beside them. Methods may run in any thread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from onehop.datapath.layouts import Layout, codec, fields
from onehop.datapath.maps import Map
from onehop.datapath.object import Program
from onehop.datapath.testrun import run_program
from onehop.datapath.traffic import Hint, Record, TupleKey

__all__ = ["Records", "connection_id", "far_tuple", "near_tuple", "reply_tuple"]

LEAD = bytes(16)  # before what the programs are given, as they have it
_KEY, _RECORD = codec(TupleKey), codec(Record)
Numbers = Callable[[bytes], Iterable[int]]
Maps = Mapping[str, Map[Any, Any]]


def far_tuple(key: TupleKey, record: Record) -> TupleKey:
    """As the far port receives the opener's packets: that is what a record's key is."""
    return key


def near_tuple(key: TupleKey, record: Record) -> TupleKey:
    """As the opener's machine sends them."""
    return key


def reply_tuple(key: TupleKey, port: int) -> TupleKey:
    """The tuple of the packets in the other direction, at another port."""
    return TupleKey(port, key.dst, key.src, key.dst_port, key.src_port, key.protocol)


def connection_id(opener: int, far: TupleKey) -> str:
    """The same on the hosts of both ends."""
    key = msgspec.structs.replace(far, port=opener)
    return blake2b(_KEY.encode(key), digest_size=8).hexdigest()


class Records:
    """What is said of a port is said of its key."""

    def __init__(self, maps: Maps, programs: Callable[[], Mapping[str, Program]]) -> None:
        """`programs` gives those that are in use by now."""
        self._records: Map[TupleKey, Record] = maps["records"]
        self._hints: Map[TupleKey, Hint] = maps["hints"]
        self._programs = programs

    def opened_by(self, port: int) -> dict[TupleKey, Record]:
        return dict(self._records.select(_where(_numbers(TupleKey, "port"), None, port)))

    def of(self, port: int) -> dict[TupleKey, Record]:
        """From or to the port."""
        wanted = _where(_numbers(TupleKey, "port"), _numbers(Record, "far_port"), port)
        return dict(self._records.select(wanted))

    def hints_of(self, port: int) -> dict[TupleKey, Hint]:
        """For the port's replies, or for replies to it."""
        wanted = _where(_numbers(TupleKey, "port"), _numbers(Hint, "opener"), port)
        return dict(self._hints.select(wanted))

    def get(self, key: TupleKey) -> Record | None:
        return self._records.lookup(key)

    def forget(self, key: TupleKey) -> bool:
        """Whether there was such a record."""
        return self._run("forget_record", _KEY.encode(key)) == 1

    def forget_hint(self, key: TupleKey) -> bool:
        return self._hints.delete(key)

    def put(self, key: TupleKey, record: Record) -> bool:
        """Put a record, unless there is one that was used later; False if there is no room for it."""
        return self._run("put_record", _KEY.encode(key) + _RECORD.encode(record)) >= 0

    def _run(self, program: str, data: bytes) -> int:
        return run_program(self._programs()[program], LEAD + data).verdict


def _numbers(layout: type[Layout], name: str) -> Numbers:
    """Reads one 32-bit field of many structs that stand one behind the other."""
    size = codec(layout).size
    (at,) = (field.offset for field in fields(layout) if field.name == name)
    reader = struct.Struct(f"={at}xI{size - at - 4}x")

    def read(data: bytes) -> Iterator[int]:
        return (number for (number,) in reader.iter_unpack(data))

    return read


def _where(
    of_keys: Numbers, of_values: Numbers | None, number: int
) -> Callable[[bytes, bytes], Iterable[int]]:
    """The places at which a field of the key or one of the value is a number."""

    def wanted(keys: bytes, values: bytes) -> Iterable[int]:
        found = {at for at, held in enumerate(of_keys(keys)) if held == number}
        if of_values is not None:
            found |= {at for at, held in enumerate(of_values(values)) if held == number}
        return sorted(found)

    return wanted
