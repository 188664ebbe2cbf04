"""What a document changes: made, changed, deleted, left alone."""

from __future__ import annotations

from typing import Any

import pytest

from onehop.controller.apply.stack import LABEL
from onehop.controller.refusals import Conflict, Unprocessable
from tests.unit.controller.apply.worlds import World, told

SHOP: dict[str, Any] = {
    "networks": {
        "web": {
            "mtu": 1400,
            "labels": {"tier": "front"},
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}},
            "ports": {"web-1": {"security_groups": ["web"]}},
        }
    },
    "security_groups": {
        "web": {"rules": {"http": {"direction": "ingress", "protocol": "tcp", "ports": "80"}}}
    },
}


def without(*path: str) -> dict[str, Any]:
    """The shop with something left out."""
    return changed(*path, value=None)


def changed(*path: str, value: Any) -> dict[str, Any]:
    def within(at: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if len(path) == 1:
            rest = {name: inner for name, inner in at.items() if name != path[0]}
            return rest if value is None else {**rest, path[0]: value}
        return {**at, path[0]: within(at.get(path[0], {}), path[1:])}

    return within(SHOP, path)


@pytest.fixture
def shop() -> World:
    return World(SHOP)


def changes(plan: Any) -> dict[str, tuple[Any, Any]]:
    return {
        change.field: (change.before, change.after) for action in plan.actions for change in action.changes
    }


def test_everything_is_made_in_an_empty_project() -> None:
    plan = World({}).plan(SHOP)
    assert told(plan) == [
        "+ security-group web",
        "+ security-group-rule web/http",
        "+ network web",
        "+ subnet web/v4",
        "+ port web/web-1",
    ]


def test_what_is_as_it_should_be_is_left_alone(shop: World) -> None:
    plan = shop.plan(SHOP)
    assert told(plan) == []
    assert plan.unchanged == 5


# --- three ways ----------------------------------------------------------------------------------------


def test_a_field_that_the_document_changes_is_changed(shop: World) -> None:
    plan = shop.plan(changed("networks", "web", "mtu", value=1300))
    assert told(plan) == ["~ network web"]
    assert changes(plan) == {"mtu": (1400, 1300)}


def test_a_field_that_the_document_gives_is_set_back_when_changed_by_hand(shop: World) -> None:
    shop.put(shop.find("network", "web"), mtu=9000)
    assert changes(shop.plan(SHOP)) == {"mtu": (9000, 1400)}


def test_a_field_set_by_hand_that_the_document_never_gave_stays(shop: World) -> None:
    shop.put(shop.find("network", "web"), learning=True)
    assert told(shop.plan(SHOP)) == []


def test_a_field_dropped_from_the_document_returns_to_its_default(shop: World) -> None:
    plan = shop.plan(without("networks", "web", "mtu"))
    assert changes(plan) == {"mtu": (1400, 1450)}
    assert plan.actions[0].body == {"mtu": 1450}


def test_a_list_dropped_from_the_document_is_emptied(shop: World) -> None:
    plan = shop.plan(without("networks", "web", "ports", "web-1", "security_groups"))
    assert changes(plan) == {"security_groups": (["web"], [])}


def test_what_was_assigned_stays_when_the_document_drops_it() -> None:
    given = {"networks": {"web": {"ports": {"p": {"mac": "02:00:00:00:00:aa"}}}}}
    world = World(given)
    assert told(world.plan({"networks": {"web": {"ports": {"p": {}}}}})) == []


def test_labels_count_one_by_one(shop: World) -> None:
    net = shop.find("network", "web")
    shop.put(net, labels={**net.labels, "mine": "by hand", "tier": "other"})
    assert changes(shop.plan(SHOP)) == {"labels.tier": ("other", "front")}
    plan = shop.plan(without("networks", "web", "labels"))
    assert changes(plan) == {"labels.tier": ("other", None)}
    assert plan.actions[0].body == {"labels": {"tier": None}}


def test_an_address_chosen_for_a_port_is_as_it_should_be() -> None:
    document = {
        "networks": {
            "web": {
                "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00::/64"}},
                "ports": {"p": {"addresses": [{"subnet": "v4"}, {"subnet": "v6"}]}},
            }
        }
    }
    world = World(document)
    assert told(world.plan(document)) == []


def test_an_object_renamed_by_hand_is_made_anew_and_deleted(shop: World) -> None:
    shop.put(shop.find("security-group-rule", "http"), name="renamed")
    assert told(shop.plan(SHOP)) == ["+ security-group-rule web/http", "- security-group-rule web/renamed"]


# --- deletions -----------------------------------------------------------------------------------------


def test_what_is_gone_from_the_document_is_deleted_users_first(shop: World) -> None:
    plan = shop.plan({})
    assert told(plan) == [
        "- port web/web-1",
        "- subnet web/v4",
        "- network web",
        "- security-group-rule web/http",
        "- security-group web",
    ]


