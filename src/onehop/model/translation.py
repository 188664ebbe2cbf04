"""What NAT rules, floating IPs and blocks mean on a set of objects: which port has which outside address.

Simulation, compiler and controllers ask these questions of a view. What then happens to a packet is theirs.
Whatever is many is given in the order of ids, so that all of them find the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from onehop.model.formats import Ip, Prefix, parse_cidr, parse_ip
from onehop.model.hosts import Host
from onehop.model.kinds import Family
from onehop.model.nat import BLOCK, FIRST_SHARED, FloatingIp, NatRule, SnatBlock
from onehop.model.routing import Router
from onehop.model.switching import Port, Subnet
from onehop.model.view import View
from onehop.model.zones import beside, is_uplink, uplinks, zone

MAX_ANSWERED = 256  # addresses of a static prefix that neighbours are told of; larger prefixes need a route
LAST_BLOCK = 0x10000 - BLOCK
FAMILIES: dict[int, Family] = {4: "ipv4", 6: "ipv6"}

_NAMESPACE = uuid5(NAMESPACE_URL, "onehop:snat-block")


class Place(NamedTuple):
    """Where a block is: two rules of one router never share it."""

    router: str
    ip: str
    first: int


# --- uplinks ------------------------------------------------------------------------------------------------


def is_usable_uplink(view: View, port: Port) -> bool:
    """Whether packets can leave by an uplink now: switched on, bound, and its host is not fenced."""
    if not port.admin_up or not is_uplink(view, port):
        return False
    binding = view.active_binding(port.id)
    host = view.get(Host, binding.host) if binding is not None else None
    return binding is not None and not (host is not None and host.fenced)


# --- floating IPs -------------------------------------------------------------------------------------------


def floating_target(view: View, floating: FloatingIp) -> Ip | None:
    """The inside address that a floating IP stands for: the one that is told, or the first of its family."""
    port = view.get(Port, floating.port)
    if port is None or floating.ip is None:
        return None
    version = parse_ip(floating.ip).version
    own = [parse_ip(a.ip) for a in port.addresses if a.ip is not None]
    if floating.port_ip is not None:
        told = parse_ip(floating.port_ip)
        return told if told in own and told.version == version else None
    return next((ip for ip in own if ip.version == version), None)


def floating_place(view: View, floating: FloatingIp) -> Port | None:
    """The router's port that a floating IP is at; None where it does nothing."""
    port, subnet = view.get(Port, floating.port), view.get(Subnet, floating.subnet)
    if port is None or subnet is None or port.network is None or floating_target(view, floating) is None:
        return None
    routers = [id for id in zone(view, port.network) if view.get(Router, id) is not None]
    facing = [p for router in routers for p in view.ports(router) if _faces(view, p, subnet.network)]
    return min(facing, key=lambda p: p.id, default=None)


def _faces(view: View, port: Port, network: str) -> bool:
    peer = view.peer(port.id)
    return peer is not None and peer.network == network


def floating_ips(view: View, router_port: str) -> list[FloatingIp]:
    """The floating IPs that are at a router's port."""
    peer = view.peer(router_port)
    if peer is None or peer.network is None:
        return []
    of_network = [f for s in view.subnets(peer.network) for f in view.referring(FloatingIp, s.id)]
    here = [f for f in of_network if (at := floating_place(view, f)) is not None and at.id == router_port]
    return sorted(here, key=lambda f: f.id)


# --- rules --------------------------------------------------------------------------------------------------


def rules(view: View, router_port: str) -> list[NatRule]:
    """The rules at a router's port."""
    return view.children(NatRule, router_port)


def is_dynamic(rule: NatRule) -> bool:
    """Whether a rule shares addresses among those who leave."""
    return rule.action in ("masquerade", "snat")


def shared_addresses(view: View, rule: NatRule) -> list[Ip]:
    """The addresses that a dynamic rule shares."""
    if rule.action == "snat":
        found = [ip for pool in rule.pools for ip in _range(pool.first, pool.last)]
    elif rule.action == "masquerade":
        port = view.get(Port, rule.port)
        found = [parse_ip(a.ip) for a in port.addresses if a.ip is not None] if port is not None else []
    else:
        found = []
    told = _told_family(rule)
    return [ip for ip in dict.fromkeys(found) if told in (None, FAMILIES[ip.version])]


def _range(first: str, last: str) -> Iterator[Ip]:
    low, high = parse_ip(first), parse_ip(last)
    return (type(low)(number) for number in range(int(low), int(high) + 1))


def _told_family(rule: NatRule) -> Family | None:
    """The one family that a rule is about, if it says so."""
    if rule.family is not None:
        return rule.family
    for text in (rule.source, rule.internal, rule.external):
        if text is not None:
            return FAMILIES[parse_cidr(text).version]
    return None


def families(view: View, rule: NatRule) -> list[int]:
    """The IP versions that a rule translates: the one that it tells, or those of its addresses."""
    told = _told_family(rule)
    if told is not None:
        return [version for version, family in FAMILIES.items() if family == told]
    return sorted({ip.version for ip in shared_addresses(view, rule)})


def inside(rule: NatRule) -> Prefix | None:
    """What a `static` or `dnat` rule leads to."""
    return parse_cidr(rule.internal) if rule.internal is not None else None


