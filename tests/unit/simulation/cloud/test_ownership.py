"""Who owns a connection, how replies find the way back, and what may cross the underlay."""

from __future__ import annotations

import pytest

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud import Header
from onehop.simulation.cloud.wire import HEADER
from onehop.simulation.packet import build
from tests.support.clouds import SHUT, Clouds
from tests.support.families import Family

A_IS_SHUT = {"networks": {"web": {"ports": {"a": SHUT}}}}


@pytest.fixture(params=["v4", "v6"])
def cloud(request: pytest.FixtureRequest) -> Clouds:
    """`a` lets only replies in; every machine is on a host of its own."""
    family: Family = request.param
    return Clouds(topology=A_IS_SHUT, family=family)


def test_the_record_is_with_the_opener_and_the_hint_with_the_far_port(cloud: Clouds) -> None:
    cloud.send("udp a:4000 > c:53")
    assert [r.opener for r in cloud.host("a").state.records.values()] == [cloud.port("a").id]
    assert [h.opener for h in cloud.host("c").state.hints.values()] == [cloud.port("a").id]
    assert not cloud.host("a").state.hints
    assert not cloud.host("c").state.records
    assert not cloud.host("b").state.records and not cloud.host("b").state.hints


def test_a_new_connection_crosses_once_marked_learn(cloud: Clouds) -> None:
    life = cloud.send("udp a:4000 > c:53")
    assert cloud.reached(life) == ["c"]
    assert [sent.flags for sent in life.sent] == [TunnelFlag.LEARN]


def test_a_packet_carries_the_keys_of_both_ports(cloud: Clouds) -> None:
    (sent,) = cloud.send("udp a:4000 > c:53").sent
    header = Header.unpack(sent.envelope.data)
    assert header == Header(cloud.port("c").key, cloud.port("a").key, TunnelFlag.LEARN)


def test_a_reply_goes_back_untouched_to_the_openers_port(cloud: Clouds) -> None:
    cloud.send("udp a:4000 > c:53")
    life = cloud.send("udp c:53 > a:4000")
    (sent,) = life.sent
    assert sent.flags == TunnelFlag.RETURN
    assert sent.envelope.data[HEADER.size :] == build(cloud.frame("udp c:53 > a:4000"))
    assert cloud.reached(life) == ["a"]


def test_without_the_hint_a_reply_asks_and_is_delivered(cloud: Clouds) -> None:
    cloud.send("udp a:4000 > c:53")
    cloud.cloud.forget(hints=True)
    life = cloud.send("udp c:53 > a:4000")
    assert [sent.flags for sent in life.sent] == [TunnelFlag.ASK]
    assert cloud.reached(life) == ["a"]


def test_a_reply_arrives_in_the_same_bytes_with_and_without_hint(cloud: Clouds) -> None:
    cloud.send("udp a:4000 > c:53")
    with_hint = cloud.send("udp c:53 > a:4000").delivered
    cloud.cloud.forget(hints=True, flows=True)
    assert cloud.send("udp c:53 > a:4000").delivered == with_hint


def test_who_was_asked_in_vain_drops_and_says_why_the_packet_was_refused(cloud: Clouds) -> None:
    life = cloud.send("udp c:53 > a:4000")
    (dropped,) = life.dropped
    assert (dropped.host, dropped.reason, dropped.refused) == (
        cloud.host("a").id,
        Drop.UNSOLICITED,
        Drop.SECURITY_GROUP,
    )


@pytest.mark.parametrize(
    "opening", ["tcp c:4000 > a:80 SYN", "icmp c > a echo-request id 7"], ids=["SYN", "echo request"]
)
def test_a_refused_packet_that_can_be_no_reply_never_crosses(cloud: Clouds, opening: str) -> None:
    life = cloud.send(opening)
    assert life.crossings == 0
    assert [dropped.reason for dropped in life.dropped] == [Drop.SECURITY_GROUP]


def test_asking_is_within_a_budget_of_the_port(cloud: Clouds) -> None:
    lives = [cloud.send(f"udp c:53 > a:{4000 + i}") for i in range(1000)]
    asked = sum(life.asked for life in lives)
    assert 0 < asked < 1000
    assert lives[-1].crossings == 0
    assert cloud.send("udp d:53 > a:4000").asked == 1
    cloud.cloud.wait(60)
    assert cloud.send("udp c:53 > a:4000").asked == 1


def test_a_reply_is_taken_only_from_the_far_port(cloud: Clouds) -> None:
    cloud.change({"networks": {"db": {"ports": {"d": {"port_security": False, **SHUT}}}}})
    cloud.send("udp a:4000 > c:53")
    life = cloud.send("udp c:53 > a:4000 from-mac d", at="d")
    assert [dropped.reason for dropped in life.dropped] == [Drop.UNSOLICITED]


