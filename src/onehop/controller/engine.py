"""The one way by which objects are written: operations in, one transaction out.

    done = await engine.commit([Operation("create", "network", body={"name": "web"})], actor)

A commit plans against the watch cache (`plan`, pure) and then asks the store to make it so under guards
that hold exactly if the plan is still right. When they do not, the cache catches up and the plan is made
anew; what is really wrong shows in planning, as a Refusal with a sentence.

Any number of commits may be in flight. Those of this controller whose rules look at the same set of objects
(`sets`) take turns, so that they do not spoil each other's plans; others race, and the store decides.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onehop.controller import audit, idempotency
from onehop.controller.actor import CONTROLLER, Actor
from onehop.controller.allocate import Allocator, Resting
from onehop.controller.blocks.resting import RestingBlocks
from onehop.controller.blocks.sharing import Sharing
from onehop.controller.cache import Cache
from onehop.controller.differences import Plan
from onehop.controller.plan import Draft, Operation
from onehop.controller.refusals import Busy, Malformed, TooMuch
from onehop.controller.sets import Sets
from onehop.model import Object
from onehop.model.view import View
from onehop.store.interface import (
    Absent,
    Guard,
    Outcome,
    Refused,
    Revision,
    Store,
    TooLarge,
    Unavailable,
    Write,
)

__all__ = ["Done", "Engine", "Operation", "Result", "MAX_BULK"]

MAX_BULK = 128  # operations in one commit
TRIES = 12
PAUSE = 0.002  # seconds before the second try, at most; doubled each time
CATCH_UP = 0.1  # how long a commit waits for the cache, at most: what came last may be no object's change
FOLLOW = 5.0  # how long a commit that has happened waits for the cache


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one operation. After a deletion, `object` is what was deleted."""

    object: Object
    revision: Revision


@dataclass(frozen=True, slots=True)
class Done:
    """A commit that happened. `revision` is the store's; results are in the order of the operations.

    `repeated` says that this is the answer of an earlier request with the same idempotency key.
    """

    revision: Revision
    results: tuple[Result, ...]
    repeated: bool = False


