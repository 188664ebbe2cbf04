"""Next hops that the model does not know: asked for a few times, learned, or given up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from onehop.agent.slowpath.neighbours import ASKS, NEEDED, PAUSE, REFRESH, WAITING, Neighbours
from onehop.datapath.layouts import ip6
from onehop.datapath.structs import LearnedNeighbour, NeighbourKey
from onehop.model import Network, Port
from onehop.model.vocabulary import Drop
from tests.support.virtual import Virtual
from tests.support.world import World
from tests.unit.simulation.shop import SHOP

MAC, OTHER = bytes.fromhex("020000000077"), bytes.fromhex("020000000078")
WANTED = ip6("10.0.1.77")


@dataclass
class Pipe:
    sent: list[tuple[int, bytes]]
    given_up: list[tuple[int, bytes, Drop]]

    def send(self, port: int, frame: bytes, asker: int = 0) -> None:
        self.sent.append((port, frame))

    def give_up(self, port: int, frame: bytes, why: Drop) -> None:
        self.given_up.append((port, frame, why))


@dataclass
class Bench:
    """Neighbours over the shop, with a clock that stands still and a table in memory."""

    shop: Virtual = field(default_factory=lambda: Virtual(SHOP))
    now: float = 0.0
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    given_up: list[tuple[int, bytes, Drop]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    out: list[tuple[int, bytes]] = field(default_factory=list)
    uplinks: set[int] = field(default_factory=set)
    here: set[int] = field(default_factory=set)
    table: dict[NeighbourKey, LearnedNeighbour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        view = self.shop.view
        keys = {obj.key: obj.id for obj in (*view.all(Port), *view.all(Network))}
        self.edge = World(view, "v4").port("edge/web").key
        self.web = next(n.key for n in view.all(Network) if n.name == "web")
        self.neighbours = Neighbours(
            view,
            keys,
            self,
            Pipe(self.sent, self.given_up),
            self,
            self.moved.append,
            lambda: self.now,
        )

    def lookup(self, key: NeighbourKey) -> LearnedNeighbour | None:
        return self.table.get(key)

    def update(self, key: NeighbourKey, value: LearnedNeighbour) -> bool:
        self.table[key] = value
        return True

    def is_one(self, key: int) -> bool:
        return key in self.uplinks

    def is_here(self, key: int) -> bool:
        return key in self.here

    def send(self, key: int, frame: bytes) -> None:
        self.out.append((key, frame))

    def pass_time(self, seconds: float = PAUSE) -> None:
        self.now += seconds
        self.neighbours.tick()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_neighbour_that_nobody_answers_for_is_asked_for_a_few_times_and_given_up(bench: Bench) -> None:
    bench.neighbours.needed(bench.edge, WANTED, 5, b"frame")
    for _ in range(ASKS + 2):
        bench.pass_time()
    assert [port for port, _ in bench.sent] == [bench.edge] * ASKS
    assert bench.neighbours.due is None
    assert bench.given_up == [(5, b"frame", Drop.NO_NEIGHBOUR)]


def test_what_waits_for_a_neighbour_is_sent_when_it_answers(bench: Bench) -> None:
    bench.neighbours.needed(bench.edge, WANTED, 5, b"first")
    bench.neighbours.needed(bench.edge, WANTED, 6, b"second")
    assert len(bench.sent) == 1
    assert bench.neighbours.heard(bench.edge, WANTED, MAC)
    assert bench.sent[1:] == [(5, b"first"), (6, b"second")]
    assert bench.table[NeighbourKey(bench.edge, WANTED)].mac == MAC
    assert bench.neighbours.due is None


def test_few_packets_wait_and_the_newest_are_kept(bench: Bench) -> None:
    for number in range(WAITING + 3):
        bench.neighbours.needed(bench.edge, WANTED, 5, bytes((number,)))
    bench.neighbours.heard(bench.edge, WANTED, MAC)
    assert [frame[0] for _, frame in bench.sent[1:]] == list(range(3, WAITING + 3))


def test_what_is_said_on_a_network_counts_for_the_routers_on_it(bench: Bench) -> None:
    assert bench.neighbours.heard(bench.web, WANTED, MAC)
    assert list(bench.table) == [NeighbourKey(bench.edge, WANTED)]


@pytest.mark.parametrize("address", ["10.0.2.77", "10.0.1.1", "fe80::1"])
def test_only_addresses_of_the_routers_subnets_are_learned_and_never_its_own(
    bench: Bench, address: str
) -> None:
    assert not bench.neighbours.heard(bench.edge, ip6(address), MAC)
    assert not bench.table


@pytest.mark.parametrize("mac", [bytes(6), bytes.fromhex("ffffffffffff"), bytes.fromhex("33330000ffff")])
def test_a_mac_that_is_no_machines_is_not_learned(bench: Bench, mac: bytes) -> None:
    assert not bench.neighbours.heard(bench.edge, WANTED, mac)


def test_flows_are_judged_anew_when_a_neighbour_has_another_mac(bench: Bench) -> None:
    bench.neighbours.heard(bench.edge, WANTED, MAC)
    bench.neighbours.heard(bench.edge, WANTED, MAC)
    assert not bench.moved
    bench.neighbours.heard(bench.edge, WANTED, OTHER)
    assert len(bench.moved) == 1


def test_a_key_that_is_no_router_asks_nobody(bench: Bench) -> None:
    bench.neighbours.needed(bench.web, WANTED, 5, b"frame")
    bench.neighbours.needed(1 << 23, WANTED, 5, b"frame")
    assert not bench.sent
    assert bench.neighbours.due is None


# --- at an uplink -------------------------------------------------------------------------------------------


@pytest.fixture
def gateway() -> Bench:
    """The router's port is an uplink of this host; so is port 5 bound here."""
    bench = Bench()
    bench.uplinks = {bench.edge}
    bench.here = {bench.edge, 5}
    return bench


