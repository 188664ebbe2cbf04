"""The loaded object: lists in arrays, and what the timer sweeps."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from onehop.datapath.libbpf import MapFull
from onehop.datapath.lists import ListTable
from onehop.datapath.structs import Rule, Span
from onehop.datapath.testrun import SkBuff, run_program
from onehop.datapath.traffic import Hint
from onehop.datapath.words import MatchField, RuleAction
from onehop.simulation.packet import Udp
from tests.bpf.test_connections import key
from tests.bpf.world import A, C, World, frame


def rules(*ids: int) -> list[Rule]:
    return [Rule(MatchField(0), MatchField(0), RuleAction.ALLOW, id=id) for id in ids]


@pytest.fixture
def lists(world: World) -> ListTable:
    world.clear()
    return world.lists["rule_lists"]


def ids(lists: ListTable, id: int) -> list[int]:
    return [rule.id for rule in lists.get(id)]


def test_a_list_is_read_as_it_was_written(lists: ListTable) -> None:
    lists.put(3, rules(1, 2, 3))
    lists.put(4, rules(9))
    assert (ids(lists, 3), ids(lists, 4), lists.ids()) == ([1, 2, 3], [9], {3, 4})


def test_a_new_list_stands_elsewhere_than_the_old_one(lists: ListTable) -> None:
    lists.put(3, rules(1, 2, 3))
    before = lists.spans.lookup(3)
    lists.put(3, rules(4, 5))
    after = lists.spans.lookup(3)
    assert before == Span(0, 3) and after == Span(3, 2)
    assert ids(lists, 3) == [4, 5]


def test_room_that_was_freed_is_used_again(lists: ListTable) -> None:
    half = lists.elements.info.max_entries // 2
    for round in range(4):
        lists.put(3, rules(round) * half)
        lists.remove(3)
    lists.put(4, rules(7) * (2 * half))
    with pytest.raises(MapFull, match="rules has no room for a list of 1"):
        lists.put(5, rules(1))
    lists.remove(4)


def test_whoever_takes_over_knows_what_is_taken(lists: ListTable) -> None:
    for id in (1, 2, 3):
        lists.put(id, rules(id, id))
    lists.remove(2)
    taken = ListTable(lists.spans, lists.elements)
    taken.put(9, rules(8, 8, 8))
    assert [ids(taken, id) for id in (1, 3, 9)] == [[1, 1], [3, 3], [8, 8, 8]]


# --- time ---------------------------------------------------------------------------------------------------


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_what_is_idle_is_swept_and_gives_its_place_back(world: World) -> None:
    sent, back = Udp(4000, 53), Udp(53, 4000)
    world.send(A, frame(A, C, sent))
    world.send(A, frame(A, C, Udp(4001, 53)))
    old = world.now() - 400 * 10**9
    world.change("records", key(A, C, sent), used=old)
    world.put("hints", key(C, A, back), Hint(A, old))
    run_program(world.datapath.programs["start"], bytes(64), SkBuff(mark=1_000_000))
    records, hints = world.tables["records"], world.tables["hints"]
    assert eventually(lambda: records.lookup(key(A, C, sent)) is None)
    assert eventually(lambda: hints.lookup(key(C, A, back)) is None)
    assert records.lookup(key(A, C, Udp(4001, 53))) is not None
    assert world.tables["openers"].lookup(A) == 1
