"""The part of a cloud that some ports can have to do with, as a topology of its own.

It holds the devices that can be walked to over links, and what these devices, their ports and their rules
refer to. Whoever computes for long on it need not care about what changes meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from onehop.model.fields import references, values
from onehop.model.firewall import Acl, AddressGroup, AddressGroupEntry, SecurityGroup, SecurityGroupRule
from onehop.model.identity import Project
from onehop.model.kinds import Object
from onehop.model.nat import FloatingIp, NatRule, SnatBlock
from onehop.model.routing import Link, Route, Router
from onehop.model.switching import Network, Port, Subnet
from onehop.model.view import Topology, View

OF_PORTS = ("nat-rule", "floating-ip", "snat-block")


class TooLarge(ValueError):
    """More than the bound that was given."""


def extract(view: View, starts: Iterable[str], most: int) -> Topology:
    """What can be walked to from these devices, with all it refers to.

    Raises TooLarge beyond so many objects.
    """
    part = _Part(view, most)
    ahead = list(starts)
    seen: set[str] = set()
    while ahead:
        device = ahead.pop()
        if device in seen:
            continue
        seen.add(device)
        part.add(device)
        for port in view.ports(device):
            part.add(port.id)
            link = view.link(port.id)
            peer = view.peer(port.id)
            if link is not None and peer is not None:
                part.add(link.id)
                ahead.append(view.device(peer))
    return part.topology


class _Part:
    def __init__(self, view: View, most: int) -> None:
        self.topology = Topology()
        self._view = view
        self._most = most

    def add(self, id: str) -> None:
        """An object, what it refers to, and what belongs to it."""
        ahead = [id]
        while ahead:
            obj = self._view.find(ahead.pop())
            if obj is None or self.topology.find(obj.id) is not None:
                continue
            if len(self.topology) >= self._most:
                raise TooLarge(f"more than {self._most} objects are concerned")
            self.topology.put(obj)
            if not isinstance(obj, Project):
                ahead += [text for leaf in references(type(obj)) for _, text in values(obj, leaf)]
                ahead += self._belonging(obj)

    def _belonging(self, obj: Object) -> list[str]:
        view = self._view
        if isinstance(obj, SecurityGroup):
            return [*view.referrers(obj.id, "security-group-rule"), *self._remote_members(obj)]
        if isinstance(obj, AddressGroup):
            return list(view.referrers(obj.id, "address-group-entry"))
        if isinstance(obj, Port):
            return [id for kind in OF_PORTS for id in view.referrers(obj.id, kind)]
        return [*view.referrers(obj.id, "subnet"), *view.referrers(obj.id, "route")]

    def _remote_members(self, group: SecurityGroup) -> list[str]:
        """The members of a group, when some rule asks for their addresses."""
        rules = self._view.referring(SecurityGroupRule, group.id)
        asked = any(rule.remote_group == group.id for rule in rules)
        return [port.id for port in self._view.members(group.id)] if asked else []


def devices_of(view: View, ids: Iterable[str]) -> set[str]:
    """The networks and routers that objects concern; for rules, those where they are used."""
    found: set[str] = set()
    seen: set[str] = set()
    ahead = list(ids)
    while ahead:
        id = ahead.pop()
        if id in seen:
            continue
        seen.add(id)
        obj = view.find(id)
        if isinstance(obj, Network | Router):
            found.add(id)
        elif obj is not None:
            ahead += _at(obj, view)
    return found


def _at(obj: Object, view: View) -> list[str]:
    """Where an object is, or is used."""
    match obj:
        case Port():
            return [view.device(obj)]
        case Subnet():
            return [obj.network]
        case Route():
            return [obj.router]
        case NatRule() | SnatBlock() | FloatingIp():
            return [obj.port] if obj.port is not None else []
        case SecurityGroupRule():
            return [obj.security_group]
        case AddressGroupEntry():
            return [obj.address_group]
        case SecurityGroup() | AddressGroup() | Acl():
            return [user for _, user in view.users(obj.id)]
        case Link():
            return [obj.a, obj.b]
    return []
