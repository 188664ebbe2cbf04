"""What groups let pass: to a machine, from it, and back."""

from __future__ import annotations

import pytest

from onehop.model import AddressGroup, AddressGroupEntry, SecurityGroup, SecurityGroupRule
from onehop.model.vocabulary import Drop, Stage
from tests.support.virtual import Virtual
from tests.unit.simulation.changes import add, change, remove


def test_what_a_rule_allows_comes_in_and_the_rule_is_named(shop: Virtual) -> None:
    verdict = shop.send("bare", "tcp 10.0.1.12:80")
    assert [port for port, _ in shop.got()] == ["web-2"]
    rule = shop.find("security-group-rule", "http")
    assert rule.id in [s.rule for s in verdict.steps if s.stage == Stage.SECURITY_GROUPS]


@pytest.mark.parametrize(
    "packet", ["tcp 10.0.1.12:81", "tcp [fd00:1::12]:81", "udp 10.0.1.12:80", "proto 47 10.0.1.12"]
)
def test_what_no_rule_allows_does_not(shop: Virtual, packet: str) -> None:
    verdict = shop.send("bare", packet)
    assert (verdict.drop, verdict.where) == (Drop.SECURITY_GROUP, shop.port("web-2").id)


def test_a_port_without_groups_sends_everything_and_gets_replies_alone(shop: Virtual) -> None:
    assert shop.send("web-1", "tcp 10.0.1.13:80").drop == Drop.SECURITY_GROUP
    assert shop.send("bare", "tcp 10.0.1.12:80").delivered
    assert shop.send("web-2", "tcp 10.0.1.12:80 > 10.0.1.13:40000 SYN,ACK").delivered
    assert shop.send("web-2", "tcp 10.0.1.12:80 > 10.0.1.13:40001 SYN,ACK").drop == Drop.SECURITY_GROUP


def test_a_port_with_security_switched_off_is_open(shop: Virtual) -> None:
    assert shop.send("bare", "tcp 10.0.1.14:1").delivered
    assert shop.send("bare", "proto 47 10.0.1.14").delivered


def test_a_remote_group_stands_for_the_addresses_of_its_members(shop: Virtual) -> None:
    assert shop.send("web-1", "tcp 10.0.2.21:5432").delivered
    assert shop.send("web-1", "tcp [fd00:2::21]:5432").delivered
    assert shop.send("bare", "tcp 10.0.2.21:5432").drop == Drop.SECURITY_GROUP


def test_a_remote_prefix_is_the_source_of_what_comes_in(shop: Virtual) -> None:
    change(shop, shop.find("security-group-rule", "http"), remote_cidr="10.0.1.13/32")
    assert shop.send("bare", "tcp 10.0.1.12:80").delivered
    assert shop.send("open", "tcp 10.0.1.12:80").drop == Drop.SECURITY_GROUP
    assert shop.send("bare", "tcp [fd00:1::12]:80").drop == Drop.SECURITY_GROUP


def test_an_address_group_is_a_set_of_prefixes(shop: Virtual) -> None:
    group = AddressGroup(id="a0000000-0000-0000-0000-000000000001", name="friends")
    entry = AddressGroupEntry(
        id="a0000000-0000-0000-0000-000000000002", name="one", address_group=group.id, cidr="10.0.1.13/32"
    )
    add(shop, group, entry)
    change(shop, shop.find("security-group-rule", "http"), remote_address_group=group.id)
    assert shop.send("bare", "tcp 10.0.1.12:80").delivered
    assert shop.send("open", "tcp 10.0.1.12:80").drop == Drop.SECURITY_GROUP


def test_any_group_of_the_port_may_allow(shop: Virtual) -> None:
    db = shop.find("security-group", "db")
    port = shop.port("web-2")
    change(shop, port, security_groups=(*port.security_groups, db.id))
    assert shop.send("bare", "udp 10.0.1.12:53").delivered


def egress_rule(shop: Virtual, **fields: object) -> None:
    """Hold web's members to one egress rule."""
    web = shop.find("security-group", "web")
    assert isinstance(web, SecurityGroup)
    change(shop, web, egress="rules")
    rule = {"id": "a0000000-0000-0000-0000-000000000003", "name": "out", "security_group": web.id}
    add(shop, SecurityGroupRule(**{**rule, "direction": "egress", **fields}))  # type: ignore[arg-type]


def test_egress_rules_hold_back_what_they_do_not_allow(shop: Virtual) -> None:
    egress_rule(shop, protocol="udp", ports="53", remote_cidr="10.0.2.0/24")
    assert shop.send("web-1", "udp 10.0.2.21:53").delivered
    verdict = shop.send("web-1", "udp 10.0.1.14:53")
    assert (verdict.drop, verdict.where) == (Drop.SECURITY_GROUP, shop.port("web-1").id)


def test_replies_need_no_egress_rule(shop: Virtual) -> None:
    egress_rule(shop, protocol="udp")
    assert shop.send("bare", "tcp 10.0.1.11:80").delivered
    assert shop.send("web-1", "tcp 10.0.1.11:80 > 10.0.1.13:40000 SYN,ACK").delivered


def test_neighbours_find_each_other_without_rules(shop: Virtual) -> None:
    egress_rule(shop, protocol="udp")
    assert shop.send("web-1", "arp who-has 10.0.1.99").delivered
    assert shop.send("web-1", "nd who-has fd00:1::99").delivered


@pytest.mark.parametrize(("packet", "passes"), [("icmp 10.0.1.12", True), ("icmp 10.0.1.12 type=13", False)])
def test_icmp_is_told_apart_by_type(shop: Virtual, packet: str, passes: bool) -> None:
    assert shop.send("bare", packet).delivered == passes


def test_a_rule_taken_away_cuts_the_connection_in_both_directions_at_once(shop: Virtual) -> None:
    opening, reply = "tcp 10.0.1.12:80", "tcp 10.0.1.12:80 > 10.0.1.13:40000 ACK"
    assert shop.send("bare", opening).delivered
    assert shop.send("web-2", reply).delivered
    remove(shop, shop.find("security-group-rule", "http"))
    assert shop.send("bare", "tcp 10.0.1.12:80 ACK").drop == Drop.SECURITY_GROUP
    assert shop.send("web-2", reply).drop == Drop.SECURITY_GROUP


def test_a_rule_added_lets_the_next_packet_in(shop: Virtual) -> None:
    assert shop.send("bare", "udp 10.0.1.12:53").drop == Drop.SECURITY_GROUP
    change(shop, shop.find("security-group-rule", "http"), protocol="udp", ports="53")
    assert shop.send("bare", "udp 10.0.1.12:53").delivered
