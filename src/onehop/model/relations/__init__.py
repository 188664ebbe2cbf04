"""The rules that span fields and objects: what an object may be, given all the others.

`check` gives every problem of an object that is about to be written, `guarded_sets` the sets of objects
that these rules look at. A rule about a set ("no two subnets of a network overlap") cannot be kept by
guards on single keys; whoever writes an object that belongs to such a set also writes the set's guard, so
that two such writes never happen side by side.

Rules hold when an object is written. What is taken away later (a subnet's link, say) may leave a route
without a way; that shows in its status, and is not refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onehop.model.errors import Problem
from onehop.model.formats import Format, canonical
from onehop.model.kinds import Object, kind_of
from onehop.model.nat import NatRule
from onehop.model.relations import addressing, filters, floating, nat, placement, ports, references, routes
from onehop.model.routing import Link
from onehop.model.view import View

__all__ = ["check", "guarded_sets", "sets_of_deletion"]

Rule = Callable[[Any, Any, View], list[Problem]]


def check(obj: Object, before: Object | None, view: View, *, anywhere: bool = False) -> list[Problem]:
    """What is wrong with an object. The view may hold it already, or its state before.

    `anywhere` lets it refer to what other projects own, and be a service's port: the rights of cloud
    administrators.
    """
    problems = references.check(obj, before, view, anywhere=anywhere)
    if not anywhere:
        problems += ports.reserved(obj, before)
    if obj.labels:
        problems += _labels(obj)
    if problems:
        return problems  # the rules below rely on what is referred to
    rule = _RULES.get(kind_of(obj).name)
    return rule(obj, before, view) if rule is not None else []


def guarded_sets(obj: Object, before: Object | None, view: View) -> list[str]:
    """The sets that the rules of this object are about: `network/<id>`, `router/<id>`, `port/<id>`,
    `acl/<project>`."""
    sets = _SETS.get(kind_of(obj).name)
    return sorted(sets(obj, before, view)) if sets is not None else []


def sets_of_deletion(obj: Object, view: View) -> list[str]:
    """The sets that an object leaves, where others rely on its being in them: what a router's port claims
    depends on its rules and its link."""
    if isinstance(obj, Link):
        return sorted(ports.routers_of(obj, view))
    return sorted(nat.rule_sets(obj, obj, view)) if isinstance(obj, NatRule) else []


def _labels(obj: Object) -> list[Problem]:
    problems = []
    for key in obj.labels:
        try:
            canonical(key, Format.LABEL_KEY)
        except ValueError as error:
            problems.append(Problem(f"labels.{key}", str(error)))
    return problems


_RULES: dict[str, Rule] = {
    "network": addressing.network,
    "subnet": addressing.subnet,
    "port": ports.port,
    "link": ports.link,
    "route": routes.route,
    "security-group-rule": filters.group_rule,
    "acl": filters.acl,
    "nat-rule": nat.rule,
    "floating-ip": floating.floating_ip,
    "binding": placement.binding,
    "host": placement.host,
    "role": placement.role,
}
_SETS: dict[str, Callable[[Any, Any, View], set[str]]] = {
    "subnet": addressing.subnet_sets,
    "port": ports.port_sets,
    "link": ports.link_sets,
    "acl": filters.acl_sets,
    "nat-rule": nat.rule_sets,
    "floating-ip": floating.floating_ip_sets,
    "binding": placement.binding_sets,
}
