"""Answers what is asked about the connections of this host's ports, and gives their records, from the tables.

A port's connections are those that it opened, which have a record here, and those that others opened to it,
of which this host keeps a hint (`docs/design/datapath.md`). Tables are large, and read in a thread; questions
are answered one after the other, and only so many wait.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_right
from collections.abc import Iterator
from typing import Literal, NamedTuple

import structlog

from onehop.agent.host import Host
from onehop.agent.records import (
    KEY_SIZE,
    ROW,
    SHAPE,
    Records,
    connection_id,
    far_tuple,
    near_tuple,
    packed,
    reply_tuple,
)
from onehop.agent.slowpath.neighbours import coarse_now
from onehop.datapath.layouts import show_ip6
from onehop.datapath.traffic import Hint, Record, TupleKey
from onehop.datapath.words import Life, RecordFlag
from onehop.feed.messages import (
    MAX_RECORDS,
    Ask,
    Connection,
    Connections,
    ForgetConnections,
    Forgotten,
    GiveRecords,
    ListConnections,
    Said,
    Tuple,
    Unable,
)
from onehop.feed.messages import Records as Given
from onehop.model import Port

__all__ = ["Answerer"]

WAITING = 32  # questions
PICTURES = 4  # ports that are given at a time, without looking anew for each piece
Direction = Literal["out", "in"]
LIVES: dict[Life, Literal["opening", "open", "closing"]] = {
    Life.OPENING: "opening",
    Life.OPEN: "open",
    Life.CLOSING: "closing",
}
log = structlog.get_logger()


class _Picture(NamedTuple):
    """The records of a port at one moment, in order; they are given in pieces."""

    now: int
    settled: bool
    rows: list[bytes]


class Answerer:
    def __init__(self, host: Host, records: Records) -> None:
        self._host, self._records = host, records
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._pictures: dict[tuple[int, int], _Picture] = {}  # of ports that are given, by `since`

    async def answer(self, ask: Ask) -> Said:
        if self._waiting >= WAITING:
            return Unable("its host has too many questions to answer; ask again")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._answer(ask)
        except Exception as error:
            log.exception("a question could not be answered")
            return Unable(f"its host could not look: {error}"[:1024])
        finally:
            self._waiting -= 1

    async def _answer(self, ask: Ask) -> Said:
        match ask:
            case ListConnections():
                port = self._host.view.get(Port, ask.port)
                if port is None or not self._host.has(port.id):
                    return Unable("the port is not bound to this host", absent=True)
                return await asyncio.to_thread(self._list, port.key, ask)
            case ForgetConnections():
                count, ports = await asyncio.to_thread(self._forget, ask.key, set(ask.ids))
                self._host.judge_ports_anew(ports)
                return Forgotten(count)
            case GiveRecords():
                return await asyncio.to_thread(self._give, ask)

    # --- in a thread ----------------------------------------------------------------------------------

    def _list(self, port: int, ask: ListConnections) -> Connections:
        found = (one for one in self._all(port) if one.id > ask.after and ask.only in ("", one.id))
        some = heapq.nsmallest(ask.limit + 1, found, key=lambda one: one.id)
        return Connections(tuple(some[: ask.limit]), more=len(some) > ask.limit)

    def _give(self, ask: GiveRecords) -> Given:
        at = (ask.key, ask.since)
        picture = self._pictures.pop(at, None) if ask.after else None
        picture = picture or self._picture(ask.key, ask.since)
        begin = bisect_right(picture.rows, ask.after, key=lambda row: row[:KEY_SIZE])
        end = begin + MAX_RECORDS // ROW
        more = end < len(picture.rows)
        if more:
            self._pictures[at] = picture
            if len(self._pictures) > PICTURES:
                del self._pictures[next(iter(self._pictures))]
        return Given(SHAPE, picture.now, picture.settled, b"".join(picture.rows[begin:end]), more)

    def _picture(self, port: int, since: int) -> _Picture:
        settled, now = not self._records.is_here(port), coarse_now()
        found = self._records.opened_by(port).items()
        return _Picture(now, settled, sorted(packed(*one, now) for one in found if one[1].used >= since))

    def _all(self, port: int) -> Iterator[Connection]:
        now = coarse_now()
        for key, record in self._records.opened_by(port).items():
            yield _of_record(key, record, "out", record.far_port, now)
        for at, hint in self._records.hints_of(port).items():
            if at.port == port:
                key = reply_tuple(at, hint.opener)
                here = self._records.get(key)
                if here is not None and here.far_port == port:
                    yield _of_record(key, here, "in", hint.opener, now)
                else:
                    yield _of_hint(key, hint, now)

    def _forget(self, port: int, ids: set[str]) -> tuple[int, set[int]]:
        """How many there were, and the ports whose flows rested on them."""
        gone: set[str] = set()
        ports: set[int] = set()
        for key, record in self._records.of(port).items():
            id = connection_id(key.port, key)
            if id in ids and self._records.forget(key):
                gone.add(id)
                ports |= {key.port, record.far_port}
        for at, hint in self._records.hints_of(port).items():
            id = connection_id(hint.opener, reply_tuple(at, hint.opener))
            if id in ids and self._records.forget_hint(at):
                gone.add(id)
                ports |= {at.port, hint.opener}
        return len(gone), ports


def _of_record(key: TupleKey, record: Record, direction: Direction, other: int, now: int) -> Connection:
    id, near, far = connection_id(key.port, key), near_tuple(key, record), far_tuple(key, record)
    if record.flags & RecordFlag.INBOUND:
        direction, near, far = "in", reply_tuple(near, key.port), reply_tuple(far, key.port)
    life, idle = LIVES.get(record.life), _seconds(now, record.used)
    return Connection(id, direction, key.protocol, _told(far), _told(near), other, life, idle)


def _of_hint(key: TupleKey, hint: Hint, now: int) -> Connection:
    id, idle = connection_id(hint.opener, key), _seconds(now, hint.used)
    return Connection(id, "in", key.protocol, _told(key), None, hint.opener, None, idle)


def _told(key: TupleKey) -> Tuple:
    return Tuple(show_ip6(key.src), key.src_port, show_ip6(key.dst), key.dst_port)


def _seconds(now: int, used: int) -> int:
    return max(0, now - used) // 1_000_000_000
