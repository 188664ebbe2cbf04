"""The agent's end of the feed: one connection to some controller at a time, for ever.

    waiting ──connected──► greeting ──Welcome──► following
       ▲                       │                     │
       └────── back off ◄──────┴──── lost, closed ───┘

What comes is given to a `Holder`, which says what it holds when a connection begins. Controllers are tried in
turn from a random one on; the pause between tries grows, and is random, so that a thousand hosts that lost
their controller do not come back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from onehop.feed.codec import BadFrame, decode_down, encode
from onehop.feed.digest import bucket_of, digests
from onehop.feed.messages import (
    MAX_DOWN,
    VERSION,
    Alive,
    Answer,
    Applied,
    Delta,
    Fetched,
    Goodbye,
    Held,
    Hello,
    Moved,
    Question,
    Told,
    Up,
    Welcome,
)

GREETING = 15.0  # seconds for a controller to answer a hello
PING = (10.0, 30.0)  # seconds between pings; for an answer: reading rests while a large change is applied
PAUSE = (0.2, 15.0)  # the first and the longest pause between tries
HELD_CHUNK = 4096  # pairs in one frame

log = structlog.get_logger()


class Holder(Protocol):
    """What is behind the link."""

    @property
    def incarnation(self) -> str: ...

    @property
    def revisions(self) -> dict[str, int]: ...

    @property
    def asks(self) -> set[str]: ...

    async def welcomed(self, incarnation: str, fresh: bool) -> None:
        """A feed begins. `fresh`: what is held counts for nothing, all that counts comes now."""

    async def take(self, delta: Delta) -> int | None:
        """A part of a change; with the last, put it into effect, and return the revision it led to."""

    def answered(self, answer: Answer) -> None: ...

    def told(self, told: Told) -> None: ...

    def question(self, question: Question) -> None:
        """Answer it in a `Reply`, some time."""

    def fetched(self, fetched: Fetched) -> None: ...

    def moved(self, moved: Moved) -> None: ...

    def backlog(self) -> Iterable[Up]:
        """What to say at the start of a connection."""


@dataclass(frozen=True, slots=True)
class Controllers:
    """Where controllers are (`wss://host:port/v1/feed`), and how a host proves to them who it is."""

    urls: tuple[str, ...]
    token: str
    ca: str | None = None  # the file of the CA that signed their certificates; needed for wss

    def context(self) -> ssl.SSLContext:
        """Trusts that CA, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is None:
            raise ValueError("a controller at wss:// needs the file of its CA's certificate")
        context.load_verify_locations(self.ca)
        return context


