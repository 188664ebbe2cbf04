"""Ordered lists: what matches, who decides, and what becomes of replies."""

from __future__ import annotations

from typing import Any

import pytest

from onehop.model import Acl, AclRule, Match
from onehop.model.vocabulary import Drop
from tests.support.virtual import Virtual
from tests.unit.simulation.changes import add, change

ACL, OTHER_ACL = "ac100000-0000-0000-0000-000000000001", "ac100000-0000-0000-0000-000000000002"
PING = "udp 10.0.1.11:4000 > 10.0.2.21:53"


def rule(id: str, action: str, jump: str | None = None, log: bool = False, **match: Any) -> AclRule:
    return AclRule(id=id, action=action, jump=jump, log=log, match=Match(**match))  # type: ignore[arg-type]


def guard(
    shop: Virtual, *rules: AclRule, place: str = "acls_in", stateful: bool = False, at: str = "edge"
) -> None:
    """Put a list at the router, or at a port."""
    add(shop, Acl(id=ACL, name="guard", rules=rules, stateful=stateful))
    obj = shop.find("router", at) if at == "edge" else shop.port(at)
    change(shop, obj, **{place: (ACL,)})


@pytest.mark.parametrize("place", ["acls_in", "acls_forward", "acls_out"])
def test_a_drop_at_any_place_of_a_router_names_list_and_rule(shop: Virtual, place: str) -> None:
    guard(shop, rule("no-dns", "drop", dst_ports="53"), place=place)
    verdict = shop.send("web-1", PING)
    assert (verdict.drop, verdict.where) == (Drop.ACL_DROP, ACL)
    assert "no-dns" in [s.rule for s in verdict.steps]
    assert shop.send("web-1", "tcp 10.0.2.21:5432").delivered


def test_the_first_rule_that_matches_decides(shop: Virtual) -> None:
    guard(shop, rule("yes", "allow", src="10.0.1.11/32"), rule("no", "drop"))
    assert shop.send("web-1", PING).delivered
    assert shop.send("bare", "udp 10.0.2.21:53").drop == Drop.ACL_DROP


def test_what_no_rule_decides_goes_on(shop: Virtual) -> None:
    guard(shop, rule("no", "drop", protocol="tcp"))
    assert shop.send("web-1", PING).delivered


def test_allow_ends_all_lists_of_the_place(shop: Virtual) -> None:
    add(
        shop,
        Acl(id=ACL, name="first", rules=(rule("yes", "allow"),)),
        Acl(id=OTHER_ACL, name="second", rules=(rule("no", "drop"),)),
    )
    change(shop, shop.find("router", "edge"), acls_in=(ACL, OTHER_ACL))
    assert shop.send("web-1", PING).delivered
    change(shop, shop.find("router", "edge"), acls_in=(), acls_forward=(OTHER_ACL,))
    assert shop.send("web-1", PING).drop == Drop.ACL_DROP


def test_a_jump_comes_back_and_a_return_ends_its_own_list(shop: Virtual) -> None:
    add(shop, Acl(id=OTHER_ACL, name="inner", rules=(rule("back", "return"), rule("never", "drop"))))
    guard(shop, rule("go", "jump", jump=OTHER_ACL), rule("end", "drop", protocol="udp"))
    verdict = shop.send("web-1", PING)
    assert verdict.drop == Drop.ACL_DROP
    assert "end" in [s.rule for s in verdict.steps]


def test_lists_that_jump_in_a_circle_come_to_an_end(shop: Virtual) -> None:
    guard(shop, rule("round", "jump", jump=ACL))
    assert shop.send("web-1", PING).delivered


def test_reject_tells_the_sender_unless_the_packet_may_be_a_reply(shop: Virtual) -> None:
    guard(shop, rule("no", "reject"))
    assert shop.send("web-1", "tcp 10.0.2.21:5432").drop == Drop.ACL_REJECT
    assert shop.answered() == ["icmp 10.0.1.1 > 10.0.1.11 type=3 code=13 ttl=64"]
    assert shop.send("web-1", PING).drop == Drop.ACL_REJECT
    assert shop.answered() == []


def test_a_rule_that_logs_is_reported(shop: Virtual) -> None:
    guard(shop, rule("seen", "allow", log=True))
    verdict = shop.send("web-1", PING)
    assert [(log.acl, log.rule, log.action) for log in verdict.logs] == [(ACL, "seen", "allow")]


