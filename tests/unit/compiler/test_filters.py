"""Security groups and ACLs as rule lists, and the address sets that they name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from onehop.compiler import rules
from onehop.datapath.structs import Rule
from onehop.datapath.words import Fragment, MatchField, RuleAction, RuleFlag
from onehop.model import Acl, AddressGroup, AddressGroupEntry, Port, SecurityGroup, SecurityGroupRule
from tests.unit.compiler.small import Small, ip, prefixes

NONE = MatchField(0)
GROUPS = """
networks:
  web:
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64", ipv6_mode: dhcpv6}}
    ports:
      a: {addresses: [{ip: 10.0.1.5}, {ip: "fd00:1::5"}], security_groups: [%s]}
      b: {addresses: [{ip: 10.0.1.6}], security_groups: [%s]}
security_groups:
  open: {rules: {any: {direction: ingress}}}
  strict:
    egress: rules
    rules:
      http: {direction: ingress, protocol: tcp, ports: "80-90", remote_cidr: 10.0.0.0/8}
      ping: {direction: egress, protocol: icmpv6, icmp_type: 128, icmp_code: 0, remote_cidr: "fd00::/16"}
  peers: {rules: {own: {direction: ingress, family: ipv4, remote_group: peers}}}
  listed: {rules: {own: {direction: ingress, remote_address_group: good}}}
address_groups: {good: {entries: {v4: {cidr: 198.51.100.0/24}, v6: {cidr: "2001:db8::/32"}}}}
"""
MASK8 = b"\xff" * 13 + bytes(3)


def groups(a: str, b: str = "") -> Small:
    return Small(GROUPS % (a, b))


def allow(small: Small, group: str, rule: str, match: MatchField, **values: Any) -> Rule:
    group_id = small.id(SecurityGroup, group)
    found = next(r for r in small.view.rules(group_id) if r.name == rule)
    id, acl = small.number("rules", found.id), small.number("filters", group_id)
    return Rule(match, NONE, RuleAction.ALLOW, id=id, acl=acl, **values)


def test_without_groups_everything_may_leave_and_only_replies_come_in() -> None:
    port = groups("").port("web/a")
    assert (port.sends, port.receives) == (0, 0)


def test_a_group_that_names_nothing_allows_everything() -> None:
    small = groups("open")
    port = small.port("web/a")
    assert port.sends == 0
    assert small.list(port.receives) == (allow(small, "open", "any", NONE),)


def test_each_rule_says_what_it_matches() -> None:
    small = groups("strict")
    port = small.port("web/a")
    match = MatchField.PROTOCOL | MatchField.DST_PORTS | MatchField.SRC
    assert small.list(port.receives) == (
        allow(
            small, "strict", "http", match,
            protocol=6, dst_low=80, dst_high=90, src=ip("10.0.0.0"), src_mask=MASK8,
        ),
    )  # fmt: skip
    match = MatchField.PROTOCOL | MatchField.ICMP_TYPE | MatchField.ICMP_CODE | MatchField.DST
    mask = b"\xff\xff" + bytes(14)
    assert small.list(port.sends) == (
        allow(small, "strict", "ping", match, protocol=58, icmp_type=128, dst=ip("fd00::"), dst_mask=mask),
    )


def test_one_open_group_lets_everything_leave() -> None:
    assert groups("strict, open").port("web/a").sends == 0


def test_a_group_without_a_rule_allows_nothing() -> None:
    small = groups("strict")
    for rule in small.view.all(SecurityGroupRule):
        small.remove(rule.id)
    port = small.port("web/a")
    assert port.sends and port.receives
    assert (small.list(port.sends), small.list(port.receives)) == ((), ())


def test_ports_with_the_same_groups_share_their_lists() -> None:
    small = groups("strict, open", "strict, open")
    assert small.port("web/a").receives == small.port("web/b").receives
    assert len(small.desired.lists["rule_lists"]) == 1


def test_without_port_security_there_are_no_lists() -> None:
    small = groups("open")
    small.update(msgspec.structs.replace(small.get(Port, "web/a"), port_security=False))
    assert (small.port("web/a").receives, small.desired.lists["rule_lists"]) == (0, {})


def test_a_remote_group_is_the_addresses_of_its_members() -> None:
    small = groups("peers", "peers")
    number = small.number("address_sets", small.id(SecurityGroup, "peers"))
    match = MatchField.VERSION | MatchField.SRC_GROUP
    rule = allow(small, "peers", "own", match, version=4, src_set=number)
    assert small.list(small.port("web/a").receives) == (rule,)
    assert prefixes(small.table("address_sets"), number) == {
        "10.0.1.5/32": 1, "fd00:1::5/128": 1, "10.0.1.6/32": 1,
    }  # fmt: skip


def test_a_new_member_is_one_row_and_concerns_who_names_the_group() -> None:
    small = groups("peers", "peers")
    b = small.get(Port, "web/b")
    difference = small.update(msgspec.structs.replace(b, security_groups=()))
    assert len(difference.removes["address_sets"]) == 1
    assert difference.zones == {small.port("web/a").zone}


def test_an_address_group_is_its_entries() -> None:
    small = groups("listed")
    number = small.number("address_sets", small.id(AddressGroup, "good"))
    assert prefixes(small.table("address_sets"), number) == {"198.51.100.0/24": 1, "2001:db8::/32": 1}
    one = small.view.all(AddressGroupEntry)[0]
    difference = small.remove(one.id)
    assert (difference.puts, len(difference.removes["address_sets"])) == ({}, 1)
    assert difference.zones == {small.port("web/a").zone}


def test_a_group_that_no_rule_names_has_no_set() -> None:
    assert groups("strict").table("address_sets") == {}


def test_a_list_that_is_too_long_allows_nothing_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_RULES", 1)
    small = groups("open, peers")
    assert small.list(small.port("web/a").receives) == ()
    (told,) = small.problems(Port, "web/a")
    assert told.startswith("list too long: its security groups have 2 ingress rules, and a list holds 1;")


# --- ACLs ---------------------------------------------------------------------------------------------------

ACLS = """
networks: {web: {acls_in: [outer, inner], ports: {a: {acls_out: [inner]}}}}
address_groups: {good: {entries: {v4: {cidr: 198.51.100.0/24}}}}
acls:
  inner: {rules: [{id: all, action: %s, match: {%s}, log: true}]}
  outer: {stateful: true, rules: [{id: go, action: jump, jump: inner}]}
