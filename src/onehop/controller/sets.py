"""Guards of the sets that rules are about, and whose turn it is to write one.

A plan that relied on a set is right only if its view held the last change of the set. So before planning
the guard's revision is learnt and the cache has to have reached it; the transaction then holds the guard at
that revision and writes it. What this controller wrote last it remembers, and need not read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from onehop.controller.cache import Cache
from onehop.controller.keys import guard_key
from onehop.store.interface import Revision, Store

REMEMBERED = 50_000
FOLLOW = 5.0


class Sets:
    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self._cache = cache
        self._written: dict[str, Revision] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}  # with the number of those who want it

    @contextlib.asynccontextmanager
    async def turn(self, sets: Collection[str]) -> AsyncIterator[dict[str, Revision]]:
        """Wait until nobody else in this controller writes these sets, and learn the revisions of their
        guards: 0, where never written. The cache has what was written up to there."""
        async with contextlib.AsyncExitStack() as stack:
            for name in sorted(sets):
                await stack.enter_async_context(self._lock(name))
            revisions = {name: await self._revision(name) for name in sorted(sets)}
            async with asyncio.timeout(FOLLOW):
                await self._cache.wait_for(max(revisions.values(), default=0))
            yield revisions

    def wrote(self, sets: Collection[str], revision: Revision) -> None:
        """The guards were written at this revision."""
        if len(self._written) > REMEMBERED:
            self._written.clear()
        self._written.update((name, revision) for name in sets)

    def forget(self, sets: Collection[str]) -> None:
        """Whatever was known of these is in doubt now."""
        for name in sets:
            self._written.pop(name, None)

    @contextlib.asynccontextmanager
    async def _lock(self, name: str) -> AsyncIterator[None]:
        lock, wanted = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            _, wanted = self._locks[name]
            if wanted == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, wanted - 1)

    async def _revision(self, name: str) -> Revision:
        known = self._written.get(name)
        if known is not None:
            return known
        entry = await self._store.get(guard_key(name))
        return entry.revision if entry is not None else 0
