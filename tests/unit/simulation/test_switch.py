"""A frame's life on one network: to the right port, to all, to nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Frame, Other, Udp, Vlan, build
from onehop.simulation.packet_text import describe
from tests.support.virtual import Virtual, frame_of
from tests.unit.simulation.changes import change

EDGE = "02:00:00:00:01:01"
OPEN = "02:00:00:00:01:14"
STRANGER = "02:00:00:00:09:99"


def test_a_frame_reaches_the_port_with_its_mac_unchanged(shop: Virtual) -> None:
    frame = shop.frame("web-1", "tcp 10.0.1.11:4000 > 10.0.1.12:80")
    verdict = shop.send("web-1", frame)
    assert [(o.target, o.data) for o in verdict.outputs] == [(shop.port("web-2").id, build(frame))]


def test_a_broadcast_reaches_each_other_member_once(shop: Virtual) -> None:
    shop.send("web-1", "arp who-has 10.0.1.99")
    assert sorted(port for port, _ in shop.got()) == ["bare", "open", "web-2"]


def test_a_broadcast_stays_on_its_network(shop: Virtual) -> None:
    shop.send("db-1", "arp who-has 10.0.2.99")
    assert shop.got() == []
    assert shop.last.drop is None


def test_copies_pass_the_groups_of_each_port_by_itself(shop: Virtual) -> None:
    shop.send("web-1", "udp 10.0.1.11:4000 > 239.1.2.3:5000")
    assert [port for port, _ in shop.got()] == ["open"]


def test_a_frame_for_an_unknown_mac_is_dropped_by_name(shop: Virtual) -> None:
    assert shop.send("open", f"udp 10.0.1.12:53 dst-mac={STRANGER}").drop == Drop.UNKNOWN_MAC


def test_a_frame_for_an_unknown_mac_is_flooded_where_the_network_says_so(shop: Virtual) -> None:
    change(shop, shop.find("network", "web"), unknown_unicast="flood")
    shop.send("web-1", f"udp 10.0.1.99:53 dst-mac={STRANGER}")
    assert [port for port, _ in shop.got()] == ["open"]


def test_a_frame_to_its_own_port_is_dropped(shop: Virtual) -> None:
    assert shop.send("open", f"udp 10.0.1.12:53 dst-mac={OPEN}").drop == Drop.OWN_PORT


def test_a_learned_mac_is_found_and_followed(shop: Virtual) -> None:
    network = shop.find("network", "web")
    change(shop, network, learning=True)
    change(shop, shop.port("bare"), port_security=False)
    shop.send("open", f"udp 10.0.1.99:53 > 10.0.1.13:53 src-mac={STRANGER}")
    shop.send("web-1", f"udp 10.0.1.99:53 dst-mac={STRANGER}")
    assert [port for port, _ in shop.got()] == ["open"]
    shop.send("bare", f"udp 10.0.1.99:53 > 10.0.1.14:53 src-mac={STRANGER}")
    shop.send("web-1", f"udp 10.0.1.99:54 dst-mac={STRANGER}")
    assert [port for port, _ in shop.got()] == ["bare"]


def test_the_mac_of_a_port_cannot_be_drawn_away(shop: Virtual) -> None:
    change(shop, shop.find("network", "web"), learning=True)
    shop.send("open", "udp 10.0.1.14:53 > 10.0.1.13:53 src-mac=02:00:00:00:01:12")
    shop.send("web-1", "tcp 10.0.1.12:80")
    assert [port for port, _ in shop.got()] == ["web-2"]


@pytest.mark.parametrize("vlans", [(), (Vlan(5),)])
def test_other_ethertypes_and_tagged_frames_are_switched_as_they_are(
    shop: Virtual, vlans: tuple[Vlan, ...]
) -> None:
    frame = Frame(OPEN, "02:00:00:00:01:11", Other(0x88B5, b"anything"), vlans)
    verdict = shop.send("web-1", frame)
    assert [frame_of(o) for o in verdict.outputs] == [frame]


def test_other_ethertypes_need_a_rule_that_names_nothing(shop: Virtual) -> None:
    frame = Frame("02:00:00:00:01:12", OPEN, Other(0x88B5, b"anything"))
    assert shop.send("open", frame).drop == Drop.SECURITY_GROUP
    rule = shop.find("security-group-rule", "http")
    change(shop, rule, protocol=None, ports=None)
    assert shop.send("open", frame).delivered


# --- ARP and neighbour discovery --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("arp who-has 10.0.1.12", "arp 10.0.1.12 is-at 02:00:00:00:01:12"),
        ("arp who-has 10.0.1.1", f"arp 10.0.1.1 is-at {EDGE}"),
        ("nd who-has fd00:1::12", "nd fd00:1::12 is-at 02:00:00:00:01:12"),
        ("nd who-has fd00:1::1", f"nd fd00:1::1 is-at {EDGE}"),
        ("nd who-has fe80::ff:fe00:101", f"nd fe80::ff:fe00:101 is-at {EDGE}"),
        ("nd who-has fd00:1::12 tell ::", "nd fd00:1::12 is-at 02:00:00:00:01:12"),
    ],
)
def test_questions_for_known_addresses_are_answered_on_the_spot(
    shop: Virtual, question: str, answer: str
) -> None:
    verdict = shop.send("web-1", question)
    assert shop.answered() == [answer]
    assert not verdict.outputs


@pytest.mark.parametrize(
    "question",
    [
        "arp who-has 10.0.1.11 tell 10.0.1.11",
        "arp who-has 10.0.1.11 tell 0.0.0.0",
        "arp who-has 10.0.1.99",
        "arp 10.0.1.11 is-at 02:00:00:00:01:11",
        "nd who-has fd00:1::11 tell ::",
        "nd fd00:1::11 is-at 02:00:00:00:01:11",
    ],
)
def test_announcements_and_unknown_addresses_go_to_all(shop: Virtual, question: str) -> None:
    shop.send("web-1", question)
    assert shop.answered() == []
    assert sorted(port for port, _ in shop.got()) == ["bare", "open", "web-2"]


def test_the_answer_about_a_router_says_that_it_is_one(shop: Virtual) -> None:
    for target, flags in (("fd00:1::1", 0xE0), ("fd00:1::12", 0x60)):
        answer = frame_of(shop.send("web-1", f"nd who-has {target}").answers[0])
        assert answer.payload.payload.rest[0] == flags  # type: ignore[union-attr]


def test_nobody_answers_for_a_port_that_is_off(shop: Virtual) -> None:
    change(shop, shop.port("web-2"), admin_up=False)
    shop.send("web-1", "arp who-has 10.0.1.12")
    assert shop.answered() == []


def test_an_improper_solicitation_is_dropped(shop: Virtual) -> None:
    frame = shop.frame("open", "nd who-has fd00:1::12")
    verdict = shop.send("open", replace(frame, payload=replace(frame.payload, ttl=254)))  # type: ignore[type-var]
    assert verdict.drop == Drop.MALFORMED


# --- services ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "service"),
    [
        ("udp 0.0.0.0:68 > 255.255.255.255:67", "dhcp"),
        ("icmp fe80::ff:fe00:111 > ff02::2 type=133 ttl=255", "router-advertisement"),
    ],
)
def test_questions_for_services_go_to_the_slow_path(shop: Virtual, packet: str, service: str) -> None:
    verdict = shop.send("web-1", packet)
    assert [r.what.value for r in verdict.requests] == [service]
    assert not verdict.outputs and verdict.drop is None


def test_a_frame_within_the_mtu_passes_and_a_larger_one_is_answered(shop: Virtual) -> None:
    change(shop, shop.find("network", "web"), mtu=9000)
    assert shop.send("web-1", f"udp 10.0.1.14:53 size={9000 - 28}").delivered
    verdict = shop.send("web-1", f"udp 10.0.1.14:53 size={9000 - 27}")
    assert verdict.drop == Drop.TOO_BIG
    answer = frame_of(verdict.answers[0])
    assert describe(answer) == "icmp 10.0.1.14 > 10.0.1.11 type=3 code=4 ttl=64"
    assert answer.payload.payload.rest == (9000).to_bytes(4, "big")  # type: ignore[union-attr]


def test_a_udp_question_from_no_address_is_for_dhcp_alone(shop: Virtual) -> None:
    frame = shop.frame("open", "udp 10.0.1.14:68 > 255.255.255.255:69")
    payload = replace(frame.payload, src=type(frame.payload.src)(0), payload=Udp(68, 69))  # type: ignore[union-attr,type-var,arg-type,call-arg]
    assert shop.send("open", replace(frame, payload=payload)).drop == Drop.BAD_ADDRESS
