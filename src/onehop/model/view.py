"""A set of objects with the indexes that every layer asks: by id, by name, by what refers to what.

`Topology` holds objects and takes changes. `Overlay` is a view with changes on top that leaves what is
beneath alone: a transaction being planned, or a what-if. Both answer the same questions, and an answer never
depends on the order in which the objects came: whatever is many is given in the order of ids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

from onehop.model.fields import gather, references
from onehop.model.firewall import AddressGroupEntry, SecurityGroupRule
from onehop.model.kinds import Object, kind_of
from onehop.model.routing import Link, Route
from onehop.model.switching import Binding, Network, Port, Subnet

ObjectT = TypeVar("ObjectT", bound=Object)
NameKey = tuple[str, str | None, str]  # kind, parent or project, name


def targets(obj: Object) -> set[str]:
    """The ids that an object refers to."""
    return gather(obj, references(type(obj)))


def name_key(obj: Object) -> NameKey:
    """Where an object's name has to be unique."""
    kind = kind_of(obj)
    return (kind.name, kind.parent(obj) or obj.project, obj.name)


class View(ABC):
    """What can be asked of a set of objects."""

    @abstractmethod
    def find(self, id: str) -> Object | None:
        """The object with this id."""

    @abstractmethod
    def ids_of(self, kind: str) -> Iterable[str]:
        """The ids of all objects of a kind, in no order."""

    @abstractmethod
    def named(self, kind: str, scope: str | None, name: str) -> str | None:
        """The id of the object with this name among its siblings; `scope` is their parent or project."""

    @abstractmethod
    def referrers(self, target: str, kind: str) -> Iterable[str]:
        """The ids of the objects of a kind that refer to an object, in no order."""

    @abstractmethod
    def referrer_kinds(self, target: str) -> Iterable[str]:
        """The kinds of which some object refers to this one, or once did."""

    # --- typed questions, built on the five above -----------------------------------------------------

    def get(self, type: type[ObjectT], id: str | None) -> ObjectT | None:
        """The object of a type with this id; None if there is none, or if it is something else."""
        found = self.find(id) if id is not None else None
        return found if isinstance(found, type) else None

    def all(self, type: type[ObjectT]) -> list[ObjectT]:
        ids = sorted(self.ids_of(kind_of(type).name))
        return [cast(ObjectT, self.find(id)) for id in ids]

    def by_name(self, type: type[ObjectT], scope: str | None, name: str) -> ObjectT | None:
        return self.get(type, self.named(kind_of(type).name, scope, name))

    def referring(self, type: type[ObjectT], target: str) -> list[ObjectT]:
        """The objects of a type that refer to an object, by any of their fields."""
        ids = sorted(self.referrers(target, kind_of(type).name))
        return [cast(ObjectT, self.find(id)) for id in ids]

    def children(self, type: type[ObjectT], parent: str) -> list[ObjectT]:
        """The objects of a type that belong to an object."""
        kind = kind_of(type)
        return [obj for obj in self.referring(type, parent) if kind.parent(obj) == parent]

    def users(self, target: str) -> Iterator[tuple[str, str]]:
        """Whatever refers to an object: (kind, id)."""
        for kind in sorted(self.referrer_kinds(target)):
            for id in sorted(self.referrers(target, kind)):
                yield kind, id

    # --- questions about networks ---------------------------------------------------------------------

    def subnets(self, network: str) -> list[Subnet]:
        return self.children(Subnet, network)

    def ports(self, device: str) -> list[Port]:
        """The ports of a network or router."""
        return self.children(Port, device)

    def device(self, port: Port) -> str:
        """The id of the network or router that a port belongs to."""
        return cast(str, port.network or port.router)

    def link(self, port: str) -> Link | None:
        """The link that a port is an end of."""
        return next(iter(self.referring(Link, port)), None)

    def peer(self, port: str) -> Port | None:
        """The port at the other end of a port's link."""
        link = self.link(port)
        if link is None:
            return None
        return self.get(Port, link.b if link.a == port else link.a)

    def is_external(self, network: Network) -> bool:
        """Whether a network is granted as external: a boundary between tenants and the world."""
        return any(grant.allow == "external" for grant in network.grants)

    def routes(self, router: str) -> list[Route]:
        return self.children(Route, router)

    def rules(self, security_group: str) -> list[SecurityGroupRule]:
        return self.children(SecurityGroupRule, security_group)

    def members(self, security_group: str) -> list[Port]:
        """The ports in a security group."""
        return self.referring(Port, security_group)

    def entries(self, address_group: str) -> list[AddressGroupEntry]:
        return self.children(AddressGroupEntry, address_group)

    def bindings(self, port: str) -> list[Binding]:
        return self.children(Binding, port)

    def active_binding(self, port: str) -> Binding | None:
        return next((b for b in self.bindings(port) if b.state == "active"), None)


