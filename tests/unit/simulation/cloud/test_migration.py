"""A port that moves keeps its connections; for a minute the host that it left forwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud import FORWARDING, Life
from tests.support.clouds import SHUT, Clouds

A_IS_SHUT = {"networks": {"web": {"ports": {"a": SHUT}}}}
HOSTS = {"one": ["a", "b"], "two": ["c", "d"], "three": []}


@pytest.fixture
def cloud() -> Clouds:
    """`a`, which lets only replies in, has opened a connection to `c`."""
    cloud = Clouds(topology=A_IS_SHUT, hosts=HOSTS)
    cloud.send("tcp a:4000 > c:80 SYN")
    cloud.send("tcp c:80 > a:4000 SYN ACK")
    cloud.send("tcp a:4000 > c:80 ACK")
    return cloud


def reached_once(cloud: Clouds, life: Life, there: str) -> bool:
    return cloud.reached(life) == [there] and life.crossings <= 1


def test_records_move_with_their_port(cloud: Clouds) -> None:
    cloud.move("a", "three")
    assert not cloud.host("one").state.records
    assert [r.opener for r in cloud.host("three").state.records.values()] == [cloud.port("a").id]


def test_the_opener_moves_and_both_directions_go_on(cloud: Clouds) -> None:
    cloud.move("a", "three")
    assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")
    assert reached_once(cloud, cloud.send("tcp c:80 > a:4000 ACK"), "a")


def test_the_far_side_moves_and_both_directions_go_on(cloud: Clouds) -> None:
    cloud.move("c", "three")
    assert reached_once(cloud, cloud.send("tcp c:80 > a:4000 ACK"), "a")
    assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")


def test_both_move_onto_one_host_and_apart_again(cloud: Clouds) -> None:
    for a, c in (("three", "three"), ("two", "one"), ("one", "two")):
        cloud.move("a", a)
        cloud.move("c", c)
        cloud.cloud.forget(hints=True)
        assert reached_once(cloud, cloud.send("tcp c:80 > a:4000 ACK"), "a")
        assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")


def late(cloud: Clouds) -> None:
    """`a` moves to host three; host two has not heard of it."""
    cloud.document["networks"]["web"]["ports"]["a"]["bindings"] = {
        "three": {"host": "three", "interface": "a"}
    }
    cloud.change({}, hosts=["one", "three"])


def test_who_has_not_heard_of_the_move_is_forwarded(cloud: Clouds) -> None:
    late(cloud)
    life = cloud.send("tcp c:80 > a:4000 ACK")
    assert cloud.reached(life) == ["a"]
    assert [(sent.flags, sent.forwarded) for sent in life.sent] == [
        (TunnelFlag.RETURN, False),
        (TunnelFlag.RETURN | TunnelFlag.FORWARDED, True),
    ]


def test_what_is_forwarded_is_not_forwarded_again(cloud: Clouds) -> None:
    late(cloud)
    cloud.document["networks"]["web"]["ports"]["a"]["bindings"] = {"two": {"host": "two", "interface": "a"}}
    cloud.change({}, hosts=["three"])
    life = cloud.send("tcp c:80 > a:4000 ACK")
    assert [dropped.reason for dropped in life.dropped] == [Drop.UNKNOWN_KEY]
    assert life.crossings == 2


def test_what_would_be_forwarded_is_believed_only_from_where_its_source_is(cloud: Clouds) -> None:
    late(cloud)
    life = cloud.send("tcp c:80 > a:4000 ACK")
    sent = life.sent[0]
    thrown = cloud.cloud.throw(replace(sent.envelope, src=cloud.address("three")))
    assert [dropped.reason for dropped in thrown.dropped] == [Drop.FORGED_SOURCE]


def test_after_a_minute_nothing_is_forwarded(cloud: Clouds) -> None:
    late(cloud)
    cloud.cloud.wait(FORWARDING + 1)
    life = cloud.send("tcp c:80 > a:4000 ACK")
    assert [dropped.reason for dropped in life.dropped] == [Drop.UNKNOWN_KEY]


def test_who_has_not_heard_of_the_move_believes_the_new_host_once_it_has(cloud: Clouds) -> None:
    late(cloud)
    life = cloud.send("tcp a:4000 > c:80 ACK")
    assert [dropped.reason for dropped in life.dropped] == [Drop.FORGED_SOURCE]
    cloud.change({}, hosts=["two"])
    assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")


def test_a_standby_binding_makes_the_new_host_believed_before_the_port_moves(cloud: Clouds) -> None:
    ports = cloud.document["networks"]["web"]["ports"]
    ports["a"]["bindings"]["three"] = {"host": "three", "interface": "a", "state": "standby"}
    cloud.change({})
    ports = cloud.document["networks"]["web"]["ports"]
    ports["a"]["bindings"] = {
        "one": {"host": "one", "interface": "a", "state": "standby"},
        "three": {"host": "three", "interface": "a"},
    }
    cloud.change({}, hosts=["one", "three"])
    assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")


def test_a_port_that_comes_back_is_not_forwarded(cloud: Clouds) -> None:
    cloud.move("a", "three")
    cloud.move("a", "one")
    assert reached_once(cloud, cloud.send("tcp c:80 > a:4000 ACK"), "a")
    assert reached_once(cloud, cloud.send("tcp a:4000 > c:80 ACK"), "c")
