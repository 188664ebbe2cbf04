"""Looks after the blocks of shared ports: a duty, and the answer to hosts that need more.

The duty reacts to what the cache tells, so a rule that comes after the bindings has its blocks soon. It goes
through everything when a controller takes it, so nothing that happened meanwhile is missed. All that is
written is planned again by the engine: to do it twice, or by two controllers at once, does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import structlog

from onehop.controller.actor import CONTROLLER
from onehop.controller.blocks import resting, sharing
from onehop.controller.blocks.concerned import Concerned
from onehop.controller.blocks.sharing import Sharing
from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.engine import Engine, Operation
from onehop.controller.refusals import Refusal, TooMuch
from onehop.controller.reports import Reports, key
from onehop.controller.status import Statuses
from onehop.model import Host, NatRule, Port
from onehop.store import Compacted, Revision, Store, StoreError

TICK = 5.0  # seconds between looks at what rests and at ports that have no block
RETRY = 1.0
SLICE = 200  # ports looked at in one go
BATCH = 32  # ports settled in one transaction, where the store takes that many keys
KEYS = 32  # that a port takes, roughly
REPORTER = "blocks"

log = structlog.get_logger()


class BlockKeeper:
    """Open it with `await BlockKeeper.open(...)`; close it when done."""

    def __init__(
        self, store: Store, cache: Cache, engine: Engine, statuses: Statuses, reports: Reports
    ) -> None:
        self._store = store
        self._cache = cache
        self._engine = engine
        self._statuses = statuses
        self._reports = reports
        self._concerned: Concerned | None = None  # none while another controller has the duty
        self._news = asyncio.Event()
        self._without: set[str] = set()  # ports that have no block of something, as there is none
        self._asked: set[tuple[str, str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = cache.subscribe(self._changed)

    @classmethod
    async def open(
        cls, store: Store, cache: Cache, engine: Engine, statuses: Statuses, reports: Reports
    ) -> BlockKeeper:
        keeper = cls(store, cache, engine, statuses, reports)
        revision = await engine.resting_blocks.load(store)
        keeper._start(keeper._follow(revision), "follow the blocks that rest")
        return keeper

    async def close(self) -> None:
        self._end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, revision: Revision) -> None:
        known = self._engine.resting_blocks
        while True:
            try:
                async with contextlib.aclosing(self._store.watch(resting.PREFIX, after=revision)) as watch:
                    async for batch in watch:
                        for change in batch.changes:
                            known.take(change.key, change.value, batch.revision)
                        revision = batch.revision
            except Compacted:
                log.info("what was told of resting blocks has been compacted away; listing again")
            except StoreError as error:
                log.warning("the store does not tell which blocks rest; trying again", error=str(error))
                await asyncio.sleep(RETRY)
            with contextlib.suppress(StoreError):
                revision = await known.load(self._store)

    # --- what hosts ask -----------------------------------------------------------------------------

    def need(self, port: str, rule: str, family: str) -> None:
        """A host runs out of what a port of its has. It asks again once it has seen what it was given."""
        asked = (port, rule, family)
        if asked not in self._asked and self._cache.view.get(NatRule, rule) is not None:
            self._asked.add(asked)
            self._start(self._more(asked), f"more blocks for {port}")

    async def _more(self, asked: tuple[str, str, str]) -> None:
        port, rule, family = asked
        more = Operation("settle", "snat-block", port, trusted={"rule": rule, "family": family})
        try:
            await self._commit([more])
            self._tell_of([rule])
        finally:
            self._asked.discard(asked)

    async def _commit(self, operations: Sequence[Operation]) -> None:
        """Settle ports; one by one, if they are too many for one transaction."""
        try:
            await self._engine.commit(operations, CONTROLLER)
        except TooMuch:
            if len(operations) == 1:
                log.warning("the store takes too few keys at once for a port's blocks")
                return
            for operation in operations:
                await self._commit([operation])
        except Refusal as refusal:
            log.warning("blocks could not be given; trying again", error=refusal.message)
            if self._concerned is not None:
                self._without.update(operation.ref or "" for operation in operations)

    # --- the duty -----------------------------------------------------------------------------------

    async def do(self) -> None:
        """Look after all blocks, until told to stop."""
        self._concerned = Concerned()
        self._concerned.add(self._everything())
        self._news.set()
        clock = asyncio.get_running_loop().time
        looked = clock()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(looked + TICK):
                        await self._news.wait()
                self._news.clear()
                again = clock() >= looked + TICK
                await self._settle(again)
                if again:
                    await self.let_rest()
                    looked = clock()
        finally:
            self._concerned = None
            self._without.clear()

    def _everything(self) -> set[str]:
        view = self._cache.view
        blocks = (view.find(id) for id in view.ids_of("snat-block"))
        bindings = (view.find(id) for id in view.ids_of("binding"))
        return {obj.port for obj in (*blocks, *bindings) if obj is not None}  # type: ignore[attr-defined]

    def _changed(self, revision: Revision, changes: Sequence[ObjectChange]) -> None:
        if self._concerned is not None:
            self._concerned.note(changes, self._cache.view)
            if self._concerned:
                self._news.set()

    async def _settle(self, again: bool) -> None:
        """See to the ports that something has changed for; to those without a block again, now and then."""
        concerned, self._concerned = self._concerned or Concerned(), Concerned()
        if again:
            concerned.add(self._without)
            self._without.clear()
        rules: set[str] = set()
        ports = list(concerned.ports(self._cache.view))
        for begin in range(0, len(ports), SLICE):
            some = ports[begin : begin + SLICE]
            await asyncio.sleep(0)
            wanted: dict[str, list[Sharing]] = {}
            unsettled = [port for port in some if not self._is_settled(port, rules, wanted)]
            most = max(1, min(BATCH, self._engine.max_operations // KEYS))
            for start in range(0, len(unsettled), most):
                await self._commit(
                    [Operation("settle", "snat-block", port) for port in unsettled[start : start + most]]
                )
        self._tell_of(rules)

    def _is_settled(self, port: str, rules: set[str], by_network: dict[str, list[Sharing]]) -> bool:
        """Whether nothing can be done for a port. Notes the rules of which it has blocks, or should."""
        view = self._cache.view
        found = view.get(Port, port)
        wanted: list[Sharing] = []
        if found is not None and found.network is not None and sharing.is_bound(view, port):
            if found.network not in by_network:
                by_network[found.network] = sharing.of_network(view, found.network)
            wanted = by_network[found.network] if found.kind == "vm" else []
        rules.update(one.rule for one in wanted)
        gone = sharing.useless(view, port, wanted)
        rules.update(block.rule for block in gone)
        lacking = sharing.lacking(view, port, wanted)
        free = [self._engine.free_blocks(one) > 0 for one in lacking]
        if not all(free):
            self._without.add(port)
        return not gone and not any(free)

    async def let_rest(self) -> None:
        """Go on with the blocks that were given up, as far as the hosts are."""
        steps = list(self._engine.resting_blocks.steps(self._has_applied))
        for guard, write in steps:
            await self._store.transact([guard], [write])

    def _has_applied(self, host: str, revision: Revision) -> bool:
        found = self._cache.view.get(Host, host)
        if found is None or found.fenced:
            return True  # nobody takes packets from it
        said = self._statuses.of("host", host, self._cache.view) or {}
        return int(said.get("applied", 0)) >= revision

    # --- telling ------------------------------------------------------------------------------------

    def _tell_of(self, rules: Iterable[str]) -> None:
        """Say of rules whether their addresses last. Nothing is said while there is enough."""
        view = self._cache.view
        for id in rules:
            rule = view.get(NatRule, id)
            at = key("nat-rule", id, REPORTER)
            told = self._state(rule) if rule is not None else None
            known = self._statuses.of("nat-rule", id, view)
            if told is None and known is not None:
                self._reports.remove(at)
            elif told is not None and told != known:
                self._reports.put(at, told)
                log.warning("a rule runs out of ports", rule=rule.name if rule else id, **told)

    def _state(self, rule: NatRule) -> dict[str, str] | None:
        worst: dict[str, str] | None = None
        for one in sharing.of_rule(self._cache.view, rule):
            free = self._engine.free_blocks(one)
            if not free:
                return {"state": "exhausted", "reason": _exhausted(one)}
            if free < one.blocks // 10:
                what = f"{free} of {one.blocks} blocks are left for {one.family}"
                worst = {"state": "low", "reason": f"{what}; add addresses with a rule of the action `snat`"}
        return worst


def _exhausted(one: Sharing) -> str:
    what = f"all {one.blocks} blocks of {', '.join(one.addresses[:3])}{' ...' * (len(one.addresses) > 3)}"
    return f"{what} are taken; add addresses with a rule of the action `snat`"
