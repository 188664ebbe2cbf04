"""What an agent has to do with ports that move between hosts.

    the new host                              the former host, by way of controllers
      │ a binding on standby: the bulk           │
      │ ◄─────────────────────────────────────── │
      │ Moved                                    │ Moved: forward what still comes, for a minute
      │ what was used since, until the former    │
      │ host has put the move into effect        │
      │ ◄─────────────────────────────────────── │
      │                                          │ forget the records, once they are of no more use

Records that were used later here than there stay as they are. What cannot be had is lost, and nothing waits
for it: such a connection is picked up anew, as far as the rules let it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from onehop.agent.host import Changes, Host
from onehop.agent.records import KEY_SIZE, ROW, SHAPE, Records, unpacked
from onehop.agent.slowpath.neighbours import coarse_now
from onehop.compiler.facts import Move
from onehop.feed.messages import Moved, Said
from onehop.feed.messages import Records as Given
from onehop.model import Binding, Port

__all__ = ["Handover"]

PATIENCE = 45.0  # seconds in which the records of a port have to come
ANSWER = 15.0  # seconds for an answer
PAUSE = (0.02, 1.0)  # the first and the longest pause between passes
EARLY = 0.01  # seconds that a timer may be early
KEPT = 70.0  # seconds for which the records of a port that has left are of some use

Fetch = Callable[[str, int, bytes], Awaitable[Said]]
log = structlog.get_logger()


class Handover:
    """`start` it on the event loop; close it when done."""

    def __init__(self, host: Host, records: Records, fetch: Fetch) -> None:
        self._host, self._records, self._fetch = host, records, fetch
        self._moves: dict[str, tuple[Move, float]] = {}  # port -> move, until when
        # Ports of which the bulk has come: from where, and that host's clock then.
        self._since: dict[str, tuple[str, int]] = {}
        self._pulling: dict[str, asyncio.Task[None]] = {}
        self._taken: dict[str, str] = {}  # ports whose move has been seen to, and from where
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    def start(self) -> None:
        """Records of ports that are not here were left by an agent that ended."""
        for key in self._records.openers():
            port = self._host.keys.get(key)
            if port is None or not self._host.has(port):
                self._later(KEPT, partial(self._clean, port, key))

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for task in (*self._tasks, *self._pulling.values()):
            task.cancel()

    # --- what happens -------------------------------------------------------------------------------

    def moved(self, moved: Moved) -> None:
        """A port has moved. It may be told again."""
        here = self._host.id
        before = self._moves.get(moved.port)
        has_left = here == moved.former or (before is not None and before[0].to is not None)
        to = moved.now if has_left and moved.now != here else None
        until = asyncio.get_running_loop().time() + moved.seconds
        self._moves[moved.port] = (Move(moved.former, to), until)
        self._put_into_effect()
        self._later(moved.seconds, self._expire)
        if moved.now == here and self._taken.get(moved.port) != moved.former:
            self._taken[moved.port] = moved.former
            self._pull(moved.port, moved.former, last=True)
        elif moved.now != here:
            self._taken.pop(moved.port, None)

    def changed(self, changes: Changes) -> None:
        """Bindings may have come or gone."""
        for before, after in changes.values():
            for binding in (before, after):
                if isinstance(binding, Binding) and binding.host == self._host.id:
                    self._look_at(binding.port, changes)

    def _look_at(self, port: str, changes: Changes) -> None:
        if not self._host.has(port):
            self._stop(port)
            self._since.pop(port, None)
            self._taken.pop(port, None)
            found = self._host.view.get(Port, port) or changes.get(port, (None, None))[0]
            if isinstance(found, Port):
                self._later(KEPT, partial(self._clean, port, found.key))
            return
        active = self._host.view.active_binding(port)
        if active is None or active.host == self._host.id:
            return
        if self._since.get(port, ("", 0))[0] != active.host:
            self._pull(port, active.host, last=False)

    def _put_into_effect(self) -> None:
        try:
            self._host.moved({port: move for port, (move, _) in self._moves.items()})
        except Exception:
            log.exception("a port's move could not be put into effect")

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        left = {port: (move, until) for port, (move, until) in self._moves.items() if until > now + EARLY}
        if left.keys() != self._moves.keys():
            self._moves = left
            self._put_into_effect()

    # --- taking over --------------------------------------------------------------------------------

    def _pull(self, port: str, source: str, *, last: bool) -> None:
        self._stop(port)
        task = asyncio.create_task(self._take_over(port, source, last), name=f"fetch records of {port}")
        self._pulling[port] = task
        task.add_done_callback(lambda done: self._pulled(port, done))

    def _stop(self, port: str) -> None:
        task = self._pulling.pop(port, None)
        if task is not None:
            task.cancel()

    def _pulled(self, port: str, task: asyncio.Task[None]) -> None:
        del self._pulling[port]

    async def _take_over(self, port: str, source: str, last: bool) -> None:
        """Have a port's records; the last of them, too, or only the bulk of them."""
        pause, count = PAUSE[0], 0
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    came, settled = await self._pass(port, source)
                    count += came or 0
                    if settled or (came is not None and not last):
                        break
                    await asyncio.sleep(pause)
                    pause = min(PAUSE[1], 2 * pause)
        except TimeoutError:
            log.warning("the records of a port that moved here did not all come", port=port, came=count)
            return
        except Exception:
            log.exception("the records of a port that moved here could not be taken over", port=port)
            return
        if last:
            self._since.pop(port, None)
        log.info("records taken over", port=port, count=count, all=last)

    async def _pass(self, port: str, source: str) -> tuple[int | None, bool]:
        """How many came, None if they are not to be had; and whether there will be no more."""
        known, clock = self._since.get(port, (source, 0))
        since = clock if known == source else 0
        count, after, first = 0, b"", None
        asked = coarse_now()
        while True:
            said = await self._asked(port, since, after)
            found = self._host.view.get(Port, port)
            if said is None or found is None:
                return None, False
            if said.shape != SHAPE:
                log.warning("the other host keeps records of another shape; they are lost", port=port)
                return None, True
            first = first or said
            count += await asyncio.to_thread(self._put, said.rows, found.key, asked)
            if not said.more or len(said.rows) < ROW:
                break
            after = said.rows[-ROW:][:KEY_SIZE]
        self._since[port] = (source, first.now)
        return count, first.settled

    async def _asked(self, port: str, since: int, after: bytes) -> Given | None:
        try:
            async with asyncio.timeout(ANSWER):
                said = await self._fetch(port, since, after)
        except TimeoutError:
            return None
        if isinstance(said, Given):
            return said
        log.info("the records of a port are not to be had yet", port=port, reason=str(said))
        return None

    def _put(self, rows: bytes, key: int, asked: int) -> int:
        return sum(self._records.put(*one) for one in unpacked(rows, key, asked))

    # --- giving up ----------------------------------------------------------------------------------

    def _clean(self, port: str | None, key: int) -> None:
        if port is None or not self._host.has(port):
            self._run(self._forget(key), "forget the records of a port that has left")

    async def _forget(self, key: int) -> None:
        def forget() -> int:
            return sum(self._records.forget(one) for one in self._records.opened_by(key))

        count = await asyncio.to_thread(forget)
        log.info("records of a port that has left are forgotten", key=key, count=count)

    # --- time ---------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        timers = self._timers

        def go() -> None:
            timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(seconds, go)
        timers.add(timer)
