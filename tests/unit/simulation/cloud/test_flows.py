"""The flow cache is a short cut and no more: what it may be used for, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from onehop.model.vocabulary import Drop
from onehop.simulation.cloud import Judged, Life
from tests.support.clouds import SHUT, Clouds

HOSTS = {"one": ["a", "b"], "two": ["c", "d"]}
CLIENTS: dict[str, Any] = {
    "networks": {
        "web": {"ports": {"a": {"security_groups": ["open", "clients"]}}},
        "db": {"ports": {"c": {"security_groups": ["db"]}}},
    },
    "security_groups": {
        "clients": {},
        "db": {"rules": {"sql": {"direction": "ingress", "remote_group": "clients"}}},
    },
}


def is_from_cache(life: Life) -> bool:
    """A frame that is judged is judged first of all; one from the cache goes over the underlay at once."""
    return not isinstance(life.events[0], Judged)


def warmed(text: str = "udp a:4000 > c:53", **options: Any) -> Clouds:
    """A cloud in which a packet has been sent often enough to be in the cache."""
    cloud = Clouds("two-networks", hosts=HOSTS, **options)
    assert not is_from_cache(cloud.send(text))
    assert is_from_cache(cloud.send(text))
    return cloud


def test_what_the_cache_does_is_what_was_judged() -> None:
    cloud, plain = warmed(), Clouds("two-networks", hosts=HOSTS, use_flows=False)
    for seq in (1, 2):
        text = f"udp a:4000 > c:53 id {seq} ttl {40 + seq}"
        life = cloud.send(text)
        assert is_from_cache(life)
        assert life.delivered == plain.send(text).delivered


@pytest.mark.parametrize(
    "text",
    [
        "udp a:4000 > c:53 ttl 1",
        "udp a:4000 > c:53 size 20",
        "udp a:4000 > c:53 dscp 46",
        "udp a:4000 > c:54",
        "udp a:4001 > c:53",
        "udp a:4000 > c:53 fragment 0+ size 800",
        "udp a:4000 > c:53 to-mac 02:00:00:00:00:99",
        "icmp a > c unreachable port about udp c:53 > a:4000",
    ],
)
def test_what_looks_otherwise_is_judged(text: str) -> None:
    assert not is_from_cache(warmed().send(text))


@pytest.mark.parametrize("flags", ["SYN", "SYN ACK", "FIN ACK", "RST"])
def test_what_marks_a_connections_life_is_always_judged(flags: str) -> None:
    cloud = warmed("tcp a:4000 > c:80 ACK")
    for _ in range(2):
        assert not is_from_cache(cloud.send(f"tcp a:4000 > c:80 {flags}"))


def test_a_change_in_the_zone_is_judged_by_the_next_packet() -> None:
    cloud = warmed()
    cloud.change({"networks": {"db": {"ports": {"c": SHUT}}}})
    (dropped,) = cloud.send("udp a:4000 > c:53").dropped
    assert dropped.refused is Drop.SECURITY_GROUP


def test_a_change_in_another_zone_leaves_flows_alone() -> None:
    cloud = warmed(topology={"networks": {"lone": {}}})
    cloud.change({"networks": {"lone": {"mtu": 1300}}})
    assert is_from_cache(cloud.send("udp a:4000 > c:53"))


def test_leaving_a_group_counts_where_rules_name_it() -> None:
    cloud = warmed(topology=CLIENTS)
    cloud.change({"networks": {"web": {"ports": {"a": {"security_groups": ["open"]}}}}})
    (dropped,) = cloud.send("udp a:4000 > c:53").dropped
    assert dropped.refused is Drop.SECURITY_GROUP


def test_a_changed_acl_counts_where_another_jumps_to_it() -> None:
    guard = {"rules": [{"id": "look", "action": "jump", "jump": "inner"}]}
    cloud = warmed(
        topology={"acls": {"guard": guard, "inner": {}}, "routers": {"edge": {"acls_in": ["guard"]}}}
    )
    cloud.change({"acls": {"inner": {"rules": [{"id": "no", "action": "drop"}]}}})
    (dropped,) = cloud.send("udp a:4000 > c:53").dropped
    assert dropped.refused is Drop.ACL_DROP


def test_packets_from_the_cache_keep_their_record_alive() -> None:
    cloud = warmed()
    for _ in range(5):
        cloud.cloud.wait(200)
        assert is_from_cache(cloud.send("udp a:4000 > c:53"))
    assert len(cloud.host("a").state.records) == 1


def test_a_flow_does_not_outlive_its_record() -> None:
    cloud = warmed()
    cloud.cloud.wait(1000)
    assert not is_from_cache(cloud.send("udp a:4000 > c:53"))
    assert len(cloud.host("a").state.records) == 1


def test_a_flow_does_not_outlive_its_hint() -> None:
    cloud = Clouds("two-networks", {"networks": {"web": {"ports": {"a": SHUT}}}}, HOSTS)
    cloud.send("udp a:4000 > c:53")
    cloud.send("udp c:53 > a:4000")
    assert is_from_cache(cloud.send("udp c:53 > a:4000"))
    cloud.cloud.forget(hints=True)
    life = cloud.send("udp c:53 > a:4000")
    assert life.asked == 1 and cloud.reached(life) == ["a"]


def test_a_mac_that_moves_is_followed_by_flows() -> None:
    off = {"port_security": False, **SHUT}
    web = {"learning": True, "unknown_unicast": "flood", "ports": {"b": off, "c": off}}
    cloud = Clouds("one-network", {"networks": {"web": web}}, {"one": ["a", "b", "c"]})
    text = "udp a:4000 > 10.0.1.50:53 to-mac 02:00:00:00:00:50"
    for port in ("b", "c", "b"):
        cloud.send("udp 10.0.1.50:53 > a:9 from-mac 02:00:00:00:00:50", at=port)
        assert cloud.reached(cloud.send(text)) == [port]
        assert cloud.reached(cloud.send(text)) == [port]
