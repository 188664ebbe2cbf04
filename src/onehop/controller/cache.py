"""The watch cache: every object of the store in memory, as of one revision, and what changes.

One listing at the start, then the store's watch. After `Compacted`, or when the store turns out to have
another history (it was restored), the cache lists again and tells its subscribers the difference: they
never see a gap, and never the same change twice.

Invariants:
* `view`, `holders`, `revision` and `revision_of` belong together: they change in one step, between awaits.
* Subscribers are called in the order of revisions, in the order in which they subscribed, after the view
  has taken the changes. They may not await, and may not write to the view.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import structlog

from onehop.controller.holders import Holders
from onehop.controller.keys import OBJECTS, decode, parse_object_key
from onehop.model import Object
from onehop.model.claims import claimants, claims_of
from onehop.model.view import Topology
from onehop.store.interface import (
    Batch,
    Compacted,
    Entry,
    Incompatible,
    Revision,
    Store,
    StoreError,
    list_all,
)

log = structlog.get_logger(__name__)

RETRY = 0.2  # seconds between tries when the store cannot be reached, doubled up to...
RETRY_MOST = 5.0


class ObjectChange(NamedTuple):
    """What became of one object. Made: `before` is None; gone: `after` is None."""

    id: str
    before: Object | None
    after: Object | None


Subscriber = Callable[[Revision, Sequence[ObjectChange]], None]
_Read = tuple[str, Object | None, Revision]  # id, the object or None where it is gone, its revision


class Cache:
    """Open it with `await Cache.open(store)`; close it when done."""

    def __init__(self, store: Store) -> None:
        self.view = Topology()
        self.holders = Holders()
        self.revision: Revision = 0
        self.incarnation = store.incarnation
        self.trouble: str | None = None  # what of the store this version cannot read: the cache stands still
        self._store = store
        self._revisions: dict[str, Revision] = {}
        self._subscribers: list[Subscriber] = []
        self._waiters: list[tuple[Revision, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store: Store) -> Cache:
        """A cache that holds what the store held at some moment after the call, and follows it."""
        cache = cls(store)
        await cache._relist()
        cache._task = asyncio.create_task(cache._follow(), name="onehop-cache")
        return cache

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def revision_of(self, id: str) -> Revision:
        """The revision that last wrote an object; 0 when there is none."""
        return self._revisions.get(id, 0)

    async def wait_for(self, revision: Revision) -> None:
        """Return once the view holds everything up to a revision (bound it with `asyncio.timeout`)."""
        if revision <= self.revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (revision, next(self._count), future)
        heapq.heappush(self._waiters, waiter)
        try:
            await future
        except asyncio.CancelledError:
            # Revisions come from callers as well: one that never comes must not be waited for for ever.
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                heapq.heapify(self._waiters)
            raise

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call this with every later revision and its changes. Returns what ends the subscription."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # --- following the store ------------------------------------------------------------------------

    async def _follow(self) -> None:
        pause = RETRY
        while True:
            if self._store.incarnation != self.incarnation:
                await self._relist_for_sure()
            try:
                async with contextlib.aclosing(self._store.watch(OBJECTS, after=self.revision)) as watch:
                    async for batch in watch:
                        self._take(batch)
                        self.trouble, pause = None, RETRY
            except Compacted:
                await self._relist_for_sure()
            except StoreError as error:
                if isinstance(error, Incompatible):
                    self.trouble = str(error)
                log.warning("the cache cannot follow the store", error=str(error), again_in=pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, RETRY_MOST)

    async def _relist_for_sure(self) -> None:
        pause = RETRY
        while True:
            try:
                await self._relist()
                self.trouble = None
                return
            except StoreError as error:
                if isinstance(error, Incompatible):
                    self.trouble = str(error)
                log.warning("the cache cannot list the store", error=str(error), again_in=pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, RETRY_MOST)

    async def _relist(self) -> None:
        """Take a whole listing; what is in the view and not in the listing is gone."""
        incarnation = self._store.incarnation
        entries, revision = await list_all(self._store, OBJECTS)
        with _uncollected():
            self._take_listing(self._read_listing(entries), revision, incarnation)

    def _take_listing(self, listed: Sequence[_Read], revision: Revision, incarnation: str) -> None:
        anew = incarnation != self.incarnation
        gone: list[_Read] = [(id, None, 0) for id in self._revisions.keys() - {id for id, _, _ in listed}]
        changed = [
            read
            for read in listed
            if self._revisions.get(read[0]) != read[2] or (anew and self._differs(read))
        ]
        self.incarnation = incarnation
        self._apply(revision, [*gone, *changed])

    def _differs(self, read: _Read) -> bool:
        return self.view.find(read[0]) != read[1]

    def _read_listing(self, entries: Iterable[Entry]) -> list[_Read]:
        return [
            (parse_object_key(entry.key)[1], decode(entry.key, entry.value), entry.revision)
            for entry in entries
        ]

    def _take(self, batch: Batch) -> None:
        reads: list[_Read] = []
        for change in batch.changes:
            obj = decode(change.key, change.value) if change.value is not None else None
            reads.append((parse_object_key(change.key)[1], obj, batch.revision))
        self._apply(batch.revision, reads)

    def _apply(self, revision: Revision, reads: Sequence[_Read]) -> None:
        changes = [ObjectChange(id, self.view.find(id), obj) for id, obj, _ in reads]
        # Claims are told by the view that holds what the object refers to: so before removing, after adding.
        claiming = [id for c in changes for obj in (c.before, c.after) if obj for id in claimants(obj)]
        for id, made in claims_of(claiming, self.view).items():
            self.holders.drop(made, id)
        for id, obj, written in reads:
            if obj is None:
                self.view.remove(id)
                self._revisions.pop(id, None)
            else:
                self.view.put(obj)
                self._revisions[id] = written
        for id, made in claims_of(claiming, self.view).items():
            self.holders.add(made, id)
        self.revision = revision
        if changes:
            for subscriber in list(self._subscribers):
                self._tell(subscriber, revision, changes)
        self._wake(revision)

    def _tell(self, subscriber: Subscriber, revision: Revision, changes: Sequence[ObjectChange]) -> None:
        try:
            subscriber(revision, changes)
        except Exception:  # one that fails must not keep the others, and every commit, from going on
            log.exception("a subscriber of the cache failed", revision=revision)

    def _wake(self, revision: Revision) -> None:
        while self._waiters and self._waiters[0][0] <= revision:
            _, _, future = heapq.heappop(self._waiters)
            if not future.done():
                future.set_result(None)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which would look again and again at all that is being read."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
