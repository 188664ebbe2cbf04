"""Scenarios as data: what the files may say, and the IPv6 case that is made of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.families import in_family
from tests.support.packet_text import BadText, read
from tests.support.scenario import ROOT, cases, merge, step


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        ("10.0.1.5", "fd00:10:0:1::5"),
        ("10.0.1.128/25", "fd00:10:0:1::80/121"),
        ("10.0.1.0/24", "fd00:10:0:1::/64"),
        ("10.64.0.0/16", "fd00:10:64::/48"),
        ("0.0.0.0/0", "::/0"),
        ("tcp 10.0.1.5:4000 > a:80", "tcp [fd00:10:0:1::5]:4000 > a:80"),
        ("tcp x:80 > 10.0.9.2:$p", "tcp x:80 > [fd00:10:0:9::2]:$p"),
        ("224.0.0.251", "ff02::fb"),
        ("127.0.0.1", "::1"),
        ("02:00:0a:00:01:05", "02:00:0a:00:01:05"),
    ],
)
def test_each_ipv4_text_has_its_ipv6_counterpart(v4: str, v6: str) -> None:
    assert in_family(v4, "v6") == v6


def test_rules_change_their_words_with_the_family() -> None:
    rule = {"protocol": "icmp", "icmp_type": 8, "family": "ipv4"}
    assert in_family(rule, "v6") == {"protocol": "icmpv6", "icmp_type": 128, "family": "ipv6"}


def test_a_prefix_without_counterpart_is_refused() -> None:
    with pytest.raises(ValueError, match="/12 has no IPv6 counterpart"):
        in_family("10.0.0.0/12", "v6")


@pytest.mark.parametrize(
    ("patch", "result"),
    [({"a": None}, {"b": {"c": 1}}), ({"b": {"c": None, "d": 2}}, {"a": 1, "b": {"d": 2}}), ([1], [1])],
)
def test_a_change_is_a_merge_patch(patch: Any, result: Any) -> None:
    assert merge({"a": 1, "b": {"c": 1}}, patch) == result


@pytest.mark.parametrize("raw", [{}, {"sing": "a"}, {"send": "x", "ping": "y"}, {"ping": "a > b", "at": "a"}])
def test_a_step_that_is_not_understood_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        step(raw)


@pytest.mark.parametrize(
    "text", ["", "tcp", "tcp a > b", "tcp a:1 b:2", "song a > b", "udp a:1 > b:2 loudly"]
)
def test_a_packet_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadText):
        read(text)


def test_a_misspelt_field_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "wrong.yaml").write_text("about: x\nstpes: []\n")
    with pytest.raises(ValueError, match=r"wrong\.yaml.*stpes"):
        list(cases(tmp_path))


def test_every_file_has_cases_and_none_has_two_of_a_name() -> None:
    found = list(cases())
    files = {p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("*/*.yaml")}
    assert {case.name for case in found} == {f for f in files if not f.startswith("bases/")}
    assert len({case.id for case in found}) == len(found)
