"""What comes out never depends on history: incremental is the same as from nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onehop.compiler.compile import Compiler, Local
from onehop.compiler.desired import Desired
from onehop.compiler.difference import Difference
from onehop.model import Object
from onehop.model.view import Topology
from tests.unit.compiler.cloudlet import HERE, LOCALS, SLOTS, uid
from tests.unit.compiler.model_tables import write

Filling = dict[int, int]  # slot -> which of its variants; absent: none
THIS = uid("host", HERE)

# Most slots are full: what is half there says little.
fillings = st.lists(
    st.sampled_from([None, 0, 0, 1, 1, 2, 3, 4, 5]), min_size=len(SLOTS), max_size=len(SLOTS)
).map(lambda chosen: {slot: variant for slot, variant in enumerate(chosen) if variant is not None})
changes = st.lists(
    st.tuples(st.integers(0, len(SLOTS) - 1), st.none() | st.integers(0, 5)), min_size=1, max_size=6
)
# A batch of changes; which ids are told of more than once, and in which order; what the host itself has.
batches = st.lists(
    st.tuples(changes, st.randoms(use_true_random=False), st.none() | st.sampled_from(LOCALS)), max_size=5
)
quick = settings(
    max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)


def in_slot(slot: int, variant: int) -> Object:
    """A copy: objects that come over the feed are never the same ones again."""
    return msgspec.structs.replace(SLOTS[slot][variant % len(SLOTS[slot])])


def full(filling: Filling) -> Topology:
    return Topology(in_slot(slot, variant) for slot, variant in filling.items())


def apply(view: Topology, batch: list[tuple[int, int | None]]) -> Iterator[str]:
    for slot, variant in batch:
        if variant is None:
            view.remove(SLOTS[slot][0].id)
        else:
            view.put(in_slot(slot, variant))
        yield SLOTS[slot][0].id


def contents(desired: Desired) -> tuple[Any, ...]:
    return desired.tables, desired.lists, desired.problems


@quick
@given(fillings, batches)
def test_changes_lead_to_what_compiling_from_nothing_gives(filling: Filling, batches: list[Any]) -> None:
    view = full(filling)
    local = Local()
    compiler = Compiler(THIS)
    compiler.compile(view, local)
    for batch, random, new_local in batches:
        local = new_local or local
        changed = list(apply(view, batch))
        changed += random.choices(changed, k=2)
        random.shuffle(changed)
        compiler.update(changed, new_local)
        anew = Compiler(THIS, compiler.assignment())
        assert contents(anew.compile(view, local)) == contents(compiler.desired())
        assert anew.assignment().ids == compiler.assignment().ids


@quick
@given(fillings, batches)
def test_the_difference_takes_what_was_there_to_what_should_be(filling: Filling, batches: list[Any]) -> None:
    view = full(filling)
    compiler = Compiler(THIS)
    before = compiler.compile(view)
    for batch, _, local in batches:
        difference = compiler.update(list(apply(view, batch)), local)
        after = compiler.desired()
        between = Difference.between(after, before)
        assert difference.puts == between.puts
        assert {t: set(k) for t, k in difference.removes.items()} == {
            t: set(k) for t, k in between.removes.items()
        }
        assert write(before, difference) == (after.tables, after.lists)
        told = {**before.problems, **difference.problems}
        assert {id: problems for id, problems in told.items() if problems} == after.problems
        before = after


@quick
@given(fillings, batches)
def test_several_batches_squashed_into_one_come_to_the_same(filling: Filling, batches: list[Any]) -> None:
    one, other = full(filling), full(filling)
    stepwise, squashed = Compiler(THIS), Compiler(THIS)
    stepwise.compile(one)
    squashed.compile(other)
    changed: list[str] = []
    for batch, _, _ in batches:
        stepwise.update(list(apply(one, batch)))
        changed += apply(other, batch)
    squashed.update(changed)
    same_numbers = Compiler(THIS, squashed.assignment())
    assert contents(same_numbers.compile(one)) == contents(squashed.desired())
    assert names(stepwise) == names(squashed)


def names(compiler: Compiler) -> dict[str, set[str]]:
    return {space: set(ids) for space, ids in compiler.assignment().ids.items()}


@quick
@given(fillings, changes)
def test_a_change_that_changes_nothing_computes_nothing(filling: Filling, batch: Any) -> None:
    view = full(filling)
    compiler = Compiler(THIS)
    compiler.compile(view)
    runs = compiler.runs
    for obj in list(view):
        view.put(msgspec.structs.replace(obj))
    difference = compiler.update([SLOTS[slot][0].id for slot, _ in batch])
    assert (compiler.runs, difference) == (runs, Difference())


@quick
@given(fillings, batches)
def test_when_all_is_gone_nothing_is_left(filling: Filling, batches: list[Any]) -> None:
    view = full(filling)
    compiler = Compiler(THIS)
    compiler.compile(view)
    for batch, _, _ in batches:
        compiler.update(list(apply(view, batch)))
    ids = [obj.id for obj in view]
    for id in ids:
        view.remove(id)
    compiler.update(ids)
    assert not any(compiler.desired().tables.values())
    assert not any(compiler.desired().lists.values())
    assert not any(compiler.assignment().ids.values())
    assert compiler.desired().problems == {}
