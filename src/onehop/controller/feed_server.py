"""The feed, from the controller's side: keeps every connected host told of what it follows.

The watch cache tells of changes; `Reach` says which hosts they concern and how; each session is owed the ids,
and a task per session sends them as they stand. Objects are encoded once, however many hosts get them.

A host that goes away stays in the reach as *absent* until it is known to be elsewhere: so it is not forgotten
when somebody asks who has not applied a change, and coming back costs little.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import structlog

from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.feed_frames import Frames
from onehop.controller.feed_session import Channel, Closed, Session
from onehop.controller.feed_targets import find_target
from onehop.controller.feed_upward import Upward
from onehop.controller.learned import LearnedEntries
from onehop.controller.moves import Moves
from onehop.controller.reports import Reports
from onehop.feed.codec import BadFrame, decode_up, encode
from onehop.feed.digest import BUCKETS, bucket_of, differing, digests
from onehop.feed.messages import (
    MAX_ASKS,
    VERSION,
    Answer,
    Applied,
    Fetch,
    Fetched,
    Follow,
    Goodbye,
    Held,
    Hello,
    NeedBlocks,
    Release,
    Reply,
    Report,
    Target,
    Told,
    Up,
    Welcome,
)
from onehop.feed.reach import Reach
from onehop.model import Binding, Host, Role, Token

HELLO_WAIT = 10.0  # seconds for a host to say who it is
STALL = 30.0  # seconds that a host may take no data
MARK = 10.0  # seconds between marks of progress
RECENT = 4096  # revisions of which it is known whom they concerned
SLICE = 1000  # objects that are sent at a time, so that others get their turn
MAX_HELD = 4_000_000  # objects that a host may say to hold

log = structlog.get_logger()


class FeedServer:
    """Close it when done."""

    def __init__(
        self, cache: Cache, reports: Reports, learned: LearnedEntries, name: str, lease: float
    ) -> None:
        self._cache = cache
        self._learned = learned
        learned.listen(self._heard)
        self._upward = Upward(cache.view, reports, name)
        self._name = name
        self._lease = lease
        self._clock = asyncio.get_running_loop().time
        self._incarnation = cache.incarnation
        self._frames = Frames(cache)
        self._sessions: dict[str, Session] = {}
        self._listeners: list[Callable[[], None]] = []
        self.on_need: Callable[[str, str, str], None] = lambda port, rule, family: None
        self._concerned: OrderedDict[int, frozenset[str]] = OrderedDict()
        self._reach = Reach(cache.view)
        self.moves = Moves(cache.view, self._reach, self._owe, self._port_moved)
        self.revision = cache.revision  # of the last change that was taken
        self._unsubscribe = cache.subscribe(self._changed)
        self._tasks = [
            asyncio.create_task(self._mark_on(), name="mark progress at the feed"),
            asyncio.create_task(self._watch_over(), name="watch over the hosts at the feed"),
        ]

    async def close(self) -> None:
        self._unsubscribe()
        self.moves.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in list(self._sessions.values()):
            session.end("the controller is stopping; another will do")

    # --- what others ask ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    def sessions(self) -> Iterable[Session]:
        return self._sessions.values()

    def session(self, host: str) -> Session | None:
        return self._sessions.get(host)

    def concerned(self, since: int, revision: int) -> set[str]:
        """The hosts, connected or absent, that a recent revision concerned, or any after `since` up to it."""
        if revision == since + 1:
            return set(self._concerned.get(revision, ()))
        found = (hosts for r, hosts in self._concerned.items() if since < r <= revision)
        return set().union(*found)

    def floor(self, host: str) -> int | None:
        """The revision up to which all is in effect at a host; None if it is not connected."""
        session = self._sessions.get(host)
        if session is None:
            return None
        return self.revision if session.settled else session.applied

    def absent(self) -> set[str]:
        return {host for host in self._reach.hosts() if host not in self._sessions}

    def note_absent(self, host: str) -> None:
        """Somebody should keep account of a host that is connected nowhere."""
        if host not in self._reach.hosts() and self._cache.view.get(Host, host) is not None:
            self._reach.connect(host)

    def forget_absent(self, host: str) -> None:
        """The host is connected elsewhere, or gone for good."""
        if host in self._reach.hosts() and host not in self._sessions:
            self._reach.disconnect(host)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this whenever a host got further, came or went. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()

    # --- changes ------------------------------------------------------------------------------------

    def _changed(self, revision: int, changes: Sequence[ObjectChange]) -> None:
        self._check_history()
        concerned = self._reach.apply([(change.before, change.after) for change in changes])
        self.revision = revision
        if changes:
            self._concerned[revision] = frozenset(concerned)
            if len(self._concerned) > RECENT:
                self._concerned.popitem(last=False)
        for host, delta in concerned.items():
            session = self._sessions.get(host)
            if session is not None:
                session.owe(delta.puts)
                session.owe(delta.removes)
                session.concern(revision)
        self.moves.take(changes)
        for change in changes:
            self._clear_up(change)
            self._check_credential(change)
            if change.before is None and isinstance(change.after, Host):
                self.note_absent(change.id)
        self._tell_listeners()

    def _check_history(self) -> None:
        """When the store turns out to have another history, every host has to compare all it has."""
        if self._cache.incarnation == self._incarnation:
            return
        self._incarnation = self._cache.incarnation
        self.revision = self._cache.revision
        self._frames = Frames(self._cache)
        self._concerned.clear()
        for session in self._sessions.values():
            session.end("the store was restored; come back and compare")

    def _clear_up(self, change: ObjectChange) -> None:
        """Take back what was said about what is gone."""
        gone = change.before if change.after is None else None
        if isinstance(gone, Binding) and gone.host in self._sessions:
            self._upward.unbound(self._sessions[gone.host], gone.port)
        elif isinstance(gone, Token | Role):
            token = gone if isinstance(gone, Token) else self._cache.view.get(Token, gone.token)
            if token is not None and token.host in self._sessions:
                self._sessions[token.host].end("a credential of this host was revoked")
        elif isinstance(gone, Host):
            if gone.id in self._sessions:
                self._sessions[gone.id].end("this host was removed; join again")
            self.forget_absent(gone.id)

    def _check_credential(self, change: ObjectChange) -> None:
        """A host whose credential was changed, such as when it expires, has to show it again."""
        token = change.after
        if isinstance(token, Token) and change.before is not None and token.host in self._sessions:
            self._sessions[token.host].end("a credential of this host was changed; show it again")

    def _heard(self, port: str, speaker: str) -> None:
        """A host has learned something at a port: the others that follow it are to know."""
        for session in self._sessions.values():
            if session.host != speaker and self._reach.follows(session.host, port):
                session.teach((port,))

    def _owe(self, host: str, ids: Iterable[str]) -> None:
        session = self._sessions.get(host)
        if session is not None:
            session.owe(ids)

    def _port_moved(self, port: str) -> None:
        for session in self._sessions.values():
            if self._reach.follows(session.host, port):
                session.learn_of_move(port)

    # --- a session ----------------------------------------------------------------------------------

    async def serve(self, channel: Channel, host: str) -> None:
        """Talk with a host, which has proved who it is, until either has enough."""
        session: Session | None = None
        reason = ""
        try:
            session = await self._greet(channel, host)
            reason = await self._talk(session)
        except (Closed, TimeoutError):
            pass
        except BadFrame as error:
            reason = f"that is no message: {error}"
        finally:
            if session is not None:
                self._leave(session)
            with contextlib.suppress(Closed, TimeoutError):
                async with asyncio.timeout(1):
                    if reason:
                        await channel.send(encode(Goodbye(reason[:1000])))
                    await channel.close()

    async def _greet(self, channel: Channel, host: str) -> Session:
        async with asyncio.timeout(HELLO_WAIT):
            hello = decode_up(await channel.receive())
        if not isinstance(hello, Hello):
            raise BadFrame("a feed begins with a hello")
        if hello.version != VERSION:
            raise BadFrame(f"version {hello.version} of the feed is not spoken here, {VERSION} is")
        if hello.host != host:
            raise BadFrame(f"the credential is host {host}'s, not {hello.host}'s")
        if len(hello.digests) not in (0, BUCKETS):
            raise BadFrame(f"a hello has {BUCKETS} digests, or none")
        session = self._enter(host, hello, channel)
        compared = tuple(sorted(session.buckets)) if hello.incarnation == self._incarnation else None
        welcome = Welcome(VERSION, self._name, self._incarnation, self._lease, compared)
        try:
            await channel.send(encode(welcome))
        except BaseException:
            self._leave(session)
            raise
        return session

    def _enter(self, host: str, hello: Hello, channel: Channel) -> Session:
        self._check_history()
        before = self._sessions.get(host)
        if before is not None:
            before.end("this host has another feed now")
            self._leave(before)
        if host in self._reach.hosts():
            self._reach.ask_anew(host, hello.asks)
        else:
            self._reach.connect(host, hello.asks)
        self.moves.came(host)
        session = self._sessions[host] = Session(host, hello.agent, channel)
        holdings = self._reach.holdings(host)
        if hello.incarnation == self._incarnation and hello.digests:
            mine = digests((id, self._cache.revision_of(id)) for id in holdings)
            session.buckets = frozenset(differing(mine, list(hello.digests)))
            if not session.buckets:
                session.sync()
        else:
            session.owe(holdings)
            session.sync()
        session.teach(port for port in self._learned.ports() if self._reach.follows(host, port))
        for port in self.moves.ports():
            if self._reach.follows(host, port):
                session.learn_of_move(port)
        self._upward.host(session)
        self._tell_listeners()
        return session

    def _leave(self, session: Session) -> None:
        if self._sessions.get(session.host) is session:
            del self._sessions[session.host]
            session.left()
            self._upward.left(session)
            self._tell_listeners()

    async def _talk(self, session: Session) -> str:
        tasks: list[asyncio.Future[str]] = [
            session.ended,
            asyncio.create_task(self._hear(session), name=f"hear {session.host}"),
            asyncio.create_task(self._tell(session), name=f"tell {session.host}"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- telling ------------------------------------------------------------------------------------

    async def _tell(self, session: Session) -> str:
        while True:
            await session.news.wait()
            session.news.clear()
            while session.synced and len(session.dirty) > SLICE:
                await self._send(session, self._part(session))
            await self._send(session, self._due(session))

    async def _send(self, session: Session, frames: Iterable[bytes]) -> None:
        session.sending = self._clock()
        for frame in frames:
            await session.channel.send(frame)
        session.sending = None

    def _part(self, session: Session) -> list[bytes]:
        """Some of much. What changes before the rest has been sent is owed again."""
        ids = list(itertools.islice(session.dirty, SLICE))
        session.dirty.difference_update(ids)
        session.parted = True
        puts, removes = self._split(session.host, ids)
        session.teach(self._learned.ports() & set(puts))
        return self._frames.part(self.revision, puts, removes)

    def _due(self, session: Session) -> list[bytes]:
        """All that a session is owed now: with it, the host has everything up to this revision."""
        if not session.synced:
            return []
        dirty, session.dirty = session.dirty, set()
        answers, session.answers = session.answers, []
        moved, session.moved = session.moved, set()
        moves = [told for port in sorted(moved) if (told := self.moves.told(port)) is not None]
        frames = [encode(move) for move in moves]
        if dirty or session.marked < self.revision or session.parted:
            if dirty or session.parted or session.marked < 0:
                session.told = self.revision
            session.marked, session.parted = self.revision, False
            frames += self._frames.of(self.revision, *self._split(session.host, sorted(dirty)))
        lessons, session.lessons = session.lessons | (self._learned.ports() & dirty), set()
        frames += [*map(encode, answers), *map(encode, session.take_outgoing())]
        return frames + [encode(told) for told in self._lessons(session.host, lessons)]

    def _lessons(self, host: str, ports: Iterable[str]) -> Iterable[Told]:
        for port in sorted(ports):
            if self._reach.follows(host, port):
                yield Told(port, self._learned.of(port, but=host))

    def _split(self, host: str, ids: list[str]) -> tuple[list[str], list[str]]:
        """What to send as it stands, and what to have forgotten."""
        puts = [id for id in ids if self._has(host, id)]
        kept = set(puts)
        return puts, [id for id in ids if id not in kept]

    def _has(self, host: str, id: str) -> bool:
        return self._reach.follows(host, id) and self._cache.view.find(id) is not None

    async def _watch_over(self) -> None:
        """Give up hosts that say or take nothing. A look at all costs less than a timer for each."""
        while True:
            await asyncio.sleep(self._lease / 4)
            now = self._clock()
            for session in list(self._sessions.values()):
                if session.is_silent(now, self._lease) or session.is_stuck(now, STALL):
                    session.end("")

    async def _mark_on(self) -> None:
        while True:
            await asyncio.sleep(MARK)
            self._check_history()
            for session in list(self._sessions.values()):
                if session.synced and session.marked < self.revision:
                    session.news.set()
                if session.written < session.applied:
                    self._upward.host(session)

    # --- hearing ------------------------------------------------------------------------------------

    async def _hear(self, session: Session) -> str:
        async for message in self._messages(session):
            match message:
                case Applied(revision):
                    self._applied(session, revision)
                case Held():
                    self._compare(session, message)
                case Report():
                    self._upward.take(session, message)
                case Follow(targets):
                    self._follow(session, targets)
                case Release(targets):
                    self._release(session, targets)
                case NeedBlocks():
                    self._need(session, message)
                case Fetch():
                    session.run(self._fetch(session, message), "fetch records")
                case Reply(number, said):
                    session.replied(number, said)
                case Hello():
                    raise BadFrame("a hello comes once")
                case Goodbye():
                    return ""
        return ""

    def _need(self, session: Session, needed: NeedBlocks) -> None:
        if self._upward.is_bound(needed.port, session.host):
            self.on_need(needed.port, needed.rule, needed.family)

    async def _messages(self, session: Session) -> AsyncIterator[Up]:
        while True:
            frame = await session.channel.receive()
            session.heard = self._clock()
            yield decode_up(frame)

    async def _fetch(self, session: Session, wanted: Fetch) -> None:
        session.send(Fetched(wanted.number, await self.moves.fetch(session.host, wanted)))

    def _applied(self, session: Session, revision: int) -> None:
        if revision > session.marked:
            raise BadFrame(f"revision {revision} cannot be in effect; the last one told was {session.marked}")
        session.apply(revision)
        self._tell_listeners()

    def _compare(self, session: Session, held: Held) -> None:
        if session.synced:
            raise BadFrame("what a host holds is compared once")
        session.held.update(held.pairs)
        if len(session.held) > MAX_HELD:
            raise BadFrame("a host cannot hold that much")
        if not held.last:
            return
        for id in self._reach.holdings(session.host):
            if bucket_of(id) in session.buckets and session.held.pop(id, -1) != self._cache.revision_of(id):
                session.dirty.add(id)
        session.dirty.update(session.held)
        session.sync()

    def _follow(self, session: Session, targets: tuple[Target, ...]) -> None:
        ids = [find_target(self._cache, self._reach, session.host, target) for target in targets]
        new = {id for id in ids if id is not None} - self._reach.asks(session.host)
        if len(self._reach.asks(session.host)) + len(new) > MAX_ASKS:
            raise BadFrame(f"a host may ask for {MAX_ASKS} things at most; come back without old ones")
        delta = self._reach.ask(session.host, sorted(new))
        session.answers.append(Answer(targets, tuple(ids)))
        session.owe(delta.puts)
        session.news.set()

    def _release(self, session: Session, targets: tuple[Target, ...]) -> None:
        delta = self._reach.let_go(session.host, {target for target in targets if isinstance(target, str)})
        session.owe(delta.removes)
