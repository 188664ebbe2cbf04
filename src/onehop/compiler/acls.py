"""Stage ACLS: a list of its own for each ACL, and for each place a list that jumps through its ACLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onehop.compiler import rules
from onehop.compiler.addresses import mask, packed
from onehop.compiler.unit import Scope
from onehop.datapath.structs import Rule
from onehop.datapath.words import ConnectionState, Fragment, MatchField, RuleAction, RuleFlag
from onehop.model import Acl, AclRule, Match, Port
from onehop.model.formats import parse_cidr, parse_mac_mask, parse_ports, parse_protocol

PLACE, LIST = "acl_place", "acl_rules"
NO_PORT = 0xFFFFFFFF  # a port that no packet passes: what a match names is gone

_ACTIONS = {
    "allow": RuleAction.ALLOW,
    "drop": RuleAction.DROP,
    "reject": RuleAction.REJECT,
    "return": RuleAction.RETURN,
    "jump": RuleAction.JUMP,
}
_FRAGMENTS = {"any": Fragment.ANY, "first": Fragment.FIRST, "later": Fragment.LATER}
_STATES = {
    "new": ConnectionState.NEW,
    "established": ConnectionState.ESTABLISHED,
    "related": ConnectionState.RELATED,
    "untracked": ConnectionState.UNTRACKED,
}


def place(to: Scope, acls: tuple[str, ...]) -> int:
    """The list of a place where these ACLs are asked; 0 without any."""
    return rules.list_id(to, PLACE, *acls) if acls else 0


def acl_place(to: Scope, *acls: str) -> None:
    jumps = []
    for id in acls:
        acl = to.get(Acl, id)
        if acl is not None:
            jumps.append(
                Rule(
                    match=MatchField(0),
                    invert=MatchField(0),
                    action=RuleAction.JUMP,
                    flags=RuleFlag.STATEFUL if acl.stateful else RuleFlag(0),
                    jump=rules.list_id(to, LIST, id),
                    acl=to.number("filters", id),
                )
            )
    to.row("rule_lists", to.number("rule_lists", rules.name(PLACE, *acls)), tuple(jumps))


def acl_rules(to: Scope, id: str) -> None:
    acl = to.get(Acl, id)
    found = acl.rules if acl is not None else ()
    number = to.number("filters", id)
    made = tuple(_rule(to, rule, number, f"{id}/{rule.id}") for rule in found)
    to.row("rule_lists", to.number("rule_lists", rules.name(LIST, id)), made)


def _rule(to: Scope, rule: AclRule, acl: int, name: str) -> Rule:
    match, values = _match(to, rule.match)
    target = to.get(Acl, rule.jump)
    return Rule(
        match=match,
        invert=_invert(rule.match),
        action=_ACTIONS[rule.action],
        flags=RuleFlag.LOG if rule.log else RuleFlag(0),
        jump=rules.list_id(to, LIST, target.id) if target is not None else 0,
        id=to.number("rules", name),
        acl=acl,
        **values,
    )


def _match(to: Scope, match: Match) -> tuple[MatchField, dict[str, Any]]:
    fields = MatchField(0)
    values: dict[str, Any] = {}
    for name, compile in _FIELDS.items():
        wanted = getattr(match, name)
        if wanted is not None and wanted != ():
            fields |= MatchField[name.upper()]
            values |= compile(to, wanted)
    return fields, values


def _invert(match: Match) -> MatchField:
    fields = MatchField(0)
    for name in match.invert:
        fields |= MatchField[name.upper()]
    return fields


# --- the fields of a match ----------------------------------------------------------------------------------

Compile = Callable[[Scope, Any], dict[str, Any]]


def _number(name: str) -> Compile:
    return lambda to, wanted: {name: wanted}


def _port(name: str) -> Compile:
    def compile(to: Scope, wanted: str) -> dict[str, Any]:
        port = to.get(Port, wanted)
        return {name: port.key if port is not None else NO_PORT}

    return compile


def _mac(name: str) -> Compile:
    return lambda to, wanted: dict(zip((name, f"{name}_mask"), parse_mac_mask(wanted), strict=True))


def _prefix(name: str) -> Compile:
    def compile(to: Scope, wanted: str) -> dict[str, Any]:
        prefix = parse_cidr(wanted)
        return {name: packed(prefix.network_address), f"{name}_mask": mask(prefix)}

    return compile


def _set(name: str) -> Compile:
    return lambda to, wanted: {name: rules.set_id(to, wanted)}


def _ports(side: str) -> Compile:
    return lambda to, wanted: dict(zip((f"{side}_low", f"{side}_high"), parse_ports(wanted), strict=True))


def _state(to: Scope, wanted: tuple[str, ...]) -> dict[str, Any]:
    return {"state": sum(1 << _STATES[name] for name in set(wanted))}


_FIELDS: dict[str, Compile] = {
    "in_port": _port("in_port"),
    "out_port": _port("out_port"),
    "src_mac": _mac("src_mac"),
    "dst_mac": _mac("dst_mac"),
    "ethertype": _number("ethertype"),
    "vlan": _number("vlan"),
    "src": _prefix("src"),
    "dst": _prefix("dst"),
    "src_group": _set("src_set"),
    "dst_group": _set("dst_set"),
    "protocol": lambda to, wanted: {"protocol": parse_protocol(wanted)},
    "src_ports": _ports("src"),
    "dst_ports": _ports("dst"),
    "icmp_type": _number("icmp_type"),
    "icmp_code": _number("icmp_code"),
    "dscp": _number("dscp"),
    "fragment": lambda to, wanted: {"fragment": _FRAGMENTS[wanted]},
    "state": _state,
}
