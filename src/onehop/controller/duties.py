"""What has to be done by somebody, but by one controller at a time.

    free ──take the key with our lease──► held ──lease kept alive; the duty is done, again and again──┐
      ▲                                    │                                                          │
      └── the lease is gone: our own pause, or another's death ◄──────────────────────────────────────┘

Each duty is a key `duty/<name>` on the holder's lease. A controller that dies lets its lease run out, and
another takes over. Duties are safe to do twice at once, which a paused holder may bring about.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from onehop.controller import audit, sweep
from onehop.controller.cache import Cache
from onehop.controller.metrics import Metrics
from onehop.controller.parts import Parts
from onehop.store import Absent, Committed, LeaseGone, Put, Revision, Store, StoreError

KEY = "duty/"
LEASE = 10.0  # seconds until another controller takes over
SWEEP_EVERY = 600.0
HISTORY = 1800.0  # how far back watches and lists may go on, at least

log = structlog.get_logger()


@dataclass(frozen=True)
class Duty:
    """Something to do every so many seconds, by whoever holds it."""

    name: str
    every: float
    do: Callable[[], Awaitable[None]]


def duties_of(parts: Parts) -> list[Duty]:
    """The duties of a controller. A new one is added here."""
    return [
        Duty("sweep", SWEEP_EVERY, _sweeping(parts.store, parts.cache)),
        Duty("compact", HISTORY, _compacting(parts.store)),
        Duty("blocks", 1.0, parts.blocks.do),
    ]


def _sweeping(store: Store, cache: Cache) -> Callable[[], Awaitable[None]]:
    async def do() -> None:
        deleted = await audit.sweep(store) + await sweep.sweep(store, cache)
        log.info("swept", deleted=deleted)

    return do


def _compacting(store: Store) -> Callable[[], Awaitable[None]]:
    seen: Revision | None = None

    async def compact() -> None:
        """Forget what was before the revision that was seen the last time."""
        nonlocal seen
        if seen is not None:
            await store.compact(seen)
            log.info("compacted", revision=seen)
        seen = await store.revision()

    return compact


class Duties:
    """Takes duties and does them, until it is closed."""

    def __init__(
        self, store: Store, duties: Sequence[Duty], metrics: Metrics, *, lease: float = LEASE
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._lease = lease
        self._holder = str(uuid.uuid4())
        self._leases: set[int] = set()
        self._tasks = [asyncio.create_task(self._serve(duty), name=f"duty {duty.name}") for duty in duties]

    async def close(self) -> None:
        """Stop, and let others take over at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lease in self._leases:
            with contextlib.suppress(StoreError):
                await self._store.revoke(lease)

    async def _serve(self, duty: Duty) -> None:
        while True:
            try:
                lease = await self._take(duty)
                if lease is not None:
                    await self._hold(duty, lease)
            except StoreError as error:
                log.warning("a duty rests, as the store does not answer", duty=duty.name, error=str(error))
            self._metrics.duties.labels(duty.name).set(0)
            await asyncio.sleep(self._lease / 3)

    async def _take(self, duty: Duty) -> int | None:
        """A lease with the duty's key on it, if nobody has the duty."""
        key = KEY + duty.name
        if await self._store.get(key) is not None:
            return None
        lease = await self._store.grant(self._lease)
        self._leases.add(lease)
        try:
            put = Put(key, self._holder.encode(), lease)
            if isinstance(await self._store.transact([Absent(key)], [put]), Committed):
                return lease
        except LeaseGone:
            pass
        await self._give_up(lease)
        return None

    async def _give_up(self, lease: int) -> None:
        self._leases.discard(lease)
        await self._store.revoke(lease)

    async def _hold(self, duty: Duty, lease: int) -> None:
        log.info("took a duty", duty=duty.name)
        self._metrics.duties.labels(duty.name).set(1)
        work = asyncio.create_task(self._work(duty), name=f"do {duty.name}")
        try:
            while await self._still_held(lease):
                pass
            log.warning("lost a duty", duty=duty.name)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        self._leases.discard(lease)

    async def _still_held(self, lease: int) -> bool:
        await asyncio.sleep(self._lease / 3)
        return await self._store.keep_alive(lease)

    async def _work(self, duty: Duty) -> None:
        while True:
            try:
                await duty.do()
            except StoreError as error:
                log.warning("a duty failed", duty=duty.name, error=str(error))
            except Exception:
                log.exception("a duty failed, which is a fault of ours", duty=duty.name)
            await asyncio.sleep(duty.every)