def test_a_live_hint_is_replaced_only_by_its_own_opener() -> None:
    """`b` takes the address of `a`, and sends what `a` sent."""
    open_b = {"networks": {"web": {"ports": {"b": {"port_security": False, **SHUT}}}}}
    cloud = Clouds(topology=open_b)
    cloud.send("udp a:4000 > c:53")
    cloud.send("udp a:4000 > c:53 from-mac b", at="b")
    (hint,) = cloud.host("c").state.hints.values()
    assert hint.opener == cloud.port("a").id
    cloud.cloud.wait(301)
    cloud.send("udp a:4000 > c:53 from-mac b", at="b")
    (hint,) = cloud.host("c").state.hints.values()
    assert hint.opener == cloud.port("b").id


def test_learning_deletes_the_flow_of_the_reply_tuple() -> None:
    """`c` sends to `a` by its own right until `a` opens the same tuple: then these are replies."""
    unguarded = {"port_security": False, **SHUT}
    cloud = Clouds(
        topology={"networks": {"db": {"ports": {"c": unguarded}}, "web": {"ports": {"a": unguarded}}}}
    )
    cloud.send("udp c:53 > a:4000")
    assert len(cloud.host("c").flows) == 1
    cloud.change({"networks": {"web": {"ports": {"a": {"port_security": True}}}}})
    cloud.send("udp a:4000 > c:53")
    assert len(cloud.host("c").flows) == 0
    life = cloud.send("udp c:53 > a:4000")
    assert [sent.flags for sent in life.sent] == [TunnelFlag.RETURN]


def test_both_sides_may_open_at_once(cloud: Clouds) -> None:
    cloud.change({"networks": {"web": {"ports": {"a": {"security_groups": ["open"]}}}}})
    assert cloud.reached(cloud.send("tcp a:4000 > c:80 SYN")) == ["c"]
    assert cloud.reached(cloud.send("tcp c:80 > a:4000 SYN")) == ["a"]
    for text, there in (("tcp a:4000 > c:80 SYN ACK", "c"), ("tcp c:80 > a:4000 SYN ACK", "a")):
        assert cloud.reached(cloud.send(text)) == [there]
    assert len(cloud.host("a").state.records) == len(cloud.host("c").state.records) == 1
    cloud.cloud.forget(hints=True)
    for text, there in (("tcp a:4000 > c:80 ACK", "c"), ("tcp c:80 > a:4000 ACK", "a")):
        assert cloud.reached(cloud.send(text)) == [there]


def test_when_only_one_side_may_open_the_others_syn_is_refused_and_the_connection_opens(
    cloud: Clouds,
) -> None:
    assert cloud.reached(cloud.send("tcp a:4000 > c:80 SYN")) == ["c"]
    assert [d.reason for d in cloud.send("tcp c:80 > a:4000 SYN").dropped] == [Drop.SECURITY_GROUP]
    assert cloud.reached(cloud.send("tcp c:80 > a:4000 SYN ACK")) == ["a"]
    assert cloud.reached(cloud.send("tcp a:4000 > c:80 ACK")) == ["c"]


def test_what_one_side_may_send_by_itself_is_not_lost_with_the_others_record() -> None:
    """`a` asked once; then `c` keeps sending, more seldom than idle connections live."""
    cloud = Clouds()
    cloud.send("udp a:53 > c:53")
    for _ in range(5):
        cloud.cloud.wait(290)
        assert cloud.reached(cloud.send("udp c:53 > a:53")) == ["a"]
    for _ in range(5):
        cloud.cloud.wait(310)
        assert cloud.reached(cloud.send("udp c:53 > a:53")) == ["a"]


def test_a_hint_idles_out_and_a_long_silent_connection_goes_on_by_asking(cloud: Clouds) -> None:
    cloud.send("tcp a:4000 > c:80 SYN")
    cloud.send("tcp c:80 > a:4000 SYN ACK")
    cloud.send("tcp a:4000 > c:80 ACK")
    cloud.cloud.wait(3000)
    assert not cloud.host("c").state.hints
    life = cloud.send("tcp c:80 > a:4000 ACK")
    assert life.asked == 1 and cloud.reached(life) == ["a"]


def test_records_idle_out(cloud: Clouds) -> None:
    cloud.send("tcp a:4000 > c:80 SYN")
    cloud.send("udp a:4000 > c:53")
    cloud.cloud.wait(100_000)
    assert not cloud.host("a").state.records
