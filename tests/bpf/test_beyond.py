"""What is not followed here: the agent is told, and what it sends back takes up where the packet was."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from onehop.datapath.injection import Mark, from_port, from_stranger
from onehop.datapath.layouts import codec, ip6
from onehop.datapath.ringbuf import Ring
from onehop.datapath.structs import Hop, Host, Port, Route
from onehop.datapath.tables import STRANGE_PEER
from onehop.datapath.testrun import SkBuff, run_program
from onehop.datapath.traffic import CounterKey, Event, Hint
from onehop.datapath.words import Action, EventKind, HostFlag, PortKind, RouteAction
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Udp, build
from tests.bpf.test_answers import answered, error
from tests.bpf.test_connections import BACK, UDP, hint, key
from tests.bpf.world import (
    EDGE,
    EDGE_DB,
    LEARN,
    OTHER,
    RETURN,
    SHOT,
    ZONE,
    A,
    C,
    D,
    World,
    frame,
    prefix_key,
    routed,
    v4,
    v6,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
FAR, THIRD = 4711, 9  # a port that nothing is known of, and its host
ABROAD = "192.0.2.2", "198.51.100.7"


class Ears:
    """What the programs tell from now on."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        ring.consume(lambda _: None, 10_000)

    def heard(self) -> tuple[Event, bytes]:
        """The one thing told."""
        told: list[bytes] = []
        self._ring.consume(lambda record: told.append(bytes(record)))
        (record,) = told
        size = codec(Event).size
        event = Event.decode(record[:size])
        return event, record[size : size + event.captured]

    def nothing(self) -> bool:
        return not self._ring.consume(lambda _: None)


@pytest.fixture
def ears(world: World) -> Iterator[Ears]:
    with Ring(world.datapath.maps["events"]) as ring:
        yield Ears(ring)


def dropped(world: World, port: int, why: Drop) -> int:
    counters = world.tables["counters"].lookup(CounterKey(port, why)) or ()
    return sum(counter.packets for counter in counters)


def settle_far(world: World, address: str = ABROAD[0]) -> None:
    """The far port becomes known as an end, on a host with this address."""
    host = OTHER if address == ABROAD[0] else THIRD
    if host == THIRD:
        world.put("hosts", THIRD, Host(ip6(address), ip6(world.underlay.here), 1))
        world.put("peers", ip6(address), THIRD)
    world.put("ports", FAR, Port(0, PortKind.VM, bytes(6), zone=ZONE + 1, host=host))


def abroad(world: World, address: str, sent: bytes) -> bytes:
    """The packet as it comes from the far port's host."""
    return world.wrapped(C, FAR, sent, LEARN, src=IPv4Address(address))


# --- strangers ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("address", ABROAD)
def test_a_packet_of_a_stranger_goes_on_once_it_is_known(
    world: World, ears: Ears, version: int, address: str
) -> None:
    sent = build(frame(A, C, UDP, version))
    assert world.arrive(abroad(world, address, sent)).verdict.action is Action.SLOW_PATH
    event, packet = ears.heard()
    strange = 0 if address == ABROAD[0] else STRANGE_PEER
    assert (event.kind, event.segment, event.id) == (EventKind.STRANGER, FAR, C)
    assert (event.address, event.action, packet) == (ip6(address), LEARN | strange, sent)
    settle_far(world, address)
    got = world.injected(from_stranger(event.id, event.segment, event.action), packet)
    assert (got.verdict.action, got.verdict.target, got.data) == (Action.DELIVERED, C, sent)
    noted = world.tables["hints"].lookup(key(C, A, BACK, version))
    assert noted is not None and noted.opener == FAR
    assert world.arrive(abroad(world, address, sent)).verdict.action is Action.DELIVERED


@pytest.mark.parametrize(
    ("address", "why"), [(ABROAD[0], Drop.FORGED_SOURCE), (ABROAD[1], Drop.UNKNOWN_PEER)]
)
def test_a_stranger_of_whom_nothing_is_found_out_is_dropped_by_name(
    world: World, ears: Ears, address: str, why: Drop
) -> None:
    port = FAR if why is Drop.FORGED_SOURCE else 0
    before = dropped(world, port, why)
    world.arrive(abroad(world, address, build(frame(A, C, UDP))))
    event, packet = ears.heard()
    got = world.injected(from_stranger(event.id, event.segment, event.action, gives_up=True), packet)
    assert (got.code, got.drop) == (SHOT, why)
    assert dropped(world, port, why) == before + 1


def test_a_stranger_on_a_fenced_host_stays_out(world: World) -> None:
    settle_far(world)
    world.change("hosts", OTHER, flags=HostFlag.FENCED)
    assert world.injected(from_stranger(C, FAR, LEARN), build(frame(A, C, UDP))).drop is Drop.FENCED


def test_a_known_port_from_elsewhere_is_no_stranger(world: World, ears: Ears) -> None:
    """Only what is not known at all is worth a question."""
    assert world.arrive(world.wrapped(C, A, frame(A, C, UDP))).drop is Drop.FORGED_SOURCE
    settle_far(world, ABROAD[1])
    assert world.arrive(abroad(world, ABROAD[0], build(frame(A, C, UDP)))).drop is Drop.FORGED_SOURCE
    assert ears.nothing()


def test_strangers_are_told_of_only_for_ports_that_are_here(world: World, ears: Ears) -> None:
    assert world.arrive(world.wrapped(D, FAR, frame(A, C, UDP))).drop is Drop.UNKNOWN_KEY
    assert ears.nothing()


