"""Maps of every kind in use, as Python and the programs see them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from onehop.datapath.layouts import U32, U64, Codec, codec, ip6, per_cpu, scalar
from onehop.datapath.libbpf import BpfError, MapFull, possible_cpus
from onehop.datapath.maps import Kind, Map, Write, create_map
from onehop.datapath.object import Object, load_object
from onehop.datapath.testrun import SkBuff, run_program
from tests.bpf.sample import SampleKey, SamplePrefix, SampleValue

Compiled = Callable[[str], Path]
PACKET = bytes(64)
NUMBER: Codec[int] = scalar(U32)
INNER_MAP = 1 << 12  # BPF_F_INNER_MAP


@pytest.fixture
def exact(sampler: Object) -> Map[SampleKey, SampleValue]:
    return sampler.map("exact", codec(SampleKey), codec(SampleValue))


@pytest.fixture
def large() -> Map[int, int]:
    return create_map(Kind.HASH, "large", NUMBER, NUMBER, 20_000)


def value(packets: int) -> SampleValue:
    return SampleValue(packets, 0)


# --- one entry ---


def test_the_program_reads_what_python_wrote(sampler: Object, exact: Map[SampleKey, SampleValue]) -> None:
    exact.update(SampleKey(7, 443), value(31))
    assert run_program(sampler.programs["looked_up"], PACKET, SkBuff(mark=7)).verdict == 31


def test_an_entry_can_be_read_and_removed(exact: Map[SampleKey, SampleValue]) -> None:
    exact.update(SampleKey(1, 2), value(3))
    assert exact.lookup(SampleKey(1, 2)) == value(3)
    assert exact.delete(SampleKey(1, 2))
    assert exact.lookup(SampleKey(1, 2)) is None
    assert not exact.delete(SampleKey(1, 2))


def test_an_update_can_insist_on_a_new_or_an_existing_entry(exact: Map[SampleKey, SampleValue]) -> None:
    key = SampleKey(1, 2)
    assert not exact.update(key, value(1), Write.EXISTING)
    assert exact.update(key, value(1), Write.NEW)
    assert not exact.update(key, value(2), Write.NEW)
    assert exact.update(key, value(3), Write.EXISTING)
    assert exact.lookup(key) == value(3)


def test_a_full_map_says_so(exact: Map[SampleKey, SampleValue]) -> None:
    exact.update_many((SampleKey(i, 0), value(i)) for i in range(16))
    with pytest.raises(MapFull, match="map exact is full: it has room for 16 entries"):
        exact.update(SampleKey(99, 0), value(0))


def test_a_closed_map_is_an_error(exact: Map[SampleKey, SampleValue]) -> None:
    exact.close()
    with pytest.raises(BpfError, match="Bad file descriptor"):
        exact.lookup(SampleKey(1, 2))


# --- many entries ---


def test_batches_longer_than_one_call_are_written_read_and_removed(large: Map[int, int]) -> None:
    assert large.update_many((i, i * 2) for i in range(10_000)) == 10_000
    assert dict(large.items()) == {i: i * 2 for i in range(10_000)}
    assert set(large.keys()) == set(range(10_000))
    assert large.delete_many(range(5_000)) == 5_000
    assert dict(large.items()) == {i: i * 2 for i in range(5_000, 10_000)}
    assert large.clear() == 5_000
    assert list(large.items()) == []


def test_removing_many_passes_over_absent_keys(large: Map[int, int]) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chosen = random.Random(seed)
    present = set(chosen.sample(range(6_000), 3_000))
    large.update_many((i, 0) for i in present)
    asked = chosen.sample(range(6_000), 5_000)
    assert large.delete_many(asked) == len(present & set(asked))
    assert set(large.keys()) == present - set(asked)


def test_a_batch_that_does_not_fit_tells_how_far_it_came(exact: Map[SampleKey, SampleValue]) -> None:
    with pytest.raises(MapFull) as full:
        exact.update_many((SampleKey(i, 0), value(i)) for i in range(40))
    assert full.value.done == 16
    assert {key.port for key, _ in exact.items()} == set(range(16))


def test_nothing_is_written_by_an_empty_batch(large: Map[int, int]) -> None:
    assert large.update_many([]) == 0
    assert large.delete_many([]) == 0


# --- kinds ---


def test_an_lru_map_makes_room(sampler: Object) -> None:
    recent = sampler.map("recent", codec(SampleKey), codec(SampleValue))
    recent.update_many((SampleKey(i, 0), value(i)) for i in range(5_000))
    assert 0 < len(list(recent.keys())) <= 1024


@pytest.mark.parametrize(
    ("address", "answer"),
    [("10.1.2.3", 24), ("10.1.9.9", 16), ("10.2.0.1", -1), ("fd00::1", 64), ("fd00:0:0:1::", 32)],
)
def test_the_longest_prefix_wins(sampler: Object, address: str, answer: int) -> None:
    prefixes = sampler.map("prefixes", codec(SamplePrefix), NUMBER)
    prefixes.update_many(
        [
            (SamplePrefix(96 + 16, ip6("10.1.0.0")), 16),
            (SamplePrefix(96 + 24, ip6("10.1.2.0")), 24),
            (SamplePrefix(64, ip6("fd00::")), 64),
            (SamplePrefix(32, ip6("fd00::")), 32),
        ]
    )
    words = struct.unpack("=4I", ip6(address))
    skb = SkBuff(cb=(*words, 0))
    assert run_program(sampler.programs["routed"], PACKET, skb).verdict == answer


def test_prefixes_are_listed_and_removed(sampler: Object) -> None:
    prefixes = sampler.map("prefixes", codec(SamplePrefix), NUMBER)
    entries = {SamplePrefix(96 + 24, ip6(f"10.0.{i}.0")): i for i in range(50)}
    assert prefixes.update_many(entries.items()) == 50
    assert dict(prefixes.items()) == entries
    assert prefixes.delete_many(entries) == 50


def test_a_full_prefix_map_says_so(sampler: Object) -> None:
    prefixes = sampler.map("prefixes", codec(SamplePrefix), NUMBER)
    with pytest.raises(MapFull, match="prefixes is full"):
        prefixes.update_many((SamplePrefix(128, ip6(f"10.0.0.{i}")), i) for i in range(100))


def test_a_per_cpu_map_has_a_value_for_each_cpu(sampler: Object) -> None:
    counters = sampler.map("counters", NUMBER, per_cpu(scalar(U64), possible_cpus()))
    counters.update(0, (0,) * possible_cpus())
    run_program(sampler.programs["counted"], PACKET, repeat=10)
    read = counters.lookup(0)
    assert read is not None
    assert sum(read) == 10


def test_a_list_is_swapped_whole(sampler: Object) -> None:
    lists = sampler.map("lists", NUMBER, NUMBER)

    def element(index: int) -> int:
        return run_program(sampler.programs["listed"], PACKET, SkBuff(mark=3, priority=index)).verdict

    with create_map(Kind.ARRAY, "old", NUMBER, NUMBER, 2, flags=INNER_MAP) as old:
        old.update_many([(0, 10), (1, 11)])
        lists.update(3, old.fd)
    assert [element(i) for i in range(3)] == [10, 11, -1]
    with create_map(Kind.ARRAY, "new", NUMBER, NUMBER, 3, flags=INNER_MAP) as new:
        new.update_many([(0, 20), (1, 21), (2, 22)])
        lists.update(3, new.fd)
    assert [element(i) for i in range(3)] == [20, 21, 22]
    assert lists.delete(3)
    assert element(0) == -1


def test_several_lists_are_swapped_in_one_call(sampler: Object) -> None:
    lists = sampler.map("lists", NUMBER, NUMBER)
    made = [create_map(Kind.ARRAY, f"list{i}", NUMBER, NUMBER, 1, flags=INNER_MAP) for i in range(8)]
    for i, one in enumerate(made):
        one.update(0, i * 100)
    assert lists.update_many((i, one.fd) for i, one in enumerate(made)) == 8
    for i in range(8):
        assert run_program(sampler.programs["listed"], PACKET, SkBuff(mark=i)).verdict == i * 100


def test_an_index_beyond_an_array_is_refused_and_is_not_called_full() -> None:
    with create_map(Kind.ARRAY, "small", NUMBER, NUMBER, 2) as small:
        with pytest.raises(BpfError) as refused:
            small.update(2, 0)
        assert not isinstance(refused.value, MapFull)


def test_a_map_larger_than_the_object_says_holds_as_much(compiled: Compiled) -> None:
    with load_object(compiled("sampler"), max_entries={"exact": 500}) as loaded:
        exact = loaded.map("exact", codec(SampleKey), codec(SampleValue))
        assert exact.update_many((SampleKey(i, 0), value(i)) for i in range(500)) == 500
