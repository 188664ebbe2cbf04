"""Lists of rules: every field, inverted too, jumps and returns, address sets, logs."""

from __future__ import annotations

from typing import Any

import pytest

from onehop.datapath.layouts import codec, ip6
from onehop.datapath.ringbuf import Ring
from onehop.datapath.structs import Rule
from onehop.datapath.traffic import Event
from onehop.datapath.words import EventKind, Fragment, MatchField, PortFlag, RuleAction, RuleFlag
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Frame, Icmp, Other, Tcp, Udp, Vlan
from tests.bpf.world import WEB, A, B, World, frame, mac, prefix_key, raw_mac, v4

NOTHING = MatchField(0)
PLACE, ACL, INNER, DEEP = 60, 61, 62, 63
UDP = Udp(4000, 53)


def rule(
    action: RuleAction, match: MatchField = NOTHING, invert: MatchField = NOTHING, **values: Any
) -> Rule:
    return Rule(match, invert, action, **values)


def passes(world: World, sent: Frame) -> bool:
    world.tables["flows"].clear()
    world.tables["records"].clear()
    return world.send(A, sent).drop is not Drop.ACL_DROP


@pytest.fixture
def guarded(world: World) -> World:
    """Whose network web has an ACL in front of it, and a port a that may send what it likes."""
    world.change("networks", WEB, acls_in=PLACE)
    world.change_port(A, flags=PortFlag.UP)
    world.change_port(B, flags=PortFlag.UP)
    return world


def cidr(name: str, address: str, length: int) -> dict[str, bytes]:
    mask = ((1 << 128) - 1 ^ (1 << 128 - length) - 1).to_bytes(16, "big")
    return {name: ip6(address), f"{name}_mask": mask}


MATCHES: list[tuple[MatchField, dict[str, Any], Frame, Frame]] = [
    (MatchField.PROTOCOL, {"protocol": 17}, frame(A, B, UDP), frame(A, B, Tcp(4000, 53))),
    (MatchField.DST_PORTS, {"dst_low": 53, "dst_high": 60}, frame(A, B, UDP), frame(A, B, Udp(1, 61))),
    (MatchField.SRC_PORTS, {"src_low": 1, "src_high": 3999}, frame(A, B, Udp(1, 53)), frame(A, B, UDP)),
    (MatchField.ICMP_TYPE, {"icmp_type": 8}, frame(A, B, Icmp(8)), frame(A, B, Icmp(13))),
    (MatchField.ICMP_CODE, {"icmp_code": 3}, frame(A, B, Icmp(3, 3)), frame(A, B, Icmp(3, 1))),
    (MatchField.SRC, cidr("src", v4(A), 128), frame(A, B, UDP), frame(A, B, UDP, 6)),
    (MatchField.DST, cidr("dst", "10.0.1.0", 120), frame(A, B, UDP), frame(A, 3, UDP)),
    (MatchField.DST, cidr("dst", "::", 0), frame(A, B, UDP, 6), frame(A, B, UDP)),
    (MatchField.SRC_GROUP, {"src_set": 9}, frame(A, B, UDP), frame(A, B, UDP, 6)),
    (MatchField.DST_GROUP, {"dst_set": 10}, frame(A, B, UDP, 6), frame(A, B, UDP)),
    (MatchField.VERSION, {"version": 6}, frame(A, B, UDP, 6), frame(A, B, UDP)),
    (MatchField.DSCP, {"dscp": 46}, frame(A, B, UDP, tos=46 << 2), frame(A, B, UDP, tos=45 << 2)),
    (MatchField.ETHERTYPE, {"ethertype": 0x0800}, frame(A, B, UDP), frame(A, B, UDP, 6)),
    (
        MatchField.VLAN,
        {"vlan": 7},
        Frame(mac(B), mac(A), Other(0x88B5, bytes(46)), (Vlan(7),)),
        Frame(mac(B), mac(A), Other(0x88B5, bytes(46)), (Vlan(8),)),
    ),
    (
        MatchField.FRAGMENT,
        {"fragment": Fragment.FIRST},
        frame(A, B, Udp(4000, 53, bytes(8), length=800), more_fragments=True, id=7),
        frame(A, B, UDP),
    ),
    (
        MatchField.DST_MAC,
        {"dst_mac": raw_mac(B), "dst_mac_mask": b"\xff" * 6},
        frame(A, B, UDP),
        frame(A, 3, UDP),
    ),
    (
        MatchField.SRC_MAC,
        {"src_mac": b"\0\0\0\0\0\1", "src_mac_mask": b"\0\0\0\0\0\1"},
        frame(A, B, UDP),
        Frame(mac(B), mac(4), Other(0x88B5, bytes(46))),
    ),
]


