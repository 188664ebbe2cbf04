"""Where packets go: switch, router, tunnel. Whole packets are compared."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from onehop.datapath.layouts import ip6
from onehop.datapath.structs import FdbKey, Hop, LearnedMac, Neighbour, NeighbourKey, Route
from onehop.datapath.words import (
    Action,
    NeighbourFlag,
    NetworkFlag,
    PortFlag,
    RouteAction,
    RouterFlag,
)
from onehop.model.vocabulary import Drop
from onehop.simulation.hashing import choose, connection_hash
from onehop.simulation.packet import Frame, Ipv4, Other, Tcp, Udp, Vlan, build, parse
from onehop.simulation.state import Tuple
from tests.bpf.world import (
    ASK,
    EDGE,
    EDGE_DB,
    EDGE_WEB,
    LEARN,
    REDIRECT,
    SHOT,
    WEB,
    A,
    B,
    C,
    D,
    World,
    frame,
    ip,
    mac,
    prefix_key,
    raw_mac,
    routed,
    v4,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
UDP = Udp(4000, 53, b"question")


@BOTH
def test_on_one_network_a_frame_goes_as_it_is(world: World, version: int) -> None:
    sent = frame(A, B, UDP, version)
    got = world.send(A, sent)
    assert (got.code, got.data) == (REDIRECT, build(sent))
    assert (got.verdict.action, got.verdict.target, got.verdict.source) == (Action.DELIVERED, B, A)


@BOTH
def test_a_router_changes_the_macs_and_lowers_the_ttl(world: World, version: int) -> None:
    sent = frame(A, C, UDP, version)
    got = world.send(A, sent)
    assert (got.verdict.action, got.verdict.target) == (Action.DELIVERED, C)
    assert got.data == routed(sent, A, C)


@BOTH
def test_to_another_host_it_goes_in_a_tunnel(world: World, version: int) -> None:
    sent = frame(A, D, UDP, version)
    got = world.send(A, sent)
    assert (got.verdict.action, got.verdict.host, got.verdict.tunnel) == (Action.SENT, 2, LEARN)
    assert got.inner == routed(sent, A, D)
    outer = parse(got.data)
    assert (
        isinstance(outer, Frame)
        and isinstance(outer.payload, Ipv4)
        and isinstance(outer.payload.payload, Udp)
    )
    assert (outer.payload.src, outer.payload.dst) == (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
    assert outer.payload.payload.data[:8] == bytes.fromhex("08 000001 000004 01")


@BOTH
def test_the_second_packet_is_known_and_treated_alike(world: World, version: int) -> None:
    for to in (B, C, D):
        first, second = (world.send(A, frame(A, to, UDP, version)) for _ in range(2))
        assert (first.verdict.hit, second.verdict.hit) == (0, 1)
        assert (second.data[-40:], second.verdict.action) == (first.data[-40:], first.verdict.action)


def test_a_new_epoch_ends_what_was_known(world: World) -> None:
    world.send(A, frame(A, C, UDP))
    world.bump()
    assert world.send(A, frame(A, C, UDP)).verdict.hit == 0
    assert world.send(A, frame(A, C, UDP)).verdict.hit == 1


def test_another_mac_larger_size_or_lower_ttl_is_simulated(world: World) -> None:
    world.send(A, frame(A, C, UDP))
    assert world.send(A, frame(A, C, UDP, ttl=1)).drop is Drop.TTL_EXPIRED
    assert world.send(A, frame(A, C, Udp(4000, 53, bytes(1500)))).drop is Drop.TOO_BIG
    assert world.send(A, replace(frame(A, C, UDP), src=mac(B))).drop is Drop.SPOOFED_MAC


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dst": "02:00:00:00:00:77"}, Drop.UNKNOWN_MAC),
        ({"dst": mac(A)}, Drop.OWN_PORT),
        ({"src": mac(B)}, Drop.SPOOFED_MAC),
        ({"src": "03:00:00:00:00:01"}, Drop.BAD_ADDRESS),
        ({"payload": Ipv4(IPv4Address("10.0.1.2"), IPv4Address("10.0.1.3"), UDP)}, Drop.SPOOFED_IP),
        ({"payload": Ipv4(IPv4Address("127.0.0.1"), IPv4Address("10.0.1.3"), UDP)}, Drop.BAD_ADDRESS),
    ],
)
def test_what_a_switch_or_port_does_not_let_by(world: World, change: dict[str, object], reason: Drop) -> None:
    got = world.send(A, replace(frame(A, B, UDP), **change))  # type: ignore[arg-type]
    assert (got.code, got.drop) == (SHOT, reason)


def test_a_port_that_is_down_lets_nothing_by(world: World) -> None:
    world.change_port(B, flags=PortFlag.SECURITY)
    assert world.send(A, frame(A, B, UDP)).drop is Drop.PORT_DOWN
    assert world.send(B, frame(B, A, UDP)).drop is Drop.PORT_DOWN


def test_a_port_without_its_interface_has_no_binding(world: World) -> None:
    world.change_port(B, ifindex=0)
    assert world.send(A, frame(A, B, UDP)).drop is Drop.NO_BINDING


def test_a_frame_with_a_tag_passes_a_switch(world: World) -> None:
    world.change_port(B, flags=PortFlag.UP)
    sent = Frame(mac(B), mac(A), Other(0x88B5, b"anything" * 6), (Vlan(7),))
    got = world.send(A, sent)
    assert (got.data, got.verdict.target) == (build(sent), B)


def test_a_frame_that_is_not_ip_crosses_the_underlay(world: World) -> None:
    world.change_port(C, flags=PortFlag.UP | PortFlag.SECURITY)
    sent = Frame(mac(D), mac(C), Other(0x88B5, b"anything" * 6))
    got = world.send(C, sent)
    assert got.inner == build(sent)


# --- learned MACs -------------------------------------------------------------------------------------------


def test_a_network_that_learns_sends_to_where_a_mac_was_seen(world: World) -> None:
    world.change("networks", WEB, flags=NetworkFlag.LEARNING)
    world.change_port(B, flags=PortFlag.UP)
    stranger = "02:00:00:00:00:50"
    world.send(B, Frame(mac(A), stranger, Ipv4(IPv4Address("10.0.1.50"), IPv4Address(v4(A)), UDP)))
    learned = world.tables["learned_macs"].lookup(FdbKey(WEB, bytes.fromhex(stranger.replace(":", ""))))
    assert isinstance(learned, LearnedMac) and learned.port == B
    got = world.send(A, Frame(stranger, mac(A), Ipv4(IPv4Address(v4(A)), IPv4Address("10.0.1.50"), UDP)))
    assert (got.verdict.action, got.verdict.target) == (Action.DELIVERED, B)


def test_a_known_mac_stays_where_the_model_has_it(world: World) -> None:
    world.change("networks", WEB, flags=NetworkFlag.LEARNING)
    world.change_port(B, flags=PortFlag.UP)
    world.send(B, Frame(mac(A), mac(A), Ipv4(IPv4Address("10.0.1.50"), IPv4Address(v4(A)), UDP)))
    assert world.tables["learned_macs"].lookup(FdbKey(WEB, raw_mac(A))) is None


# --- routes -------------------------------------------------------------------------------------------------


def far(text: str, src: int = A, payload: Udp = UDP) -> Frame:
    """To an address beyond the router."""
    return Frame(mac(EDGE_WEB), mac(src), Ipv4(IPv4Address(v4(src)), IPv4Address(text), payload))


@pytest.mark.parametrize(
    ("action", "reason"),
    [(RouteAction.BLACKHOLE, Drop.BLACKHOLE), (RouteAction.REJECT, Drop.REJECT_ROUTE)],
)
def test_routes_that_lead_nowhere(world: World, action: RouteAction, reason: Drop) -> None:
    world.put("routes", prefix_key(EDGE, "10.0.2.3/32"), Route(action))
    assert world.send(A, frame(A, C, UDP)).drop is reason


def test_no_route_is_a_drop(world: World) -> None:
    assert world.send(A, far("10.9.9.9")).drop is Drop.NO_ROUTE


def test_an_ipv6_default_route_holds_no_ipv4_address(world: World) -> None:
    world.put("routes", prefix_key(EDGE, "::/0"), Route(RouteAction.BLACKHOLE))
    assert world.send(A, far("10.9.9.9")).drop is Drop.NO_ROUTE


def test_the_longest_source_decides_within_a_destination(world: World) -> None:
    groups = world.lists["hop_groups"]
    groups.put(50, [Hop(ip6(v4(C)), EDGE_DB, 1)])
    groups.put(51, [Hop(ip6(v4(D)), EDGE_DB, 1)])
    world.put("routes", prefix_key(EDGE, "10.50.0.0/16"), Route(RouteAction.FORWARD, sources=9))
    world.put("source_routes", prefix_key(9, "0.0.0.0/0"), Route(RouteAction.FORWARD, hops=50))
    world.put("source_routes", prefix_key(9, f"{v4(B)}/32"), Route(RouteAction.FORWARD, hops=51))
    assert world.send(A, far("10.50.1.1")).verdict.target == C
    assert world.send(B, far("10.50.1.1", B)).verdict.target == D


def test_several_next_hops_are_chosen_as_the_specification_does(world: World) -> None:
    hops = [Hop(ip6(v4(C)), EDGE_DB, 1), Hop(ip6(v4(D)), EDGE_DB, 4)]
    world.lists["hop_groups"].put(50, hops)
    world.put("routes", prefix_key(EDGE, "10.50.0.0/16"), Route(RouteAction.FORWARD, hops=50))
    for port in range(4000, 4032):
        sent = replace(
            far("10.50.1.1"), payload=Ipv4(ip_address(v4(A)), ip_address("10.50.1.1"), Udp(port, 53))
        )
        connection = Tuple(17, ip(A, 4), ip_address("10.50.1.1"), port, 53)
        expected = (C, D)[choose(connection_hash(connection, 2), [1, 3])]
        assert world.send(A, sent).verdict.target == expected


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (Frame(mac(EDGE_WEB), mac(A), Other(0x88B5, bytes(46))), Drop.NOT_IP),
        (frame(A, C, UDP, dont_fragment=True, ttl=1), Drop.TTL_EXPIRED),
        (
            Frame(mac(EDGE_WEB), mac(A), Ipv4(IPv4Address(v4(A)), IPv4Address("224.0.0.5"), UDP)),
            Drop.BAD_ADDRESS,
        ),
        (
            Frame(mac(EDGE_WEB), mac(A), Ipv4(IPv4Address(v4(A)), IPv4Address("10.0.1.254"), Tcp(4000, 22))),
            Drop.NO_SUCH_SERVICE,
        ),
    ],
)
def test_what_a_router_does_not_forward(world: World, sent: Frame, reason: Drop) -> None:
    world.change_port(A, flags=PortFlag.UP)
    assert world.send(A, sent).drop is reason


def test_a_router_that_is_off_drops_everything(world: World) -> None:
    world.change("routers", EDGE, flags=RouterFlag(0))
    assert world.send(A, frame(A, C, UDP)).drop is Drop.ROUTER_DOWN


def test_the_broadcast_address_of_a_subnet_is_no_machine(world: World) -> None:
    nobody = Neighbour(bytes(6), NeighbourFlag.SUBNET)
    world.put("neighbours", NeighbourKey(EDGE_DB, ip6("10.0.2.255")), nobody)
    assert world.send(A, far("10.0.2.255")).drop is Drop.BAD_ADDRESS


def test_the_packet_for_an_unknown_neighbour_goes_to_the_slow_path_once(world: World) -> None:
    assert world.send(A, far("10.0.2.99")).verdict.action is Action.SLOW_PATH
    pending = world.tables["learned_neighbours"].lookup(NeighbourKey(EDGE_DB, ip6("10.0.2.99")))
    assert pending.mac == bytes(6)


def test_a_refused_packet_that_cannot_be_a_reply_never_crosses(world: World) -> None:
    world.put_list(7, [])
    world.change_port(D, receives=7)
    assert world.send(A, frame(A, D, Tcp(4000, 80))).drop is Drop.SECURITY_GROUP


def test_a_refused_packet_that_can_be_a_reply_asks_as_it_was(world: World) -> None:
    world.put_list(7, [])
    world.change_port(D, receives=7)
    sent = frame(A, D, UDP)
    got = world.send(A, sent)
    assert (got.verdict.tunnel, got.verdict.refused, got.inner) == (ASK, Drop.SECURITY_GROUP, build(sent))
