"""Translation written into the tables by hand: what the router of `world` makes of addresses.

edge, from web to db   machines share SHARED, by rule RULE
edge, from anywhere    FLOATING stands for c, TWIN for d, and d's port 53 also for port 5300 of SHARED
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from onehop.datapath.layouts import ip6
from onehop.datapath.structs import (
    Block,
    NatBindingKey,
    NatBlockKey,
    NatDestination,
    NatForward,
    NatForwardKey,
    NatSource,
)
from onehop.datapath.words import NatAction, NatDestinationFlag, PortFlag, RouterFlag
from onehop.simulation.packet import UDP, Ip
from tests.bpf.world import EDGE, EDGE_DB, A, C, D, World, ip, prefix_key

RULE, LIST = 5, 6
FIRST = 2048


class Outside(NamedTuple):
    """The addresses that are not machines' own."""

    shared: Ip
    floating: Ip
    twin: Ip


OUTSIDE = {
    4: Outside(*map(ip_address, ("203.0.113.1", "203.0.113.2", "203.0.113.3"))),
    6: Outside(*map(ip_address, ("fd00:9::1", "fd00:9::2", "fd00:9::3"))),
}


def flag(world: World) -> None:
    world.change("routers", EDGE, flags=RouterFlag.UP | RouterFlag.NAT)
    world.change_port(EDGE_DB, flags=world.ports[EDGE_DB].flags | PortFlag.NAT)


def share(world: World, version: int, blocks: Sequence[int] = (FIRST,), by: int = A) -> None:
    """Let the machine at a port share an address with others."""
    flag(world)
    shared = ip6(OUTSIDE[version].shared)
    anywhere = "0.0.0.0/0" if version == 4 else "::/0"
    source = NatSource(bytes(16), NatAction.DYNAMIC, rule=RULE + version, router=EDGE)
    world.put("nat_sources", prefix_key(EDGE_DB, anywhere), source)
    world.put("nat_bindings", NatBindingKey(by, RULE + version), LIST + version)
    assign(world, version, blocks, by)
    destination = NatDestination(bytes(16), NatDestinationFlag.BLOCKS)
    world.put("nat_destinations", prefix_key(EDGE, str(OUTSIDE[version].shared)), destination)
    for first in blocks:
        world.put("nat_blocks", NatBlockKey(EDGE, shared, first // 128), by)


def assign(world: World, version: int, blocks: Sequence[int], by: int = A) -> None:
    shared = ip6(OUTSIDE[version].shared)
    world.lists["block_lists"].put(LIST + version, [Block(shared, first) for first in blocks])
    world.bump()


def stand_for(world: World, version: int, outside: Ip, inside: Ip, *, source: bool = True) -> None:
    """One address outside, one inside: in both directions, or only as a destination."""
    flag(world)
    flags = NatDestinationFlag.STATIC if source else NatDestinationFlag.STATIC | NatDestinationFlag.ADDRESS
    world.put("nat_destinations", prefix_key(EDGE, str(outside)), NatDestination(ip6(inside), flags))
    if source:
        world.put("nat_sources", prefix_key(EDGE_DB, str(inside)), NatSource(ip6(outside), NatAction.STATIC))
    world.bump()


def forward(world: World, version: int, port: int, to: int, to_port: int, protocol: int = UDP) -> None:
    """A port of the shared address."""
    flag(world)
    shared = OUTSIDE[version].shared
    key = NatForwardKey(EDGE, ip6(shared), port, protocol)
    world.put("nat_forwards", key, NatForward(ip6(ip(to, version)), to_port))
    at = prefix_key(EDGE, str(shared))
    known = world.tables["nat_destinations"].lookup(at) or NatDestination(bytes(16), NatDestinationFlag(0))
    flags = known.flags | NatDestinationFlag.FORWARDS
    world.put("nat_destinations", at, msgspec.structs.replace(known, flags=flags))
    world.bump()


__all__ = [
    "FIRST", "OUTSIDE", "A", "C", "D", "Outside", "assign", "forward", "share", "stand_for",
]  # fmt: skip