class Engine:
    """Writes objects. One per controller."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        resting: Resting | None = None,
        blocks: RestingBlocks | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self.resting_blocks = blocks or RestingBlocks()
        self._allocator = Allocator(cache, resting or Resting(), self.resting_blocks)
        self._sets = Sets(store, cache)

    @classmethod
    async def open(cls, store: Store, cache: Cache) -> Engine:
        """An engine that knows what was given up before it started."""
        resting, blocks = Resting(), RestingBlocks()
        await resting.load(store)
        await blocks.load(store)
        return cls(store, cache, resting, blocks)

    @property
    def max_operations(self) -> int:
        """The most keys that one commit may guard or write (a port takes about ten of each)."""
        return self._store.max_operations

    def free_blocks(self, sharing: Sharing) -> int:
        """About how many blocks of shared ports nobody has."""
        return self._allocator.free_blocks(sharing)

    async def commit(
        self,
        operations: Sequence[Operation],
        actor: Actor,
        idempotency_key: str | None = None,
        *,
        request: Any = None,
    ) -> Done:
        """Do all the operations in one transaction, or none. Raises a `Refusal`.

        Later operations may refer to what earlier ones made, by name. The cache holds the result when
        this returns, so that the caller reads its own writes. `TooMuch` says that the operations do not
        fit into one transaction; fewer of them may. `request` is what an idempotency key goes with, where the
        operations are not the same each time.
        """
        if not operations:
            raise Malformed("there is no operation to do")
        if len(operations) > MAX_BULK:
            raise TooMuch(
                f"{len(operations)} operations are beyond the {MAX_BULK} of one bulk; write them as a "
                "document and use `apply`, which takes any number"
            )
        once = self._once(request or _plain(operations), actor, idempotency_key)
        try:
            return await self._commit(operations, actor, once)
        except Unavailable as error:
            raise Busy(f"{error}. It is not known whether the change was made; look, or try again") from error
        except TimeoutError as error:
            raise Busy("this controller lags behind the store; nothing was written. Try again") from error
        except TooLarge as error:
            raise TooMuch(str(error)) from error

    def imagine(self, operations: Iterable[Operation], actor: Actor) -> View:
        """What would be there after these operations, any number of them; nothing is written."""
        draft = Draft(self._cache, self._allocator, actor)
        try:
            draft.take(list(operations))
            return draft.view
        finally:
            draft.choice.forget()

    def as_if_bound(self, port: str) -> View:
        """What is there, and the blocks of shared ports that a machine's port would have if it were bound."""
        draft = Draft(self._cache, self._allocator, CONTROLLER)
        try:
            draft.as_if_bound(port)
            return draft.view
        finally:
            draft.choice.forget()

    def _once(self, request: Any, actor: Actor, idempotency_key: str | None) -> _Once | None:
        if idempotency_key is None:
            return None
        return _Once(idempotency.store_key(actor.token, idempotency_key), idempotency.digest(request))

    async def _commit(self, operations: Sequence[Operation], actor: Actor, once: _Once | None) -> Done:
        await self._catch_up(max((o.if_match or 0 for o in operations), default=0))
        for attempt in range(TRIES):
            if once is not None and (done := await self._answered(once)) is not None:
                return done
            done = await self._try(operations, actor, once)
            if done is not None:
                return done
            await asyncio.sleep(random.uniform(0, PAUSE * 2**attempt))
        raise Busy("others kept changing the same objects; nothing was written. Try again")

    async def _try(self, operations: Sequence[Operation], actor: Actor, once: _Once | None) -> Done | None:
        """One plan, one transaction. None when the plan was overtaken."""
        planned_at = self._cache.revision
        draft = self._draft(operations, actor)
        try:
            sets = draft.shared_sets()
            if not sets:
                return await self._execute(draft, {}, actor, once)
            async with self._sets.turn(sets) as known:
                if self._cache.revision != planned_at:  # whatever the draft relied on may have changed
                    draft.choice.forget()
                    draft = self._draft(operations, actor)
                if not draft.shared_sets() <= known.keys():
                    return None
                return await self._execute(draft, known, actor, once)
        finally:
            draft.choice.forget()

    def _draft(self, operations: Sequence[Operation], actor: Actor) -> Draft:
        draft = Draft(self._cache, self._allocator, actor)
        try:
            draft.take(operations)
        except BaseException:
            draft.choice.forget()
            raise
        return draft

    async def _execute(
        self, draft: Draft, known: dict[str, Revision], actor: Actor, once: _Once | None
    ) -> Done | None:
        plan = draft.plan(known)
        if not plan.changes and once is None:
            return self._done(plan, self._cache.revision)
        guards, writes = self._complete(plan, actor, once)
        self._sets.forget(draft.sets)
        outcome = await self._transact(guards, writes)
        if isinstance(outcome, Refused):
            await self._catch_up(outcome.revision)
            return None
        self._sets.wrote(draft.sets, outcome.revision)
        try:
            async with asyncio.timeout(FOLLOW):
                if plan.changes:
                    await self._cache.wait_for(outcome.revision)
        except TimeoutError:
            pass  # it has happened all the same, and is told so
        return self._done(plan, outcome.revision)

    def _complete(self, plan: Plan, actor: Actor, once: _Once | None) -> tuple[list[Guard], list[Write]]:
        guards, writes = list(plan.guards), list(plan.writes)
        if plan.changes:
            writes.append(audit.entry(actor, plan.changes))
        if once is not None:
            guards.append(Absent(once.key))
            told = [
                (obj, None if changed else self._cache.revision_of(obj.id)) for obj, changed in plan.results
            ]
            writes.append(idempotency.answer(once.key, once.digest, told))
        return guards, writes

    async def _transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Outcome:
        most = self._store.max_operations
        if len(guards) > most or len(writes) > most:
            raise TooMuch(
                f"this takes {max(len(guards), len(writes))} keys in one transaction, and the store takes "
                f"{most}; send fewer operations at once, or use `apply`, which divides them"
            )
        return await self._store.transact(guards, writes)

    async def _catch_up(self, revision: Revision) -> None:
        if revision > self._cache.revision:
            try:
                async with asyncio.timeout(CATCH_UP):
                    await self._cache.wait_for(revision)
            except TimeoutError:
                pass  # the revision may be that of something which is no object

    def _done(self, plan: Plan, revision: Revision) -> Done:
        results = tuple(
            Result(obj, revision if changed else self._cache.revision_of(obj.id))
            for obj, changed in plan.results
        )
        return Done(revision, results)

    async def _answered(self, once: _Once) -> Done | None:
        """The answer of the first request with this key, if there was one."""
        entry = await self._store.get(once.key)
        if entry is None:
            return None
        results = tuple(
            Result(obj, entry.revision if revision is None else revision)
            for obj, revision in idempotency.replay(entry.value, once.digest)
        )
        await self._catch_up(entry.revision)
        return Done(entry.revision, results, repeated=True)


@dataclass(frozen=True, slots=True)
class _Once:
    """An idempotency key as the store knows it, and the digest of the request."""

    key: str
    digest: str


def _plain(operations: Sequence[Operation]) -> list[object]:
    return [(o.op, o.kind, o.ref, o.body, o.if_match, o.project) for o in operations]
