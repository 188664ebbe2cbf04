"""Ports that have lately moved: who is to know, and from where their records are to be had.

    a binding's change ──► move ──┬─► `Moved` to all hosts that follow the port      ──┐
                                  ├─► the former host goes on following the port       ├─ for a minute
                                  └─► the new host follows the former one            ──┘
    Fetch from the new host ──► the former host, wherever it is connected ──► Fetched

Every controller sees every change, and so knows all moves since it started. One that did not see a move sends
the new host away empty: the port's connections are picked up anew then, as far as the rules let them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from onehop.controller.cache import ObjectChange
from onehop.controller.refusals import Busy
from onehop.feed.messages import Ask, Fetch, GiveRecords, Moved, Said, Unable
from onehop.feed.reach import Reach
from onehop.model import Binding, Port
from onehop.model.view import View

LASTS = 60.0  # seconds for which hosts have to do with a move
FETCHING = 4  # fetches of one host at a time

Owe = Callable[[str, Iterable[str]], None]  # a host, and the ids that it is to get or to forget
Tell = Callable[[str], None]  # a port that has moved
AskHost = Callable[[str, Ask], Awaitable[Said]]


class Move(NamedTuple):
    former: str
    now: str
    until: float


def moved(view: View, changes: Sequence[ObjectChange]) -> dict[str, tuple[str | None, str | None]]:
    """The ports whose active binding these changes took from a host, to a host or both. The view has them."""
    touched: dict[str, str | None] = {}
    changed: set[str] = set()
    for change in changes:
        for obj in (change.before, change.after):
            if isinstance(obj, Binding):
                changed.add(obj.id)
                touched.setdefault(obj.port, None)
        if isinstance(change.before, Binding) and change.before.state == "active":
            touched[change.before.port] = change.before.host
    found = {}
    for port, was in touched.items():
        active = view.active_binding(port)
        now = active.host if active is not None else None
        if was is None and active is not None and active.id not in changed:
            continue  # it was and is active elsewhere
        if was != now:
            found[port] = (was, now)
    return found


class Moves:
    """Tell it of every change, after the reach; `close` it when done."""

    def __init__(self, view: View, reach: Reach, owe: Owe, tell: Tell) -> None:
        self._view, self._reach = view, reach
        self._owe, self._tell = owe, tell
        self._loop = asyncio.get_running_loop()
        self._moves: dict[str, Move] = {}
        self._left: dict[str, tuple[str, float]] = {}  # ports on no host, and where they were until when
        self._lent: dict[
            tuple[str, str], float
        ] = {}  # host and what it follows because of a move, until when
        self._fetching: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.ask_host: AskHost = _nobody  # set once hosts can be asked

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # --- what happens -------------------------------------------------------------------------------

    def take(self, changes: Sequence[ObjectChange]) -> None:
        for port, (was, now) in moved(self._view, changes).items():
            time = self._loop.time()
            if now is None:
                assert was is not None
                self._left[port] = (was, time + LASTS)
                continue
            left = self._left.pop(port, None)
            if was is None and left is not None and left[1] > time:
                was = left[0]
            if was is not None and was != now:
                self._moves[port] = Move(was, now, time + LASTS)
                self._lend(port)
                self._tell(port)
                self._rouse()

    def came(self, host: str) -> None:
        """A host is connected anew: it follows what it asked for, and nothing else."""
        for port, move in self._moves.items():
            if host in (move.former, move.now):
                self._lend(port)

    # --- questions ----------------------------------------------------------------------------------

    def ports(self) -> Iterable[str]:
        return self._moves

    def told(self, port: str) -> Moved | None:
        """What hosts are told of a port's move, if there was one."""
        move = self._moves.get(port)
        if move is None:
            return None
        return Moved(port, move.former, move.now, max(0.0, move.until - self._loop.time()))

    async def fetch(self, host: str, wanted: Fetch) -> Said:
        """A port's records, for a host that it is bound to, from the other one."""
        if self._fetching.get(host, 0) >= FETCHING:
            return Unable("too much is fetched for this host already; try again")
        source, port = self._source(host, wanted.port), self._view.get(Port, wanted.port)
        if source is None or port is None:
            return Unable("nothing is known of where the port was", absent=True)
        self._fetching[host] = self._fetching.get(host, 0) + 1
        try:
            return await self.ask_host(source, GiveRecords(port.key, wanted.since, wanted.after))
        except Busy as error:
            return Unable(str(error)[:1024])
        finally:
            self._fetching[host] -= 1
            if not self._fetching[host]:
                del self._fetching[host]

    def _source(self, host: str, port: str) -> str | None:
        """Where the records are: with the active binding, if the host is on standby; else where that was."""
        if not any(binding.host == host for binding in self._view.bindings(port)):
            return None
        active = self._view.active_binding(port)
        if active is not None and active.host != host:
            return active.host
        move = self._moves.get(port)
        return move.former if move is not None and move.now == host else None

    # --- what hosts follow for a while ----------------------------------------------------------------

    def _lend(self, port: str) -> None:
        """The former host needs the port, to know where to forward to; the new one the former host, to
        believe it."""
        move = self._moves[port]
        for host, target in ((move.former, port), (move.now, move.former)):
            at = (host, target)
            if host in self._reach.hosts() and (at in self._lent or target not in self._reach.asks(host)):
                self._lent[at] = move.until
                self._owe(host, self._reach.ask(host, [target]).puts)

    def _rouse(self) -> None:
        ends = [move.until for move in self._moves.values()] + [until for _, until in self._left.values()]
        if self._timer is None and ends:
            self._timer = self._loop.call_at(min(ends), self._expire)

    def _expire(self) -> None:
        self._timer = None
        time = self._loop.time()
        self._moves = {port: move for port, move in self._moves.items() if move.until > time}
        self._left = {port: left for port, left in self._left.items() if left[1] > time}
        for (host, target), until in list(self._lent.items()):
            if until <= time:
                del self._lent[host, target]
                if host in self._reach.hosts():
                    self._owe(host, self._reach.let_go(host, [target]).removes)
        self._rouse()


async def _nobody(host: str, ask: Ask) -> Said:
    return Unable("no host can be asked yet", absent=True)
