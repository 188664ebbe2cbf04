"""What a change would make possible or impossible: who can reach whom before it, and after.

Ports that nothing tells apart (the same network, groups, ACLs, and the same side of every prefix that a rule
or route names) are tried once for all of them. Pairs that the change does not concern are not tried.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from onehop.model import (
    Acl,
    AddressGroup,
    AddressGroupEntry,
    FloatingIp,
    Link,
    NatRule,
    Network,
    Port,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    SnatBlock,
    Subnet,
)
from onehop.model.formats import Prefix, parse_cidr
from onehop.model.kinds import Object
from onehop.model.view import View
from onehop.simulation.addresses import addresses_of
from onehop.simulation.reach import Cuts, Passage, try_all

MAX_TRIED = 400  # pairs of groups of ports


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a change makes possible or impossible, between every source and every target."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    passage: Passage


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes possible and impossible. `complete` is False where not everything could be tried."""

    gained: tuple[Change, ...]
    lost: tuple[Change, ...]
    complete: bool = True


def difference(before: View, after: View, changed: Iterable[str], most: int = MAX_TRIED) -> Difference:
    """How a change of some objects changes who can reach whom, among the machines that it concerns.

    `most` bounds how many pairs of groups of ports are tried.
    """
    ids = set(changed)
    concerned = _concerned(before, ids) | _concerned(after, ids)
    groups = _alike(before, after)
    gained: list[Change] = []
    lost: list[Change] = []
    cuts_before, cuts_after = Cuts(before), Cuts(after)
    pairs = [
        (a, b) for a in groups for b in groups if concerned & {*a, *b} and _joined(before, after, a[0], b[0])
    ]
    for sources, targets in pairs[:most]:
        ends = _two_of(sources, targets)
        if ends is None:
            continue
        was = _pieces(before, *ends, cuts_before)
        now = _pieces(after, *ends, cuts_after)
        gained += [Change(sources, targets, p) for p in _minus(now, was)]
        lost += [Change(sources, targets, p) for p in _minus(was, now)]
    return Difference(tuple(gained), tuple(lost), len(pairs) <= most)


def _pieces(view: View, source: str, target: str, cuts: Cuts) -> tuple[Passage, ...]:
    a, b = view.get(Port, source), view.get(Port, target)
    return try_all(view, a, b, cuts).passages if a is not None and b is not None else ()


def _two_of(sources: tuple[str, ...], targets: tuple[str, ...]) -> tuple[str, str] | None:
    """One port of each group, and not the same."""
    return next(((a, b) for a in sources[:1] for b in targets if a != b), None)


def _minus(these: tuple[Passage, ...], those: tuple[Passage, ...]) -> list[Passage]:
    """What of these is not in those; ranges are cut where need be."""
    left: list[Passage] = []
    for passage in these:
        pieces = [passage]
        for other in those:
            pieces = [rest for piece in pieces for rest in _without(piece, other)]
        left += pieces
    return left


def _without(piece: Passage, other: Passage) -> list[Passage]:
    if (piece.family, piece.protocol) != (other.family, other.protocol):
        return [piece]
    if piece.first is None or piece.last is None or other.first is None or other.last is None:
        return []
    spans = ((piece.first, min(piece.last, other.first - 1)), (max(piece.first, other.last + 1), piece.last))
    return [Passage(piece.family, piece.protocol, low, high) for low, high in spans if low <= high]


def _joined(before: View, after: View, a: str, b: str) -> bool:
    return any(_area(view, a) & _area(view, b) for view in (before, after))


def _area(view: View, port: str) -> set[str]:
    """The devices that can be walked to from a port."""
    start = view.get(Port, port)
    found: set[str] = set()
    ahead = [view.device(start)] if start is not None else []
    while ahead:
        device = ahead.pop()
        if device not in found:
            found.add(device)
            peers = (view.peer(p.id) for p in view.ports(device) if p.kind == "router")
            ahead += [view.device(peer) for peer in peers if peer is not None]
    return found


def _concerned(view: View, ids: Collection[str]) -> set[str]:
    """The machines' ports whose reach may change with these objects."""
    found: set[str] = set()
    for id in sorted(ids):
        obj = view.find(id)
        if isinstance(obj, Port) and obj.kind == "vm":
            found.add(obj.id)
        elif isinstance(obj, SecurityGroup | SecurityGroupRule):
            found |= _members(view, obj.id if isinstance(obj, SecurityGroup) else obj.security_group)
        elif isinstance(obj, FloatingIp | SnatBlock):
            found |= {obj.port} if obj.port is not None else set()
        elif isinstance(obj, Network | Subnet | Router | Route | Link | Port | Acl | NatRule):
            found |= _around(view, obj)
        elif isinstance(obj, AddressGroup | AddressGroupEntry):
            found |= {p.id for p in view.all(Port) if p.kind == "vm"}
    return found


def _members(view: View, group: str) -> set[str]:
    rules = (r for r in view.referring(SecurityGroupRule, group))
    groups = {group, *(r.security_group for r in rules)}
    return {p.id for g in groups for p in view.members(g)}


def _around(view: View, obj: Object) -> set[str]:
    """The machines in every area that an object belongs to."""
    match obj:
        case Network() | Router():
            starts = [p.id for p in view.ports(obj.id)]
        case Subnet():
            starts = [p.id for p in view.ports(obj.network)]
        case Route():
            starts = [p.id for p in view.ports(obj.router)]
        case Link():
            starts = [obj.a, obj.b]
        case NatRule():
            starts = [obj.port]
        case _:
            starts = [p.id for p in view.all(Port)] if isinstance(obj, Acl) else [obj.id]
    areas = {device for start in starts for device in _area(view, start)}
    return {p.id for device in areas for p in view.ports(device) if p.kind == "vm"}


def _alike(before: View, after: View) -> list[tuple[str, ...]]:
    """The machines' ports, together where neither view tells them apart."""
    prefixes = {p for view in (before, after) for p in _prefixes(view)}
    groups: dict[object, list[str]] = {}
    for id in sorted({p.id for view in (before, after) for p in view.all(Port) if p.kind == "vm"}):
        key = tuple(_key(view.get(Port, id), prefixes) for view in (before, after))
        groups.setdefault(key, []).append(id)
    return [tuple(ids) for ids in groups.values()]


def _key(port: Port | None, prefixes: set[Prefix]) -> object:
    if port is None:
        return None
    addresses = addresses_of(port)
    sides = frozenset(p for p in prefixes if any(ip in p for ip in addresses))
    families = frozenset(ip.version for ip in addresses)
    policy = (port.security_groups, port.acls_in, port.acls_out, port.port_security, port.admin_up)
    return (port.network, policy, sides, families)


def _prefixes(view: View) -> Iterator[Prefix]:
    """Every prefix that tells addresses apart."""
    texts: list[str | None] = [r.remote_cidr for r in view.all(SecurityGroupRule)]
    texts += [entry.cidr for entry in view.all(AddressGroupEntry)]
    texts += [text for route in view.all(Route) for text in (route.destination, route.source)]
    matches = [rule.match for acl in view.all(Acl) for rule in acl.rules]
    texts += [text for match in matches for text in (match.src, match.dst)]
    texts += [text for rule in view.all(NatRule) for text in (rule.source, rule.internal)]
    texts += [floating.port_ip for floating in view.all(FloatingIp)]
    texts += [subnet.cidr for subnet in view.all(Subnet)]
    return (parse_cidr(text) for text in {t for t in texts if t is not None})
