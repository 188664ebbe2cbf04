"""What is different, as guards and writes for the store. Pure.

Every object that differs becomes one write, and so do its references and claims. The guards hold exactly if
the same would come out again: see `plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from onehop.controller.allocate import rest_of
from onehop.controller.blocks import resting
from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.keys import (
    GUARDED,
    WEAK,
    WEAKLY_USED,
    claim_key,
    encode,
    guard_key,
    key_of,
    no_refs_besides,
    object_key,
    ref_key,
    resting_key,
)
from onehop.model import Binding, Object, SnatBlock, kind_of
from onehop.model.claims import Claim, claimants, claims_of
from onehop.model.view import Overlay, View, targets
from onehop.store.interface import Absent, AtRevision, Delete, Exists, Guard, Put, Revision, Write

RestingUntil = Callable[[Claim], float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of the store. `results` are the objects per operation, and whether each changes."""

    guards: list[Guard]
    writes: list[Write]
    changes: list[ObjectChange]
    results: list[tuple[Object, bool]]


def planned(cache: Cache, view: Overlay, resting_until: RestingUntil) -> Plan:
    """What makes the store's objects those of a view upon the cache's."""
    plan = Plan([], [], [], [])
    for id, after in view.changed().items():
        before = cache.view.find(id)
        if before != after:
            plan.changes.append(ObjectChange(id, before, after))
    _objects(plan, cache)
    _references(plan, view)
    _claims(plan, cache, view, resting_until)
    _leaving(plan, cache.view)
    return plan


def guard_sets(plan: Plan, sets: Iterable[str], known: Mapping[str, Revision]) -> None:
    """Guard the sets that rules have looked at, and write that they have changed."""
    gone = {c.id for c in plan.changes if c.after is None}
    for scope in sorted(sets):
        key, revision = guard_key(scope), known.get(scope, 0)
        plan.guards.append(AtRevision(key, revision) if revision else Absent(key))
        if scope.partition("/")[2] not in gone:
            plan.writes.append(Put(key, b""))
    for change in plan.changes:
        if change.after is None and change.before is not None:
            kind = kind_of(change.before).name
            if kind in GUARDED:
                plan.writes.append(Delete(guard_key(f"{GUARDED[kind]}/{change.id}")))


def _objects(plan: Plan, cache: Cache) -> None:
    for id, before, after in plan.changes:
        if before is None:
            assert after is not None
            plan.guards.append(Absent(key_of(after)))
        else:
            plan.guards.append(AtRevision(key_of(before), cache.revision_of(id)))
        if after is None:
            assert before is not None
            plan.writes.append(Delete(key_of(before)))
        else:
            plan.writes.append(Put(key_of(after), encode(after)))


def _references(plan: Plan, view: View) -> None:
    needed: dict[str, None] = {}
    dropped: dict[str, list[str]] = {}
    for id, before, after in plan.changes:
        old = targets(before) if before is not None else set()
        new = targets(after) if after is not None else set()
        kind = kind_of(after or before or _never()).name
        for target in sorted(new - old):
            plan.writes.append(Put(ref_key(target, kind, id), b""))
            needed[target] = None
        for target in sorted(old - new):
            key = ref_key(target, kind, id)
            plan.writes.append(Delete(key))
            dropped.setdefault(target, []).append(key)
    created = {change.id for change in plan.changes if change.before is None}
    for target in needed:
        if target not in created:
            found = view.find(target)
            assert found is not None
            plan.guards.append(Exists(object_key(kind_of(found).name, target)))
    for id, before, after in plan.changes:
        if after is None:
            weak = WEAK if kind_of(before or _never()).name in WEAKLY_USED else ()
            plan.guards.extend(no_refs_besides(id, dropped.get(id, []), weak))


def _claims(plan: Plan, cache: Cache, view: View, resting_until: RestingUntil) -> None:
    given_up: dict[Claim, str] = {}
    taken: dict[Claim, str] = {}
    changed = [id for c in plan.changes for obj in (c.before, c.after) if obj for id in claimants(obj)]
    were, are = claims_of(changed, cache.view), claims_of(changed, view)
    for id in dict.fromkeys(changed):
        old, new = were.get(id, []), are.get(id, [])
        kept = set(old) & set(new)
        given_up.update((claim, id) for claim in old if claim not in kept)
        taken.update((claim, id) for claim in new if claim not in kept)
    for claim, id in taken.items():
        key = claim_key(claim)
        # A claim that one object of this plan hands to another is guarded by the first's revision.
        plan.guards.append(Exists(key) if claim in given_up else Absent(key))
        if resting.is_block(claim):
            plan.guards.append(Absent(resting.resting_key(claim)))
        plan.writes.append(Put(key, id.encode()))
    for claim, id in given_up.items():
        if claim not in taken:
            plan.writes.append(Delete(claim_key(claim)))
            if (rests := _resting(claim, id, cache.view, resting_until)) is not None:
                plan.writes.append(rests)


def _resting(claim: Claim, id: str, view: View, resting_until: RestingUntil) -> Put | None:
    """What tells that a value which is given up is not to be had again at once."""
    if resting.is_block(claim):
        block = view.get(SnatBlock, id)
        port = block.port if block is not None else ""
        return resting.given_up(claim, port, (b.host for b in view.bindings(port)))
    if rest_of(claim) is None:
        return None
    return Put(resting_key(claim), f"{resting_until(claim):.0f}".encode())


def _leaving(plan: Plan, view: View) -> None:
    """Hosts that a port with blocks is taken from: they may use them until they know."""
    for _, before, after in plan.changes:
        if after is not None or not isinstance(before, Binding):
            continue
        if any(True for _ in view.referrers(before.port, "snat-block")):
            plan.writes.append(resting.leaving(before.port, before.host))


def _never() -> Object:
    raise AssertionError("a change without an object")
