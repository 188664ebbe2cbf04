"""Numbers are kept while they are held, outlive a restart, and rest when they are freed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.compiler.ids import Exhausted, Ids

TINY = {"routers": 5, "hosts": 5}


def test_a_name_keeps_its_number() -> None:
    ids = Ids(limits=TINY)
    assert [ids.of("routers", name) for name in "abab"] == [1, 2, 1, 2]


def test_other_hosts_are_counted_from_behind_this_one() -> None:
    assert Ids(limits=TINY).of("hosts", "a") == 2


def test_a_freed_number_is_given_out_again_last() -> None:
    ids = Ids(limits=TINY)
    for name in "ab":
        ids.of("routers", name)
    ids.release("routers", "a")
    assert [ids.of("routers", name) for name in "cde"] == [3, 4, 1]


def test_a_restart_keeps_numbers_and_goes_on_where_it_was() -> None:
    ids = Ids(limits=TINY)
    for name in "ab":
        ids.of("routers", name)
    ids.release("routers", "b")
    again = Ids(ids.assignment(), TINY)
    assert [again.of("routers", name) for name in "ac"] == [1, 3]


def test_when_all_numbers_are_taken_it_says_so() -> None:
    ids = Ids(limits=TINY)
    for name in "abcd":
        ids.of("routers", name)
    with pytest.raises(Exhausted, match="a host can have at most 4 routers"):
        ids.of("routers", "e")
    ids.release("routers", "b")
    assert ids.of("routers", "e") == 2


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcd"))))
def test_no_two_names_ever_share_a_number(steps: list[tuple[bool, str]]) -> None:
    ids = Ids(limits=TINY)
    for take, name in steps:
        if take:
            ids.of("routers", name)
        else:
            ids.release("routers", name)
        held = list(ids.assignment().ids["routers"].values())
        assert len(held) == len(set(held)) and all(0 < number < 5 for number in held)
