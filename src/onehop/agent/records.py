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

from onehop.datapath.layouts import Layout, LayoutError, codec, fields
from onehop.datapath.maps import Map
from onehop.datapath.object import Program
from onehop.datapath.structs import Port
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.testrun import run_program
from onehop.datapath.traffic import MAX_ZONES, Crossing, Hint, Record, TupleKey
from onehop.datapath.words import RecordFlag

__all__ = [
    "KEY_SIZE", "ROW", "SHAPE", "Records", "connection_id", "far_tuple", "near_tuple", "packed",
    "reply_tuple", "unpacked",
]  # fmt: skip

LEAD = bytes(16)  # before what the programs are given, as they have it
_KEY, _RECORD = codec(TupleKey), codec(Record)
Numbers = Callable[[bytes], Iterable[int]]
Maps = Mapping[str, Map[Any, Any]]


def far_tuple(key: TupleKey, record: Record) -> TupleKey:
    """What the owner sends, as the other side sees it: that is what a record's key is."""
    return key


def near_tuple(key: TupleKey, record: Record) -> TupleKey:
    """The same, as the owner's machine sends it."""
    if not record.flags & RecordFlag.TRANSLATED:
        return key
    home = record.home
    return TupleKey(key.port, home.src, home.dst, home.src_port, home.dst_port, key.protocol)


def reply_tuple(key: TupleKey, port: int) -> TupleKey:
    """The tuple of the packets in the other direction, at another port."""
    return TupleKey(port, key.dst, key.src, key.dst_port, key.src_port, key.protocol)


def connection_id(owner: int, away: TupleKey) -> str:
    """The same on the hosts of both ends: of the owner, and of what it sends as the other side sees it."""
    key = msgspec.structs.replace(away, port=owner)
    return blake2b(_KEY.encode(key), digest_size=8).hexdigest()


# --- on the way to another host ---------------------------------------------------------------------------

_NOWHERE = (Crossing(0, 0),) * MAX_ZONES
KEY_SIZE = _KEY.size
ROW = KEY_SIZE + _RECORD.size
SHAPE = blake2b(
    repr(
        [(f.name, f.type.declare, f.offset) for layout in (TupleKey, Record) for f in fields(layout)]
    ).encode(),
    digest_size=8,
).hexdigest()
"""Names the layout of keys and records: hosts with others lose connections rather than misread them."""


def packed(key: TupleKey, record: Record, now: int) -> bytes:
    """A record without what means something on this host alone: its zones and what was judged by them, its
    routers' numbers, its clock. `used` says for how long it was not."""
    portable = msgspec.structs.replace(
        record,
        flags=record.flags & ~RecordFlag.JUDGED,
        router=0,
        zones=0,
        crossed=_NOWHERE,
        used=max(0, now - record.used),
    )
    return _KEY.encode(key) + _RECORD.encode(portable)


def unpacked(rows: bytes, port: int, asked: int) -> Iterator[tuple[TupleKey, Record]]:
    """The records of a port in what another host sent. `asked`, by this host's clock, is before that host
    looked: so whatever has been used here since is newer than what came."""
    for at in range(0, len(rows) - ROW + 1, ROW):
        try:
            key = _KEY.decode(rows[at : at + KEY_SIZE])
            record = _RECORD.decode(rows[at + KEY_SIZE : at + ROW])
        except (ValueError, LayoutError):
            continue  # a word that there is not
        if key.port == port and record.zones == 0 and not record.flags & RecordFlag.JUDGED:
            yield key, msgspec.structs.replace(record, router=0, used=max(1, asked - record.used))


# --- the tables -------------------------------------------------------------------------------------------


class Records:
    """What is said of a port is said of its key."""

    def __init__(self, maps: Maps, programs: Callable[[], Mapping[str, Program]]) -> None:
        """`programs` gives those that are in use by now."""
        self._records: Map[TupleKey, Record] = maps["records"]
        self._hints: Map[TupleKey, Hint] = maps["hints"]
        self._openers: Map[int, int] = maps["openers"]
        self._ports: Map[int, Port] = maps["ports"]
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

    def openers(self) -> set[int]:
        """The ports that have records here."""
        return {port for port, count in self._openers.items() if count}

    def is_here(self, port: int) -> bool:
        """Whether the port is active on this host, as the programs see it."""
        row = self._ports.lookup(port)
        return row is not None and row.host == THIS_HOST

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
