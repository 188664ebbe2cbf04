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
    FloatingIp,
    Host,
    Link,
    NatRule,
    Network,
    Object,
    Port,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    SnatBlock,
    Subnet,
)
from onehop.model.translation import floating_place
from onehop.model.view import View
from onehop.model.zones import is_uplink, zone

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
        case NatRule() | FloatingIp() | SnatBlock():
            return _translating(view, obj)
        case Subnet(network=id) | Route(router=id):
            return _found(view, [id])
        case Port():
            rules = [rule for group in obj.security_groups for rule in _rules_about(view, group)]
            return [*_devices(view, [obj]), *rules]
        case Host():
            bound = _ports(view, [binding.port for binding in view.referring(Binding, obj.id)])
            return _devices(view, (port for port in bound if is_uplink(view, port)))
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


def _translating(view: View, obj: NatRule | FloatingIp | SnatBlock) -> list[Object]:
    """Where a rule, floating IP or block counts: at its router, and among those who reach its addresses."""
    match obj:
        case NatRule(port=id):
            return _around(view, _ports(view, [id]))
        case FloatingIp():
            place = floating_place(view, obj)
            ports = _ports(view, [id for id in (obj.port, place.id if place is not None else None) if id])
            return [*_around(view, ports), *_found(view, [obj.subnet])]
        case SnatBlock():
            return [*_devices(view, _ports(view, [obj.port])), *_found(view, [obj.rule])]


def _found(view: View, ids: Iterable[str]) -> list[Object]:
    return [obj for obj in map(view.find, ids) if obj is not None]


def _ports(view: View, ids: Iterable[str]) -> list[Port]:
    return [port for id in ids if (port := view.get(Port, id)) is not None]


def _devices(view: View, ports: Iterable[Port]) -> list[Object]:
    return _found(view, map(view.device, ports))


def _around(view: View, ports: Iterable[Port]) -> list[Object]:
    """The devices at both ends of the links of ports."""
    ends = [end for port in ports for end in (port, view.peer(port.id)) if end is not None]
    return _devices(view, ends)


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
