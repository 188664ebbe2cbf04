"""What lies beyond what this host follows: followed when a packet first needs it, and let go when unused.

    needed ──► asked lately? ── yes ──► nothing new
                   │ no
                   ▼
             a controller ──► followed: packets that waited go on ──► held, until unused for IDLE
                          └─► there is no such thing
                          └─► no answer

Bounded throughout: what is asked at a time, what waits for an answer, what is remembered, what is held, and
how much of that for one port: who goes through many addresses makes room by what it went through before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import structlog

from onehop.feed.messages import Target

__all__ = ["Demand", "Found"]

PATIENCE = 5.0  # seconds for a controller to answer
ASKED = 64  # questions at a time
WAITING = 4  # packets that wait for one answer
REMEMBERED = 10.0  # seconds for which an answer counts
MOST_REMEMBERED = 4096
MOST_HELD = 4096
MOST_OF_PORT = 256
IDLE = 3600.0  # seconds

log = structlog.get_logger()


class Found(Enum):
    FOLLOWED = 1  # by now
    NOTHING_NEW = 2  # there is no such thing, or it is followed already and that does not help
    UNKNOWN = 3  # nobody is there to tell


class Feed(Protocol):
    """What is needed of a `Follower`."""

    @property
    def current(self) -> bool: ...

    @property
    def asks(self) -> set[str]: ...

    async def follow(self, target: Target) -> str | None: ...

    def release(self, ids: Iterable[str]) -> None: ...


Then = Callable[[Found], None]


@dataclass(slots=True)
class _Held:
    port: int  # for which it was asked; 0 if that is forgotten
    used: float


class Demand:
    """`clock` as the event loop's."""

    def __init__(self, feed: Feed, clock: Callable[[], float]) -> None:
        self._feed, self._clock = feed, clock
        self._waiting: dict[Target, list[Then]] = {}
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._answered: dict[Target, float] = {}  # until when that counts, oldest first
        self._held = {id: _Held(0, clock()) for id in sorted(feed.asks)}

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def need(self, target: Target, port: int, then: Then) -> None:
        """A packet of a port needs something; `then` is told what came of it, unless too much waits."""
        until = self._answered.get(target)
        if until is not None and until > self._clock():
            then(Found.NOTHING_NEW)
            return
        waiting = self._waiting.get(target)
        if waiting is not None:
            if len(waiting) < WAITING:
                waiting.append(then)
        elif not self._feed.current:
            then(Found.UNKNOWN)
        elif len(self._waiting) < ASKED:
            self._waiting[target] = [then]
            self._tasks[target] = asyncio.ensure_future(self._ask(target, port))

    async def _ask(self, target: Target, port: int) -> None:
        found = Found.UNKNOWN
        try:
            async with asyncio.timeout(PATIENCE):
                id = await self._feed.follow(target)
            self._remember(target)
            found = Found.NOTHING_NEW if id is None else Found.FOLLOWED
            if id is not None:
                self._hold(id, port)
        except TimeoutError:
            log.info("cannot follow what a packet needs: no controller answers", target=str(target))
        finally:
            del self._tasks[target]
            waiting = self._waiting.pop(target)
        for then in waiting:
            then(found)

    def _remember(self, target: Target) -> None:
        now = self._clock()
        self._answered.pop(target, None)
        self._answered[target] = now + REMEMBERED
        for old, until in list(self._answered.items()):
            if until > now and len(self._answered) <= MOST_REMEMBERED:
                break
            del self._answered[old]

    # --- what is held -------------------------------------------------------------------------------

    def _hold(self, id: str, port: int) -> None:
        known = self._held.get(id)
        self._held[id] = _Held(known.port if known is not None else port, self._clock())
        of_port = [other for other, held in self._held.items() if held.port == port != 0]
        if len(of_port) > MOST_OF_PORT:
            self._let_go([min(of_port, key=self._used)])
        if len(self._held) > MOST_HELD:
            self._let_go([min(self._held, key=self._used)])

    def _used(self, id: str) -> tuple[float, str]:
        return self._held[id].used, id

    def idle(self) -> list[str]:
        """What nobody has asked for in a while."""
        return [id for id, held in self._held.items() if self._clock() - held.used > IDLE]

    def used(self, ids: Iterable[str]) -> None:
        """Connections go there still."""
        for id in ids:
            if id in self._held:
                self._held[id].used = self._clock()

    def let_go_idle(self) -> None:
        """Only while somebody is there of whom it can be asked again."""
        if self._feed.current:
            self._let_go(self.idle())

    def _let_go(self, ids: list[str]) -> None:
        for id in ids:
            del self._held[id]
        self._feed.release(ids)
