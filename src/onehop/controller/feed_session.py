"""One host at the feed: what it still has to be told, and how far it is.

What waits for a host is a set of ids, never messages: when the host can take more, it gets each as it stands
by then. However slow it is, what waits is bounded by what it follows, and nothing is sent twice.

    greeted ──Held(last), or nothing to compare──► synced ──► ended
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from onehop.feed.messages import Answer, Ask, Fetched, Learned, Question, Said

MAX_LEARNED = 1024  # entries kept for a port
MAX_ASKED = 32  # questions that a host has to answer
MAX_OWED = 64  # revisions of which it is known that they concern a host and are not in effect there


class Overasked(Exception):
    """A host has more questions to answer than it may have."""


class Closed(Exception):
    """The connection is gone, or of no use any more."""


class Channel(Protocol):
    """A connection that carries frames."""

    async def receive(self) -> bytes:
        """The next frame. Raises Closed."""

    async def send(self, frame: bytes) -> None:
        """Send a frame; waits while the other side takes no more. Raises Closed."""

    async def close(self) -> None: ...


class Session:
    def __init__(self, host: str, agent: str, channel: Channel) -> None:
        self.host = host
        self.agent = agent
        self.channel = channel
        self.synced = False
        self.held: dict[str, int] = {}  # what the host said to hold, until it is synced
        self.buckets: frozenset[int] = frozenset()  # where it differs
        self.dirty: set[str] = set()
        self.parted = False  # whether a part of a change was sent, and the rest not yet
        self.answers: list[Answer] = []
        self.moved: set[str] = set()  # ports that have moved, to be told before anything else
        self._outgoing: list[Question | Fetched] = []
        self._running: set[asyncio.Task[None]] = set()
        self.asked: dict[int, asyncio.Future[Said]] = {}  # by the number of the question
        self._numbers = itertools.count(1)
        self.concerning: deque[int] = deque()  # the revisions that concern it and are not in effect, in order
        self.told = 0  # the revision of what was sent last, marks left out
        self.marked = -1  # the revision sent last; none yet
        self.applied = 0
        self.written = 0  # the applied revision in the status
        self.health: dict[str, str] = {}
        self.lessons: set[str] = set()  # ports of which other hosts have learned something new
        self.learned: dict[str, dict[tuple[str, str], str]] = {}
        self.heard = asyncio.get_running_loop().time()
        self.sending: float | None = None  # since when a frame is on its way out
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()

    def owe(self, ids: Iterable[str]) -> None:
        self.dirty.update(ids)
        if self.synced:
            self.news.set()

    def concern(self, revision: int) -> None:
        self.concerning.append(revision)
        if len(self.concerning) > MAX_OWED + 1:
            self.concerning.popleft()

    def apply(self, revision: int) -> None:
        """All up to a revision is in effect."""
        self.applied = max(self.applied, revision)
        while self.concerning and self.concerning[0] <= self.applied:
            self.concerning.popleft()

    def owed(self) -> int | list[int]:
        """The revisions that are not in effect; where they are not all known, the last one that is."""
        known = self.synced and self.applied and len(self.concerning) <= MAX_OWED
        return list(self.concerning) if known else self.applied

    def teach(self, ports: Iterable[str]) -> None:
        self.lessons.update(ports)
        if self.synced and self.lessons:
            self.news.set()

    async def ask(self, ask: Ask) -> Said:
        """What the host says to a question. Raises Closed when it goes away, Overasked."""
        if len(self.asked) >= MAX_ASKED:
            raise Overasked
        number = next(self._numbers)
        reply: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self.asked[number] = reply
        self.send(Question(number, ask))
        try:
            return await reply
        finally:
            del self.asked[number]

    def replied(self, number: int, said: Said) -> None:
        """Replies that nobody waits for any more are passed over."""
        reply = self.asked.get(number)
        if reply is not None and not reply.done():
            reply.set_result(said)

    def send(self, message: Question | Fetched) -> None:
        """Send something, after what is owed."""
        self._outgoing.append(message)
        self.news.set()

    def take_outgoing(self) -> list[Question | Fetched]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def learn_of_move(self, port: str) -> None:
        self.moved.add(port)
        if self.synced:
            self.news.set()

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something on behalf of the host, while it is there."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def left(self) -> None:
        """Nobody is there to reply any more, nor to do anything for."""
        for task in self._running:
            task.cancel()
        for reply in self.asked.values():
            if not reply.done():
                reply.set_exception(Closed())

    def sync(self) -> None:
        self.synced = True
        self.held = {}
        self.news.set()

    def end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    def is_silent(self, now: float, seconds: float) -> bool:
        return now - self.heard > seconds

    def is_stuck(self, now: float, seconds: float) -> bool:
        return self.sending is not None and now - self.sending > seconds

    @property
    def settled(self) -> bool:
        """Whether all that concerns the host is in effect there."""
        return self.synced and not self.dirty and not self.parted and self.applied >= self.told

    def learn(self, entries: Iterable[Learned]) -> set[str]:
        """Note what the host learned; the ports for which something changed."""
        changed = set()
        for entry in entries:
            known = self.learned.setdefault(entry.port, {})
            at = (entry.what, entry.key)
            if entry.what != "mac" and not entry.via:
                known.pop(at, None)
            elif len(known) < MAX_LEARNED or at in known:
                known[at] = entry.via
            changed.add(entry.port)
        return changed
