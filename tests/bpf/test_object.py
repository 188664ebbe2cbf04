"""Loading an object: configuration, sizes, selection, maps to go on with, and what is said on failure."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from onehop.datapath.layouts import codec, raw
from onehop.datapath.libbpf import BpfError
from onehop.datapath.object import LoadError, Object, load_object
from onehop.datapath.testrun import SkBuff, run_program
from tests.bpf.sample import SampleKey, SampleValue

Compiled = Callable[[str], Path]
PACKET = bytes(64)


def test_configuration_reaches_the_program(compiled: Compiled) -> None:
    config = {"verdict": 2, "tag": b"\x0a\0\0\0\0\x0b", "offset": -58}
    with load_object(compiled("sampler"), config=config) as loaded:
        outcome = run_program(loaded.programs["configured"], PACKET)
    assert (outcome.verdict, outcome.skb.mark, outcome.skb.priority) == (2, 0x0A0B, 42)


def test_configuration_that_is_not_given_keeps_its_default(sampler: Object) -> None:
    outcome = run_program(sampler.programs["configured"], PACKET)
    assert (outcome.verdict, outcome.skb.mark, outcome.skb.priority) == (0, 0, 100)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"vredict": 1}, "no constant vredict; it has offset, tag, verdict"),
        ({"verdict": 1 << 32}, "verdict of 4 bytes cannot hold 4294967296"),
        ({"tag": b"short"}, "tag is 6 bytes, 5 were given"),
        ({"tag": 5}, "tag is no number; give its 6 bytes"),
    ],
)
def test_configuration_that_does_not_fit_is_refused(
    compiled: Compiled, config: dict[str, int | bytes], text: str
) -> None:
    with pytest.raises(LoadError, match=text):
        load_object(compiled("sampler"), config=config)


def test_a_map_has_the_size_that_was_asked_for(compiled: Compiled) -> None:
    with load_object(compiled("sampler"), max_entries={"exact": 3}) as loaded:
        assert loaded.maps["exact"].info.max_entries == 3


def test_sizing_a_map_that_does_not_exist_is_refused(compiled: Compiled) -> None:
    with pytest.raises(LoadError, match="no map exakt"):
        load_object(compiled("sampler"), max_entries={"exakt": 3})


def test_only_the_chosen_programs_are_loaded(compiled: Compiled) -> None:
    with load_object(compiled("sampler"), programs={"counted"}) as loaded:
        assert set(loaded.programs) == {"counted"}


def test_a_reused_map_keeps_its_entries_and_serves_the_new_program(
    compiled: Compiled, sampler: Object
) -> None:
    exact = sampler.map("exact", codec(SampleKey), codec(SampleValue))
    exact.update(SampleKey(5, 443), SampleValue(77, 0))
    with load_object(compiled("sampler"), reuse={"exact": exact}) as again:
        assert again.maps["exact"].info.id == exact.info.id
        assert run_program(again.programs["looked_up"], PACKET, SkBuff(mark=5)).verdict == 77


def test_a_map_of_another_shape_is_not_reused(compiled: Compiled, sampler: Object) -> None:
    with pytest.raises(LoadError, match="existing map exact does not fit"):
        load_object(compiled("sampler"), reuse={"exact": sampler.maps["prefixes"]})


def test_codecs_of_another_size_are_refused(sampler: Object) -> None:
    with pytest.raises(BpfError, match="map exact: its value is 16 bytes, the codec's 4"):
        sampler.map("exact", codec(SampleKey), raw(4))


def test_the_verifier_says_why_it_refuses(compiled: Compiled) -> None:
    with pytest.raises(LoadError) as refused:
        load_object(compiled("unsafe"))
    assert refused.value.errno == errno.EACCES
    assert "invalid access to packet" in refused.value.log
    assert "invalid access to packet" in str(refused.value)


def test_a_file_that_is_missing_or_no_object_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="No such file"):
        load_object(tmp_path / "absent.o")
    (tmp_path / "rubbish.o").write_bytes(b"rubbish" * 20)
    with pytest.raises(LoadError, match=r"rubbish\.o"):
        load_object(tmp_path / "rubbish.o")
