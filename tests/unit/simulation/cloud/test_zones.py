"""Which zones a change gives a new epoch."""

from __future__ import annotations

from typing import Any

import pytest

from onehop.model import Network, Router
from onehop.model.document import parse
from onehop.model.offline import build
from onehop.model.view import Topology
from onehop.simulation.cloud.zones import Clock, Zones, changes
from tests.support.scenario import merge
from tests.support.stable import stable

DOCUMENT: dict[str, Any] = {
    "project": "demo",
    "hosts": {"one": {}},
    "networks": {
        "web": {"subnets": {"v4": {"cidr": "10.0.1.0/24"}}, "ports": {"a": {"security_groups": ["clients"]}}},
        "db": {"subnets": {"v4": {"cidr": "10.0.2.0/24"}}, "ports": {"c": {"security_groups": ["servers"]}}},
        "far": {"subnets": {"v4": {"cidr": "10.0.3.0/24"}}, "ports": {"f": {"security_groups": ["servers"]}}},
        "lone": {"subnets": {"v4": {"cidr": "10.0.4.0/24"}}, "ports": {"l": {"acls_in": ["guard"]}}},
        "world": {"grants": [{"allow": "external"}], "subnets": {"v4": {"cidr": "10.9.0.0/24"}}},
    },
    "routers": {
        "edge": {"attach": ["web", "db", "world"], "routes": {"out": {"destination": "10.8.0.0/16"}}},
        "away": {"attach": ["far", "world"]},
    },
    "security_groups": {
        "clients": {},
        "servers": {"rules": {"sql": {"direction": "ingress", "remote_group": "clients"}}},
        "users": {"rules": {"listed": {"direction": "ingress", "remote_address_group": "list"}}},
    },
    "address_groups": {"list": {"entries": {"one": {"cidr": "10.0.0.0/8"}}}},
    "acls": {
        "guard": {"rules": [{"id": "more", "action": "jump", "jump": "inner"}]},
        "inner": {"rules": [{"id": "no", "action": "drop", "match": {"src_group": "list"}}]},
    },
}


def view_of(document: dict[str, Any]) -> Topology:
    return build(parse(document))


def zone(view: Topology, name: str) -> str:
    for type in (Network, Router):
        for obj in view.all(type):
            if obj.name == name:
                return Zones(view).of(obj.id)
    raise LookupError(name)


def test_linked_devices_are_one_zone() -> None:
    view = view_of(DOCUMENT)
    assert zone(view, "web") == zone(view, "db") == zone(view, "edge")


def test_a_boundary_is_a_zone_of_its_own() -> None:
    view = view_of(DOCUMENT)
    assert zone(view, "world") not in (zone(view, "edge"), zone(view, "away"))
    assert zone(view, "edge") != zone(view, "away")


def test_a_router_with_an_uplink_is_a_boundary() -> None:
    uplink = {"bindings": {"one": {"host": "one", "interface": "eth1"}}}
    view = view_of(merge(DOCUMENT, {"routers": {"edge": {"ports": {"up": uplink}}}}))
    assert zone(view, "edge") not in (zone(view, "web"), zone(view, "db"))


@pytest.mark.parametrize(
    ("patch", "bumped"),
    [
        ({"networks": {"lone": {"mtu": 1400}}}, {"lone"}),
        ({"networks": {"web": {"ports": {"a": {"admin_up": False}}}}}, {"web", "far"}),
        ({"networks": {"web": {"subnets": {"v4": {"dhcp": False}}}}}, {"web"}),
        ({"routers": {"edge": {"routes": {"out": None}}}}, {"edge"}),
        ({"routers": {"edge": {"attach": ["web", "world"]}}}, {"edge", "db", "web"}),
        ({"security_groups": {"servers": {"rules": {"sql": None}}}}, {"db", "far"}),
        ({"security_groups": {"clients": {"egress": "rules"}}}, {"web"}),
        ({"address_groups": {"list": {"entries": {"one": None}}}}, {"lone"}),
        ({"acls": {"inner": {"rules": []}}}, {"lone"}),
        ({"networks": {"far": {"ports": {"f": {"bindings": {"one": {"host": "one"}}}}}}}, {"far"}),
    ],
    ids=lambda value: None if isinstance(value, set) else "/".join(_path(value)),
)
def test_a_change_bumps_the_zones_it_matters_to(patch: dict[str, Any], bumped: set[str]) -> None:
    document = merge(DOCUMENT, patch)
    before = view_of(DOCUMENT)
    after = stable(view_of(document), document, before)
    ids = {o.id for o in (*before, *after) if before.find(o.id) != after.find(o.id)}
    expected = {zone(view, name) for view in (before, after) for name in bumped}
    assert changes(before, after, ids) == expected


def _path(patch: Any) -> list[str]:
    if not isinstance(patch, dict):
        return []
    key, value = next(iter(patch.items()))
    return [str(key), *_path(value)]


def test_an_epoch_that_was_read_before_a_change_is_old_after_it() -> None:
    clock = Clock()
    epochs = {"web": clock.snapshot().get("web", 0)}
    assert clock.is_current(epochs)
    clock.bump(["web"])
    assert not clock.is_current(epochs)


def test_a_change_elsewhere_leaves_an_epoch_current() -> None:
    clock = Clock()
    clock.bump(["web"])
    epochs = {"web": clock.snapshot()["web"]}
    clock.bump(["db"])
    assert clock.is_current(epochs)