def test_a_stranger_spends_a_budget_of_its_own(world: World, ears: Ears) -> None:
    coming = abroad(world, ABROAD[0], build(frame(A, C, UDP)))
    assert any(world.arrive(coming).drop is Drop.FORGED_SOURCE for _ in range(20_000))
    other = world.wrapped(C, FAR + 1, frame(A, C, UDP))
    assert world.arrive(other).verdict.action is Action.SLOW_PATH


# --- ends ---------------------------------------------------------------------------------------------------


@BOTH
def test_replies_go_back_to_an_end(world: World, version: int) -> None:
    settle_far(world)
    world.arrive(abroad(world, ABROAD[0], build(frame(A, C, UDP, version))))
    back = frame(C, A, BACK, version)
    got = world.send(C, back)
    assert (got.verdict.action, got.verdict.target, got.verdict.tunnel) == (Action.SENT, FAR, RETURN)
    assert got.inner == build(back)


@BOTH
def test_a_reply_to_an_opener_that_is_not_known_any_more_asks_where_it_is(
    world: World, ears: Ears, version: int
) -> None:
    world.put("hints", key(C, A, BACK, version), Hint(FAR, world.now()))
    back = build(frame(C, A, BACK, version))
    assert world.send(C, back).verdict.action is Action.SLOW_PATH
    event, packet = ears.heard()
    assert (event.kind, event.port, event.segment) == (EventKind.NOT_FOLLOWED, C, FAR)
    assert (event.action, packet) == (1, back)
    settle_far(world)
    got = world.injected(from_port(C), packet)
    assert (got.verdict.action, got.verdict.target) == (Action.SENT, FAR)


# --- what a walk meets --------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("as_end", [False, True])
def test_a_port_that_a_walk_needs_is_asked_for_and_the_packet_goes_on(
    world: World, ears: Ears, version: int, as_end: bool
) -> None:
    if as_end:
        world.put("ports", C, Port(0, PortKind.VM, bytes(6), zone=ZONE, host=OTHER))
    else:
        world.tables["ports"].delete(C)
    sent = frame(A, C, UDP, version)
    assert world.send(A, sent).verdict.action is Action.SLOW_PATH
    event, packet = ears.heard()
    assert (event.kind, event.port, event.segment) == (EventKind.NOT_FOLLOWED, A, C)
    assert (event.action, packet) == (0, build(sent))
    world.put("ports", C, world.ports[C])
    got = world.injected(from_port(A), packet)
    assert (got.verdict.action, got.data) == (Action.DELIVERED, routed(sent, A, C))


def test_what_cannot_be_followed_is_dropped_as_such(world: World, ears: Ears) -> None:
    world.tables["ports"].delete(C)
    before = dropped(world, A, Drop.NOT_FOLLOWED)
    world.send(A, frame(A, C, UDP))
    _, packet = ears.heard()
    assert dropped(world, A, Drop.NOT_FOLLOWED) == before
    got = world.injected(from_port(A, gives_up=Drop.NOT_FOLLOWED), packet)
    assert (got.verdict.action, got.drop) == (Action.DROPPED, Drop.NOT_FOLLOWED)
    assert dropped(world, A, Drop.NOT_FOLLOWED) == before + 1
    assert ears.nothing()


def test_a_port_that_has_asked_enough_is_not_heard(world: World) -> None:
    world.tables["ports"].delete(C)
    assert any(world.send(A, frame(A, C, UDP)).drop is Drop.NOT_FOLLOWED for _ in range(20_000))


# --- next hops that never answer ----------------------------------------------------------------------------


def lead_nowhere(world: World, version: int) -> None:
    """By way of a next hop that nobody has."""
    world.put_hops(50, [Hop(ip6("10.0.2.99" if version == 4 else "fd00:2::99"), EDGE_DB, 1)])
    cidr = f"{v4(C)}/32" if version == 4 else f"{v6(C)}/128"
    world.put("routes", prefix_key(EDGE, cidr), Route(RouteAction.FORWARD, hops=50))


@BOTH
def test_the_sender_is_told_of_a_next_hop_that_never_answered(world: World, ears: Ears, version: int) -> None:
    lead_nowhere(world, version)
    sent = frame(A, C, UDP, version)
    assert world.send(A, sent).verdict.action is Action.SLOW_PATH
    event, packet = ears.heard()
    assert event.kind is EventKind.RESOLVE
    got = world.injected(from_port(A, gives_up=Drop.NO_NEIGHBOUR), packet)
    source, type, code = ("10.0.1.254", 3, 1) if version == 4 else ("fd00:1::254", 1, 3)
    assert answered(got, Drop.NO_NEIGHBOUR, error(sent, source, type, code, version=version))


def test_nobody_is_told_of_a_next_hop_that_was_not_followed(world: World) -> None:
    lead_nowhere(world, 4)
    got = world.injected(from_port(A, gives_up=Drop.NOT_FOLLOWED), build(frame(A, C, UDP)))
    assert (got.verdict.action, got.drop) == (Action.DROPPED, Drop.NOT_FOLLOWED)


def test_a_packet_that_waited_goes_on_where_it_can_by_now(world: World) -> None:
    sent = frame(A, C, UDP)
    got = world.injected(from_port(A, gives_up=Drop.NO_NEIGHBOUR), build(sent))
    assert (got.verdict.action, got.data) == (Action.DELIVERED, routed(sent, A, C))
    assert hint(world, C, A) is not None


# --- strays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [Mark(0, 0), Mark(A, 0), Mark(0x4000, A), Mark(0xB9 << 24 | A, 0)])
def test_what_strays_onto_the_injection_device_ends_there(world: World, mark: Mark) -> None:
    sent = build(frame(A, C, Udp(4000, 53)))
    outcome = run_program(world.datapath.programs["inject"], sent, SkBuff(**mark._asdict()))
    assert outcome.verdict == SHOT
    assert hint(world, C, A, Udp(53, 4000)) is None
