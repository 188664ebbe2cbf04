"""Waiting until a change is in effect: at every live host that it concerns.

Each controller knows how far its own hosts are, and where there are other controllers it tells them:
`status/controller/<name>/<name>` holds the last change it has `seen`, and which hosts are `behind` it: by
host the revisions that are still owed to it, or one that it has got to if they are not known. Hosts that are
dead or never came are named, never waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from onehop.controller.cache import Cache
from onehop.controller.feed_server import FeedServer
from onehop.controller.liveness import Presence
from onehop.controller.reports import Reports, key

Owed = int | list[int]
UNNAMED = "(one of the cloud's)"
PAUSE = 0.05  # seconds between two tellings
BEHIND = 200  # hosts named in one telling


@dataclass(frozen=True, slots=True)
class Convergence:
    """How far a change has come."""

    revision: int
    waiting: tuple[str, ...]  # live hosts that have not applied it
    dead: tuple[str, ...]  # hosts that it concerns and that are not there
    controllers: tuple[str, ...] = ()  # controllers that have not seen it

    @property
    def done(self) -> bool:
        return not self.waiting and not self.controllers

    def told(self, named: bool) -> dict[str, object]:
        """As replies show it. Which hosts there are is the cloud's affair: others are told how many."""
        lists = {name: list(getattr(self, name)) for name in ("waiting", "dead", "controllers")}
        if not named:
            lists = {name: [UNNAMED] * len(ids) for name, ids in lists.items()}
        return {"done": self.done, **lists}


def _is_owed(owed: Owed, since: int, revision: int) -> bool:
    return owed < revision if isinstance(owed, int) else any(since < r <= revision for r in owed)


class Convergences:
    """Open it with `Convergences(...)`; close it when done."""

    def __init__(self, cache: Cache, feed: FeedServer, presence: Presence, reports: Reports) -> None:
        self._cache = cache
        self._feed = feed
        self._presence = presence
        self._reports = reports
        self._news = asyncio.Event()
        self._due = asyncio.Event()
        self._told: object = None
        feed.listen(self._note)
        presence.listen(self._note)
        self._due.set()
        self._task = asyncio.create_task(self._tell_on(), name="tell how far the hosts are")

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def wait(self, revision: int, seconds: float, since: int | None = None) -> Convergence:
        """Return once a revision is in effect, or after this time with what is not.

        With `since`: once everything is that came after that one, up to this one.
        """
        state: Convergence | None = None
        try:
            async with asyncio.timeout(seconds):
                await self._cache.wait_for(revision)
                while not (state := self.state(revision, since)).done:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        return state or Convergence(revision, (), (), (self._feed.name,))

    def state(self, revision: int, since: int | None = None) -> Convergence:
        """How far a recent revision, or all since another one, has come by now."""
        revision = min(revision, self._feed.revision)  # what came after that was about no object
        since = revision - 1 if since is None else min(since, revision - 1)
        dead = self._presence.dead()
        waiting, gone = set(), set()
        for host in self._feed.concerned(since, revision):
            floor = self._feed.floor(host)
            if floor is not None:
                if floor < revision:
                    waiting.add(host)
            elif host in dead or self._presence.never_came(host):
                gone.add(host)
            elif not self._presence.is_here(host):
                waiting.add(host)
        controllers = set()
        for name, seen, behind in self._others():
            if seen < revision:
                controllers.add(name)
            waiting.update(host for host, owed in behind.items() if _is_owed(owed, since, revision))
        return Convergence(revision, tuple(sorted(waiting)), tuple(sorted(gone)), tuple(sorted(controllers)))

    def _others(self) -> Iterator[tuple[str, int, dict[str, Owed]]]:
        for name, told in self._presence.controllers.items():
            if name != self._feed.name:
                yield name, int(told.get("seen", 0)), dict(told.get("behind", {}))

    def _note(self) -> None:
        self._news.set()
        self._due.set()

    async def _tell_on(self) -> None:
        """Tell other controllers, if there are any, how far our hosts are."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._told is None or any(True for _ in self._others()):
                self._tell()
            await asyncio.sleep(PAUSE)

    def _tell(self) -> None:
        behind: dict[str, Owed] = {}
        for session in self._feed.sessions():
            if not session.settled and len(behind) < BEHIND:
                behind[session.host] = session.owed()
        told = {"seen": self._feed.revision, "behind": behind}
        if told != self._told:
            self._told = told
            self._reports.present(key("controller", self._feed.name, self._feed.name), told)
