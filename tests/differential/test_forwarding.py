"""Ports that move, and packets from hosts that have not heard of it: simulation and programs do the same."""

from __future__ import annotations

import itertools

import pytest

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud import FORWARDING, Envelope
from onehop.simulation.cloud.wire import Header
from onehop.simulation.packet import build
from tests.support.clouds import SHUT, Clouds
from tests.support.families import Family
from tests.support.kernel.cloud import Kernel
from tests.support.kernel.twin import Twin
from tests.support.network import Life

LEARN, RETURN, ASK, FORWARDED = TunnelFlag.LEARN, TunnelFlag.RETURN, TunnelFlag.ASK, TunnelFlag.FORWARDED
A_IS_SHUT = {"networks": {"web": {"ports": {"a": SHUT}}}}
HOSTS = {"one": ["a", "b"], "two": ["c", "d"], "three": [], "four": []}
FAMILIES = pytest.mark.parametrize("family", ["v4", "v6"])


class Moving:
    """`a`, which lets only replies in, has opened a connection to `c`. What is late is thrown at a host."""

    def __init__(self, kernel: Kernel, family: Family) -> None:
        self.clouds = Clouds(topology=A_IS_SHUT, hosts=HOSTS, family=family)
        self.twin = Twin(kernel, self.clouds.cloud.view)
        for text in ("tcp a:4000 > c:80 SYN", "tcp c:80 > a:4000 SYN ACK", "tcp a:4000 > c:80 ACK"):
            self.send(text)

    def send(self, text: str) -> Life:
        frame = self.clouds.frame(text)
        return self.twin.send(self.clouds.port(text.split()[1].partition(":")[0]), build(frame))

    def move(self, port: str, host: str) -> None:
        self.clouds.move(port, host)
        self.twin.change(self.clouds.cloud.view)

    def throw(self, text: str, to: str, flags: TunnelFlag, by: str | None = None) -> Life:
        """A packet as the host of its source would send it to another, or as `by` sends it."""
        source, target = text.split()[1].partition(":")[0], text.split()[3].partition(":")[0]
        header = Header(self.clouds.port(target).key, self.clouds.port(source).key, flags)
        data = header.pack() + build(self.clouds.frame(text))
        return self.twin.throw(Envelope(self.clouds.address(by or source), self.clouds.address(to), data))


@pytest.fixture
def moving(kernel: Kernel, family: Family) -> Moving:
    return Moving(kernel, family)


def reasons(life: Life) -> list[Drop]:
    return [dropped.reason for dropped in life.dropped]


@FAMILIES
def test_a_late_reply_is_forwarded_once_and_delivered(moving: Moving) -> None:
    moving.move("a", "three")
    life = moving.throw("tcp c:80 > a:4000 ACK", "one", RETURN)
    assert len(life.delivered) == 1
    assert (life.crossings, life.forwarded) == (1, 1)


@FAMILIES
def test_a_host_on_standby_is_believed_and_others_are_not(moving: Moving) -> None:
    ports = moving.clouds.document["networks"]["web"]["ports"]
    ports["a"]["bindings"]["soon"] = {"host": "three", "interface": "a", "state": "standby"}
    moving.clouds.change({})
    moving.twin.change(moving.clouds.cloud.view)
    late = "tcp a:4000 > c:80 ACK"
    assert len(moving.throw(late, "two", LEARN, "three").delivered) == 1
    assert reasons(moving.throw(late, "two", LEARN, "four")) == [Drop.FORGED_SOURCE]


@FAMILIES
def test_whatever_comes_late_is_dealt_with_alike(moving: Moving) -> None:
    moving.move("a", "three")
    moving.move("d", "one")
    flags = [f | g for f in (TunnelFlag(0), LEARN, RETURN, ASK) for g in (TunnelFlag(0), FORWARDED)]
    texts = [
        "tcp c:80 > a:4000 ACK", "tcp c:80 > a:4000 SYN", "udp c:9 > a:9", "tcp b:80 > a:4000 ACK",
        "tcp d:80 > a:4000 ACK", "tcp a:4000 > c:80 ACK", "tcp c:4000 > d:80 ACK",
    ]  # fmt: skip
    hosts = ["one", "two", "three", "four"]
    seen = set()
    for text, to, by, flag in itertools.product(texts, hosts, hosts, flags):
        if to != by:
            life = moving.throw(text, to, flag, by)
            seen |= {*reasons(life), *(["delivered"] if life.delivered else [])}
    assert {"delivered", Drop.UNKNOWN_KEY, Drop.FORGED_SOURCE, Drop.UNSOLICITED} <= seen


@FAMILIES
def test_after_a_minute_nothing_is_forwarded_and_the_former_host_not_believed(moving: Moving) -> None:
    moving.move("a", "three")
    moving.twin.wait(FORWARDING - 1)
    assert len(moving.throw("tcp c:80 > a:4000 ACK", "one", RETURN).delivered) == 1
    assert reasons(moving.throw("tcp a:4000 > c:80 ACK", "two", LEARN, "one")) == []
    moving.twin.wait(2)
    assert reasons(moving.throw("tcp c:80 > a:4000 ACK", "one", RETURN)) == [Drop.UNKNOWN_KEY]
    assert reasons(moving.throw("tcp a:4000 > c:80 ACK", "two", LEARN, "one")) == [Drop.FORGED_SOURCE]
    late = moving.throw("tcp c:80 > a:4000 ACK", "three", RETURN | FORWARDED, "one")
    assert reasons(late) == [Drop.FORGED_SOURCE]


@FAMILIES
def test_a_port_that_goes_on_and_comes_back_is_dealt_with_alike(moving: Moving) -> None:
    for host in ("three", "four", "one", "three"):
        moving.move("a", host)
        for to, flags in itertools.product(("one", "three", "four"), (RETURN, RETURN | FORWARDED)):
            moving.throw("tcp c:80 > a:4000 ACK", to, flags)
        assert len(moving.send("tcp c:80 > a:4000 ACK").delivered) == 1
