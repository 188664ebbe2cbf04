"""A struct declared once: what bytes it has, and what is refused."""

from __future__ import annotations

import enum
import struct
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.datapath import layouts
from onehop.datapath.layouts import (
    BE16,
    BE32,
    IP6,
    MAC,
    U8,
    U16,
    U32,
    U64,
    Layout,
    LayoutError,
    array,
    codec,
    enumerated,
    fields,
    ip6,
    octets,
    pad,
    per_cpu,
    scalar,
    show_ip6,
)


class Verdict(enum.IntEnum):
    PASS = 0
    DROP = 1


class Endpoint(Layout, frozen=True):
    address: IP6
    port: BE16
    _1: ClassVar = pad(2)


class Everything(Layout, frozen=True):
    """One of each."""

    count: U64
    source: Endpoint
    address: BE32
    vni: Annotated[U32, "of the tunnel"]
    members: Annotated[tuple[int, ...], array(U16, 3)]
    mac: MAC
    name: Annotated[bytes, octets(3)]
    verdict: Annotated[Verdict, enumerated(Verdict, U8)]
    hops: Annotated[tuple[Endpoint, ...], array(Endpoint, 2)]
    _1: ClassVar = pad(4)


class Noted(Layout, frozen=True):
    peer: Annotated[Endpoint, "the other end"]


class Hole(Layout, frozen=True):
    first: U8
    second: U32


class ShortTail(Layout, frozen=True):
    first: U32
    second: U8


class NotC(Layout, frozen=True):
    first: int


ENDPOINT = Endpoint(ip6("10.0.0.1"), 443)
SAMPLE = Everything(
    1 << 40, ENDPOINT, 0x0A000001, 77, (1, 2, 3), b"\2\0\0\0\1\2", b"abc", Verdict.DROP, (ENDPOINT, ENDPOINT)
)

endpoints = st.builds(Endpoint, st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFF))
everything = st.builds(
    Everything,
    st.integers(0, (1 << 64) - 1),
    endpoints,
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.tuples(*[st.integers(0, 0xFFFF)] * 3),
    st.binary(min_size=6, max_size=6),
    st.binary(min_size=3, max_size=3),
    st.sampled_from(Verdict),
    st.tuples(endpoints, endpoints),
)


def test_big_endian_fields_are_plain_numbers_and_network_bytes() -> None:
    assert ENDPOINT.encode() == bytes(10) + b"\xff\xff" + b"\x0a\0\0\1" + b"\x01\xbb" + b"\0\0"


def test_host_order_fields_are_packed_in_host_order() -> None:
    assert SAMPLE.encode()[:8] == struct.pack("=Q", 1 << 40)


@given(everything)
def test_decoding_undoes_encoding(value: Everything) -> None:
    assert Everything.decode(value.encode()) == value


def test_padding_is_zero_and_ignored_when_read() -> None:
    data = bytearray(ENDPOINT.encode())
    data[-1] = 7
    assert Endpoint.decode(data) == ENDPOINT


def test_offsets_are_those_of_c() -> None:
    offsets = [(field.name, field.offset) for field in fields(Everything)]
    assert offsets == [
        ("count", 0), ("source", 8), ("address", 28), ("vni", 32), ("members", 36),
        ("mac", 42), ("name", 48), ("verdict", 51), ("hops", 52), ("_1", 92),
    ]  # fmt: skip


def test_a_struct_within_may_have_a_note() -> None:
    (noted,) = fields(Noted)
    assert (noted.type.declare, noted.note) == ("struct endpoint {}", "the other end")


@pytest.mark.parametrize(
    ("declared", "text"), [(Hole, "3 bytes before second"), (ShortTail, "3 bytes at the end")]
)
def test_an_implicit_hole_is_refused(declared: type[Layout], text: str) -> None:
    with pytest.raises(LayoutError, match=text):
        codec(declared)


def test_a_field_that_is_no_c_type_is_refused() -> None:
    with pytest.raises(LayoutError, match="is not a C type"):
        codec(NotC)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Endpoint(b"short", 1), r"Endpoint\.address cannot hold .*5 bytes given, 16 wanted"),
        (Endpoint(bytes(16), 65536), r"Endpoint\.port cannot hold 65536"),
        (Endpoint(bytes(16), -1), r"Endpoint\.port cannot hold -1"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_field(wrong: Endpoint, text: str) -> None:
    with pytest.raises(LayoutError, match=text):
        wrong.encode()


def test_a_lone_field_has_a_codec() -> None:
    assert scalar(BE32).encode(0x0A000001) == b"\x0a\0\0\1"
    assert scalar(U32).decode(scalar(U32).encode(5)) == 5


def test_per_cpu_values_are_rounded_up_to_eight_bytes() -> None:
    codec_of_two = per_cpu(scalar(U32), 2)
    assert codec_of_two.size == 16
    assert codec_of_two.decode(codec_of_two.encode((3, 4))) == (3, 4)


@pytest.mark.parametrize("text", ["10.1.2.3", "fd00::1", "::"])
def test_addresses_read_back_as_they_were_written(text: str) -> None:
    assert show_ip6(ip6(text)) == text


def test_c_names_follow_the_class_names() -> None:
    assert layouts.c_name(Everything) == "everything"
    assert layouts.c_name(type("FlowKey", (), {})) == "flow_key"
    assert layouts.c_name(type("FDBEntry", (), {})) == "fdbentry"
