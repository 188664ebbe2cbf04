"""Flooded frames and fragments, as copies and followers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from onehop.datapath.words import Action, Copy, NetworkFlag, PortFlag
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import BROADCAST, Frame, Other, Raw, Udp, build
from tests.bpf.world import DB, FLOOD, OTHER, RETURN, WEB, A, B, C, D, World, frame, mac

FOR_ALL = Frame(BROADCAST, mac(A), Other(0x88B5, b"for everybody" * 5))


def listening(device: str) -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    listener.bind((device, 0))
    listener.settimeout(2)
    return listener


@pytest.fixture
def machines(world: World) -> Iterator[dict[int, socket.socket]]:
    """Where the machines, and the underlay, would receive."""
    found = {key: listening(f"q{key}") for key in (A, B, C, 0)}
    yield found
    for listener in found.values():
        listener.close()


def received(listener: socket.socket, data: bytes) -> bool:
    """Whether exactly these bytes come, among what the kernel itself sends."""
    try:
        while listener.recv(4096) != data:
            pass
    except TimeoutError:
        return False
    return True


def copies(world: World, sent: Frame, port: int = A) -> list[tuple[int, Copy, int]]:
    verdict = world.send(port, sent).verdict
    assert verdict.action in (Action.FLOODED, Action.DROPPED)
    return [(c.target, c.copy, c.drop) for c in verdict.copied[: verdict.copies]]


def test_a_broadcast_reaches_every_member_but_its_sender(
    world: World, machines: dict[int, socket.socket]
) -> None:
    assert copies(world, FOR_ALL) == [(B, Copy.DELIVERED, 0)]
    assert received(machines[B], build(FOR_ALL))


def test_one_copy_goes_to_each_other_host(world: World) -> None:
    sent = Frame(BROADCAST, mac(C), Other(0x88B5, b"for everybody" * 5))
    assert copies(world, sent, C) == [(OTHER, Copy.SENT, 0)]


def test_each_member_judges_its_copy(world: World) -> None:
    world.put_list(7, [])
    world.change_port(B, receives=7)
    assert copies(world, FOR_ALL) == [(B, Copy.DROPPED, Drop.SECURITY_GROUP)]
    assert world.send(A, FOR_ALL).drop is Drop.SECURITY_GROUP


def test_even_a_copy_that_could_be_a_reply_is_judged_for_good(world: World) -> None:
    world.change("networks", WEB, flags=NetworkFlag.FLOOD_UNKNOWN)
    world.put_list(7, [])
    world.change_port(B, receives=7)
    sent = Frame("02:00:00:00:00:77", mac(A), frame(A, B, Udp(4000, 53)).payload)
    assert copies(world, sent) == [(B, Copy.DROPPED, Drop.SECURITY_GROUP)]


def test_unknown_macs_are_flooded_where_the_network_says_so(world: World) -> None:
    world.change("networks", WEB, flags=NetworkFlag.FLOOD_UNKNOWN)
    sent = Frame("02:00:00:00:00:77", mac(A), frame(A, B, Udp(4000, 53)).payload)
    assert copies(world, sent) == [(B, Copy.DELIVERED, 0)]


def test_a_flood_from_elsewhere_is_for_the_members_here(
    world: World, machines: dict[int, socket.socket]
) -> None:
    world.change_port(C, flags=PortFlag.UP)
    sent = Frame(BROADCAST, mac(D), Other(0x88B5, b"for everybody" * 5))
    verdict = world.arrive(world.wrapped(DB, D, sent, FLOOD)).verdict
    assert [(c.target, c.copy) for c in verdict.copied[: verdict.copies]] == [(C, Copy.DELIVERED)]
    assert received(machines[C], build(sent))


def test_floods_have_a_budget(world: World) -> None:
    drops = [world.send(A, FOR_ALL).drop for _ in range(1000)]
    assert drops[0] is None and Drop.BUDGET in drops


# --- fragments ----------------------------------------------------------------------------------------------


def first(src: int, dst: int, port: int = 4000, id: int = 77) -> Frame:
    return frame(src, dst, Udp(port, 53, bytes(792), length=1208), more_fragments=True, id=id)


def later(src: int, dst: int, offset: int = 800, id: int = 77) -> Frame:
    return frame(src, dst, Raw(17, bytes(400)), offset=offset, id=id)


def test_later_fragments_follow_their_first(world: World) -> None:
    assert world.send(A, first(A, C)).verdict.target == C
    assert world.send(A, later(A, C)).verdict.target == C


@pytest.mark.parametrize(
    ("before", "sent", "reason"),
    [
        ([], later(A, C), Drop.FRAGMENT_FIRST_MISSING),
        ([first(A, C)], later(A, C, id=78), Drop.FRAGMENT_FIRST_MISSING),
        ([first(A, C)], later(A, C, offset=792), Drop.FRAGMENT_OVERLAP),
        ([first(A, C)], first(A, C, port=4001), Drop.FRAGMENT_OVERLAP),
    ],
)
def test_fragments_that_do_not_fit(world: World, before: list[Frame], sent: Frame, reason: Drop) -> None:
    for one in before:
        world.send(A, one)
    assert world.send(A, sent).drop is reason


def test_fragments_of_a_reply_come_back(world: World) -> None:
    world.change_port(A, receives=0)
    world.send(A, frame(A, D, Udp(53, 4000)))
    back = [
        frame(D, A, Udp(4000, 53, bytes(792), length=1208), more_fragments=True, id=9),
        frame(D, A, Raw(17, bytes(400)), offset=800, id=9),
    ]
    for one, flag in zip(back, (RETURN, RETURN), strict=True):
        assert world.arrive(world.wrapped(A, D, one, flag)).verdict.target == A
