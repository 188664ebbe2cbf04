from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.datapath.extents import REST, Extents


def test_what_is_given_back_rests_before_it_is_taken_again() -> None:
    extents = Extents(4)
    assert extents.take(4, 0.0) == 0
    extents.give(0, 4, 1.0)
    assert extents.take(4, 1.0 + REST / 2) is None
    assert extents.take(4, 1.0 + REST) == 0


def test_what_is_used_already_is_not_given_out() -> None:
    extents = Extents(10, [(2, 3), (6, 1)])
    assert extents.take(3, 0.0) == 7
    assert extents.take(2, 0.0) == 0
    assert extents.take(2, 0.0) is None


def test_neighbouring_runs_join_when_they_have_rested() -> None:
    extents = Extents(6)
    bases = [extents.take(2, 0.0) for _ in range(3)]
    for base in bases:
        assert base is not None
        extents.give(base, 2, 0.0)
    assert extents.take(6, REST) == 0


@pytest.mark.parametrize("used", [[(0, 3), (2, 1)], [(8, 3)]])
def test_runs_that_overlap_or_stick_out_are_refused(used: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        Extents(10, used)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=60))
def test_no_place_is_given_out_twice(steps: list[tuple[bool, int]]) -> None:
    extents, held, now = Extents(32), dict[int, int](), 0.0
    for takes, count in steps:
        now += REST / 3
        if takes:
            base = extents.take(count, now)
            if base is not None:
                places = {place for start, length in held.items() for place in range(start, start + length)}
                assert places.isdisjoint(range(base, base + count))
                assert base + count <= 32
                held[base] = count
        elif held:
            base, length = next(iter(held.items()))
            del held[base]
            extents.give(base, length, now)
