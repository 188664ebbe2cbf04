"""The agent's writing of tables, in real maps: what is read back is what was wanted, whatever stood there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onehop.agent.apply import Applier
from onehop.compiler.desired import Desired
from onehop.compiler.difference import Difference
from onehop.datapath import pins
from onehop.datapath.extents import REST
from onehop.datapath.pinned import PinnedDatapath
from onehop.datapath.structs import FdbKey, Hop, Host, Router, Rule
from onehop.datapath.words import MatchField, RouterFlag, RuleAction

SIZES = {"fdb": 64, "rules": 64}


@pytest.fixture(scope="module")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tables") / "bpf"
    pins.mount_bpffs(folder)
    yield folder
    pins.unmount_bpffs(folder)


@pytest.fixture
def datapath(bpffs: Path) -> Iterator[PinnedDatapath]:
    """Small tables, left empty at the end."""
    opened = PinnedDatapath.open(bpffs, {}, SIZES)
    yield opened
    Applier(opened.maps).reconcile(Desired())
    opened.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += REST
        return self.now


def mac(number: int) -> FdbKey:
    return FdbKey(network=1, mac=number.to_bytes(6, "big"))


def rules(*ids: int) -> tuple[Rule, ...]:
    return tuple(Rule(MatchField(0), MatchField(0), RuleAction.ALLOW, id=id) for id in ids)


WANTED = Desired(
    {
        "fdb": {mac(n): n for n in range(1, 20)},
        "routers": {3: Router(zone=2, flags=RouterFlag.UP)},
        "hosts": {2: Host(address=b"\1" * 16, local=b"\2" * 16, ifindex=7)},
    },
    {"rule_lists": {1: rules(1, 2, 3), 2: (), 5: rules(9)}, "hop_groups": {1: (Hop(bytes(16), 4, 1),)}},
)


def held(applier: Applier, wanted: Desired) -> bool:
    """Whether the tables hold this and nothing else; empty lists leave no trace."""
    actual = applier.actual()
    tables = {name: dict(entries) for name, entries in actual.tables.items() if entries}
    lists = {name: dict(entries) for name, entries in actual.lists.items() if entries}
    expected = {
        name: {id: list for id, list in entries.items() if list} for name, entries in wanted.lists.items()
    }
    return (tables, lists) == (
        {name: dict(entries) for name, entries in wanted.tables.items() if entries},
        {name: entries for name, entries in expected.items() if entries},
    )


def test_tables_hold_what_was_wanted(datapath: PinnedDatapath) -> None:
    applier = Applier(datapath.maps)
    applier.reconcile(WANTED)
    assert held(applier, WANTED)
    assert held(Applier(datapath.maps), WANTED)


def test_what_is_as_it_should_be_is_not_written_again(datapath: PinnedDatapath) -> None:
    Applier(datapath.maps).reconcile(WANTED)
    assert not Applier(datapath.maps).reconcile(WANTED)


def test_a_change_raises_the_epochs_of_its_zones_and_of_no_others(datapath: PinnedDatapath) -> None:
    applier, epochs = Applier(datapath.maps), datapath.maps["epochs"]
    before = [epochs.lookup(zone) for zone in range(4)]
    applier.apply(Difference(puts={"fdb": {mac(1): 5}}, zones=frozenset({2})))
    after = [epochs.lookup(zone) for zone in range(4)]
    assert [zone for zone in range(4) if before[zone] != after[zone]] == [2]


def test_what_finds_no_room_waits_for_it_and_stops_nothing_else(datapath: PinnedDatapath) -> None:
    applier = Applier(datapath.maps)
    many = {mac(n): n for n in range(1, SIZES["fdb"] + 11)}
    applier.apply(Difference(puts={"fdb": many, "routers": {3: Router(zone=2)}}))
    assert applier.full == {"fdb": 10}
    assert applier.actual().tables["routers"] == {3: Router(zone=2)}
    gone = tuple(key for key in applier.actual().tables["fdb"])[:10]
    applier.apply(Difference(removes={"fdb": gone}))
    assert applier.full == {}
    assert applier.actual().tables["fdb"] == {key: n for key, n in many.items() if key not in gone}


def test_lists_are_replaced_for_ever_in_an_array_that_holds_few(datapath: PinnedDatapath) -> None:
    applier = Applier(datapath.maps, Clock())
    for turn in range(100):
        wanted = {1: rules(*range(20)), 2: rules(turn, turn + 1)}
        applier.apply(Difference(puts={"rule_lists": wanted}))
        assert applier.full == {}
        assert applier.actual().lists["rule_lists"] == wanted


def test_a_list_without_room_leaves_the_old_one_standing(datapath: PinnedDatapath) -> None:
    applier = Applier(datapath.maps, Clock())
    applier.apply(Difference(puts={"rule_lists": {1: rules(*range(40))}}))
    applier.apply(Difference(puts={"rule_lists": {1: rules(*range(50))}}))
    assert applier.full == {"rule_lists": 1}
    assert applier.actual().lists["rule_lists"] == {1: rules(*range(40))}


# --- adoption ---------------------------------------------------------------------------------------------


def ids(opened: PinnedDatapath) -> dict[str, int]:
    return {name: one.info.id for name, one in opened.maps.items()}


def programs(opened: PinnedDatapath) -> dict[str, int]:
    return {name: one.id for name, one in opened.programs.items()}


def test_the_next_agent_goes_on_with_the_same_maps_and_programs(
    bpffs: Path, datapath: PinnedDatapath
) -> None:
    following = PinnedDatapath.open(bpffs, {}, SIZES)
    assert following.adopted
    assert (ids(following), programs(following)) == (ids(datapath), programs(datapath))
    following.close()


def test_another_configuration_is_other_programs_over_the_same_tables(
    bpffs: Path, datapath: PinnedDatapath
) -> None:
    following = PinnedDatapath.open(bpffs, {"udp_port": 4790}, SIZES)
    assert ids(following) == ids(datapath)
    assert not set(programs(following).values()) & set(programs(datapath).values())
    following.remove_others()
    assert sorted(path.name.partition("-")[0] for path in bpffs.iterdir() if path.is_dir()) == [
        "code",
        "tables",
    ]
    following.close()


def test_tables_of_another_size_begin_empty(bpffs: Path, datapath: PinnedDatapath) -> None:
    Applier(datapath.maps).reconcile(WANTED)
    following = PinnedDatapath.open(bpffs, {}, {**SIZES, "fdb": 65})
    try:
        assert not following.adopted
        assert held(Applier(following.maps), Desired())
    finally:
        following.close()
        datapath_again = PinnedDatapath.open(bpffs, {}, SIZES)
        datapath_again.remove_others()
        datapath_again.close()
