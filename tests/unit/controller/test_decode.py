"""Bodies are read within bounds, and whatever is wrong with them is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.controller.decode import MAX_DEPTH, parse, seconds, whole_number
from onehop.controller.refusals import Malformed

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_json_says_is_what_is_read(value: dict[str, Any]) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse(json.dumps(value, indent=1).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_malformed(data: bytes) -> None:
    try:
        assert isinstance(parse(data), dict)
    except Malformed as error:
        assert error.message


@given(
    st.lists(
        st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b"a", b":", b",", b"1", b" "]), max_size=300
    )
)
def test_any_heap_of_brackets_and_quotes_is_an_object_or_malformed(parts: list[bytes]) -> None:
    try:
        assert isinstance(parse(b"".join(parts)), dict)
    except Malformed as error:
        assert error.message


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_nesting_is_counted_exactly() -> None:
    assert parse(nested(MAX_DEPTH))
    with pytest.raises(Malformed, match="nests"):
        parse(nested(MAX_DEPTH + 1))


def test_brackets_in_strings_do_not_count() -> None:
    text = '[{"\\' * 100
    assert parse(json.dumps({"a": text}).encode()) == {"a": text}


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse(json.dumps({"a": [[]] * 1000}).encode()) == {"a": [[]] * 1000}


def test_a_name_given_twice_is_told() -> None:
    with pytest.raises(Malformed) as error:
        parse(b'{"a": {"mtu": 1, "mtu": 2}}')
    assert [problem.field for problem in error.value.problems] == ["mtu"]


@pytest.mark.parametrize("text", ["", "-1", "1.0", "\u0661", "101", "1e1", " 1"])
def test_what_is_no_whole_number_in_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 100"):
        whole_number(1, 100)(text)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e3", "301", "1.", "."])
def test_what_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seconds"):
        seconds(300)(text)
