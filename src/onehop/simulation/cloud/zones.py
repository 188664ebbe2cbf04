"""Epochs: how a host knows which of its flows to judge anew after a change.

A *zone* is a set of linked devices, up to the boundaries: provider routers and external networks, which are a
zone each. A change gives every zone that it can matter to a new epoch. A flow keeps the epochs of the zones
that it crossed, read before it was judged; once one of them is another, so may the verdict be.

Epochs come from one counter that only goes up, so a zone that vanishes and comes back is never taken for
what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onehop.model import (
    Acl,
    AddressGroup,
    AddressGroupEntry,
    Binding,
    Link,
    Network,
    Object,
    Port,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)
from onehop.model.view import View
from onehop.model.zones import zone

Zone = str  # the least id of its devices
Epochs = Mapping[Zone, int]


class Zones:
    """The zones of one view, found when first asked for."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._of: dict[str, Zone] = {}

    def of(self, device: str) -> Zone:
        """The zone of a network or router."""
        if device not in self._of:
            members = zone(self._view, device)
            self._of.update(dict.fromkeys(members, min(members)))
        return self._of[device]


def touched(view: View, obj: Object) -> set[str]:
    """The devices whose verdicts an object can change, as things stand in a view."""
    devices: set[str] = set()
    seen: set[str] = set()
    waiting = [obj]
    while waiting:
        at = waiting.pop()
        if at.id in seen:
            continue
        seen.add(at.id)
        if isinstance(at, Network | Router):
            devices.add(at.id)
        waiting.extend(_dependents(view, at))
    return devices


def _dependents(view: View, obj: Object) -> list[Object]:
    """What is judged otherwise when an object changes."""
    match obj:
        case Subnet(network=id) | Route(router=id):
            return _found(view, [id])
        case Port():
            rules = [rule for group in obj.security_groups for rule in _rules_about(view, group)]
            return [*_devices(view, [obj]), *rules]
        case Binding(port=id):
            return _devices(view, _ports(view, [id]))
        case Link():
            return _devices(view, _ports(view, [obj.a, obj.b]))
        case SecurityGroupRule(security_group=id) | AddressGroupEntry(address_group=id):
            return _found(view, [id])
        case SecurityGroup():
            return _devices(view, view.members(obj.id))
        case AddressGroup():
            return [*view.referring(SecurityGroupRule, obj.id), *view.referring(Acl, obj.id)]
        case Acl():
            above = [*view.referring(Network, obj.id), *view.referring(Router, obj.id)]
            return [*above, *view.referring(Acl, obj.id), *_devices(view, view.referring(Port, obj.id))]
        case _:
            return []


def _found(view: View, ids: Iterable[str]) -> list[Object]:
    return [obj for obj in map(view.find, ids) if obj is not None]


def _ports(view: View, ids: Iterable[str]) -> list[Port]:
    return [port for id in ids if (port := view.get(Port, id)) is not None]


def _devices(view: View, ports: Iterable[Port]) -> list[Object]:
    return _found(view, map(view.device, ports))


def _rules_about(view: View, group: str) -> list[SecurityGroupRule]:
    """The rules whose `remote_group` is this one."""
    return [rule for rule in view.referring(SecurityGroupRule, group) if rule.remote_group == group]


class Clock:
    """The epochs of a host's zones."""

    def __init__(self) -> None:
        self._count = 0
        self._epochs: dict[Zone, int] = {}

    def snapshot(self) -> Epochs:
        """All epochs as they are now: to be read before judging, so that a change meanwhile is seen."""
        return dict(self._epochs)

    def is_current(self, epochs: Epochs) -> bool:
        return all(self._epochs.get(zone, 0) == epoch for zone, epoch in epochs.items())

    def bump(self, zones: Iterable[Zone]) -> None:
        self._count += 1
        self._epochs.update(dict.fromkeys(zones, self._count))


def changes(before: View, after: View, ids: Iterable[str]) -> set[Zone]:
    """The zones that changed objects matter to, as they were and as they are.

    Both, for every device: a link joins zones and its loss parts them, and flows hold the names of old ones.
    """
    views = (before, after)
    changed = [(view, obj) for id in ids for view in views if (obj := view.find(id)) is not None]
    devices = {device for view, obj in changed for device in touched(view, obj)}
    zones: set[Zone] = set()
    for view in views:
        named = Zones(view)
        zones.update(named.of(device) for device in devices if view.find(device) is not None)
    return zones