def test_an_uplink_asks_outside(gateway: Bench) -> None:
    gateway.neighbours.needed(gateway.edge, WANTED, 5, b"frame")
    assert [port for port, _ in gateway.out] == [gateway.edge]
    assert not gateway.sent


def test_what_another_host_sent_needs_but_its_macs(gateway: Bench) -> None:
    frame = bytes(12) + b"what is in it"
    gateway.neighbours.needed(gateway.edge, WANTED, 6, frame)
    gateway.out.clear()
    gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    own = bytes.fromhex(World(gateway.shop.view, "v4").port("edge/web").mac.replace(":", ""))
    assert gateway.out == [(gateway.edge, MAC + own + b"what is in it")]
    assert not gateway.sent


def test_what_a_port_here_sent_goes_through_the_pipeline_again(gateway: Bench) -> None:
    gateway.neighbours.needed(gateway.edge, WANTED, 5, b"frame")
    gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    assert gateway.sent == [(5, b"frame")]


def test_what_a_packet_needed_is_asked_for_again_before_it_expires(gateway: Bench) -> None:
    gateway.neighbours.needed(gateway.edge, WANTED, 5, b"frame")
    gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    questions = 1
    while gateway.now < NEEDED - REFRESH:
        gateway.pass_time(REFRESH)
        questions += 1
        assert len(gateway.out) == questions
        gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    for _ in range(3):
        gateway.pass_time(REFRESH)
    assert len(gateway.out) == questions
    assert gateway.neighbours.due is None


def test_what_does_not_answer_any_more_is_forgotten(gateway: Bench) -> None:
    gateway.neighbours.needed(gateway.edge, WANTED, 5, b"frame")
    gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    gateway.pass_time(REFRESH)
    for _ in range(ASKS + 1):
        gateway.pass_time()
    assert len(gateway.out) == 1 + ASKS
    assert gateway.neighbours.due is None


def test_what_nobody_needed_is_not_asked_for(gateway: Bench) -> None:
    gateway.neighbours.heard(gateway.edge, WANTED, MAC)
    assert gateway.neighbours.due is None
