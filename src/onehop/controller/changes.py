"""The last changes, so that whoever watches can go on from where it left off.

Bounded: a watcher that asks for what has been forgotten is told so, and lists again. One log serves all
watchers; each reads at its own pace and holds nothing but a position.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from onehop.controller.cache import Cache, ObjectChange
from onehop.store import Revision

MAX_CHANGES = 20_000


class Step(NamedTuple):
    """What one revision changed."""

    revision: Revision
    changes: Sequence[ObjectChange]


class ChangeLog:
    def __init__(self, cache: Cache, limit: int = MAX_CHANGES) -> None:
        self._limit = limit
        self._steps: deque[Step] = deque()
        self._count = 0
        self._news = asyncio.Event()
        self.oldest = cache.revision  # everything after this revision is held
        self.newest = cache.revision
        self._end = cache.subscribe(self._take)

    def close(self) -> None:
        self._end()
        self.wake()

    def _take(self, revision: Revision, changes: Sequence[ObjectChange]) -> None:
        if revision < self.newest:  # the store was restored: another history begins
            self._steps.clear()
            self._count, self.oldest = 0, revision
        self._steps.append(Step(revision, changes))
        self._count += len(changes)
        self.newest = revision
        while self._count > self._limit and self._steps:
            step = self._steps.popleft()
            self._count -= len(step.changes)
            self.oldest = step.revision
        self.wake()

    def wake(self) -> None:
        """Let whoever waits for news look again."""
        self._news.set()
        self._news = asyncio.Event()

    def after(self, revision: Revision) -> list[Step] | None:
        """The steps after a revision, oldest first; None if some of them have been forgotten."""
        if revision < self.oldest:
            return None
        found: list[Step] = []
        for step in reversed(self._steps):
            if step.revision <= revision:
                break
            found.append(step)
        return found[::-1]

    async def news(self) -> None:
        """Return when there is another step, or the log is closed."""
        await self._news.wait()
