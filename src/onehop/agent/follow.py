"""Following the topology: a `Topology` that is there at once from disk, and kept up to date by the feed.

A change is put on disk first, then into the topology, then told to `on_change`, which puts it into effect;
only then does the controller hear that it is applied. `on_change` gets each change once, whatever happens to
connections, controllers and the store: what is sent again but is no different is not told again. An agent
that stopped in between starts from the whole topology, which has the change.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from onehop.agent.feed_link import PAUSE, Controllers, FeedLink
from onehop.agent.kept import Kept, Position
from onehop.feed.codec import BadFrame, decode_item, decode_object
from onehop.feed.messages import (
    Answer,
    Ask,
    Delta,
    Fetch,
    Fetched,
    Follow,
    Item,
    Learned,
    Moved,
    NeedBlocks,
    PortReport,
    Question,
    Release,
    Reply,
    Report,
    Said,
    Target,
    Told,
    Unable,
    Up,
)
from onehop.model import Object
from onehop.model.kinds import Family
from onehop.model.view import Topology

# A controller may die with what it had heard and not yet written; what was learned before that it wrote.
REPEAT = 60.0
REPORTS = 512  # or ids, in one message

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the topology: for each object that changed, what it was and what it is."""

    revision: int
    changes: Mapping[str, tuple[Object | None, Object | None]]


OnChange = Callable[[Batch], Awaitable[None]]


async def _no_answer(ask: Ask) -> Said:
    return Unable("this host answers no questions")


