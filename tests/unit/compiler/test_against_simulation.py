"""Where the simulation and the compiler answer the same question, they answer the same.

They share no logic. So for random topologies, what the tables say is held against what the simulation says.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from hypothesis import given
from msgspec.structs import replace

from onehop.compiler.compile import Compiler
from onehop.compiler.desired import Desired
from onehop.datapath.layouts import ip6, show_ip6
from onehop.datapath.structs import FdbKey, MemberKey, NeighbourKey, PrefixKey, Route
from onehop.datapath.tables import OF_IPV6, THIS_HOST
from onehop.datapath.words import NeighbourFlag, RouteAction
from onehop.model import Link, Network, Port, Router
from onehop.model.formats import Ip, parse_mac
from onehop.model.translation import external_addresses, is_usable_uplink
from onehop.model.view import Overlay, View
from onehop.model.zones import uplinks
from onehop.simulation.flood import members
from onehop.simulation.neighbours import Owner, owner_of, owners
from onehop.simulation.router import ways
from onehop.simulation.switch import port_of
from tests.unit.compiler.cloudlet import LOCALS
from tests.unit.compiler.test_incremental import THIS, Filling, fillings, full, quick

IPS: list[Ip] = [
    ip_address(text)
    for text in (
        *("10.0.0.1", "10.0.0.10", "10.0.1.1", "10.0.1.11", "10.0.2.1", "10.0.3.200", "10.200.0.1"),
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
        for way in ways(closed(view, router), router)
        if dst in way.destination and (way.source is None or src in way.source)
    ]
    if not fitting:
        return None
    way = min(fitting, key=lambda way: way.rank)
    hops = tuple((hop.ip or "::", port.key, hop.weight) for hop, port in way.hops)
    return way.action, way.route, hops


def closed(view: View, router: str) -> View:
    """With the uplinks switched off that nothing can leave by."""
    over = Overlay(view)
    for port in uplinks(view, router):
        over.put(replace(port, admin_up=is_usable_uplink(view, port)))
    return over


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


def longest(table: dict[PrefixKey, Route], of: int, ip: Ip) -> Route | None:
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
            owner = owner_of(view, network.id, ip) or answering(view, network.id, ip)
            row = desired.tables["neighbours"].get(NeighbourKey(network.key, ip6(ip)))
            found = (row.mac, row.port, row.flags) if row is not None else None
            wanted = None
            if owner is not None:
                flags = NeighbourFlag.ROUTER * owner.is_router | NeighbourFlag.DOWN * (not owner.is_up)
                wanted = (parse_mac(owner.mac), owner.port.key, flags)
            assert found == wanted


def answering(view: View, network: str, ip: Ip) -> Owner | None:
    """Whose router's port answers for an external address."""
    for owner in owners(view, network):
        peer = view.peer(owner.port.id) if owner.is_router else None
        if peer is not None and peer.router is not None and ip in external_addresses(view, peer.id):
            return owner
    return None


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
