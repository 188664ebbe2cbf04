"""Computing again only what may come out otherwise.

Knows units, not networks. Each unit's reads are noted, and a change makes those units stale that have read
what has changed. Stale units are computed in the order of the pipeline; one whose facts change makes those
stale that have read them. A unit that nobody demands any more is taken back.

Invariant: whatever the history, what stands here is what computing all from nothing would give with the same
numbers. Numbers (`ids`) depend on history, and on nothing else does anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from onehop.compiler.desired import Claims
from onehop.compiler.facts import BESIDE, BOUNDARY, Topic, beside, boundary
from onehop.compiler.ids import Exhausted, Ids
from onehop.compiler.tracked import Read, concerned
from onehop.compiler.unit import Result, Scope, Step, Unit, Unsupported
from onehop.compiler.zones import Zones
from onehop.model import Object
from onehop.model.view import View

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

_NOTHING = Result()


class Incremental:
    """Units and their results. Steps from `zoned` on may ask for zones, those before make them."""

    def __init__(self, view: View, host: str, steps: Sequence[Step], zoned: str, ids: Ids) -> None:
        self.view, self.host, self.ids = view, host, ids
        self.claims = Claims()
        self.runs = 0
        self._steps = steps
        self._numbers = {step.name: i for i, step in enumerate(steps)}
        self._per = {
            step.per: [i for i, other in enumerate(steps) if other.per is step.per] for step in steps
        }
        self._zoned = self._numbers[zoned]
        self._known: dict[str, Object] = {}
        self._results: dict[Unit, Result] = {}
        self._readers: dict[Read, set[Unit]] = {}
        self._facts: dict[Topic[Any], dict[Any, int]] = {}
        self._given: dict[Topic[Any], Any] = {}
        self._demanders: dict[Unit, set[Unit]] = {}
        self._holders: dict[tuple[str, str], int] = {}
        self._let_go: set[tuple[str, str]] = set()
        self._zones = Zones(lambda d: self._facts.get(beside(d), ()), lambda d: boundary(d) in self._facts)
        self._moved: set[str] = set()  # devices whose links, or whose being a boundary, changed
        self._stuck: set[Unit] = set()  # units that found no number free
        self._queue: list[Unit] = []
        self._queued: set[Unit] = set()
        self._bumped: set[int] = set()  # zones
        self._rewritten: set[Unit] = set()  # units whose rows changed
        self._troubled: dict[str, set[Unit]] = {}  # object -> units that have a problem with it
        self._new_problems: set[str] = set()

    # --- from outside -----------------------------------------------------------------------------------

    def settle(self, changed: Iterable[str], given: Mapping[Topic[Any], Any] | None) -> None:
        """Take in that these objects may have changed, and what is given from outside, if that has."""
        for id in changed:
            self._changed(id)
        if given is not None:
            self._give(given)
        for unit in self._stuck:
            self._put(unit)
        self._stuck = set()
        self._work()
        self._release()

    def take_zones(self) -> set[int]:
        """The zones whose flows have to be judged anew, since this was last asked."""
        zones, seen, ahead = self._bumped, set(self._rewritten), list(self._rewritten)
        while ahead:
            unit = ahead.pop()
            result = self._results.get(unit, _NOTHING)
            zones |= result.zones
            for others in (self._demanders.get(unit, ()), result.within):
                ahead.extend(other for other in others if other not in seen)
                seen.update(others)
        self._bumped, self._rewritten = set(), set()
        return zones

    def problems(self, id: str) -> tuple[str, ...]:
        """What is wrong with an object here."""
        units = sorted(self._troubled.get(id, ()))
        return tuple(dict.fromkeys(text for unit in units for text in self._results[unit].problems[id]))

    def troubled(self) -> Iterable[str]:
        return self._troubled

    def take_troubled(self) -> set[str]:
        """The objects whose problems may have changed since this was last asked."""
        objects, self._new_problems = self._new_problems, set()
        return objects

    # --- what scopes ask --------------------------------------------------------------------------------

    def facts(self, topic: Topic[T]) -> frozenset[T]:
        return frozenset(self._facts.get(topic, ()))

    def number(self, space: str, name: str) -> int:
        return self.ids.of(space, name)

    def zone_of(self, device: str) -> str:
        return self._zones.of(device)

    def step(self, name: str) -> int:
        return self._numbers[name]

    # --- what is stale ----------------------------------------------------------------------------------

    def _changed(self, id: str) -> None:
        before, after = self._known.get(id), self.view.find(id)
        if before == after:
            return
        for read in concerned(before, after):
            self._stale(read)
        for obj in (before, after):
            for step in self._per.get(type(obj), ()) if obj is not None else ():
                self._put(Unit(step, (id,)))
        if after is None:
            del self._known[id]
        else:
            self._known[id] = after

    def _give(self, given: Mapping[Topic[Any], Any]) -> None:
        for topic in {**self._given, **given}:
            if self._given.get(topic) != given.get(topic):
                self._tell(topic, self._given.get(topic), -1)
                self._tell(topic, given.get(topic), 1)
                self._stale(topic)
        self._given = dict(given)

    def _stale(self, read: Read) -> None:
        for unit in self._readers.get(read, ()):
            self._put(unit)

    def _put(self, unit: Unit) -> None:
        if unit not in self._queued:
            self._queued.add(unit)
            heapq.heappush(self._queue, unit)

    def _work(self) -> None:
        while self._queue or self._moved:
            if self._moved and (not self._queue or self._queue[0].step >= self._zoned):
                moved, self._moved = self._moved, set()
                for device in self._zones.update(moved):
                    self._stale(Topic("zone", device))
                continue
            unit = heapq.heappop(self._queue)
            self._queued.discard(unit)
            self._replace(unit, self._compute(unit) if self._wanted(unit) else None)

    def _wanted(self, unit: Unit) -> bool:
        per = self._steps[unit.step].per
        if per is None:
            return unit in self._demanders
        return isinstance(self.view.find(unit.of[0]), per)

    def _compute(self, unit: Unit) -> Result:
        self.runs += 1
        scope = Scope(self)
        try:
            self._steps[unit.step].compute(scope, *unit.of)
        except (Unsupported, Exhausted) as error:
            if isinstance(error, Exhausted):
                self._stuck.add(unit)
            return Result(
                reads=scope.reads, ids=scope.result.ids, problems={unit.of[0]: (f"unsupported: {error}",)}
            )
        return scope.result

    # --- from one result to the next --------------------------------------------------------------------

    def _replace(self, unit: Unit, result: Result | None) -> None:
        old, new = self._results.get(unit, _NOTHING), result or _NOTHING
        if result is None:
            self._results.pop(unit, None)
        else:
            self._results[unit] = result
        _reindex(self._readers, unit, old.reads, new.reads)
        self._exchange_facts(unit, old.facts, new.facts)
        for demanded in new.demands - old.demands:
            assert demanded.step >= unit.step, "a unit demands of an earlier step"
            if demanded not in self._demanders:
                self._put(demanded)
        _reindex(self._demanders, unit, old.demands, new.demands)
        for demanded in old.demands - new.demands:
            if demanded not in self._demanders:
                self._put(demanded)
        for held, change in ((new.ids - old.ids, 1), (old.ids - new.ids, -1)):
            for id in held:
                self._holders[id] = self._holders.get(id, 0) + change
                if not self._holders[id]:
                    self._let_go.add(id)
        if old.problems != new.problems:
            self._new_problems |= old.problems.keys() | new.problems.keys()
            _reindex(self._troubled, unit, old.problems.keys(), new.problems.keys())
        if old.rows != new.rows:
            self.claims.exchange(unit, old.rows, new.rows)
            self._bumped |= old.zones
            self._rewritten |= {unit, *old.within}

    def _exchange_facts(
        self, unit: Unit, old: set[tuple[Topic[Any], Any]], new: set[tuple[Topic[Any], Any]]
    ) -> None:
        if old == new:
            return
        changed = {topic for topic, fact in new - old if self._tell(topic, fact, 1)}
        changed |= {topic for topic, fact in old - new if self._tell(topic, fact, -1)}
        for topic in changed:
            if topic.name in (BESIDE, BOUNDARY):
                self._moved.add(topic.of)
            for reader in self._readers.get(topic, ()):
                assert reader.step > unit.step, "a unit reads what a later step says"
                self._put(reader)

    def _tell(self, topic: Topic[Any], fact: Any, times: int) -> bool:
        """Count a fact; whether it is new or gone."""
        if fact is None:
            return False
        counts = self._facts.setdefault(topic, {})
        count = counts.get(fact, 0) + times
        if count:
            counts[fact] = count
            return count == times == 1
        del counts[fact]
        if not counts:
            del self._facts[topic]
        return True

    def _release(self) -> None:
        """Give back the numbers that nobody holds any more."""
        for id in self._let_go:
            if not self._holders[id]:
                del self._holders[id]
                self.ids.release(*id)
        self._let_go = set()

    def forget_unheld(self) -> None:
        """Give back the numbers of an earlier assignment that nobody has asked for."""
        for id in list(self.ids.names()):
            if id not in self._holders:
                self.ids.release(*id)


def _reindex(index: dict[K, set[V]], member: V, old: Iterable[K], new: Iterable[K]) -> None:
    old, new = set(old), set(new)
    for key in new - old:
        index.setdefault(key, set()).add(member)
    for key in old - new:
        members = index[key]
        members.discard(member)
        if not members:
            del index[key]
