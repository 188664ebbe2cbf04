from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onehop.feed.codec import (
    BadFrame,
    decode_down,
    decode_item,
    decode_object,
    decode_up,
    deltas,
    encode,
    encode_item,
)
from onehop.feed.messages import (
    CHUNK,
    MAX_UP,
    Alive,
    Answer,
    Applied,
    Delta,
    Down,
    Follow,
    Goodbye,
    Held,
    Hello,
    Learned,
    NeedBlocks,
    PortReport,
    Release,
    Report,
    Told,
    Up,
    Welcome,
)
from tests.unit.feed.cloudlet import SLOTS, uid

UPS: list[Up] = [
    Hello(1, uid(11, 0), "0.1", "abc", tuple(range(256)), (uid(3, 1),)),
    Held(((uid(3, 1), 7),), True),
    Follow((uid(3, 1), 77)),
    Release((5,)),
    Applied(9),
    Report((PortReport(uid(3, 1), "active", "", 4),), (Learned(uid(3, 1), "mac", "02:00:00:00:00:01"),), {}),
    NeedBlocks(uid(3, 1), uid(3, 2), "ipv4"),
    Alive(),
    Goodbye("bye"),
]
DOWNS: list[Down] = [
    Welcome(1, "c", "abc", 10.0, (0, 255)),
    Welcome(1, "c", "abc", 10.0, None),
    Answer((77,), (None,)),
    Told(uid(3, 1), (Learned(uid(3, 1), "neighbour", "10.0.0.1", "02:00:00:00:00:01"),)),
    Goodbye("bye", False),
]


@pytest.mark.parametrize("message", UPS, ids=lambda m: type(m).__name__)
def test_what_a_host_says_is_heard(message: Up) -> None:
    assert decode_up(encode(message)) == message


@pytest.mark.parametrize("message", DOWNS, ids=lambda m: type(m).__name__)
def test_what_a_controller_says_is_heard(message: Down) -> None:
    assert decode_down(encode(message)) == message


@pytest.mark.parametrize("obj", [obj for slot in SLOTS for obj in slot], ids=lambda o: o.name)
def test_objects_come_through_unchanged(obj: object) -> None:
    item = decode_item(encode_item(obj, 12))  # type: ignore[arg-type]
    assert (decode_object(item.kind, item.value), item.revision) == (obj, 12)


@given(st.binary(max_size=200))
def test_a_frame_is_a_message_or_refused(frame: bytes) -> None:
    for decode in (decode_up, decode_down):
        try:
            decode(frame)
        except BadFrame as refused:
            assert str(refused)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x91" * 100_000,
        encode(Held(tuple((uid(3, n), 1) for n in range(8193)), True)),
        encode(Applied(-1)),
        encode(Follow((1 << 24,))),
        encode(Hello(1, "x" * 65, "", "", (), ())),
        b"\0" * (MAX_UP + 1),
    ],
    ids=["empty", "deep", "too many", "negative", "no key", "long id", "too large"],
)
def test_a_frame_beyond_its_bounds_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_up(frame)


def test_an_object_of_a_newer_version_says_what_to_do() -> None:
    with pytest.raises(BadFrame, match="upgrade the agent"):
        decode_object("teleporter", b"\x80")


def test_a_large_change_comes_in_frames_of_which_the_last_is_marked() -> None:
    puts = [Raw(b"\xc4\xff" + b"x" * 255)] * 4000
    removes = [uid(3, n) for n in range(10000)]
    frames = list(deltas(5, puts, removes))
    parts = [part for part in map(decode_down, frames) if isinstance(part, Delta)]
    assert len(frames) > 2 and max(map(len, frames)) < CHUNK + 1000
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [id for part in parts for id in part.removes] == removes
    assert sum(len(part.puts) for part in parts) == len(puts)
