"""All of the feed in a controller: the server, who is there, how far they are, and what they report.

feed = await Feed.open(store, cache)
...
await feed.serve_socket(host, receive, send)     # an ASGI WebSocket at /v1/feed, authenticated
await feed.convergences.wait(revision, 30)       # ?wait=30
await feed.errands.ask(host, ListConnections(port))
...
await feed.close()
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid

from onehop.controller.cache import Cache
from onehop.controller.convergence import Convergences
from onehop.controller.errands import Errands
from onehop.controller.feed_server import FeedServer
from onehop.controller.feed_socket import Receive, Send, serve_socket
from onehop.controller.learned import LearnedEntries
from onehop.controller.liveness import Presence
from onehop.controller.reports import Reports
from onehop.store import Store

LEASE = 15.0  # seconds without a word after which a host or a controller counts as gone


class Feed:
    """Open it with `await Feed.open(store, cache)`; close it when done."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        reports: Reports,
        learned: LearnedEntries,
        presence: Presence,
        name: str,
        lease: float,
    ) -> None:
        self.reports = reports
        self.presence = presence
        self.learned = learned
        self.server = FeedServer(cache, reports, learned, name, lease)
        self.convergences = Convergences(cache, self.server, presence, reports)
        self.errands = Errands(store, self.server.session, presence, reports, name)
        self.server.moves.ask_host = self.errands.ask
        self._cache = cache
        self._lease = lease
        self._task = asyncio.create_task(self._keep_account(), name="keep account of absent hosts")

    @classmethod
    async def open(cls, store: Store, cache: Cache, *, name: str | None = None, lease: float = LEASE) -> Feed:
        """`name` tells controllers of one store apart; a random one will do."""
        reports = await Reports.open(store, lease)
        presence = await Presence.open(store, lease, lambda: cache.view.ids_of("host"))
        learned = await LearnedEntries.open(store)
        name = name or f"c-{uuid.uuid4().hex[:12]}"
        feed = cls(store, cache, reports, learned, presence, name, lease)
        await feed.errands.start()
        return feed

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.errands.close()
        await self.server.close()
        await self.convergences.close()
        await self.learned.close()
        await self.presence.close()
        await self.reports.close()

    async def serve_socket(self, host: str | None, receive: Receive, send: Send) -> None:
        """Serve a WebSocket that waits to be accepted; `host` is whose credential came with it, if any."""
        await serve_socket(self.server, host, receive, send)

    async def _keep_account(self) -> None:
        """Absent hosts are kept in the reach, so that a change can say that it concerns them."""
        while True:
            self.presence.look()
            for host in self.server.absent():
                if self.presence.is_here(host):
                    self.server.forget_absent(host)
            for host in list(self._cache.view.ids_of("host")):
                if not self.presence.is_here(host):
                    self.server.note_absent(host)
                    await asyncio.sleep(0)  # one at a time: a gateway takes a while
            await asyncio.sleep(self._lease / 3)
