"""Differences written into real maps: what the tables hold in the end is what they should hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from onehop.agent.apply import EPOCH_STEP, Applier
from onehop.compiler.compile import Compiler
from onehop.compiler.desired import Desired
from onehop.compiler.difference import Difference
from onehop.datapath.maps import Map, create_map
from onehop.datapath.structs import FdbKey, Hop, Router
from onehop.datapath.tables import TABLES, Role, key_codec, value_codec
from onehop.datapath.words import RouterFlag
from tests.unit.compiler.cloudlet import LOCALS
from tests.unit.compiler.test_incremental import THIS, Filling, apply, batches, fillings, full

Maps = dict[str, Map[Any, Any]]
few = settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@contextmanager
def tables(**sizes: int) -> Iterator[Maps]:
    """The tables that the agent writes, empty; small ones, or of the sizes given."""
    maps: Maps = {}
    try:
        for one in TABLES:
            if one.role in (Role.COMPILED, Role.KEPT):
                size = sizes.get(one.name, 512)
                key, value = key_codec(one), value_codec(one)
                maps[one.name] = create_map(one.kind, one.name, key, value, size, flags=one.flags)
        yield maps
    finally:
        for opened in maps.values():
            opened.close()


@pytest.fixture
def maps() -> Iterator[Maps]:
    with tables() as made:
        yield made


def visible(desired: Desired) -> Desired:
    """Lists without elements cannot be told from those that are not there."""
    lists = {
        name: {id: rules for id, rules in found.items() if rules} for name, found in desired.lists.items()
    }
    return Desired(desired.tables, lists)


@few
@given(fillings, batches)
def test_changes_one_by_one_leave_what_should_be_there(filling: Filling, batches: list[Any]) -> None:
    view, compiler = full(filling), Compiler(THIS)
    with tables() as maps:
        applier = Applier(maps)
        applier.reconcile(compiler.compile(view, LOCALS[1]))
        for batch, _, local in batches:
            applier.apply(compiler.update(list(apply(view, batch)), local))
            assert applier.actual() == visible(compiler.desired())
        assert applier.full == {}


@few
@given(fillings, fillings)
def test_who_takes_over_makes_of_anything_what_should_be_there(one: Filling, other: Filling) -> None:
    first = Compiler(THIS)
    with tables() as maps:
        Applier(maps).reconcile(first.compile(full(one), LOCALS[1]))
        desired = Compiler(THIS, first.assignment()).compile(full(other), LOCALS[2])
        successor = Applier(maps)
        successor.reconcile(desired)
        assert successor.actual() == visible(desired)
        again = Applier(maps).reconcile(desired)
        assert (again.puts, again.removes, again.zones) == ({}, {}, frozenset())


def test_only_the_epochs_of_the_zones_concerned_go_up(maps: Maps) -> None:
    Applier(maps).apply(Difference({"routers": {1: Router(3, RouterFlag.UP)}}, zones=frozenset({3})))
    epochs = maps["epochs"]
    assert {zone: epoch for zone, epoch in epochs.items() if epoch} == {3: EPOCH_STEP}


def test_what_finds_no_room_is_told_and_written_when_there_is_some() -> None:
    keys = [FdbKey(1, bytes([2, 0, 0, 0, 0, n])) for n in range(6)]
    with tables(fdb=4) as maps:
        applier = Applier(maps)
        applier.apply(
            Difference(
                {"fdb": {key: n for n, key in enumerate(keys)}, "routers": {1: Router(1, RouterFlag.UP)}}
            )
        )
        assert applier.full == {"fdb": 2}
        assert maps["routers"].lookup(1) == Router(1, RouterFlag.UP)
        written = [key for key in keys if maps["fdb"].lookup(key) is not None]
        applier.apply(Difference(removes={"fdb": tuple(written[:2])}))
        assert applier.full == {}
        assert {key for key, _ in maps["fdb"].items()} == set(keys) - set(written[:2])


def test_a_list_that_is_swapped_stays_whole_where_it_was() -> None:
    """A packet that has read the old place goes on there."""
    old, new = ((Hop(bytes(16), port, 1), Hop(bytes(16), port, 2)) for port in (7, 8))
    with tables() as maps:
        applier = Applier(maps)
        applier.apply(Difference({"hop_groups": {1: old}}))
        place = maps["hop_spans"].lookup(1)
        applier.apply(Difference({"hop_groups": {1: new}}))
        assert applier.actual().lists["hop_groups"] == {1: new}
        assert [maps["hops"].lookup(place.base + n) for n in range(place.count)] == list(old)


def test_the_place_of_a_list_is_free_again_after_a_rest() -> None:
    now = 0.0
    with tables(hops=4) as maps:
        applier = Applier(maps, lambda: now)
        for port in range(1, 6):
            elements = (Hop(bytes(16), port, 1), Hop(bytes(16), port, 2))
            applier.apply(Difference({"hop_groups": {1: elements}}))
            assert applier.actual().lists["hop_groups"] == {1: elements}
            now += 2.0