def outside(view: View, rule: NatRule) -> list[Prefix]:
    """What a `static` or `dnat` rule is for: without `external`, the port's own addresses."""
    if rule.action not in ("static", "dnat"):
        return []
    if rule.external is not None:
        return [parse_cidr(rule.external)]
    port = view.get(Port, rule.port)
    own = [parse_ip(a.ip) for a in port.addresses if a.ip is not None] if port is not None else []
    return [parse_cidr(str(ip)) for ip in own if _told_family(rule) in (None, FAMILIES[ip.version])]


def external_addresses(view: View, router_port: str) -> list[Ip]:
    """The addresses, besides its own, that a router's port answers for on its network."""
    found: list[Ip] = [parse_ip(f.ip) for f in floating_ips(view, router_port) if f.ip is not None]
    for rule in rules(view, router_port):
        if rule.action == "snat":
            found += shared_addresses(view, rule)
        for prefix in outside(view, rule):
            if prefix.num_addresses <= MAX_ANSWERED:
                found += prefix
    return list(dict.fromkeys(found))


def port_by_port(view: View, rule: NatRule) -> list[Ip]:
    """The addresses of which a rule uses single ports: the router answers for the others, as for its own."""
    if rule.action == "snat":
        return shared_addresses(view, rule)
    if rule.action == "dnat" and rule.ports is not None:
        return [prefix.network_address for prefix in outside(view, rule)]
    return []


# --- blocks -------------------------------------------------------------------------------------------------


def dynamic_rules(view: View, port: Port) -> list[NatRule]:
    """The rules for which a machine's port needs blocks.

    Those at the routers of its network's zone, and at the provider routers next to it.
    """
    return dynamic_rules_of(view, port.network) if port.network is not None else []


def dynamic_rules_of(view: View, network: str) -> list[NatRule]:
    """The same for all machines of a network."""
    own = zone(view, network)
    providers = {other for device in own for other in beside(view, device) if uplinks(view, other)}
    routers = [id for id in own | providers if view.get(Router, id) is not None]
    found = [rule for router in routers for p in view.ports(router) for rule in rules(view, p.id)]
    return sorted((rule for rule in found if is_dynamic(rule)), key=lambda rule: rule.id)


def place_of(view: View, block: SnatBlock) -> Place | None:
    """Where a block is; None if its rule is gone."""
    rule = view.get(NatRule, block.rule)
    port = view.get(Port, rule.port) if rule is not None else None
    return Place(port.router, block.ip, block.first) if port is not None and port.router is not None else None


def is_valid(view: View, block: SnatBlock) -> bool:
    """Whether a block is still of use: its port needs one of its rule, which still shares the address."""
    port, rule = view.get(Port, block.port), view.get(NatRule, block.rule)
    if port is None or rule is None or rule not in dynamic_rules(view, port):
        return False
    return parse_ip(block.ip) in shared_addresses(view, rule)


def free_places(view: View, rule: NatRule, version: int, taken: Collection[Place]) -> Iterator[Place]:
    """The places that a rule has for blocks and nobody has taken, in order: address by address."""
    port = view.get(Port, rule.port)
    router = port.router if port is not None and port.router is not None else ""
    for ip in shared_addresses(view, rule):
        for first in range(FIRST_SHARED, LAST_BLOCK + 1, BLOCK) if ip.version == version else ():
            if (place := Place(router, str(ip), first)) not in taken:
                yield place


def first_blocks(
    view: View, taken: Collection[Place] = (), ports: Iterable[Port] | None = None
) -> list[SnatBlock]:
    """A block for each machine's port that has none: one of each rule and family. The same each time.

    `taken` are places that are not to be given, besides those of the blocks in the view; `ports` are those
    to look after, all machines' if left out. Where a rule has no place left, a port goes without.
    """
    used = set(taken) | {at for b in view.all(SnatBlock) if (at := place_of(view, b)) is not None}
    had = {(b.port, b.rule, parse_ip(b.ip).version) for b in view.all(SnatBlock)}
    by_network: dict[str, list[NatRule]] = {}
    ways: dict[tuple[str, int], Iterator[Place]] = {}
    made = []
    for port in sorted(view.all(Port) if ports is None else ports, key=lambda p: p.id):
        if port.kind != "vm" or port.network is None:
            continue
        if port.network not in by_network:
            by_network[port.network] = dynamic_rules_of(view, port.network)
        for rule in by_network[port.network]:
            for version in families(view, rule):
                if (port.id, rule.id, version) in had:
                    continue
                if (rule.id, version) not in ways:
                    ways[rule.id, version] = free_places(view, rule, version, used)
                place = next(ways[rule.id, version], None)
                if place is not None:
                    used.add(place)
                    made.append(block_at(place, port, rule))
    return made


def block_at(place: Place, port: Port, rule: NatRule) -> SnatBlock:
    """A block of a port, at a place."""
    id = str(uuid5(_NAMESPACE, f"{port.id}/{rule.id}/{place.ip}/{place.first}"))
    return SnatBlock(
        id=id,
        name=f"snat-block-{id[:8]}",
        project=port.project,
        port=port.id,
        rule=rule.id,
        ip=place.ip,
        first=place.first,
    )
