"""Two hosts' tables, and an agent each: the records of a port that moves between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest

from onehop.agent.connections import Answerer
from onehop.agent.handover import Handover
from onehop.agent.records import ROW, Records
from onehop.agent.slowpath.neighbours import coarse_now
from onehop.compiler.facts import Move
from onehop.datapath import programs
from onehop.datapath.layouts import ip6
from onehop.datapath.programs import Datapath
from onehop.datapath.structs import Port as Row
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.traffic import MAX_ZONES, Crossing, Record, TupleKey
from onehop.datapath.words import Life, PortKind, RecordFlag
from onehop.feed.messages import GiveRecords, Moved, Said, Unable
from onehop.model import Binding, Port
from onehop.model.view import Topology

pytestmark = pytest.mark.anyio
P = Port(id="p", name="p", network="n", key=77)
SIZES = dict.fromkeys(("records", "hints", "translated", "openers", "flows", "ports", "moved"), 8192)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[Datapath, Datapath]]:
    with programs.load(sizes=SIZES) as one, programs.load(sizes=SIZES) as other:
        yield one, other


def key(n: int) -> TupleKey:
    return TupleKey(P.key, ip6("10.0.0.1"), ip6("10.0.0.2"), n, 80, 6)


def record(used: int, life: Life = Life.OPEN) -> Record:
    macs = [b"macmac"] * 4
    crossed = (Crossing(3, 4),) * MAX_ZONES
    return Record(9, *macs, 1, 0, life, RecordFlag.JUDGED, 1450, 2, 0, used, crossed)


class Here:
    """What a host's agent asks of its host; the port is active on it, or elsewhere."""

    def __init__(self, id: str, datapath: Datapath) -> None:
        self.id = id
        self.view = Topology([P])
        self.keys = {P.key: P.id}
        self.moves: Mapping[str, Move] = {}
        self._maps = datapath.maps
        for table in ("records", "openers", "ports"):
            self._maps[table].clear()
        self.records = Records(datapath.maps, lambda: datapath.programs)
        self.answerer = Answerer(self, self.records)  # type: ignore[arg-type]
        self.asked: list[GiveRecords] = []

    def has(self, port: str) -> bool:
        return any(binding.host == self.id for binding in self.view.bindings(port))

    def moved(self, moves: Mapping[str, Move]) -> None:
        self.moves = moves

    def follow(self, handover: Handover, *bindings: Binding) -> None:
        """The port is bound there from now on."""
        before = {b.id: b for b in self.view.bindings(P.id)}
        after = {b.id: b for b in bindings}
        for id in before:
            self.view.remove(id)
        for binding in bindings:
            self.view.put(binding)
        active = self.view.active_binding(P.id)
        here = active is not None and active.host == self.id
        self._maps["ports"].update(P.key, Row(1, PortKind.VM, b"macmac", host=THIS_HOST if here else 2))
        handover.changed({id: (before.get(id), after.get(id)) for id in {**before, **after}})

    def put(self, *numbers: int, used: int | None = None) -> None:
        for n in numbers:
            assert self.records.put(key(n), record(coarse_now() if used is None else used))

    @property
    def held(self) -> dict[int, Record]:
        return {key.src_port: record for key, record in self.records.opened_by(P.key).items()}


def at(host: str, state: str = "active") -> Binding:
    return Binding(id=f"{host}-{state}", name="b", port=P.id, host=host, interface="t", state=state)  # type: ignore[arg-type]


class Pair:
    """The former host and the new one."""

    def __init__(self, loaded: tuple[Datapath, Datapath]) -> None:
        self.former, self.new = Here("former", loaded[0]), Here("new", loaded[1])
        self.gone = False
        self.giving = Handover(self.former, self.former.records, self._nothing)  # type: ignore[arg-type]
        self.taking = Handover(self.new, self.new.records, self._fetch)  # type: ignore[arg-type]
        for host, handover in ((self.former, self.giving), (self.new, self.taking)):
            host.follow(handover, at("former"))

    async def _fetch(self, port: str, since: int, after: bytes) -> Said:
        ask = GiveRecords(P.key, since, after)
        self.former.asked.append(ask)
        if self.gone:
            return Unable("it is gone", absent=True)
        return await self.former.answerer.answer(ask)

    async def _nothing(self, port: str, since: int, after: bytes) -> Said:
        return Unable("nothing is had from the new host")

    def moved(self, seconds: float = 60.0) -> Moved:
        return Moved(P.id, "former", "new", seconds)


@pytest.fixture
async def pair(loaded: tuple[Datapath, Datapath], anyio_backend: str) -> AsyncIterator[Pair]:
    pair = Pair(loaded)
    yield pair
    pair.giving.close()
    pair.taking.close()