@pytest.mark.parametrize(
    "match",
    [
        {"src": "10.0.1.0/24"},
        {"dst": "10.0.2.21/32"},
        {"src_mac": "02:00:00:00:01:11"},
        {"src_mac": "02:00:00:00:01:00/ff:ff:ff:ff:ff:00"},
        {"dst_mac": "02:00:00:00:01:01"},
        {"ethertype": 0x0800},
        {"vlan": 0},
        {"protocol": "udp"},
        {"src_ports": "4000"},
        {"dst_ports": "50-60"},
        {"dscp": 46},
    ],
)
def test_a_field_holds_or_not_and_inverted_the_other_way_round(shop: Virtual, match: dict[str, Any]) -> None:
    packet = f"{PING} dscp=46"
    guard(shop, rule("no", "drop", **match))
    assert shop.send("web-1", packet).drop == Drop.ACL_DROP
    guard(shop, rule("no", "drop", **match, invert=tuple(match)))
    assert shop.send("web-1", packet).delivered


@pytest.mark.parametrize(
    "match", [{"src": "fd00::/8"}, {"icmp_type": 8}, {"fragment": "any"}, {"dst_ports": "54"}, {"vlan": 5}]
)
def test_what_a_packet_does_not_have_does_not_hold(shop: Virtual, match: dict[str, Any]) -> None:
    guard(shop, rule("no", "drop", **match))
    assert shop.send("web-1", PING).delivered
    guard(shop, rule("no", "drop", **match, invert=tuple(match)))
    assert shop.send("web-1", PING).drop == Drop.ACL_DROP


def test_the_port_that_a_packet_leaves_by_is_known_once_the_way_is(shop: Virtual) -> None:
    out = shop.find("port", "db").id
    guard(shop, rule("no", "drop", out_port=out), place="acls_in")
    assert shop.send("web-1", PING).delivered
    guard(shop, rule("no", "drop", out_port=out, in_port=shop.find("port", "web").id), place="acls_forward")
    change(shop, shop.find("router", "edge"), acls_in=())
    assert shop.send("web-1", PING).drop == Drop.ACL_DROP


# --- replies ----------------------------------------------------------------------------------------------

REPLY = "udp 10.0.2.21:53 > 10.0.1.11:4000"


def test_a_stateless_list_judges_replies_where_they_come_by(shop: Virtual) -> None:
    guard(shop, rule("no-answers", "drop", src_ports="53"), place="acls_in")
    assert shop.send("web-1", PING).delivered
    verdict = shop.send("db-1", REPLY)
    assert (verdict.drop, verdict.where) == (Drop.ACL_DROP, ACL)


def test_replies_pass_a_stateful_list(shop: Virtual) -> None:
    guard(shop, rule("no-answers", "drop", src_ports="53"), place="acls_in", stateful=True)
    assert shop.send("web-1", PING).delivered
    assert shop.send("db-1", REPLY).delivered


@pytest.mark.parametrize(("stateful", "passes"), [(True, True), (False, False)])
def test_a_list_at_a_port_sees_replies_from_the_other_side(
    shop: Virtual, stateful: bool, passes: bool
) -> None:
    guard(shop, rule("nothing-in", "drop"), place="acls_out", at="web-1", stateful=stateful)
    assert shop.send("web-1", PING).delivered
    assert shop.send("db-1", REPLY).delivered == passes


def test_no_new_connections_leaves_the_old_ones_alone(shop: Virtual) -> None:
    assert shop.send("web-1", PING).delivered
    guard(shop, rule("no-new", "drop", state=("new",)), stateful=True)
    assert shop.send("web-1", PING).delivered
    assert shop.send("db-1", REPLY).delivered
    assert shop.send("web-1", "udp 10.0.1.11:4001 > 10.0.2.21:53").drop == Drop.ACL_DROP


def test_what_let_a_connection_in_keeps_letting_it_pass(shop: Virtual) -> None:
    guard(shop, rule("yes", "allow", state=("new",), dst_ports="53"), rule("no", "drop"), stateful=True)
    for _ in range(2):
        assert shop.send("web-1", PING).delivered
        assert shop.send("db-1", REPLY).delivered


def test_only_what_is_established_passes_where_nothing_new_may(shop: Virtual) -> None:
    rules = (rule("old", "allow", state=("established",)), rule("no", "drop"))
    guard(shop, *rules, stateful=True)
    assert shop.send("web-1", PING).drop == Drop.ACL_DROP