class Topology(View):
    """Objects in memory, with their indexes."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._objects: dict[str, Object] = {}
        self._kinds: dict[str, set[str]] = {}
        self._names: dict[NameKey, str] = {}
        self._referrers: dict[str, dict[str, set[str]]] = {}
        for obj in objects:
            self.put(obj)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._objects.values())

    def put(self, obj: Object) -> Object | None:
        """Add an object, or put it in the place of the one with its id, which is returned."""
        before = self._objects.get(obj.id)
        if before is not None:
            self._unindex(before, keep=targets(obj))
        kind = kind_of(obj).name
        self._objects[obj.id] = obj
        self._kinds.setdefault(kind, set()).add(obj.id)
        self._names[name_key(obj)] = obj.id
        for target in targets(obj):
            self._referrers.setdefault(target, {}).setdefault(kind, set()).add(obj.id)
        return before

    def remove(self, id: str) -> Object | None:
        """Take an object out; None if it was not there."""
        before = self._objects.pop(id, None)
        if before is not None:
            self._unindex(before, keep=set())
            self._kinds[kind_of(before).name].discard(id)
        return before

    def _unindex(self, obj: Object, keep: set[str]) -> None:
        key = name_key(obj)
        if self._names.get(key) == obj.id:
            del self._names[key]
        kind = kind_of(obj).name
        for target in targets(obj) - keep:
            by_kind = self._referrers[target]
            by_kind[kind].discard(obj.id)
            if not by_kind[kind]:
                del by_kind[kind]
            if not by_kind:
                del self._referrers[target]

    def find(self, id: str) -> Object | None:
        return self._objects.get(id)

    def ids_of(self, kind: str) -> Iterable[str]:
        return self._kinds.get(kind, ())

    def named(self, kind: str, scope: str | None, name: str) -> str | None:
        return self._names.get((kind, scope, name))

    def referrers(self, target: str, kind: str) -> Iterable[str]:
        return self._referrers.get(target, {}).get(kind, ())

    def referrer_kinds(self, target: str) -> Iterable[str]:
        return self._referrers.get(target, {})


class Overlay(View):
    """Changes on top of a view, which stays as it is."""

    def __init__(self, base: View) -> None:
        self._base = base
        self._over = Topology()
        self._hidden: set[str] = set()  # ids whose state in the base no longer counts

    def put(self, obj: Object) -> None:
        self._hidden.add(obj.id)
        self._over.put(obj)

    def remove(self, id: str) -> None:
        self._hidden.add(id)
        self._over.remove(id)

    def changed(self) -> dict[str, Object | None]:
        """What differs from the base, or was put again: id to object, or to None where it was removed."""
        return {id: self._over.find(id) for id in self._hidden}

    def find(self, id: str) -> Object | None:
        return self._over.find(id) if id in self._hidden else self._base.find(id)

    def ids_of(self, kind: str) -> Iterable[str]:
        return self._merged(self._base.ids_of(kind), self._over.ids_of(kind))

    def named(self, kind: str, scope: str | None, name: str) -> str | None:
        found = self._over.named(kind, scope, name)
        if found is None:
            found = self._base.named(kind, scope, name)
            if found in self._hidden:
                return None
        return found

    def referrers(self, target: str, kind: str) -> Iterable[str]:
        return self._merged(self._base.referrers(target, kind), self._over.referrers(target, kind))

    def referrer_kinds(self, target: str) -> Iterable[str]:
        return {*self._base.referrer_kinds(target), *self._over.referrer_kinds(target)}

    def _merged(self, beneath: Iterable[str], above: Iterable[str]) -> Iterable[str]:
        if not self._hidden:
            return beneath
        return [id for id in beneath if id not in self._hidden] + list(above)
