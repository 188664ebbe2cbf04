"""A connection's life: opened, answered, asked about, ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation import walk as walks
from onehop.simulation.packet import Frame, Icmp, Ipv4, build, build_ip
from onehop.simulation.state import Budget, Life
from tests.support.virtual import Virtual
from tests.unit.simulation.changes import change, remove

OPEN, ANSWER = "tcp 10.0.1.11:4000 > 10.0.2.21:5432", "tcp 10.0.2.21:5432 > 10.0.1.11:4000 SYN,ACK"
OPEN6, ANSWER6 = (
    OPEN.replace("10.0.1.11", "[fd00:1::11]").replace("10.0.2.21", "[fd00:2::21]"),
    ("tcp [fd00:2::21]:5432 > [fd00:1::11]:4000 SYN,ACK"),
)


@pytest.mark.parametrize(
    ("opening", "answer"),
    [
        (OPEN, ANSWER),
        (OPEN6, ANSWER6),
        ("udp 10.0.1.11:4000 > 10.0.2.21:53", "udp 10.0.2.21:53 > 10.0.1.11:4000"),
    ],
)
def test_a_reply_needs_no_rule(shop: Virtual, opening: str, answer: str) -> None:
    assert shop.send("db-1", answer).drop == Drop.SECURITY_GROUP
    assert shop.send("web-1", opening).delivered
    assert shop.send("db-1", answer).delivered
    assert shop.got() == [("web-1", f"{answer} ttl=63")]


def test_a_reply_has_the_macs_that_the_opener_knows(shop: Virtual) -> None:
    sent = shop.frame("web-1", OPEN)
    shop.send("web-1", sent)
    reply = shop.send("db-1", ANSWER).outputs[0]
    assert reply.data[:12] == build(Frame(sent.src, sent.dst, sent.payload))[:12]


def test_a_ping_is_a_connection_by_its_id(shop: Virtual) -> None:
    assert shop.send("bare", "icmp 10.0.1.12 id=7").delivered
    assert shop.send("web-2", "icmp 10.0.1.12 > 10.0.1.13 reply id=7").delivered
    assert shop.send("web-2", "icmp 10.0.1.12 > 10.0.1.13 reply id=8").drop == Drop.SECURITY_GROUP
    assert shop.send("web-2", "icmp 10.0.1.12 > 10.0.1.13 id=7").drop == Drop.SECURITY_GROUP


def test_a_reply_goes_back_untouched_by_hint_and_is_rewritten_by_the_owner(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    data = build(shop.frame("db-1", ANSWER))
    sent = walks.send(shop.view, shop.state, shop.port("db-1").id, data)
    assert [(o.target, o.data, o.flags) for o in sent.outputs] == [
        (shop.port("web-1").id, data, TunnelFlag.RETURN)
    ]


def test_without_the_hint_the_record_is_asked_for(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    shop.state = replace(shop.state, hints={})
    data = build(shop.frame("db-1", ANSWER))
    sent = walks.send(shop.view, shop.state, shop.port("db-1").id, data)
    asked = sent.outputs[0]
    assert (asked.target, asked.data, asked.flags) == (shop.port("web-1").id, data, TunnelFlag.ASK)
    assert asked.refused == Drop.SECURITY_GROUP
    assert shop.send("db-1", ANSWER).delivered


@pytest.mark.parametrize(
    "packet",
    [
        "tcp 10.0.2.21:5432 > 10.0.1.11:4000 SYN",
        "icmp 10.0.2.21 > 10.0.1.13",
        "icmp 10.0.2.21 > 10.0.1.13 type=13",
    ],
)
def test_what_cannot_be_a_reply_never_leaves_its_host(shop: Virtual, packet: str) -> None:
    data = build(shop.frame("db-1", packet))
    sent = walks.send(shop.view, shop.state, shop.port("db-1").id, data)
    assert sent.outputs == () and sent.drop == Drop.SECURITY_GROUP


def test_a_port_asks_within_its_budget(shop: Virtual) -> None:
    shop.state = replace(shop.state, exhausted=frozenset({(shop.port("db-1").id, Budget.ASK)}))
    data = build(shop.frame("db-1", ANSWER))
    sent = walks.send(shop.view, shop.state, shop.port("db-1").id, data)
    assert sent.outputs == () and sent.drop == Drop.SECURITY_GROUP


def test_the_owner_takes_replies_from_the_far_port_alone(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    change(shop, shop.port("open"), addresses=())
    forged = shop.frame("open", f"{ANSWER} dst-mac=02:00:00:00:01:11")
    assert shop.send("open", forged).drop == Drop.SECURITY_GROUP


def test_a_live_hint_is_replaced_only_by_its_own_opener(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    change(shop, shop.port("open"), addresses=())
    shop.send("open", f"{OPEN} dst-mac=02:00:00:00:01:01")
    assert {hint.opener for hint in shop.state.hints.values()} == {shop.port("web-1").id}


def test_a_hint_idles_out_and_the_connection_stays(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    shop.send("db-1", ANSWER)
    shop.pass_time(301)
    assert shop.send("db-1", ANSWER).delivered
    assert any("asked" in step.text for step in shop.last.steps)


def test_a_connection_that_is_never_answered_is_forgotten_after_a_minute(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    shop.pass_time(61)
    assert shop.send("db-1", ANSWER).drop == Drop.UNSOLICITED


def life(shop: Virtual) -> Life:
    (record,) = shop.state.records.values()
    return record.life


def test_the_owner_follows_a_tcp_connection(shop: Virtual) -> None:
    told = []
    for port, flags in [
        ("web-1", "SYN"),
        ("db-1", "SYN,ACK"),
        ("web-1", "ACK"),
        ("web-1", "SYN"),
        ("db-1", "FIN,ACK"),
        ("web-1", "ACK"),
        ("web-1", "SYN"),
    ]:
        way = "10.0.1.11:4000 > 10.0.2.21:5432" if port == "web-1" else "10.0.2.21:5432 > 10.0.1.11:4000"
        assert shop.send(port, f"tcp {way} {flags}").delivered
        told.append(life(shop))
    opening, open_, closing = Life.OPENING, Life.OPEN, Life.CLOSING
    assert told == [opening, open_, open_, open_, closing, closing, opening]


def test_whoever_may_open_anew_can_though_a_hint_is_left(shop: Virtual) -> None:
    change(shop, shop.find("security-group-rule", "http"), ports=None)
    shop.send("web-1", OPEN)
    shop.pass_time(61)
    assert shop.send("db-1", "tcp 10.0.2.21:5432 > 10.0.1.11:4000 SYN").delivered
    assert shop.send("web-1", OPEN + " SYN,ACK").delivered


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_no_hint_outlives_its_record(shop: Virtual, protocol: str) -> None:
    way = "10.0.1.11:4000 > 10.0.1.14:53"
    shop.send("web-1", f"{protocol} {way}")
    shop.pass_time(300)
    assert shop.send("open", f"{protocol} 10.0.1.14:53 > 10.0.1.11:4000").delivered


def test_a_stream_is_taken_up_in_its_middle_where_it_may_pass(shop: Virtual) -> None:
    assert shop.send("web-1", OPEN + " ACK").delivered
    assert life(shop) == Life.OPEN


def test_a_reset_opens_nothing(shop: Virtual) -> None:
    assert shop.send("web-1", OPEN + " RST").delivered
    assert not shop.state.records


@pytest.mark.parametrize("flags", ["SYN,FIN", "SYN,RST", "NONE", "PSH"])
def test_segments_that_belong_nowhere_are_named(shop: Virtual, flags: str) -> None:
    assert shop.send("web-1", f"{OPEN} {flags}").drop == Drop.INVALID_STATE


def test_a_port_has_only_so_many_connections(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    shop.state = replace(shop.state, exhausted=frozenset({(shop.port("web-1").id, Budget.CONNECTIONS)}))
    assert shop.send("web-1", OPEN.replace("4000", "4001")).drop == Drop.TABLE_FULL
    assert shop.send("web-1", OPEN).delivered
    assert shop.send("db-1", ANSWER).delivered


def test_both_sides_may_open_at_once(shop: Virtual) -> None:
    change(shop, shop.find("security-group-rule", "http"), ports=None)
    assert shop.send("web-1", OPEN).delivered
    shop.state = replace(shop.state, hints={})
    assert shop.send("db-1", "tcp 10.0.2.21:5432 > 10.0.1.11:4000 SYN").delivered
    assert shop.send("web-1", OPEN + " SYN,ACK").delivered
    assert shop.send("db-1", ANSWER).delivered


def test_a_connection_ends_when_the_opener_no_longer_reaches_its_far_port(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    remove(shop, shop.find("link", "edge-db"))
    assert shop.send("db-1", ANSWER).drop is not None
    assert not shop.last.outputs


def test_a_flooded_packet_opens_no_connection(shop: Virtual) -> None:
    shop.send("web-1", "udp 10.0.1.11:4000 > 239.1.2.3:5000")
    assert not shop.state.records


# --- ICMP errors about connections ------------------------------------------------------------------------


def error(shop: Virtual, about: bytes, port: str, src: str, dst: str) -> Frame:
    """A port-unreachable of a machine, about a packet that it received."""
    frame = shop.frame(port, f"icmp {src} > {dst} type=3 code=3")
    assert isinstance(frame.payload, Ipv4) and isinstance(frame.payload.payload, Icmp)
    icmp = replace(frame.payload.payload, data=about, rest=bytes(4))
    return replace(frame, payload=replace(frame.payload, payload=icmp))


def test_an_error_about_a_connection_passes_as_its_reply(shop: Virtual) -> None:
    sent = shop.send("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53").outputs[0].data[14:]
    frame = error(shop, sent[:28], "db-1", "10.0.2.21", "10.0.1.11")
    assert shop.send("db-1", frame).delivered
    assert shop.got() == [("web-1", "icmp 10.0.2.21 > 10.0.1.11 type=3 code=3 ttl=63")]


def test_an_error_about_a_connection_passes_from_its_opener(shop: Virtual) -> None:
    shop.send("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53")
    reply = shop.send("db-1", "udp 10.0.2.21:53 > 10.0.1.11:4000").outputs[0].data[14:]
    assert shop.send("web-1", error(shop, reply, "web-1", "10.0.1.11", "10.0.2.21")).delivered


def test_an_error_about_anything_else_does_not(shop: Virtual) -> None:
    shop.send("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53")
    other = build_ip(shop.frame("web-1", "udp 10.0.1.11:4001 > 10.0.2.21:53").payload)  # type: ignore[arg-type]
    frame = error(shop, other, "db-1", "10.0.2.21", "10.0.1.11")
    assert shop.send("db-1", frame).drop == Drop.SECURITY_GROUP


def test_an_error_must_go_to_who_sent_what_it_quotes(shop: Virtual) -> None:
    sent = shop.send("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53").outputs[0].data[14:]
    frame = error(shop, sent, "db-1", "10.0.2.21", "10.0.1.12")
    assert shop.send("db-1", frame).drop == Drop.SECURITY_GROUP


def test_a_reply_whose_ttl_ends_on_the_way_back_is_told(shop: Virtual) -> None:
    shop.send("web-1", OPEN)
    assert shop.send("db-1", ANSWER + " ttl=1").drop == Drop.TTL_EXPIRED
    assert shop.answered() == ["icmp 10.0.2.1 > 10.0.2.21 type=11 code=0 ttl=64"]


def test_a_reply_too_big_for_the_openers_network_is_told(shop: Virtual) -> None:
    change(shop, shop.find("network", "db"), mtu=9000)
    shop.send("web-1", OPEN)
    assert shop.send("db-1", ANSWER + " size=2000").drop == Drop.TOO_BIG
    assert shop.answered() == ["icmp 10.0.2.1 > 10.0.2.21 type=3 code=4 ttl=64"]
