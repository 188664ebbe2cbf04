from __future__ import annotations

import pytest

from onehop.model import Network, Port, Router, SecurityGroup
from onehop.model.document import parse
from onehop.model.extract import TooLarge, devices_of, extract
from onehop.model.offline import build
from onehop.model.view import View

VIEW = build(
    parse(
        {
            "project": "demo",
            "networks": {
                "web": {
                    "subnets": {"v4": {"cidr": "10.0.1.0/24"}},
                    "ports": {"a": {"security_groups": ["web"]}},
                },
                "db": {"subnets": {"v4": {"cidr": "10.0.2.0/24"}}, "ports": {"b": {}}},
                "alone": {"subnets": {"v4": {"cidr": "10.0.3.0/24"}}, "ports": {"c": {}}},
            },
            "routers": {"edge": {"attach": ["web", "db"]}},
            "security_groups": {
                "web": {"rules": {"all": {"direction": "ingress", "remote_address_group": "ours"}}}
            },
            "address_groups": {"ours": {"entries": {"one": {"cidr": "10.0.0.0/8"}}}},
        }
    )
)


def named(view: View, kind: type[Network] | type[Port] | type[Router]) -> set[str]:
    return {obj.name for obj in view.all(kind)}


def id_of(kind: type[Network] | type[SecurityGroup], name: str) -> str:
    return next(obj.id for obj in VIEW.all(kind) if obj.name == name)


def test_an_extract_holds_what_can_be_walked_to_and_what_that_refers_to() -> None:
    part = extract(VIEW, [id_of(Network, "web")], 100)
    assert named(part, Network) == {"web", "db"}
    assert named(part, Router) == {"edge"}
    assert {"a", "b"} <= named(part, Port)
    assert "c" not in named(part, Port)
    group = part.get(SecurityGroup, id_of(SecurityGroup, "web"))
    assert group is not None
    (rule,) = part.rules(group.id)
    assert rule.remote_address_group is not None
    assert [entry.cidr for entry in part.entries(rule.remote_address_group)] == ["10.0.0.0/8"]


def test_an_extract_is_bounded() -> None:
    with pytest.raises(TooLarge, match="more than 5"):
        extract(VIEW, [id_of(Network, "web")], 5)


def test_a_rule_concerns_the_networks_where_its_group_is_used() -> None:
    (rule,) = VIEW.rules(id_of(SecurityGroup, "web"))
    assert devices_of(VIEW, [rule.id]) == {id_of(Network, "web")}
