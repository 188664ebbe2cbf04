"""Zones, and which of them a change concerns."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.compiler.zones import Zones
from onehop.model import Grant, Link, Network, Port, Router
from tests.unit.compiler.small import Small

DEVICES = "abcdefg"
pairs = st.tuples(st.sampled_from(DEVICES), st.sampled_from(DEVICES)).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(st.sets(st.one_of(pairs, st.sampled_from(DEVICES))), max_size=8))
def test_zones_do_not_depend_on_what_was_there_before(toggles: list[set[tuple[str, str] | str]]) -> None:
    """Each step switches links and boundaries on or off."""
    now: set[tuple[str, str] | str] = set()
    kept = Zones(lambda d: beside(now, d), lambda d: d in now)
    for toggle in toggles:
        now.symmetric_difference_update(toggle)
        before = {device: kept.of(device) for device in DEVICES}
        changed = kept.update(device for what in toggle for device in what)
        anew = Zones(lambda d: beside(now, d), lambda d: d in now)
        anew.update(DEVICES)
        after = {device: kept.of(device) for device in DEVICES}
        assert after == {device: anew.of(device) for device in DEVICES}
        assert changed == {device for device in DEVICES if before[device] != after[device]}


def beside(links: set[tuple[str, str] | str], device: str) -> set[str]:
    return {a if b == device else b for a, b in (x for x in links if len(x) == 2) if device in (a, b)}


TENANTS = """
networks:
  web: {subnets: {v4: {cidr: 10.0.1.0/24}}, ports: {a: {}}}
  db: {subnets: {v4: {cidr: 10.0.2.0/24}}, ports: {b: {}}}
  lone: {ports: {c: {}}}
routers: {edge: {attach: [web, db]}}
"""


def zones(small: Small) -> dict[str, int]:
    found = {name: small.table("networks")[small.key(name)].zone for name in ("web", "db", "lone")}
    return found | {"edge": small.table("routers")[small.router("edge")].zone}


def test_linked_devices_are_one_zone() -> None:
    found = zones(Small(TENANTS))
    assert found["web"] == found["db"] == found["edge"] != found["lone"]


def test_an_external_network_is_a_zone_of_its_own() -> None:
    small = Small(TENANTS)
    before = zones(small)
    difference = small.update(
        msgspec.structs.replace(small.get(Network, "db"), grants=(Grant(allow="external"),))
    )
    after = zones(small)
    assert after["web"] == after["edge"] != after["db"]
    assert {before["db"], after["db"]} <= difference.zones


@pytest.mark.parametrize(
    ("port", "concerned", "spared"), [("web/a", "web", "lone"), ("lone/c", "lone", "web")]
)
def test_a_change_concerns_the_zone_that_it_is_in(port: str, concerned: str, spared: str) -> None:
    small = Small(TENANTS)
    difference = small.update(msgspec.structs.replace(small.get(Port, port), admin_up=False))
    assert zones(small)[concerned] in difference.zones
    assert zones(small)[spared] not in difference.zones


def test_a_zone_that_falls_apart_is_judged_anew_whole() -> None:
    small = Small(TENANTS)
    before = zones(small)
    links = sorted(small.view.all(Link), key=lambda link: link.name)
    difference = small.remove(links[0].id)
    after = zones(small)
    assert len({after["web"], after["db"]}) == 2
    assert {before["edge"], after["web"], after["db"]} <= difference.zones


def test_a_router_that_is_switched_off_concerns_its_zone() -> None:
    small = Small(TENANTS)
    difference = small.update(msgspec.structs.replace(small.get(Router, "edge"), admin_up=False))
    assert difference.zones == {zones(small)["edge"]}


def test_a_title_concerns_nobody() -> None:
    small = Small(TENANTS)
    difference = small.update(msgspec.structs.replace(small.get(Port, "web/a"), title="the first"))
    assert (difference.puts, difference.removes, difference.zones) == ({}, {}, frozenset())