"""


def acls(match: str = "", action: str = "drop") -> Small:
    return Small(ACLS % (action, match))


def test_a_place_jumps_through_its_acls_and_says_which_are_stateful() -> None:
    small = acls()
    inner, outer = (small.number("filters", small.id(Acl, name)) for name in ("inner", "outer"))
    numbers = {name.split()[-1]: n for name, n in small.compiler.assignment().ids["rule_lists"].items()
               if name.startswith("acl_rules")}  # fmt: skip
    lists = {name: numbers[small.id(Acl, name)] for name in ("inner", "outer")}
    jump = RuleAction.JUMP
    place = small.list(small.table("networks")[small.key("web")].acls_in)
    assert place == (
        Rule(NONE, NONE, jump, RuleFlag.STATEFUL, jump=lists["outer"], acl=outer),
        Rule(NONE, NONE, jump, jump=lists["inner"], acl=inner),
    )
    assert small.list(small.port("web/a").acls_out) == place[1:]
    names = small.compiler.assignment().ids["rules"]
    assert small.list(lists["outer"]) == (
        Rule(NONE, NONE, jump, jump=lists["inner"], id=names[f"{small.id(Acl, 'outer')}/go"], acl=outer),
    )
    assert small.list(lists["inner"]) == (
        Rule(NONE, NONE, RuleAction.DROP, RuleFlag.LOG, id=names[f"{small.id(Acl, 'inner')}/all"], acl=inner),
    )


@pytest.mark.parametrize(
    ("match", "field", "values"),
    [
        ("src_mac: '02:00:00:00:00:00/ff:ff:00:00:00:00'", "SRC_MAC",
         {"src_mac": b"\x02" + bytes(5), "src_mac_mask": b"\xff\xff" + bytes(4)}),
        ("dst_mac: '02:00:00:00:00:01'", "DST_MAC",
         {"dst_mac": b"\x02" + bytes(4) + b"\x01", "dst_mac_mask": b"\xff" * 6}),
        ("ethertype: 0x0806", "ETHERTYPE", {"ethertype": 0x0806}),
        ("vlan: 7", "VLAN", {"vlan": 7}),
        ("src: 10.0.0.0/8", "SRC", {"src": ip("10.0.0.0"), "src_mask": MASK8}),
        ("dst: '::/0'", "DST", {"dst": bytes(16), "dst_mask": bytes(16)}),
        ("protocol: sctp", "PROTOCOL", {"protocol": 132}),
        ("dscp: 46", "DSCP", {"dscp": 46}),
        ("fragment: later", "FRAGMENT", {"fragment": Fragment.LATER}),
        ("out_port: web/a", "OUT_PORT", {"out_port": 2}),
    ],
)  # fmt: skip
def test_a_match_becomes_a_field_and_its_values(match: str, field: str, values: dict[str, Any]) -> None:
    small = acls(match)
    (rule,) = (
        r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.id and not r.jump
    )
    assert rule == Rule(
        MatchField[field], NONE, RuleAction.DROP, RuleFlag.LOG, id=rule.id, acl=rule.acl, **values
    )


def test_what_is_inverted_is_marked() -> None:
    small = acls("protocol: tcp, src_ports: '1-9', dst_ports: '80', invert: [dst_ports]")
    (rule,) = (r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.protocol)
    assert rule.match == MatchField.PROTOCOL | MatchField.SRC_PORTS | MatchField.DST_PORTS
    assert rule.invert == MatchField.DST_PORTS
    assert (rule.src_low, rule.src_high, rule.dst_low, rule.dst_high) == (1, 9, 80, 80)


def test_a_match_of_an_address_group_names_its_set() -> None:
    small = acls("src_group: good")
    number = small.number("address_sets", small.id(AddressGroup, "good"))
    (rule,) = (r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.src_set)
    assert (rule.match, rule.src_set) == (MatchField.SRC_GROUP, number)
    assert prefixes(small.table("address_sets"), number) == {"198.51.100.0/24": 1}


def test_states_are_bits() -> None:
    rule = "{id: r, action: allow, match: {state: [new, related]}}"
    small = Small(f"acls: {{s: {{stateful: true, rules: [{rule}]}}}}\nnetworks: {{web: {{acls_in: [s]}}}}")
    (found,) = (r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.state)
    assert (found.match, found.state) == (MatchField.STATE, 0b101)


def test_a_match_of_a_port_that_is_gone_never_holds() -> None:
    small = acls("in_port: web/a")
    small.remove(small.id(Port, "web/a"))
    (rule,) = (r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.in_port)
    assert rule.in_port == 0xFFFFFFFF


def test_a_changed_rule_swaps_one_list_and_leaves_the_ports_alone() -> None:
    small = acls()
    inner = small.get(Acl, "inner")
    rule = msgspec.structs.replace(inner.rules[0], action="allow")
    difference = small.update(msgspec.structs.replace(inner, rules=(rule,)))
    assert [*difference.puts] == ["rule_lists"]
    assert len(difference.puts["rule_lists"]) == 1
    assert difference.zones == {small.table("networks")[small.key("web")].zone}


def test_the_number_of_a_rule_tells_which_one_it_was() -> None:
    small = acls()
    (rule,) = (
        r for rules in small.desired.lists["rule_lists"].values() for r in rules if r.id and not r.jump
    )
    inner = small.id(Acl, "inner")
    assert small.compiler.name("rules", rule.id) == f"{inner}/all"
    assert small.compiler.name("filters", rule.acl) == inner
    assert small.compiler.name("rules", 999) is None
