"""Where the simulation and the compiler answer the same question, they answer the same.

They share no logic. So for random topologies, what the tables say is held against what the simulation says.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TypeVar

from hypothesis import given

from onehop.compiler.compile import Compiler
from onehop.compiler.desired import Desired
from onehop.datapath.layouts import ip6, show_ip6
from onehop.datapath.structs import (
    FdbKey,
    MemberKey,
    NatBindingKey,
    NatBlockKey,
    NatForwardKey,
    NeighbourKey,
    PrefixKey,
)
from onehop.datapath.tables import OF_IPV6, THIS_HOST
from onehop.datapath.words import NatAction, NatDestinationFlag, NeighbourFlag, RouteAction
from onehop.model import Link, NatRule, Network, Port, Router
from onehop.model.formats import Ip, parse_mac
from onehop.model.nat import BLOCK
from onehop.model.translation import is_dynamic
from onehop.model.view import View
from onehop.simulation import nat
from onehop.simulation.flood import members
from onehop.simulation.neighbours import owner_of
from onehop.simulation.router import ways
from onehop.simulation.switch import port_of
from tests.unit.compiler.cloudlet import LOCALS
from tests.unit.compiler.test_incremental import THIS, Filling, fillings, full, quick

RowT = TypeVar("RowT")
IPS: list[Ip] = [
    ip_address(text)
    for text in (
        *("10.0.0.1", "10.0.0.10", "10.0.1.1", "10.0.1.11", "10.0.2.1", "10.0.3.200", "10.200.0.1"),
        *("10.0.0.200", "10.200.0.2", "10.200.1.1", "10.0.1.9", "10.0.3.9", "10.0.0.9"),
        *("172.16.0.1", "172.16.0.2", "172.16.1.3", "8.8.8.8"),
        *("fd00:1::1", "fd00:2::b", "fd00:3::1", "fd00:ffff::1", "2001:db8::1", "fe80::ff:fe00:10"),
    )
]


def compiled(filling: Filling) -> tuple[View, Compiler, Desired]:
    view = full(filling)
    taken: set[str] = set()
    for link in view.all(Link):
        if taken & {link.a, link.b}:
            view.remove(
                link.id
            )  # no port is an end of two; where it seems so for a moment, nothing is certain
        taken |= {link.a, link.b}
    compiler = Compiler(THIS)
    return view, compiler, compiler.compile(view, LOCALS[1])


# --- routes -------------------------------------------------------------------------------------------------

Decision = tuple[str, str | None, tuple[tuple[str, int, int], ...]]  # action, route, hops


@quick
@given(fillings)
def test_a_longest_prefix_match_finds_the_way_of_the_simulation(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    ids = compiler.assignment().ids
    names = {number: route for route, number in ids["routes"].items()}
    for router in view.all(Router):
        for dst in IPS:
            for src in (ip for ip in IPS if ip.version == dst.version):
                found = by_tables(desired, ids["routers"][router.id], names, dst, src)
                assert found == by_simulation(view, router.id, dst, src), (router.name, dst, src)


def by_simulation(view: View, router: str, dst: Ip, src: Ip) -> Decision | None:
    fitting = [
        way
        for way in ways(view, router)
        if dst in way.destination and (way.source is None or src in way.source)
    ]
    if not fitting:
        return None
    way = min(fitting, key=lambda way: way.rank)
    hops = tuple((hop.ip or "::", port.key, hop.weight) for hop, port in way.hops)
    return way.action, way.route, hops


def by_tables(desired: Desired, router: int, names: dict[int, str], dst: Ip, src: Ip) -> Decision | None:
    row = longest(desired.tables["routes"], router, dst)
    if row is not None and row.sources:
        row = longest(desired.tables["source_routes"], row.sources, src)
    if row is None:
        return None
    hops, before = [], 0
    for hop in desired.lists["hop_groups"].get(row.hops, ()):
        hops.append((show_ip6(hop.address), hop.port, hop.upto - before))
        before = hop.upto
    return RouteAction(row.action).name.lower(), names.get(row.id), tuple(hops)


def longest(table: dict[PrefixKey, RowT], of: int, ip: Ip) -> RowT | None:
    whose, address = of | OF_IPV6 if ip.version == 6 else of, int.from_bytes(ip6(ip), "big")
    for length in range(128, -1, -1):
        held = (address >> (128 - length) << (128 - length)).to_bytes(16, "big")
        row = table.get(PrefixKey(32 + length, whose, held))
        if row is not None:
            return row
    return None


# --- who is where -------------------------------------------------------------------------------------------


@quick
@given(fillings)
def test_a_mac_is_behind_the_port_that_the_simulation_finds(filling: Filling) -> None:
    view, _, desired = compiled(filling)
    for network in view.all(Network):
        for mac in {port.mac for port in view.all(Port)}:
            port = port_of(view, network, mac)
            row = desired.tables["fdb"].get(FdbKey(network.key, parse_mac(mac)))
            assert row == (port.key if port is not None else None)


@quick
@given(fillings)
def test_an_address_is_where_the_simulation_finds_it(filling: Filling) -> None:
    view, _, desired = compiled(filling)
    for network in view.all(Network):
        for ip in IPS:
            owner = owner_of(view, network.id, ip)
            row = desired.tables["neighbours"].get(NeighbourKey(network.key, ip6(ip)))
            found = (row.mac, row.port, row.flags) if row is not None else None
            wanted = None
            if owner is not None:
                flags = NeighbourFlag.ROUTER * owner.is_router | NeighbourFlag.DOWN * (not owner.is_up)
                wanted = (parse_mac(owner.mac), owner.port.key, flags)
            assert found == wanted


@quick
@given(fillings)
def test_floods_reach_the_hosts_and_ports_of_the_simulation(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    hosts = {**compiler.assignment().ids["hosts"], THIS: THIS_HOST}
    for network in view.all(Network):
        row = desired.tables["networks"][network.key]
        bound = [(port, view.active_binding(port.id)) for port in members(view, network.id)]
        here = [port.key for port, binding in bound if binding is not None and binding.host == THIS]
        beyond = {hosts[binding.host] for _, binding in bound if binding is not None} - {THIS_HOST}
        assert [desired.tables["members"][MemberKey(network.key, n)] for n in range(row.members)] == here
        copies = [desired.tables["remotes"][MemberKey(network.key, n)] for n in range(row.remotes)]
        assert sorted(copies) == sorted(beyond)
    counted = sum(row.members for row in desired.tables["networks"].values())
    assert counted == len(desired.tables["members"])


# --- translation --------------------------------------------------------------------------------------------

Stands = tuple[str, str, int]  # how, for what, and a port of that


@quick
@given(fillings)
def test_a_destination_stands_for_what_the_simulation_says(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    numbers = compiler.assignment().ids.get("routers", {})
    for router in view.all(Router):
        for ip in IPS:
            for protocol, port in ((17, 81), (6, 81), (17, 1030), (6, 1300), (17, 2050)):
                found = in_tables(desired, numbers[router.id], ip, protocol, port)
                wanted = in_simulation(view, router.id, ip, protocol, port)
                assert found == wanted, (router.name, ip, protocol, port)


def in_tables(desired: Desired, router: int, ip: Ip, protocol: int, port: int) -> Stands | None:
    tables = desired.tables
    row = longest(tables["nat_destinations"], router, ip)
    if row is None:
        return None
    if row.flags & NatDestinationFlag.FORWARDS:
        forward = tables["nat_forwards"].get(NatForwardKey(router, ip6(ip), port, protocol))
        if forward is not None:
            return "forward", show_ip6(forward.to), forward.port
    if row.flags & NatDestinationFlag.STATIC:
        how = "dnat" if row.flags & NatDestinationFlag.ADDRESS else "static"
        return how, replaced(ip, row.to, row.bits), 0
    owner = tables["nat_blocks"].get(NatBlockKey(router, ip6(ip), port // BLOCK))
    return ("block", "", owner) if row.flags & NatDestinationFlag.BLOCKS and owner is not None else None


def replaced(ip: Ip, to: bytes, bits: int) -> str:
    """An address with its first bits those of another."""
    kept = (1 << 128 - bits) - 1
    number = int.from_bytes(to, "big") & ~kept | int.from_bytes(ip6(ip), "big") & kept
    return show_ip6(number.to_bytes(16, "big"))


def in_simulation(view: View, router: str, ip: Ip, protocol: int, port: int) -> Stands | None:
    forward = nat._forward_of(view, router, protocol, ip, port)
    if forward is not None:
        return "forward", str(forward[1]), forward[2]
    mapping = nat._best(nat._leading_in(view, router), ip)
    if mapping is not None:
        return "dnat" if nat._is_dnat(mapping.by) else "static", str(mapping.translate(ip)), 0
    block = nat._block_of(view, router, ip, port)
    owner = view.get(Port, block.port) if block is not None else None
    return ("block", "", owner.key) if owner is not None else None


@quick
@given(fillings)
def test_a_source_becomes_what_the_simulation_says(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    rules = {number: name for name, number in compiler.assignment().ids.get("shared_rules", {}).items()}
    for port in view.all(Port):
        if view.get(Router, port.router) is None:
            continue
        for ip in IPS:
            row = longest(desired.tables["nat_sources"], port.key, ip)
            found = None
            if row is not None and row.action == NatAction.STATIC:
                found = replaced(ip, row.to, row.bits)
            elif row is not None:
                found = rules[row.rule]
            mapping = nat._best(nat._leading_out(view, port), ip)
            wanted = None
            if mapping is not None:
                wanted = str(mapping.translate(ip)) if mapping.to else f"{mapping.by.id}/{ip.version}"
            assert found == wanted, (port.name, ip)


@quick
@given(fillings)
def test_a_port_here_has_the_blocks_of_the_simulation(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    rules = compiler.assignment().ids.get("shared_rules", {})
    for port in view.all(Port):
        binding = view.active_binding(port.id)
        for rule in view.all(NatRule):
            for version in (4, 6):
                key = NatBindingKey(port.key, rules.get(f"{rule.id}/{version}", 0))
                number = desired.tables["nat_bindings"].get(key, 0)
                found = [(b.address, b.first) for b in desired.lists["block_lists"].get(number, ())]
                blocks = nat.blocks_for(view, port.id, rule, version)
                is_here = binding is not None and binding.host == THIS
                at = view.get(Port, rule.port)
                is_followed = at is not None and view.get(Router, at.router) is not None and is_dynamic(rule)
                wanted = [(ip6(b.ip), b.first) for b in blocks if is_here and is_followed]
                assert found == wanted


# --- zones --------------------------------------------------------------------------------------------------


@quick
@given(fillings)
def test_two_linked_devices_share_a_zone_unless_one_is_a_boundary(filling: Filling) -> None:
    view, compiler, desired = compiled(filling)
    zones = {network.id: desired.tables["networks"][network.key].zone for network in view.all(Network)}
    numbers = compiler.assignment().ids["routers"]
    zones |= {router.id: desired.tables["routers"][numbers[router.id]].zone for router in view.all(Router)}
    devices = dict(components(view))
    for one in zones:
        for other in zones:
            assert (zones[one] == zones[other]) == (devices.get(one, one) == devices.get(other, other))


def components(view: View) -> Iterator[tuple[str, str]]:
    """Each linked device with the least of those it hangs together with, by letting names spread."""
    boundaries = {network.id for network in view.all(Network) if view.is_external(network)}
    for port in view.all(Port):
        if port.router is not None and view.bindings(port.id) and view.link(port.id) is None:
            boundaries.add(port.router)
    pairs = []
    for link in view.all(Link):
        a, b = view.get(Port, link.a), view.get(Port, link.b)
        if a is not None and b is not None:
            pairs.append((view.device(a), view.device(b)))
    inner = [pair for pair in pairs if not boundaries & set(pair)]
    least = {device: device for pair in inner for device in pair}
    for _ in range(len(least)):
        for a, b in inner:
            least[a] = least[b] = min(least[a], least[b])
    yield from least.items()
