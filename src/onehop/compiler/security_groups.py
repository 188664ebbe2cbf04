"""Stage SECURITY_GROUPS: two lists of rules for each port, shared by ports with the same groups."""

from __future__ import annotations

from typing import Any

from onehop.compiler import facts, rules
from onehop.compiler.addresses import mask, packed
from onehop.compiler.unit import Scope
from onehop.datapath.structs import Rule
from onehop.datapath.words import MatchField, RuleAction
from onehop.model import Port, SecurityGroup, SecurityGroupRule
from onehop.model.formats import parse_cidr, parse_ports, parse_protocol

STEP = "security_rules"
_SENDS, _RECEIVES = "egress", "ingress"


def lists(to: Scope, port: Port) -> tuple[int, int]:
    """What the machine at a port may send, and may be sent. 0: everything, nothing."""
    if port.kind != "vm" or not port.port_security or not port.security_groups:
        return 0, 0
    groups = (to.get(SecurityGroup, id) for id in port.security_groups)
    is_open = any(group is not None and group.egress == "allow" for group in groups)
    sends = 0 if is_open else rules.list_id(to, STEP, _SENDS, *port.security_groups)
    return sends, rules.list_id(to, STEP, _RECEIVES, *port.security_groups)


def security_rules(to: Scope, direction: str, *groups: str) -> None:
    """The rules of some groups in one direction, in order. With too many of them, nothing is allowed."""
    found = [
        (group, rule)
        for group in groups
        if to.get(SecurityGroup, group) is not None
        for rule in to.rules(group)
        if rule.direction == direction
    ]
    name = rules.name(STEP, direction, *groups)
    if len(found) > rules.MAX_RULES:
        to.say(facts.too_long(name), len(found))
        found = []
    made = tuple(_rule(to, rule, to.number("filters", group)) for group, rule in found)
    to.row("rule_lists", to.number("rule_lists", name), made)


def shortcomings(to: Scope, id: str) -> None:
    """Tell a port whose list is too long."""
    port = to.get(Port, id)
    assert port is not None
    for direction in (_SENDS, _RECEIVES) if port.security_groups else ():
        count = to.one(facts.too_long(rules.name(STEP, direction, *port.security_groups)))
        if count is not None:
            text = f"list too long: its security groups have {count} {direction} rules, and a list holds"
            to.problem(id, f"{text} {rules.MAX_RULES}; until there are fewer, nothing is allowed")


def _rule(to: Scope, rule: SecurityGroupRule, group: int) -> Rule:
    match = MatchField(0)
    values: dict[str, Any] = {}
    if rule.family is not None:
        match |= MatchField.VERSION
        values["version"] = 4 if rule.family == "ipv4" else 6
    if rule.protocol is not None:
        match |= MatchField.PROTOCOL
        values["protocol"] = parse_protocol(rule.protocol)
    if rule.ports is not None:
        match |= MatchField.DST_PORTS
        values["dst_low"], values["dst_high"] = parse_ports(rule.ports)
    if rule.icmp_type is not None:
        match |= MatchField.ICMP_TYPE
        values["icmp_type"] = rule.icmp_type
    if rule.icmp_code is not None:
        match |= MatchField.ICMP_CODE
        values["icmp_code"] = rule.icmp_code
    match |= _remote(to, rule, values)
    return Rule(
        match=match,
        invert=MatchField(0),
        action=RuleAction.ALLOW,
        id=to.number("rules", rule.id),
        acl=group,
        **values,
    )


def _remote(to: Scope, rule: SecurityGroupRule, values: dict[str, Any]) -> MatchField:
    """Where it comes from, or goes to."""
    incoming = rule.direction == _RECEIVES
    side = "src" if incoming else "dst"
    match = MatchField(0)
    if rule.remote_cidr is not None:
        prefix = parse_cidr(rule.remote_cidr)
        match |= MatchField.SRC if incoming else MatchField.DST
        values[side], values[f"{side}_mask"] = packed(prefix.network_address), mask(prefix)
    group = rule.remote_group or rule.remote_address_group
    if group is not None:
        match |= MatchField.SRC_GROUP if incoming else MatchField.DST_GROUP
        values[f"{side}_set"] = rules.set_id(to, group)
    return match
