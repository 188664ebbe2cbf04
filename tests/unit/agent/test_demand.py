"""What is asked for, remembered, held and let go; the clock stands still unless a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from onehop.agent.demand import IDLE, MOST_OF_PORT, REMEMBERED, WAITING, Demand, Found
from onehop.feed.messages import End, Holder, Target

pytestmark = pytest.mark.anyio

A, B = 5, 6  # ports


@dataclass
class Feed:
    """Knows some things, and answers when it may."""

    knows: dict[Target, str] = field(default_factory=dict)
    asks: set[str] = field(default_factory=set)
    asked: list[Target] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    current: bool = True
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, target: Target) -> str | None:
        self.asked.append(target)
        await self.may_answer.wait()
        return self.knows.get(target)

    def release(self, ids: Iterable[str]) -> None:
        self.released.extend(ids)


@dataclass
class Bench:
    feed: Feed = field(default_factory=Feed)
    now: float = 100.0
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feed.may_answer.set()
        self.demand = Demand(self.feed, lambda: self.now)

    async def need(self, target: Target, port: int = A) -> Found | None:
        """What came of it, once all that can happen has happened."""
        before = len(self.found)
        self.demand.need(target, port, self.found.append)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.found[-1] if len(self.found) > before else None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_there_is_is_followed(bench: Bench) -> None:
    bench.feed.knows[7] = "p7"
    assert await bench.need(7) is Found.FOLLOWED


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_counts_for_a_while(bench: Bench, known: bool) -> None:
    """What is there and does not help is not asked for again and again either."""
    target = Holder("net", "203.0.113.9")
    if known:
        bench.feed.knows[target] = "router"
    await bench.need(target)
    assert await bench.need(target) is Found.NOTHING_NEW
    assert len(bench.feed.asked) == 1
    bench.now += REMEMBERED
    await bench.need(target)
    assert len(bench.feed.asked) == 2


async def test_packets_that_need_the_same_wait_for_one_answer(bench: Bench) -> None:
    bench.feed.knows[7] = "p7"
    bench.feed.may_answer.clear()
    for _ in range(WAITING + 3):
        assert await bench.need(7) is None
    bench.feed.may_answer.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.found == [Found.FOLLOWED] * WAITING
    assert bench.feed.asked == [7]


async def test_without_a_controller_nothing_waits_and_nothing_is_remembered(bench: Bench) -> None:
    bench.feed.knows[7] = "p7"
    bench.feed.current = False
    assert await bench.need(7) is Found.UNKNOWN
    bench.feed.current = True
    assert await bench.need(7) is Found.FOLLOWED


async def test_a_port_makes_room_by_what_it_needed_first_and_takes_none_of_others(bench: Bench) -> None:
    for key in range(1, MOST_OF_PORT + 3):
        bench.feed.knows[End(key)] = f"e:p{key}"
    await bench.need(End(1), B)
    for key in range(2, MOST_OF_PORT + 3):
        bench.now += 1
        await bench.need(End(key), A)
    assert bench.feed.released == ["e:p2"]


async def test_what_is_unused_is_let_go_and_what_is_used_stays() -> None:
    bench = Bench(Feed(asks={"kept", "used"}))
    bench.feed.knows[7] = "new"
    bench.now += IDLE
    await bench.need(7)
    bench.now += 1
    assert sorted(bench.demand.idle()) == ["kept", "used"]
    bench.demand.used(["used"])
    bench.demand.let_go_idle()
    assert bench.feed.released == ["kept"]


async def test_nothing_is_let_go_while_it_could_not_be_asked_for_again() -> None:
    bench = Bench(Feed(asks={"kept"}, current=False))
    bench.now += IDLE + 1
    bench.demand.let_go_idle()
    assert bench.feed.released == []
