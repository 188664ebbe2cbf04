"""What the hosts do depends on the topology that they follow, not on how it came to be."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clouds import SHUT, Clouds
from tests.support.families import Family

HOSTS = {"one": ["a"], "two": ["b", "c"], "three": ["d"]}

# They touch different things, so that any order of them ends in the same topology.
CHANGES: list[dict[str, Any]] = [
    {"networks": {"web": {"ports": {"a": SHUT}}}},
    {"networks": {"db": {"ports": {"c": {"security_groups": ["sql"]}}}}},
    {"networks": {"db": {"ports": {"d": {"port_security": False, **SHUT}}}}},
    {"networks": {"web": {"ports": {"b": {"security_groups": ["open", "sql"]}}}}},
    {"security_groups": {"sql": {"rules": {"some": {"direction": "ingress", "remote_group": "sql"}}}}},
    {"routers": {"edge": {"acls_forward": ["guard"]}}},
    {"acls": {"guard": {"rules": [{"id": "no-dns", "action": "drop", "match": {"protocol": "udp"}}]}}},
    {"routers": {"edge": {"routes": {"hole": {"destination": "10.0.2.8/32", "action": "blackhole"}}}}},
    {"networks": {"db": {"mtu": 1300}}},
]
START: dict[str, Any] = {"security_groups": {"sql": {}}, "acls": {"guard": {}}}
PACKETS = [
    f"{kind} {src}:{{port}} > {dst}:80 {words}"
    for kind in ("tcp", "udp")
    for src in "abcd"
    for dst in "abcd"
    for words in ("", "size 1290")
    if src != dst
]


def behaviour(cloud: Clouds, port: int) -> list[tuple[list[tuple[str, bytes]], set[str]]]:
    """What becomes of new connections of each kind."""
    result = []
    for text in PACKETS:
        life = cloud.send(text.format(port=port))
        seen = [(cloud.reached(life)[i], d.frame) for i, d in enumerate(life.delivered)]
        result.append((sorted(seen), {(d.refused or d.reason).name for d in life.dropped}))
    return result


@given(st.permutations(CHANGES), st.sampled_from(["v4", "v6"]), st.data())
@settings(max_examples=15, deadline=None)
def test_changes_in_any_order_end_alike(
    order: list[dict[str, Any]], family: Family, data: st.DataObject
) -> None:
    """Hosts follow at their own pace, with packets in between."""
    cloud = Clouds("two-networks", START, HOSTS, family, budgets=False)
    for change in order:
        some = data.draw(st.sets(st.sampled_from(sorted(HOSTS)), min_size=1))
        cloud.change(change, hosts=sorted(some))
        for text in data.draw(st.lists(st.sampled_from(PACKETS), max_size=3)):
            cloud.send(text.format(port=5000))
    cloud.change({})
    straight = Clouds("two-networks", START, HOSTS, family, budgets=False)
    for change in CHANGES:
        straight.change(change)
    assert behaviour(cloud, 6000) == behaviour(straight, 6000)