@pytest.mark.parametrize(("field", "values", "held", "other"), MATCHES)
def test_a_field_holds_for_some_and_not_for_others(
    guarded: World, field: MatchField, values: dict[str, Any], held: Frame, other: Frame
) -> None:
    guarded.put("address_sets", prefix_key(9, "10.0.0.0/8"), 1)
    guarded.put("address_sets", prefix_key(10, "::/0"), 1)
    guarded.put_acl(PLACE, ACL, [rule(RuleAction.DROP, field, **values)])
    assert (passes(guarded, held), passes(guarded, other)) == (False, True)
    guarded.put_acl(PLACE, ACL, [rule(RuleAction.DROP, field, field, **values)])
    assert (passes(guarded, held), passes(guarded, other)) == (True, False)


def test_everything_that_a_rule_names_has_to_hold(guarded: World) -> None:
    both = MatchField.PROTOCOL | MatchField.DST_PORTS
    guarded.put_acl(PLACE, ACL, [rule(RuleAction.DROP, both, protocol=17, dst_low=53, dst_high=53)])
    assert not passes(guarded, frame(A, B, UDP))
    assert passes(guarded, frame(A, B, Tcp(4000, 53)))
    assert passes(guarded, frame(A, B, Udp(4000, 54)))


def test_the_first_rule_that_decides_decides(guarded: World) -> None:
    allow = rule(RuleAction.ALLOW, MatchField.PROTOCOL, protocol=17)
    guarded.put_acl(PLACE, ACL, [allow, rule(RuleAction.DROP)])
    assert passes(guarded, frame(A, B, UDP))
    assert not passes(guarded, frame(A, B, Tcp(4000, 53)))


def test_a_jump_comes_back_and_a_return_ends_a_list(guarded: World) -> None:
    udp = MatchField.PROTOCOL
    guarded.put_list(INNER, [rule(RuleAction.RETURN, udp, protocol=17), rule(RuleAction.ALLOW)])
    guarded.put_acl(PLACE, ACL, [rule(RuleAction.JUMP, jump=INNER), rule(RuleAction.DROP)])
    assert passes(guarded, frame(A, B, Tcp(4000, 53)))
    assert not passes(guarded, frame(A, B, UDP))


def test_a_list_that_jumps_too_deep_decides_nothing_there(guarded: World) -> None:
    guarded.put_list(INNER, [rule(RuleAction.JUMP, jump=INNER), rule(RuleAction.DROP)])
    guarded.put_acl(PLACE, ACL, [rule(RuleAction.JUMP, jump=INNER)])
    assert not passes(guarded, frame(A, B, UDP))
    guarded.put_list(INNER, [rule(RuleAction.JUMP, jump=INNER)])
    assert passes(guarded, frame(A, B, UDP))


def test_the_last_of_a_thousand_rules_counts(guarded: World) -> None:
    rules = [rule(RuleAction.DROP, MatchField.DST_PORTS, dst_low=p, dst_high=p) for p in range(1000, 2024)]
    guarded.put_acl(PLACE, ACL, rules)
    assert not passes(guarded, frame(A, B, Udp(4000, 2023)))
    assert passes(guarded, frame(A, B, Udp(4000, 2024)))


def test_a_rule_that_logs_tells_the_agent(guarded: World) -> None:
    logs = rule(RuleAction.DROP, flags=RuleFlag.LOG, id=77, acl=5)
    guarded.put_acl(PLACE, ACL, [logs])
    told: list[Event] = []
    with Ring(guarded.datapath.maps["events"]) as ring:
        ring.consume(lambda _: None, 10_000)
        guarded.send(A, frame(A, B, UDP))
        ring.consume(lambda record: told.append(Event.decode(record[: codec(Event).size])))
    (event,) = told
    assert (event.kind, event.port, event.id, event.segment) == (EventKind.LOG, A, 77, 5)


def test_security_groups_need_a_rule_that_names_nothing_for_what_is_not_ip(world: World) -> None:
    sent = Frame(mac(B), mac(A), Other(0x88B5, bytes(46)))
    assert world.send(A, sent).drop is None
    world.put_list(1, [rule(RuleAction.ALLOW, MatchField.VERSION, version=4)])
    world.bump()
    assert world.send(A, sent).drop is Drop.SECURITY_GROUP
