"""One controller as a server: its parts, its listening socket, its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from onehop.controller import certificates
from onehop.controller.app import build_app
from onehop.controller.bootstrap import Welcome, bootstrap
from onehop.controller.duties import Duties, duties_of
from onehop.controller.parts import Parts
from onehop.feed.messages import MAX_UP
from onehop.store import open_store

GRACE = 5  # seconds for requests under way when the controller is told to end

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a controller was started."""

    store: str
    host: str
    port: int
    directory: Path
    insecure: bool = False
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    listen_fds: tuple[int, ...] = ()  # sockets that listen already, passed on by whoever started us

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class Files:
    """What TLS needs. `ca` is what clients have to trust, if it is ours."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


def files_of(settings: Settings) -> Files:
    if settings.insecure:
        return Files()
    if settings.certificate is not None:
        return Files(settings.certificate, settings.key)
    names = (*settings.names, settings.host)
    public = [name for name in names if name not in ("0.0.0.0", "::")]
    return Files(*certificates.ensure(settings.directory, public))


class Server:
    """A started controller: `url` is where it listens."""

    def __init__(self, parts: Parts, web: uvicorn.Server, url: str, welcome: Welcome) -> None:
        self.parts = parts
        self.url = url
        self.welcome = welcome
        self._web = web

    def stop(self) -> None:
        """End in an orderly way: streams are closed, requests under way are answered."""
        self.parts.stopping.set()
        self.parts.changes.wake()
        self._web.should_exit = True


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    """A controller that answers requests; stopped and closed at the end."""
    settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = files_of(settings)
    listener = _listen(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)
        store = await open_store(settings.store)
        stack.push_async_callback(store.close)
        ca = files.ca.read_text() if files.ca else None
        parts = await Parts.open(store, ca=ca)
        stack.push_async_callback(parts.close)
        _spare_the_collector()
        url = _url(settings, listener)
        welcome = await bootstrap(parts, settings.directory, url, files.ca)
        duties = Duties(store, duties_of(parts), parts.metrics)
        stack.push_async_callback(duties.close)
        web = _web(parts, files)
        inherited = [stack.enter_context(socket.socket(fileno=fd)) for fd in settings.listen_fds]
        task = asyncio.create_task(web.serve(sockets=[listener, *inherited]), name="web")
        server = Server(parts, web, url, welcome)
        try:
            await _started(web, task)
            yield server
        finally:
            server.stop()
            async with _hanging_up(web):
                await task


@contextlib.asynccontextmanager
async def _hanging_up(web: uvicorn.Server) -> AsyncIterator[None]:
    """Connections that are closed and have nothing left to send are let go of. Over TLS they would wait for
    the client to say goodbye as well, and one that is idle may never do so."""

    async def hang_up() -> None:
        while True:
            for connection in list(web.server_state.connections):
                transport = getattr(connection, "transport", None)
                if transport is not None and transport.is_closing() and not transport.get_write_buffer_size():
                    transport.abort()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(hang_up(), name="hang up")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _spare_the_collector() -> None:
    """What was read at the start stays, and holds no cycles: the garbage collector need not go through it
    again and again, which takes a second for a cloud of 100,000 ports. It may also look more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _started(web: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not web.started:
        if task.done():
            await task
            raise RuntimeError("the web server ended before it had started; its log says why")
        await asyncio.sleep(0.005)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if settings.insecure else "https"
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


def _web(parts: Parts, files: Files) -> uvicorn.Server:
    config = uvicorn.Config(
        parts.metrics.observing(build_app(parts)),
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=MAX_UP,
        ws_ping_interval=None,  # hosts at the feed speak within a lease time, or are given up
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=1024,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=str(files.certificate) if files.certificate else None,
        ssl_keyfile=str(files.key) if files.key else None,
    )
    server = uvicorn.Server(config)
    # Signals are ours to handle: uvicorn would raise them again at the end.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    return server


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with serving(settings) as server:
        print(server.welcome.text(), flush=True)
        await ended.wait()
        log.info("ending")
