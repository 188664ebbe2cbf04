"""The C text that is generated from Python."""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar

import pytest

from onehop.datapath import generate
from onehop.datapath.headers import layouts_header, vocabulary_header
from onehop.datapath.layouts import IP6, U16, U32, Layout, LayoutError, array, pad


class Inner(Layout, frozen=True):
    address: IP6


class Outer(Layout, frozen=True):
    """What holds inner ones.

    Only the first paragraph goes to C.
    """

    key: Annotated[U32, "a port's key"]
    inner: Annotated[tuple[Inner, ...], array(Inner, 2)]
    count: U16
    _1: ClassVar = pad(2)


class Drop(enum.IntEnum):
    """Why a packet was dropped."""

    NONE = 0
    NO_ROUTE = 7


class Flags(enum.IntFlag):
    LEARN = 1
    ASK = 4


class Negative(enum.IntEnum):
    BELOW = -1


def test_the_committed_headers_are_current() -> None:
    for name, text in generate.headers().items():
        written = (generate.GENERATED / name).read_text()
        assert written == text, f"{name} is old: run python -m onehop.datapath.generate"


def test_a_struct_becomes_c_with_its_assertions() -> None:
    text = layouts_header([Outer])
    assert (
        "/* What holds inner ones. */\n"
        "struct outer {\n"
        "\t__u32 key; /* a port's key */\n"
        "\tstruct inner inner[2];\n"
        "\t__u16 count;\n"
        "\t__u8 _1[2];\n"
        "};\n"
        '_Static_assert(sizeof(struct outer) == 40, "outer: size");\n'
    ) in text
    assert '_Static_assert(__builtin_offsetof(struct outer, count) == 36, "outer.count");' in text


def test_a_contained_struct_comes_first_and_once() -> None:
    text = layouts_header([Outer, Inner])
    assert text.index("struct inner {") < text.index("struct outer {")
    assert text.count("struct inner {") == 1


def test_an_enumeration_becomes_c_with_its_name_before_each_member() -> None:
    assert (
        "/* Why a packet was dropped. */\n"
        "enum drop {\n\tDROP_NONE = 0,\n\tDROP_NO_ROUTE = 7,\n\tDROP_COUNT = 8,\n};\n"
    ) in vocabulary_header([Drop])


def test_constants_become_defines() -> None:
    assert "#define LIMIT 16\n" in vocabulary_header([], {"LIMIT": 16})


def test_flags_have_no_count() -> None:
    text = vocabulary_header([Flags])
    assert "FLAGS_LEARN = 1" in text
    assert "COUNT" not in text


def test_a_member_that_does_not_fit_an_int_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"Negative\.BELOW"):
        vocabulary_header([Negative])
