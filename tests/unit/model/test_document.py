from __future__ import annotations

from typing import Any

import pytest

from onehop.model import Invalid, Link, Network, Port, Router, SecurityGroup, Subnet
from onehop.model.document import parse
from onehop.model.offline import build

SHOP: dict[str, Any] = {
    "stack": "shop",
    "project": "demo",
    "routers": {"edge": {"attach": ["web", "db"]}},
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {"web-1": {"security_groups": ["web"]}, "web-2": {"addresses": [{"ip": "10.0.1.2"}]}},
        },
        "db": {"subnets": {"v4": {"cidr": "10.0.2.0/24"}}},
    },
    "security_groups": {
        "web": {"rules": {"http": {"direction": "ingress", "protocol": "TCP", "ports": "80"}}}
    },
}


def test_a_document_becomes_objects_with_everything_filled_in() -> None:
    view = build(parse(SHOP))
    web = view.all(Network)[0] if view.all(Network)[0].name == "web" else view.all(Network)[1]
    port = view.by_name(Port, web.id, "web-1")
    v4 = view.by_name(Subnet, web.id, "v4")
    group = view.all(SecurityGroup)[0]
    assert port is not None and v4 is not None
    assert port.security_groups == (group.id,)
    assert v4.gateway == "10.0.1.1"
    assert [a.ip for a in port.addresses] == ["10.0.1.3", "fd00:1::ff:fe00:1"]
    assert port.mac == "02:00:00:00:00:01" and port.key > 0
    assert view.rules(group.id)[0].protocol == "tcp"


def test_attach_stands_for_two_ports_and_a_link() -> None:
    view = build(parse(SHOP))
    edge = view.all(Router)[0]
    inside = view.by_name(Port, edge.id, "web")
    assert inside is not None
    assert [a.ip for a in inside.addresses] == ["10.0.1.1", "fd00:1::1"]
    outside = view.peer(inside.id)
    assert outside is not None and (outside.name, outside.kind, outside.addresses) == ("edge", "router", ())
    assert sorted(link.name for link in view.all(Link)) == ["edge-db", "edge-web"]


def test_the_order_of_a_document_does_not_matter_to_ids() -> None:
    backwards = dict(reversed(SHOP.items()))
    assert {o.id for o in build(parse(SHOP))} == {o.id for o in build(parse(backwards))}


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ([], "", "maps sections"),
        ({"bridges": {}}, "bridges", "no such section"),
        ({"networks": ["web"]}, "networks", "maps the name"),
        ({"networks": {"Web": {}}}, "networks.Web", "a name is"),
        ({"networks": {"web": {"id": "x"}}}, "networks.web.id", "is told by where"),
        ({"stack": "No", "networks": {}}, "stack", "a name is"),
        ({"routers": {"edge": {"attach": "web"}}}, "routers.edge.attach", "is a list"),
    ],
)
def test_what_is_wrong_with_the_shape_is_told_with_its_place(document: Any, field: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(document)
    assert refused.value.problems[0].field == field
    assert message in refused.value.problems[0].message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"routers": {"edge": {"attach": ["nowhere"]}}}, "routers.edge.attach[0]"),
        ({"networks": {"web": {"mtu": "big"}}}, "networks.web.mtu"),
        ({"networks": {"web": {"colour": 1}}}, "networks.web"),
        (
            {"networks": {"web": {"ports": {"p": {"security_groups": ["x"]}}}}},
            "networks.web.ports.p.security_groups[0]",
        ),
        (
            {"networks": {"web": {"subnets": {"v4": {"cidr": "10.0.0.300/24"}}}}},
            "networks.web.subnets.v4.cidr",
        ),
    ],
)
def test_what_is_wrong_with_a_field_is_told_with_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        build(parse({"project": "demo", **change}))
    assert refused.value.problems[0].field == field