class FeedLink:
    def __init__(
        self,
        host: str,
        agent: str,
        controllers: Controllers,
        holder: Holder,
        *,
        pause: tuple[float, float] = PAUSE,
        settle: Callable[[bool], None] | None = None,
    ) -> None:
        self._host = host
        self._agent = agent
        self._controllers = controllers
        self._holder = holder
        self._pause = pause
        self._settle = settle or (lambda connected: None)
        self._outbox: asyncio.Queue[Up] = asyncio.Queue()
        self._connection: ClientConnection | None = None
        self._current = False
        self.refused: str | None = None  # why a controller last sent us away
        self._context = controllers.context() if _needs_tls(controllers.urls) else None

    @property
    def current(self) -> bool:
        """Whether a controller is there and all that it knew at the start of the feed has come."""
        return self._current

    def say(self, message: Up) -> None:
        """Send something now. Without a connection it is dropped: `backlog` is what counts then."""
        if self._connection is not None:
            self._outbox.put_nowait(message)

    async def run(self) -> None:
        """Follow for ever; cancel to stop."""
        urls = list(self._controllers.urls)
        start = random.randrange(len(urls))
        tries = 0
        while True:
            url = urls[start % len(urls)]
            start += 1
            try:
                await self._follow(url)
            except (OSError, WebSocketException, TimeoutError, BadFrame) as error:
                log.info("the feed ended", controller=url, reason=str(error) or type(error).__name__)
            tries = 0 if self._current else tries + 1
            self._set_current(False)
            first, longest = self._pause
            await asyncio.sleep(random.uniform(first / 2, min(longest, first * 2 ** min(tries, 16))))

    async def _follow(self, url: str) -> None:
        connecting = connect(
            url,
            ssl=self._context if url.startswith("wss:") else None,
            additional_headers={"Authorization": f"Bearer {self._controllers.token}"},
            compression=None,
            max_size=MAX_DOWN,
            max_queue=4,
            open_timeout=GREETING,
            ping_interval=PING[0],
            ping_timeout=PING[1],
            close_timeout=1,
            user_agent_header=f"onehop-agent/{self._agent}",
        )
        async with connecting as connection:
            lease = await self._greet(connection)
            for message in self._holder.backlog():
                await connection.send(encode(message))
            self._outbox = asyncio.Queue()
            self._connection = connection
            telling = asyncio.create_task(self._tell(connection, lease), name="tell the controller")
            try:
                await self._listen(connection)
            finally:
                self._connection = None
                telling.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketException, OSError):
                    await telling

    async def _greet(self, connection: ClientConnection) -> float:
        holder = self._holder
        held = digests(holder.revisions.items()) if holder.revisions else []
        hello = Hello(
            VERSION, self._host, self._agent, holder.incarnation, tuple(held), tuple(sorted(holder.asks))
        )
        await connection.send(encode(hello))
        async with asyncio.timeout(GREETING):
            welcome = decode_down(await _frame(connection))
        if isinstance(welcome, Goodbye):
            self._refused(welcome)
        if not isinstance(welcome, Welcome):
            raise BadFrame("a controller answers a hello with a welcome")
        if welcome.version != VERSION:
            raise BadFrame(f"the controller speaks version {welcome.version} of the feed, not {VERSION}")
        self.refused = None
        await holder.welcomed(welcome.incarnation, fresh=welcome.differing is None)
        if welcome.differing:
            await self._compare(connection, frozenset(welcome.differing))
        return welcome.lease

    async def _compare(self, connection: ClientConnection, buckets: frozenset[int]) -> None:
        pairs = [pair for pair in self._holder.revisions.items() if bucket_of(pair[0]) in buckets]
        for start in range(0, max(1, len(pairs)), HELD_CHUNK):
            chunk = tuple(pairs[start : start + HELD_CHUNK])
            await connection.send(encode(Held(chunk, start + HELD_CHUNK >= len(pairs))))

    async def _listen(self, connection: ClientConnection) -> None:
        while True:
            match decode_down(await _frame(connection)):
                case Delta() as delta:
                    applied = await self._holder.take(delta)
                    if applied is not None:
                        await connection.send(encode(Applied(applied)))
                        self._set_current(True)
                case Answer() as answer:
                    self._holder.answered(answer)
                case Told() as told:
                    self._holder.told(told)
                case Question() as question:
                    self._holder.question(question)
                case Fetched() as fetched:
                    self._holder.fetched(fetched)
                case Moved() as moved:
                    self._holder.moved(moved)
                case Goodbye() as goodbye:
                    self._refused(goodbye)
                case Welcome():
                    raise BadFrame("a welcome comes once")

    async def _tell(self, connection: ClientConnection, lease: float) -> None:
        while True:
            message: Up = Alive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(lease / 3):
                    message = await self._outbox.get()
            await connection.send(encode(message))

    def _refused(self, goodbye: Goodbye) -> None:
        self.refused = goodbye.reason
        raise BadFrame(goodbye.reason)

    def _set_current(self, current: bool) -> None:
        if current != self._current:
            self._current = current
            self._settle(current)


async def _frame(connection: ClientConnection) -> bytes:
    frame = await connection.recv()
    if not isinstance(frame, bytes):
        raise BadFrame("a text frame")
    return frame


def _needs_tls(urls: Sequence[str]) -> bool:
    if not urls:
        raise ValueError("at least one controller's URL is needed")
    for url in urls:
        if not url.startswith(("ws://", "wss://")):
            raise ValueError(f"{url!r} is no URL of a feed; write wss://controller:port/v1/feed")
    return any(url.startswith("wss://") for url in urls)