class Follower:
    """Start it with `run()`; what was kept from before is in `topology` already."""

    def __init__(
        self,
        host: str,
        agent: str,
        controllers: Controllers,
        kept: Kept,
        on_change: OnChange,
        *,
        pause: tuple[float, float] = PAUSE,
        settle: Callable[[bool], None] | None = None,
    ) -> None:
        self.host = host
        self.topology = Topology()
        self.on_told: Callable[[Told], None] = lambda told: None  # what other hosts learned
        self.on_question: Callable[[Ask], Awaitable[Said]] = _no_answer
        self.on_moved: Callable[[Moved], None] = lambda moved: None
        self.unknown: set[str] = set()  # objects that this version cannot decode
        self._kept = kept
        self._on_change = on_change
        self._coming = ""  # the incarnation of what the feed brings
        self._fresh = False
        self._puts: dict[str, Item] = {}
        self._removes: set[str] = set()
        self._asked: dict[Target, list[asyncio.Future[str | None]]] = {}
        self._reports: dict[str, PortReport] = {}  # what was last said of each bound port
        self._learned: dict[tuple[str, str, str], tuple[float, Learned]] = {}
        self._health: dict[str, str] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._fetched: dict[int, asyncio.Future[Said]] = {}
        self._numbers = itertools.count(1)
        self._link = FeedLink(host, agent, controllers, self, pause=pause, settle=settle)
        for id, obj in kept.objects():
            if obj is not None:
                self.topology.put(obj)
            else:
                self.unknown.add(id)

    async def run(self) -> None:
        await self._link.run()

    @property
    def current(self) -> bool:
        """Whether a controller is there, and this host knows all that it knew when the feed began."""
        return self._link.current

    @property
    def refused(self) -> str | None:
        """Why a controller sent this host away, if one did."""
        return self._link.refused

    @property
    def position(self) -> Position:
        return self._kept.position

    # --- saying -------------------------------------------------------------------------------------

    def report_ports(self, reports: Iterable[PortReport]) -> None:
        reports = list(reports)
        self._reports.update((report.port, report) for report in reports)
        for start in range(0, len(reports), REPORTS):
            self._link.say(Report(ports=tuple(reports[start : start + REPORTS])))

    def report_learned(self, entries: Iterable[Learned]) -> None:
        entries = list(entries)
        now = time.monotonic()
        self._learned = {at: said for at, said in self._learned.items() if now - said[0] < REPEAT}
        self._learned.update(((entry.port, entry.what, entry.key), (now, entry)) for entry in entries)
        for start in range(0, len(entries), REPORTS):
            self._link.say(Report(learned=tuple(entries[start : start + REPORTS])))

    def report_health(self, health: Mapping[str, str]) -> None:
        """What is wrong at this host, by part; nothing, when all is well."""
        self._health = dict(health)
        self._link.say(Report(health=self._all_health()))

    def need_blocks(self, port: str, rule: str, family: Family) -> None:
        """Ask for more ports of the addresses that a NAT rule shares. Without a connection it is in vain."""
        self._link.say(NeedBlocks(port, rule, family))

    async def follow(self, target: Target) -> str | None:
        """Follow something on demand. What to `release`, once it is all in effect; None if there is none.

        Bound it with a timeout: without a controller it waits.
        """
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        waiting = self._asked.setdefault(target, [])
        waiting.append(future)
        if len(waiting) == 1:
            self._link.say(Follow((target,)))
        try:
            return await future
        finally:
            if future in waiting:
                waiting.remove(future)
            if not waiting and self._asked.get(target) is waiting:
                del self._asked[target]

    async def fetch(self, port: str, since: int, after: bytes) -> Said:
        """The records of a port that moves here. Bound it with a timeout: without a controller it waits."""
        number = next(self._numbers)
        future: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._fetched[number] = future
        self._link.say(Fetch(number, port, since, after))
        try:
            return await future
        finally:
            del self._fetched[number]

    def release(self, ids: Iterable[str]) -> None:
        """Let go of what was followed on demand."""
        gone = sorted(set(ids) & self._kept.asks)
        self._kept.let_go(gone)
        for start in range(0, len(gone), REPORTS):
            self._link.say(Release(tuple(gone[start : start + REPORTS])))

    # --- what the link asks and tells ---------------------------------------------------------------

    @property
    def incarnation(self) -> str:
        return self._kept.position.incarnation

    @property
    def revisions(self) -> dict[str, int]:
        return self._kept.revisions

    @property
    def asks(self) -> set[str]:
        return self._kept.asks

    def backlog(self) -> Iterable[Up]:
        now = time.monotonic()
        self._reports = {port: report for port, report in self._reports.items() if self._is_bound(port)}
        ports = list(self._reports.values())
        learned = [entry for said, entry in self._learned.values() if now - said < REPEAT]
        yield Report(health=self._all_health())
        for start in range(0, len(ports), REPORTS):
            yield Report(ports=tuple(ports[start : start + REPORTS]))
        for start in range(0, len(learned), REPORTS):
            yield Report(learned=tuple(learned[start : start + REPORTS]))
        for target in self._asked:
            yield Follow((target,))

    def _is_bound(self, port: str) -> bool:
        return any(binding.host == self.host for binding in self.topology.bindings(port))

    def told(self, told: Told) -> None:
        self.on_told(told)

    def moved(self, moved: Moved) -> None:
        self.on_moved(moved)

    def fetched(self, fetched: Fetched) -> None:
        future = self._fetched.get(fetched.number)
        if future is not None and not future.done():
            future.set_result(fetched.said)

    def question(self, question: Question) -> None:
        task = asyncio.create_task(self._reply(question), name="answer a question")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _reply(self, question: Question) -> None:
        self._link.say(Reply(question.number, await self.on_question(question.ask)))

    async def welcomed(self, incarnation: str, fresh: bool) -> None:
        self._coming, self._fresh = incarnation, fresh
        self._puts, self._removes = {}, set()

    def answered(self, answer: Answer) -> None:
        self._kept.ask(id for id in answer.ids if id is not None)
        for target, id in zip(answer.targets, answer.ids, strict=True):
            for future in self._asked.pop(target, ()):
                if not future.done():
                    future.set_result(id)

    async def take(self, delta: Delta) -> int | None:
        for raw in delta.puts:
            item = decode_item(raw)
            self._puts[item.id] = item
            self._removes.discard(item.id)
        for id in delta.removes:
            self._puts.pop(id, None)
            self._removes.add(id)
        if not delta.last:
            return None
        puts, self._puts = self._puts, {}
        removes, self._removes = self._removes, set()
        if self._fresh:
            self._fresh = False
            removes = self._kept.revisions.keys() - puts.keys()
        await self._put_into_effect(delta.revision, puts, removes)
        return delta.revision

    async def _put_into_effect(self, revision: int, puts: Mapping[str, Item], removes: set[str]) -> None:
        objects = {id: self._decoded(item) for id, item in puts.items()}
        position = Position(self._coming, revision)
        if puts or removes or position != self._kept.position:
            self._kept.take(position, puts, removes)
        changes: dict[str, tuple[Object | None, Object | None]] = {}
        for id in (*puts, *removes):
            after = objects.get(id)
            before = self.topology.put(after) if after is not None else self.topology.remove(id)
            if before != after:
                changes[id] = (before, after)
        self._note_unknown(objects, removes)
        if changes:
            await self._on_change(Batch(revision, changes))

    def _decoded(self, item: Item) -> Object | None:
        try:
            obj = decode_object(item.kind, item.value)
        except BadFrame as error:
            log.warning("an object cannot be decoded here", id=item.id, reason=str(error))
            return None
        if obj.id != item.id:
            raise BadFrame(f"{item.kind} {item.id} says that it is {obj.id}")
        return obj

    def _note_unknown(self, objects: Mapping[str, Object | None], removes: set[str]) -> None:
        before = len(self.unknown)
        self.unknown -= objects.keys() | removes
        self.unknown |= {id for id, obj in objects.items() if obj is None}
        if len(self.unknown) != before:
            self._link.say(Report(health=self._all_health()))

    def _all_health(self) -> dict[str, str]:
        if not self.unknown:
            return self._health
        count = len(self.unknown)
        return {**self._health, "feed": f"{count} objects need a newer agent; upgrade it"}
