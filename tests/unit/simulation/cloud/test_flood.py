"""Frames for several machines: one copy per other host, each member once."""

from __future__ import annotations

from collections import Counter

from onehop.model.vocabulary import TunnelFlag
from onehop.simulation.cloud import Header
from tests.support.clouds import SHUT, Clouds

PORTS = {f"m{i}": {"addresses": [{"ip": f"10.0.1.{20 + i}"}], "security_groups": ["open"]} for i in range(6)}
HOSTS = {"one": ["a", "b", "m0"], "two": ["c", "m1", "m2", "m3"], "three": ["m4", "m5"], "four": []}
BROADCAST = "udp a:4000 > 10.0.1.255:9 to-mac broadcast"


def cloud_of() -> Clouds:
    return Clouds("one-network", {"networks": {"web": {"ports": PORTS}}}, HOSTS)


def test_one_copy_goes_to_each_other_host_with_members() -> None:
    cloud = cloud_of()
    sent = cloud.send(BROADCAST).sent
    assert {s.envelope.dst for s in sent} == {cloud.address("two"), cloud.address("three")}
    assert len(sent) == 2
    assert {s.flags for s in sent} == {TunnelFlag.FLOOD}


def test_a_copy_carries_the_networks_key() -> None:
    cloud = cloud_of()
    headers = {Header.unpack(s.envelope.data) for s in cloud.send(BROADCAST).sent}
    assert headers == {Header(cloud.network("web").key, cloud.port("a").key, TunnelFlag.FLOOD)}


def test_each_member_gets_it_once_and_who_sent_it_does_not() -> None:
    cloud = cloud_of()
    members = ["b", "c", *PORTS]
    assert Counter(cloud.reached(cloud.send(BROADCAST))) == Counter(members)


def test_each_host_judges_for_its_own_members() -> None:
    cloud = cloud_of()
    cloud.change({"networks": {"web": {"ports": {"m1": SHUT, "b": SHUT}}}})
    assert set(cloud.reached(cloud.send(BROADCAST))) == {"c", *PORTS} - {"m1"}


def test_a_flood_has_a_budget_per_port() -> None:
    cloud = cloud_of()
    lives = [cloud.send(BROADCAST) for _ in range(1000)]
    assert lives[0].delivered and not lives[-1].delivered
    assert cloud.send("udp b:4000 > 10.0.1.255:9 to-mac broadcast").delivered
