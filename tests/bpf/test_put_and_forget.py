"""Records that the agent puts and removes: the counts beside them stay right."""

from __future__ import annotations

import msgspec
import pytest

from onehop.agent.records import Records, connection_id, far_tuple, near_tuple, reply_tuple
from onehop.datapath.layouts import ip6
from onehop.datapath.traffic import Ends, Record, TupleKey
from onehop.datapath.words import Action, Life, RecordFlag
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Udp
from tests.bpf.test_connections import BACK, UDP, hide, hint, key, record
from tests.bpf.world import A, B, C, World, frame

BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def records(world: World) -> Records:
    return Records(world.tables, lambda: world.datapath.programs)


def kept(world: World, version: int = 4) -> tuple[TupleKey, Record]:
    """A connection that a opened to c."""
    world.send(A, frame(A, C, UDP, version))
    found = record(world, A, C, UDP, version)
    assert found is not None
    return key(A, C, UDP, version), found


def opened(world: World, port: int) -> int:
    return int(world.tables["openers"].lookup(port) or 0)


@BOTH
def test_a_record_that_is_forgotten_no_longer_counts(world: World, records: Records, version: int) -> None:
    at, _ = kept(world, version)
    assert opened(world, A) == 1
    assert records.forget(at)
    assert (record(world, A, C, UDP, version), opened(world, A)) == (None, 0)


def test_what_is_not_there_is_not_forgotten(world: World, records: Records) -> None:
    at, _ = kept(world)
    assert not records.forget(msgspec.structs.replace(at, src_port=1))
    assert opened(world, A) == 1


def test_replies_of_a_forgotten_connection_are_dropped(world: World, records: Records) -> None:
    hide(world, A)
    at, _ = kept(world)
    assert world.send(C, frame(C, A, BACK)).verdict.action is Action.DELIVERED
    assert records.forget(at)
    world.bump()
    assert world.send(C, frame(C, A, BACK)).drop is Drop.UNSOLICITED


@BOTH
def test_a_record_that_is_put_lets_replies_pass(world: World, records: Records, version: int) -> None:
    hide(world, A)
    at, one = kept(world, version)
    records.forget(at)
    moved = msgspec.structs.replace(one, zones=0)
    assert records.put(at, moved)
    assert opened(world, A) == 1
    assert world.send(C, frame(C, A, BACK, version)).verdict.action is Action.DELIVERED


def test_the_record_that_was_used_later_stays(world: World, records: Records) -> None:
    at, one = kept(world)
    older = msgspec.structs.replace(one, used=one.used - 1, life=Life.CLOSING)
    newer = msgspec.structs.replace(one, used=one.used + 1, life=Life.CLOSING)
    assert records.put(at, older)
    assert records.get(at) == one
    assert records.put(at, newer)
    assert records.get(at) == newer
    assert opened(world, A) == 1


def translated(world: World, at: TupleKey, one: Record, source: str) -> tuple[Record, TupleKey]:
    """The record of a connection that its owner knows by another source; and the tuple that it knows."""
    home = Ends(ip6(source), at.dst, 4001, at.dst_port)
    known = TupleKey(at.port, home.src, home.dst, home.src_port, home.dst_port, at.protocol)
    return msgspec.structs.replace(one, flags=RecordFlag.TRANSLATED, home=home), known


def test_a_translated_record_is_found_by_what_its_owner_sends_as_long_as_it_is_there(
    world: World, records: Records
) -> None:
    at, one = kept(world)
    records.forget(at)
    moved, known = translated(world, at, one, "10.0.1.77")
    assert records.put(at, moved)
    assert (world.tables["translated"].lookup(known), world.tables["uses"].lookup(0)) == (at, 1)
    assert near_tuple(at, moved) == known
    later, other = translated(world, at, msgspec.structs.replace(one, used=one.used + 1), "10.0.1.78")
    assert records.put(at, later)
    assert dict(world.tables["translated"].items()) == {other: at}
    assert records.forget(at)
    assert not dict(world.tables["translated"].items())


def test_what_its_owner_sends_is_of_the_connection_that_is_there(world: World, records: Records) -> None:
    at, one = kept(world)
    records.forget(at)
    first, known = translated(world, at, one, "10.0.1.77")
    another = msgspec.structs.replace(at, src_port=1)
    assert records.put(at, first) and records.put(another, first)
    assert records.get(another) is None
    assert dict(world.tables["translated"].items()) == {known: at}
    assert opened(world, A) == 1


def test_no_more_is_put_than_a_port_may_open(world: World, records: Records) -> None:
    world.change_port(A, quota=2)
    at, one = kept(world)
    wanted = [msgspec.structs.replace(at, src_port=port) for port in (1, 2, 3)]
    assert [records.put(another, one) for another in wanted] == [True, False, False]
    assert opened(world, A) == 2


def test_records_and_hints_are_found_by_either_port(world: World, records: Records) -> None:
    at, one = kept(world)
    world.send(B, frame(B, A, Udp(1, 2)))
    inward = key(B, A, Udp(1, 2))
    assert records.opened_by(A) == {at: one}
    assert set(records.of(A)) == {at, inward}
    assert set(records.hints_of(A)) == {reply_tuple(at, C), reply_tuple(inward, A)}
    assert hint(world, C, A) is not None


def test_both_ends_call_a_connection_the_same(world: World, records: Records) -> None:
    at, one = kept(world)
    (found,) = records.hints_of(C)
    opener = records.hints_of(C)[found].opener
    assert connection_id(A, far_tuple(at, one)) == connection_id(opener, reply_tuple(found, opener))
    assert near_tuple(at, one) == at
