"""Pins: a set appears whole or not at all, and holds what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.datapath import pins
from onehop.datapath.layouts import codec
from onehop.datapath.libbpf import BpfError
from onehop.datapath.maps import open_map
from onehop.datapath.object import Object, open_program
from onehop.datapath.testrun import run_program
from tests.bpf.sample import SampleKey, SampleValue


def ours(folder: Path) -> set[str]:
    """What is in there besides maps.debug and progs.debug, which some kernels put at the top."""
    return {path.name for path in folder.iterdir() if path.suffix != ".debug"}


def test_a_set_of_pins_appears_under_its_name(sampler: Object, bpffs: Path) -> None:
    with pins.staged(bpffs / "v1") as folder:
        assert not (bpffs / "v1").exists()
        pins.pin_all(folder, {**sampler.maps, **sampler.programs})
    assert ours(bpffs) == {"v1"}
    assert ours(bpffs / "v1") == {*sampler.maps, *sampler.programs}


def test_a_set_that_fails_half_way_leaves_nothing(sampler: Object, bpffs: Path) -> None:
    with pytest.raises(RuntimeError), pins.staged(bpffs / "v1") as folder:
        sampler.maps["exact"].pin(folder / "exact")
        raise RuntimeError
    assert ours(bpffs) == set()


def test_what_a_crash_left_is_swept(sampler: Object, bpffs: Path) -> None:
    (bpffs / "new-v1-1").mkdir()
    sampler.maps["exact"].pin(bpffs / "new-v1-1" / "exact")
    with pins.staged(bpffs / "v1"):
        pass
    assert ours(bpffs) == {"v1"}


def test_an_existing_set_is_not_overwritten(bpffs: Path) -> None:
    (bpffs / "v1").mkdir()
    with pytest.raises(FileExistsError, match="adopt or remove"), pins.staged(bpffs / "v1"):
        pass


def test_a_pinned_map_and_program_are_found_again(sampler: Object, bpffs: Path) -> None:
    exact = sampler.map("exact", codec(SampleKey), codec(SampleValue))
    exact.update(SampleKey(1, 2), SampleValue(3, 4))
    exact.pin(bpffs / "exact")
    sampler.programs["configured"].pin(bpffs / "configured")
    sampler.close()
    with open_map(bpffs / "exact").typed(codec(SampleKey), codec(SampleValue)) as again:
        assert dict(again.items()) == {SampleKey(1, 2): SampleValue(3, 4)}
    with open_program(bpffs / "configured") as program:
        assert run_program(program, bytes(64)).verdict == 0


def test_a_missing_pin_is_named(bpffs: Path) -> None:
    with pytest.raises(BpfError, match=r"open the pin .*/absent: No such file"):
        open_map(bpffs / "absent")


def test_pinning_outside_of_a_bpf_filesystem_is_refused(sampler: Object, tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="pin exact at"):
        sampler.maps["exact"].pin(tmp_path / "exact")


def test_mounting_twice_keeps_what_is_pinned(sampler: Object, bpffs: Path) -> None:
    sampler.maps["exact"].pin(bpffs / "exact")
    pins.mount_bpffs(bpffs)
    assert (bpffs / "exact").exists()


def test_unmounting_takes_the_folder_away(tmp_path: Path) -> None:
    pins.mount_bpffs(tmp_path / "bpf")
    assert pins.is_bpffs(tmp_path / "bpf")
    pins.unmount_bpffs(tmp_path / "bpf")
    assert not (tmp_path / "bpf").exists()
    pins.unmount_bpffs(tmp_path / "bpf")
