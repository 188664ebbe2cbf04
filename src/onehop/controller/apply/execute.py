"""Carries a plan out: phase after phase, each as batches of operations, several batches in flight.

Every batch is a transaction, so a plan that stops in the middle leaves whole objects. When somebody else got
in between (an object has changed, a name was taken), the plan is made anew from what is there by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onehop.controller.actor import Actor
from onehop.controller.apply.order import Phases, phases
from onehop.controller.apply.plan import Action, Plan, blamed
from onehop.controller.cache import Cache
from onehop.controller.engine import MAX_BULK, Engine, Operation
from onehop.controller.refusals import Busy, Conflict, NotFound, Refusal, Stale, TooMuch

IN_FLIGHT = 8
KEYS_PER_OPERATION = 10  # what a port takes; a batch that turns out too large is divided
PATIENCE = 6  # how often a batch is tried while the store is busy
PAUSE = 0.1  # seconds before the second try; doubled each time


@dataclass(frozen=True, slots=True)
class Executor:
    """Who carries out, and how."""

    engine: Engine
    cache: Cache
    actor: Actor
    project: str | None

    async def run(self, ordered: Phases) -> AsyncIterator[int]:
        """Carry phases out; yields how many operations are done, now and then. Raises a Refusal."""
        done = 0
        for phase in ordered:
            async for count in self._phase(phase):
                done += count
                yield done

    async def _phase(self, actions: Sequence[Action]) -> AsyncIterator[int]:
        """All batches of a phase. After a refusal no new batch begins, and it is raised in the end."""
        batches = _Batches(actions, self.engine.max_operations)
        finished: asyncio.Queue[int | Refusal] = asyncio.Queue()
        workers = [asyncio.create_task(self._work(batches, finished)) for _ in range(IN_FLIGHT)]
        try:
            left, refused = len(actions), None
            while left and refused is None:
                outcome = await self._next(finished, workers)
                if isinstance(outcome, Refusal):
                    batches.stop()
                    refused = outcome
                else:
                    left -= outcome
                    yield outcome
            await asyncio.gather(*workers)
            if refused is not None:
                raise refused
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _next(
        self, finished: asyncio.Queue[int | Refusal], workers: Sequence[asyncio.Task[None]]
    ) -> int | Refusal:
        """The next outcome; an error of ours in a worker is raised here."""
        waiting = asyncio.create_task(finished.get())
        pending: set[asyncio.Task[Any]] = set(workers)
        try:
            while not waiting.done():
                ended, pending = await asyncio.wait({waiting, *pending}, return_when="FIRST_COMPLETED")
                for task in ended - {waiting}:
                    task.result()
                pending.discard(waiting)
            return waiting.result()
        finally:
            waiting.cancel()

    async def _work(self, batches: _Batches, finished: asyncio.Queue[int | Refusal]) -> None:
        while batch := batches.take():
            try:
                if await self._commit(batch):
                    batches.went_well()
                    finished.put_nowait(len(batch))
                else:
                    batches.divide(batch)
            except Refusal as refusal:
                finished.put_nowait(refusal)
                return

    async def _commit(self, batch: Sequence[Action]) -> bool:
        """One transaction. False when it is too large."""
        operations = [self.operation(action) for action in batch]
        for attempt in range(PATIENCE):
            try:
                await self.engine.commit(operations, self.actor)
                return True
            except TooMuch as refusal:
                if len(batch) == 1:
                    raise blamed(refusal, batch[0]) from None
                return False
            except Busy:
                if attempt == PATIENCE - 1:
                    raise
                await asyncio.sleep(PAUSE * 2**attempt)
            except Refusal as refusal:
                raise blamed(refusal, batch[refusal.operation or 0]) from None
        raise AssertionError("unreachable")

    def operation(self, action: Action) -> Operation:
        """What an action asks of the engine."""
        if action.op == "create":
            return Operation(
                "create", action.kind, body=action.body, project=self.project, trusted={"id": action.id}
            )
        if action.op == "update":
            return Operation("patch", action.kind, action.id, body=action.body, project=self.project)
        return Operation("delete", action.kind, action.id, project=self.project)


class _Batches:
    """The operations of a phase that no worker has taken yet."""

    def __init__(self, actions: Sequence[Action], max_operations: int) -> None:
        self._left = deque(actions)
        self._size = max(1, min(MAX_BULK, max_operations // KEYS_PER_OPERATION))

    def take(self) -> list[Action]:
        count = min(self._size, len(self._left), max(1, -(-len(self._left) // IN_FLIGHT)))
        return [self._left.popleft() for _ in range(count)]

    def divide(self, batch: Sequence[Action]) -> None:
        """A batch was too large: give it back, and take fewer from now on."""
        self._size = max(1, min(self._size, len(batch) * 3 // 4))
        self._left.extendleft(reversed(batch))

    def went_well(self) -> None:
        self._size = min(MAX_BULK, self._size + 1)

    def stop(self) -> None:
        self._left.clear()


Replan = Callable[[], Awaitable[Plan]]
OVERTAKEN = (Stale, Conflict, NotFound)
PLANS = 4  # how often a plan is made before what stands in its way is believed


async def carry_out(executor: Executor, plan: Plan, replan: Replan) -> AsyncIterator[tuple[int, int]]:
    """Carry out a plan, planning again when overtaken; yields (done, total)."""
    before = 0
    for attempt in range(PLANS):
        ordered, done = phases(plan, executor.cache.view), 0
        total = before + sum(map(len, ordered))
        try:
            async for count in executor.run(ordered):
                done = count
                yield before + done, total
            return
        except OVERTAKEN:
            if attempt == PLANS - 1:
                raise
            count_before = len(plan.actions)
            plan = await replan()
            if not done and len(plan.actions) == count_before:
                raise  # nothing has moved: it is not others who are in the way
        before += done