def test_what_others_made_is_not_deleted(shop: World) -> None:
    shop.put(shop.find("security-group-rule", "http"), labels={})
    plan = shop.plan(without("security_groups", "web", "rules"))
    assert told(plan) == []


def test_what_others_use_is_not_deleted(shop: World) -> None:
    shop.put(shop.find("port", "web-1"), labels={})
    with pytest.raises(Conflict) as refused:
        shop.plan({})
    assert "in use by port web/web-1" in str(refused.value.problems)


# --- other people's objects ----------------------------------------------------------------------------


def test_an_object_of_nobody_is_not_altered(shop: World) -> None:
    shop.put(shop.find("network", "web"), labels={}, mtu=1450)
    with pytest.raises(Conflict) as refused:
        shop.plan(SHOP)
    (problem,) = refused.value.problems
    assert problem.field == "networks.web"
    assert "--adopt" in problem.message


def test_an_object_of_another_stack_is_not_altered(shop: World) -> None:
    shop.put(shop.find("network", "web"), labels={LABEL: "theirs"})
    with pytest.raises(Conflict) as refused:
        shop.plan(SHOP)
    assert "stack 'theirs'" in refused.value.problems[0].message


def test_an_object_can_be_taken_over(shop: World) -> None:
    shop.put(shop.find("network", "web"), labels={"tier": "front"}, mtu=1450)
    plan = shop.plan(SHOP, adopt=True)
    assert told(plan) == ["~ network web"]
    (action,) = plan.actions
    assert action.adopted
    assert action.body == {"mtu": 1400, "labels": {LABEL: "s"}}


def test_taking_over_resets_nothing_that_the_document_does_not_give(shop: World) -> None:
    shop.put(shop.find("network", "web"), labels={}, learning=True)
    (action,) = shop.plan(SHOP, adopt=True).actions
    assert "learning" not in action.body


def test_other_peoples_objects_may_be_referred_to(shop: World) -> None:
    shop.put(shop.find("network", "web"), labels={})
    shop.put(shop.find("subnet", "v4"), labels={})
    document = {
        "security_groups": SHOP["security_groups"],
        "ports": {
            "web-1": {"network": "web", "security_groups": ["web"]},
            "web-2": {"network": "web", "addresses": [{"subnet": "v4"}]},
        },
    }
    assert told(shop.plan(document)) == ["+ port web-2"]


# --- what cannot be ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "field", "told"),
    [
        (changed("networks", "web", "mtv", value=1), "networks.web.mtv", "no such field"),
        (changed("networks", "web", "mtu", value="x"), "networks.web.mtu", "number"),
        (changed("networks", "web", "key", value=5), "networks.web.key", "set by the controller"),
        (changed("networks", "web", "project", value="q"), "networks.web.project", "document"),
        (
            changed("networks", "web", "labels", value={LABEL: "s"}),
            f"networks.web.labels.{LABEL}",
            "leave it out",
        ),
        (
            changed("networks", "web", "subnets", "v4", "cidr", value="10.0.9.0/24"),
            "networks.web.subnets.v4.cidr",
            "cannot be changed",
        ),
        (
            changed("networks", "web", "ports", "web-1", "security_groups", value=["none"]),
            "networks.web.ports.web-1.security_groups[0]",
            "there is no security-group 'none'",
        ),
        (changed("networks", "web", "subnets", "v6", value={}), "networks.web.subnets.v6.cidr", "needed"),
        ({"tokens": {"t": {}}}, "tokens.t", "onehop token create"),
        ({"ports": {"p": {"network": "none"}}}, "ports.p.network", "there is no network 'none'"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(
    shop: World, document: dict[str, Any], field: str, told: str
) -> None:
    with pytest.raises(Unprocessable) as refused:
        shop.plan(document)
    problems = {problem.field: problem.message for problem in refused.value.problems}
    assert told in problems[field]


def test_every_problem_is_told_at_once(shop: World) -> None:
    with pytest.raises(Unprocessable) as refused:
        shop.plan({"networks": {"a": {"mtu": 1}, "b": {"mtu": 2}, "web": {"mtu": 3}}})
    assert len(refused.value.problems) == 3


def test_a_name_of_two_things_has_to_be_told_apart(shop: World) -> None:
    document = {
        "networks": {n: {"subnets": {"v4": {"cidr": f"10.{i}.0.0/24"}}} for i, n in enumerate("ab")},
        "ports": {"p": {"router": "r", "addresses": [{"subnet": "v4"}]}},
        "routers": {"r": {}},
    }
    with pytest.raises(Unprocessable, match="cannot be applied") as refused:
        shop.plan(document)
    assert "write PARENT/v4" in refused.value.problems[0].message


def test_a_network_and_a_router_of_one_name_cannot_be_joined(shop: World) -> None:
    with pytest.raises(Unprocessable) as refused:
        shop.plan({"networks": {"x": {}}, "routers": {"x": {"attach": ["x"]}}})
    assert "here twice" in refused.value.problems[0].message
