"""The parts of a running controller, as its routes and duties use them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onehop.controller.actor import Actor
from onehop.controller.answers import AnyRequest
from onehop.controller.blocks.keeper import BlockKeeper
from onehop.controller.cache import Cache
from onehop.controller.changes import ChangeLog
from onehop.controller.engine import Engine
from onehop.controller.feed import Feed
from onehop.controller.metrics import Metrics
from onehop.controller.status import Statuses
from onehop.store import Revision, Store


@dataclass
class Parts:
    """One controller. Whoever adds a part that routes need adds it here."""

    store: Store
    cache: Cache
    engine: Engine
    statuses: Statuses
    changes: ChangeLog
    metrics: Metrics
    feed: Feed
    blocks: BlockKeeper
    ca: str | None = None  # the certificate that clients should trust, as PEM
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def open(cls, store: Store, *, ca: str | None = None) -> Parts:
        cache = await Cache.open(store)
        statuses = await Statuses.open(store)
        engine = await Engine.open(store, cache)
        feed = await Feed.open(store, cache)
        blocks = await BlockKeeper.open(store, cache, engine, statuses, feed.reports)
        feed.server.on_need = blocks.need
        return cls(store, cache, engine, statuses, ChangeLog(cache), Metrics(cache), feed, blocks, ca)

    async def converge(
        self, revision: Revision, seconds: float, actor: Actor, since: Revision | None = None
    ) -> Mapping[str, Any]:
        """Wait, at most so long, until the hosts concerned have applied a revision; tells who has not.

        With `since`, all that came after that one, too.
        """
        found = await self.feed.convergences.wait(revision, seconds, since)
        return found.told(named=actor.may_read(None))

    async def close(self) -> None:
        """Everything but the store, which belongs to whoever opened it."""
        self.stopping.set()
        self.changes.close()
        await self.blocks.close()
        await self.feed.close()
        await self.statuses.close()
        await self.cache.close()


def parts(request: AnyRequest) -> Parts:
    """The controller that a request came to."""
    found: Parts = request.app.state["parts"]
    return found
