"""When more ports of shared addresses are asked for, and what a port's status says meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from onehop.agent.slowpath.shares import PATIENCE, SHOWN, Share, Shares
from onehop.model import NatRule, SnatBlock
from onehop.model.view import Topology

SHORT = Share("p1", "r1", "ipv4")


@dataclass
class Bench:
    view: Topology = field(
        default_factory=lambda: Topology([NatRule(id="r1", name="all", port="up", action="masquerade")])
    )
    now: float = 1000.0
    asked: list[Share] = field(default_factory=list)
    refused: int = 3  # from long ago
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shares = Shares(
            self.view,
            self.asked.append,
            lambda port: self.refused,
            lambda port, text: self.said.append(text),
            lambda: self.now,
        )

    def give(self, first: int, ip: str = "192.0.2.1") -> None:
        block = SnatBlock(id=f"b{first}", name=f"b{first}", port="p1", rule="r1", ip=ip, first=first)
        self.view.put(block)

    def low(self, share: Share = SHORT, after: float = 0.0) -> None:
        self.now += after
        self.shares.low(share)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_request_is_on_its_way_at_a_time(bench: Bench) -> None:
    bench.low()
    bench.low(after=1)
    bench.low(Share("p1", "r1", "ipv6"))
    bench.low(Share("p2", "r1", "ipv4"))
    assert bench.asked == [SHORT, Share("p1", "r1", "ipv6"), Share("p2", "r1", "ipv4")]


def test_once_more_have_come_the_next_request_may_follow(bench: Bench) -> None:
    bench.low()
    bench.give(1024)
    bench.low(after=1)
    assert bench.asked == [SHORT, SHORT]
    assert bench.said == []


def test_blocks_of_the_other_family_are_no_answer(bench: Bench) -> None:
    bench.low()
    bench.give(1024, "2001:db8::1")
    bench.low(after=1)
    assert bench.asked == [SHORT]


def test_a_request_that_brought_nothing_is_repeated_and_told(bench: Bench) -> None:
    bench.low()
    bench.low(after=PATIENCE)
    assert bench.asked == [SHORT, SHORT]
    assert bench.said == ["runs out of ports of the addresses shared by NAT rule all (ipv4)"]


def test_a_port_that_has_none_left_says_so(bench: Bench) -> None:
    bench.low()
    bench.refused += 1
    bench.low(after=1)
    bench.low(after=1)
    assert bench.said == [
        "new connections are dropped: no port is left to it of the addresses shared by NAT rule all (ipv4)"
    ]


def test_what_is_dropped_counts_for_more_than_what_runs_out(bench: Bench) -> None:
    bench.low()
    bench.refused += 1
    bench.low(after=1)
    bench.low(after=PATIENCE)
    assert len(bench.said) == 1


def test_a_warning_goes_when_nothing_has_been_short_for_a_while(bench: Bench) -> None:
    bench.low()
    bench.low(after=PATIENCE)
    bench.low(after=SHOWN - 1)
    bench.now += SHOWN - 1
    bench.shares.tick()
    assert len(bench.said) == 1
    bench.now += 1
    bench.shares.tick()
    assert bench.said[1:] == [""]
    assert bench.shares.due is None