async def until(holds: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - tables tell nobody when they change
            await asyncio.sleep(0.005)


async def test_records_come_with_their_port_to_be_judged_anew(pair: Pair) -> None:
    pair.former.put(1, 2, 3)
    pair.taking.moved(pair.moved())
    await until(lambda: pair.new.held.keys() == {1, 2, 3})
    assert {(r.zones, r.flags, r.life) for r in pair.new.held.values()} == {(0, RecordFlag(0), Life.OPEN)}
    assert pair.new.records.openers() == {P.key}


async def test_what_changes_until_the_former_host_has_let_go_comes_too(pair: Pair) -> None:
    pair.former.put(1, 2)
    pair.taking.moved(pair.moved())
    await until(lambda: pair.new.held.keys() == {1, 2})
    pair.former.put(3)
    pair.former.records.put(key(1), record(coarse_now() + 10**9, Life.CLOSING))
    pair.former.follow(pair.giving, at("new"))
    await until(lambda: 3 in pair.new.held and pair.new.held[1].life is Life.CLOSING)
    await until(lambda: not pair.taking._pulling)
    asked = len(pair.former.asked)
    pair.taking.moved(pair.moved())
    await asyncio.sleep(0)
    assert len(pair.former.asked) == asked, "it is told again, and has all"


async def test_the_second_pass_brings_only_what_was_used_since_the_first(pair: Pair) -> None:
    pair.former.put(*range(1, 200), used=coarse_now() - 10**9)
    pair.new.follow(pair.taking, at("former"), at("new", "standby"))
    await until(lambda: len(pair.new.held) == 199)
    await until(lambda: not pair.taking._pulling)
    pair.former.put(500, used=coarse_now() + 1)
    pair.former.follow(pair.giving, at("new"))
    pair.taking.moved(pair.moved())
    await until(lambda: 500 in pair.new.held)
    last = pair.former.asked[-1]
    given = await pair.former.answerer.answer(last)
    assert last.since > 0 and len(given.rows) == ROW  # type: ignore[union-attr]


async def test_what_was_used_here_since_is_newer(pair: Pair) -> None:
    pair.former.records.put(key(1), record(coarse_now() - 10**9, Life.CLOSING))
    pair.new.put(1)
    pair.former.put(2)
    pair.taking.moved(pair.moved())
    await until(lambda: 2 in pair.new.held)
    assert pair.new.held[1].life is Life.OPEN


async def test_many_records_come_in_pieces(pair: Pair) -> None:
    count = 5000
    pair.former.put(*range(1, count + 1))
    pair.former.follow(pair.giving, at("new"))
    pair.taking.moved(pair.moved())
    await until(lambda: len(pair.new.held) == count and not pair.taking._pulling)
    assert len(pair.former.asked) > 2


async def test_a_former_host_that_is_gone_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.gone = True
    monkeypatch.setattr("onehop.agent.handover.PATIENCE", 0.2)
    pair.taking.moved(pair.moved())
    await until(lambda: not pair.taking._pulling)
    assert pair.new.held == {}


async def test_a_former_host_that_comes_back_in_time_is_asked_again(pair: Pair) -> None:
    pair.former.put(1)
    pair.gone = True
    pair.taking.moved(pair.moved())
    await until(lambda: len(pair.former.asked) > 1)
    pair.gone = False
    await until(lambda: 1 in pair.new.held)


# --- the former host ----------------------------------------------------------------------------------------


async def test_the_former_host_forwards_for_a_while_and_the_new_one_believes_it(pair: Pair) -> None:
    pair.giving.moved(pair.moved(0.1))
    pair.taking.moved(pair.moved(0.1))
    assert pair.former.moves == {P.id: Move("former", "new")}
    assert pair.new.moves == {P.id: Move("former", None)}
    await until(lambda: pair.former.moves == pair.new.moves == {})


async def test_a_port_that_goes_on_is_forwarded_to_where_it_is_then_and_one_that_comes_back_is_not(
    pair: Pair,
) -> None:
    pair.giving.moved(pair.moved())
    pair.giving.moved(Moved(P.id, "new", "third", 60.0))
    assert pair.former.moves == {P.id: Move("new", "third")}
    pair.giving.moved(Moved(P.id, "third", "former", 60.0))
    assert pair.former.moves == {P.id: Move("third", None)}


async def test_records_of_a_port_that_has_left_are_forgotten_in_the_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.former.put(1, 2)
    monkeypatch.setattr("onehop.agent.handover.KEPT", 0.05)
    pair.former.follow(pair.giving, at("new"))
    assert pair.former.held.keys() == {1, 2}
    await until(lambda: not pair.former.held)
    assert pair.former.records.openers() == set()


async def test_records_of_a_port_that_came_back_stay(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.former.put(1)
    monkeypatch.setattr("onehop.agent.handover.KEPT", 0.05)
    pair.former.follow(pair.giving, at("new"))
    pair.former.follow(pair.giving, at("former"))
    await until(lambda: not pair.giving._timers and not pair.giving._tasks)
    assert pair.former.held.keys() == {1}


async def test_what_an_earlier_agent_left_is_forgotten_as_well(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.new.put(1)
    monkeypatch.setattr("onehop.agent.handover.KEPT", 0.05)
    pair.taking.start()
    await until(lambda: not pair.new.held)
