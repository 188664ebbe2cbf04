"""Controllers that only feed, on loopback, and hosts that follow them: for tests of the feed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from onehop.agent.feed_link import Controllers
from onehop.agent.follow import Batch, Follower
from onehop.agent.kept import Kept
from onehop.controller.cache import Cache
from onehop.controller.feed import Feed
from onehop.controller.feed_socket import Receive, Send
from onehop.controller.keys import object_key
from onehop.model import Object, kind_of
from onehop.store import Committed, Delete, Put, Store
from tests.unit.feed.plain_reach import plain_reach

PAUSE = (0.02, 0.2)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when a condition holds; fail when it does not come to hold."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it looks at tells nobody when it changes
            await asyncio.sleep(0.005)


async def write(store: Store, *objects: Object, gone: Iterable[Object] = ()) -> int:
    """Put and delete objects in one transaction; its revision."""
    puts = [Put(object_key(kind_of(obj).name, obj.id), msgspec.json.encode(obj)) for obj in objects]
    deletes = [Delete(object_key(kind_of(obj).name, obj.id)) for obj in gone]
    outcome = await store.transact([], [*puts, *deletes])
    assert isinstance(outcome, Committed)
    return outcome.revision


class Controller:
    """A feed over uvicorn. A host's credential is its id."""

    def __init__(self, store: Store, cache: Cache, feed: Feed, server: uvicorn.Server, url: str) -> None:
        self.store = store
        self.cache = cache
        self.feed = feed
        self.url = url
        self._server = server

    @property
    def sessions(self) -> dict[str, Any]:
        return {session.host: session for session in self.feed.server.sessions()}

    async def wait(self, revision: int, seconds: float = 20) -> Any:
        return await self.feed.convergences.wait(revision, seconds)


@contextlib.asynccontextmanager
async def controller(
    store: Store,
    *,
    name: str | None = None,
    lease: float = 15.0,
    port: int = 0,
    cert: Path | None = None,
    key: Path | None = None,
) -> AsyncIterator[Controller]:
    cache = await Cache.open(store)
    feed = await Feed.open(store, cache, name=name, lease=lease)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            host = sent.removeprefix("Bearer ")
            await feed.serve_socket(host if cache.view.find(host) else None, receive, send)

    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="error",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listening]))
    try:
        await until(lambda: server.started or serving.done())
        scheme = "wss" if cert else "ws"
        yield Controller(
            store, cache, feed, server, f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/v1/feed"
        )
    finally:
        await feed.close()
        server.should_exit = True
        await serving
        listening.close()
        await cache.close()


class Watcher:
    """A host that follows, and notes what it is told."""

    def __init__(
        self, host: str, urls: Iterable[str], kept: Path | str = ":memory:", ca: str | None = None
    ) -> None:
        self.host = host
        self.batches: list[Batch] = []
        self.mirror: dict[str, Object] = {}
        self.may_apply = asyncio.Event()
        self.may_apply.set()
        self.kept = Kept(kept)
        self.follower = Follower(
            host, "test", Controllers(tuple(urls), host, ca), self.kept, self._on_change, pause=PAUSE
        )
        self.mirror = {obj.id: obj for obj in self.follower.topology}

    async def _on_change(self, batch: Batch) -> None:
        await self.may_apply.wait()
        for id, (before, after) in batch.changes.items():
            assert before != after, "told what is no change"
            assert self.mirror.get(id) == before, "told out of order, twice, or not at all"
            if after is None:
                del self.mirror[id]
            else:
                self.mirror[id] = after
        self.batches.append(batch)

    def has(self, controller: Controller) -> bool:
        """Whether this host has exactly what it reaches, as the controller knows it."""
        expected = plain_reach(controller.cache.view, self.host, self.kept.asks)
        return self.follower.current and self.mirror == {
            id: controller.cache.view.find(id) for id in expected
        }

    def start(self) -> None:
        self._task = asyncio.create_task(self.follower.run())

    async def stop(self) -> None:
        self._task.cancel()
        results = await asyncio.gather(self._task, return_exceptions=True)
        self.kept.close()
        failed = [r for r in results if isinstance(r, Exception)]
        assert not failed, failed


@contextlib.asynccontextmanager
async def watching(
    host: str, *urls: str, kept: Path | str = ":memory:", ca: str | None = None
) -> AsyncIterator[Watcher]:
    watcher = Watcher(host, urls, kept, ca)
    watcher.start()
    try:
        yield watcher
    finally:
        await watcher.stop()
