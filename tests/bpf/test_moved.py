"""Ports that were on another host until lately: what comes for them is forwarded once, and believed."""

from __future__ import annotations

import struct

import pytest

from onehop.datapath.layouts import ip6
from onehop.datapath.structs import Host, Moved
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.words import Action, HostFlag
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.packet import Udp, build
from tests.bpf.test_connections import BACK, UDP, hide
from tests.bpf.world import (
    ASK,
    FLOOD,
    LEARN,
    OTHER,
    RETURN,
    UNDERLAY,
    WEB,
    A,
    B,
    C,
    D,
    Sent,
    World,
    frame,
    routed,
)

THIRD = 3
FORWARDED = TunnelFlag.FORWARDED
BOTH = pytest.mark.parametrize("version", [4, 6])
FLAGS = pytest.mark.parametrize("flags", [TunnelFlag(0), LEARN, RETURN, ASK])


@pytest.fixture
def moved(world: World) -> World:
    """Port a has left this host for a third one. On the other host is d."""
    there = ip6("192.0.2.3")
    world.put("hosts", THIRD, Host(there, ip6(world.underlay.here), world.interfaces[UNDERLAY]))
    world.put("peers", there, THIRD)
    world.change_port(A, host=THIRD, ifindex=0)
    world.put("moved", A, Moved(to=THIRD))
    return world


def came(world: World, port: int, former: int = OTHER) -> None:
    world.put("moved", port, Moved(former))


def header(sent: Sent) -> tuple[int, int]:
    """Source and target, with the flags, of the tunnel's header."""
    first, second = struct.unpack_from("!II", sent.data, 42)
    return first & 0xFFFFFF, second


@BOTH
@FLAGS
def test_what_comes_for_a_port_that_has_left_goes_to_where_it_is(
    moved: World, version: int, flags: TunnelFlag
) -> None:
    inner = build(frame(D, A, UDP, version))
    sent = moved.arrive(moved.wrapped(A, D, inner, flags))
    assert (sent.verdict.action, sent.verdict.host, sent.verdict.hit) == (Action.SENT, THIRD, 0)
    assert sent.inner == inner, "the frame is as it was"
    assert header(sent) == (D, A << 8 | flags | FORWARDED), "and so is its source"
    assert sent.data[30:34] == ip6("192.0.2.3")[12:]


def test_what_was_forwarded_is_not_forwarded_again(moved: World) -> None:
    assert moved.arrive(moved.wrapped(A, D, frame(D, A, UDP), LEARN | FORWARDED)).drop is Drop.UNKNOWN_KEY


def test_nothing_is_forwarded_for_who_may_not_send(moved: World) -> None:
    assert moved.arrive(moved.wrapped(A, C, frame(C, A, UDP))).drop is Drop.FORGED_SOURCE
    assert moved.arrive(moved.wrapped(A, 99, frame(D, A, UDP))).drop is Drop.FORGED_SOURCE
    moved.change("hosts", OTHER, flags=HostFlag.FENCED)
    assert moved.arrive(moved.wrapped(A, D, frame(D, A, UDP))).drop is Drop.FENCED


def test_a_port_that_has_left_long_ago_is_unknown(moved: World) -> None:
    moved.tables["moved"].delete(A)
    assert moved.arrive(moved.wrapped(A, D, frame(D, A, UDP))).drop is Drop.UNKNOWN_KEY


def test_floods_are_not_forwarded(moved: World) -> None:
    moved.put("moved", WEB, Moved(to=THIRD))
    moved.set_members(WEB, [], [])
    assert moved.arrive(moved.wrapped(WEB, D, frame(D, A, UDP), FLOOD)).drop is Drop.UNKNOWN_KEY


def test_a_cached_flow_of_a_port_that_leaves_is_used_no_more(world: World) -> None:
    for _ in range(2):
        world.arrive(world.wrapped(A, D, frame(D, A, UDP)))
    assert world.arrive(world.wrapped(A, D, frame(D, A, UDP))).verdict.hit
    world.change_port(A, host=OTHER, ifindex=0)
    world.put("moved", A, Moved(to=OTHER))
    world.bump()
    assert world.arrive(world.wrapped(A, D, frame(D, A, UDP))).verdict.action is Action.SENT


# --- at the new host ----------------------------------------------------------------------------------------


@BOTH
def test_the_former_host_is_believed_in_what_it_forwards_for_a_port(world: World, version: int) -> None:
    world.change_port(D, host=THIRD)
    sent = frame(D, A, UDP, version)
    wrapped = world.wrapped(A, D, sent, LEARN | FORWARDED)
    assert world.arrive(wrapped).drop is Drop.FORGED_SOURCE
    came(world, A)
    got = world.arrive(wrapped)
    assert (got.verdict.action, got.data) == (Action.DELIVERED, build(sent))


def test_it_is_not_believed_in_what_it_sends_itself(world: World) -> None:
    world.change_port(D, host=THIRD)
    came(world, A)
    assert world.arrive(world.wrapped(A, D, frame(D, A, UDP))).drop is Drop.FORGED_SOURCE
    assert world.arrive(world.wrapped(C, D, frame(D, C, UDP), LEARN | FORWARDED)).drop is Drop.FORGED_SOURCE


def test_it_is_believed_in_what_the_port_sent_before(world: World) -> None:
    world.change_port(D, host=THIRD)
    came(world, D)
    assert world.arrive(world.wrapped(C, D, frame(D, C, UDP))).verdict.action is Action.DELIVERED


def test_forwarded_replies_reach_who_opened_the_connection(world: World) -> None:
    hide(world, A)
    world.change_port(D, host=OTHER)
    world.send(A, frame(A, D, UDP))
    world.change_port(D, host=THIRD)
    came(world, A)
    back = frame(D, A, BACK)
    got = world.arrive(world.wrapped(A, D, back, RETURN | FORWARDED))
    assert (got.verdict.action, got.data) == (Action.DELIVERED, routed(back, D, A))


def test_what_was_forwarded_leaves_nothing_in_the_flow_cache(world: World) -> None:
    world.change_port(D, host=THIRD)
    came(world, A)
    for _ in range(3):
        got = world.arrive(world.wrapped(A, D, frame(D, A, Udp(1, 2)), LEARN | FORWARDED))
        assert (got.verdict.action, got.verdict.hit) == (Action.DELIVERED, 0)
    assert not list(world.tables["flows"].keys())


def test_this_host_is_no_former_host(world: World) -> None:
    came(world, D, THIS_HOST)
    assert world.arrive(world.wrapped(A, B, frame(D, A, UDP))).drop is Drop.FORGED_SOURCE
