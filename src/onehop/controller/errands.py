"""Questions to hosts, whichever controller they are connected to.

    asks ──► the host's session here ──────────────────────────────────────────► said
      └────► errand/<its controller>/ask/<us>/<n> ──► session there ─┐
             errand/<us>/answer/<n> ◄────────────────────────────────┘

Both keys hang on the lease of the controller that asks, and it deletes them: a question that nobody waits
for leaves nothing behind. The other controller writes its answer only while the question stands. A host may
seem to be at several controllers for a while: all of them are asked, and the first that has it counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
import structlog

from onehop.controller.feed_session import Closed, Overasked, Session
from onehop.controller.liveness import Presence
from onehop.controller.refusals import Busy
from onehop.controller.reports import Reports
from onehop.feed.messages import Ask, Said, Unable
from onehop.store import Change, Compacted, Delete, Exists, LeaseGone, Put, Store, StoreError, list_all

PATIENCE = 10.0  # seconds for an answer
MOST = 256  # questions on their way, from here and for others each
RETRY = 1.0

log = structlog.get_logger()
Sessions = Callable[[str], Session | None]


class _Errand(msgspec.Struct, array_like=True):
    """A question on its way to another controller."""

    asker: str
    lease: int
    number: int
    host: str
    ask: Ask


_encode = msgspec.msgpack.Encoder().encode
_errand = msgspec.msgpack.Decoder(_Errand)
_said: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


class Errands:
    """`start` it, and close it when done. `sessions` gives the session that a host has here."""

    def __init__(
        self, store: Store, sessions: Sessions, presence: Presence, reports: Reports, name: str
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._presence = presence
        self._reports = reports
        self._name = name
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Said]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        revision = await self._load()
        self._start(self._follow(revision), "run errands")

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, host: str, ask: Ask) -> Said:
        """What a host says: `Unable` with `absent`, if it is not connected. Raises Busy without an answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                session = self._sessions(host)
                if session is not None:
                    return await _of_session(session, ask)
                return await self._of_others(host, ask)
        except TimeoutError:
            raise Busy(f"the host does not answer within {PATIENCE:.0f} seconds; try again") from None
        except StoreError as error:
            raise Busy(f"the controller that the host is connected to cannot be asked: {error}") from None

    # --- to other controllers -------------------------------------------------------------------------

    async def _of_others(self, host: str, ask: Ask) -> Said:
        others = sorted(self._presence.where(host) - {self._name})
        if len(self._waiting) >= MOST:
            raise Busy("too many questions to hosts are on their way; try again")
        number = next(self._numbers)
        answers = self._waiting[number] = asyncio.Queue[Said](max(1, len(others)))
        errand = _encode(_Errand(self._name, self._reports.lease, number, host, ask))
        keys = [f"errand/{other}/ask/{self._name}/{number}" for other in others]
        said: Said = Unable("the host is not connected to any controller", absent=True)
        try:
            await self._store.transact([], [Put(key, errand, self._reports.lease) for key in keys])
            for _ in others:
                said = await answers.get()
                if not (isinstance(said, Unable) and said.absent):
                    break
            return said
        finally:
            del self._waiting[number]
            self._start(self._clean([*keys, self._answer_key(self._name, number)]), "clean up an errand")

    async def _clean(self, keys: Iterable[str]) -> None:
        """What cannot be cleaned up goes with the lease."""
        with contextlib.suppress(StoreError):
            await self._store.transact([], [Delete(key) for key in keys])

    @staticmethod
    def _answer_key(asker: str, number: int) -> str:
        return f"errand/{asker}/answer/{number}"

    # --- for other controllers, and their answers -----------------------------------------------------

    async def _load(self) -> int:
        entries, revision = await list_all(self._store, f"errand/{self._name}/")
        for entry in entries:
            self._take(entry.key, entry.value)
        return revision

    async def _follow(self, revision: int) -> None:
        while True:
            try:
                prefix = f"errand/{self._name}/"
                async with contextlib.aclosing(self._store.watch(prefix, after=revision)) as watch:
                    async for batch in watch:
                        self._take_all(batch.changes)
                        revision = batch.revision
            except Compacted:
                log.info("errands have been compacted away; listing again")
            except StoreError as error:
                log.warning("the store does not tell of errands; trying again", error=str(error))
                await asyncio.sleep(RETRY)
                continue
            with contextlib.suppress(StoreError):
                revision = await self._load()

    def _take_all(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.value is not None:
                self._take(change.key, change.value)

    def _take(self, key: str, value: bytes) -> None:
        what, _, rest = key.removeprefix(f"errand/{self._name}/").partition("/")
        try:
            if what == "answer":
                waiting = self._waiting.get(int(rest))
                if waiting is not None and not waiting.full():
                    waiting.put_nowait(_said.decode(value))
            elif len(self._tasks) < MOST:
                self._start(self._run(key, _errand.decode(value)), "run an errand")
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("an errand cannot be understood", key=key, reason=str(error))

    async def _run(self, key: str, errand: _Errand) -> None:
        """Ask the host, and tell who wants to know; while the question stands, and once."""
        session = self._sessions(errand.host)
        said: Said = Unable("the host has gone to another controller", absent=True)
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    said = await _of_session(session, errand.ask)
        answer = Put(self._answer_key(errand.asker, errand.number), _encode(said), errand.lease)
        try:
            await self._store.transact([Exists(key)], [answer, Delete(key)])
        except LeaseGone:
            log.info("who sent an errand is gone", controller=errand.asker)
        except StoreError as error:
            log.warning("an errand's answer cannot be written", error=str(error))

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _of_session(session: Session, ask: Ask) -> Said:
    try:
        return await session.ask(ask)
    except Closed:
        return Unable("the host has just lost its connection", absent=True)
    except Overasked:
        return Unable("the host has too many questions to answer; try again")
