"""Random and mutated bytes: every packet gets a verdict with a name, and none gets farther than it may."""

from __future__ import annotations

import random

import pytest

from onehop.datapath.words import Action
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Icmp, Malformed, Raw, Tcp, Udp, build, build_ip, parse
from tests.bpf.test_answers import solicitation, who_has
from tests.bpf.world import WEB_EDGE, A, B, C, D, World, frame, packet, v4, v6

SAMPLES = [
    build(one)
    for one in (
        frame(A, B, Udp(4000, 53, b"data")),
        frame(A, C, Tcp(4000, 80, options=b"\2\4\5\xb4")),
        frame(A, D, Udp(4000, 53, b"data"), 6),
        frame(A, C, Icmp(8, rest=b"\0\1\0\1"), 6),
        frame(A, C, Icmp(3, 3, data=build_ip(packet(C, A, Udp(1, 2))))),
        frame(A, C, Raw(17, bytes(80)), offset=800, id=5),
        frame(A, C, Udp(4000, 53, bytes(40)), options=b"\1" * 8),
        frame(A, B, Raw(132, bytes(12))),
        who_has(v4(B)),
        solicitation(v6(WEB_EDGE)),
    )
]

SHORTEST = 54  # the kernel runs programs on nothing that is shorter than the header it announces


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, or some cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        changed[chance.randrange(12, len(changed))] = value
    if chance.random() < 0.2:
        del changed[max(SHORTEST, chance.randrange(len(changed))) :]
    return bytes(changed)


def test_every_mutated_packet_from_a_machine_gets_a_name(world: World, chance: random.Random) -> None:
    for i in range(3000):
        data = mutated(chance.choice(SAMPLES), chance)
        if i % 500 == 0:
            world.build()
        verdict = world.send(A, data).verdict
        assert verdict.action is not Action.NONE, data.hex()
        assert verdict.action is not Action.DROPPED or Drop(verdict.drop), data.hex()
        if isinstance(bad := parse(data), Malformed):
            assert verdict.drop == bad.drop, f"{data.hex()}: {bad.why}, but {verdict}"


def test_every_mutated_packet_from_the_underlay_gets_a_name(world: World, chance: random.Random) -> None:
    for i in range(2000):
        if i % 500 == 0:
            world.build()
        target, source = chance.choice((A, C, D, 100, 200)), chance.choice((B, D, D, D))
        wrapped = world.wrapped(target, source, chance.choice(SAMPLES))
        verdict = world.arrive(mutated(wrapped, chance)).verdict
        assert verdict.action is not Action.NONE
        assert verdict.action is not Action.DROPPED or Drop(verdict.drop)


def test_random_bytes_reach_nobody(world: World, chance: random.Random) -> None:
    for _ in range(1000):
        verdict = world.send(A, chance.randbytes(chance.randint(SHORTEST, 200))).verdict
        assert verdict.action in (Action.DROPPED, Action.ANSWERED) and Drop(verdict.drop)
