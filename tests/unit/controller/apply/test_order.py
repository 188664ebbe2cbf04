"""Phases: each operation finds what it refers to."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from onehop.controller.apply.order import phases
from onehop.model import Acl
from onehop.model.view import targets
from tests.unit.controller.apply.documents import documents
from tests.unit.controller.apply.worlds import World

CIRCLE: dict[str, Any] = {
    "networks": {"web": {"ports": {"p": {"acls_in": ["guard"]}}}},
    "acls": {
        "guard": {"rules": [{"id": "a", "action": "jump", "jump": "inner", "match": {"in_port": "web/p"}}]},
        "inner": {"rules": [{"id": "a", "action": "allow"}]},
    },
}


def told(world: World, document: dict[str, Any]) -> list[list[str]]:
    found = phases(world.plan(document), world.view)
    return [[f"{action.op} {action.path}" for action in phase] for phase in found]


@given(documents())
@settings(max_examples=10, deadline=None)
def test_whatever_is_made_refers_to_what_was_made_before(document: dict[str, Any]) -> None:
    world = World({})
    plan = world.plan(document)
    new = {action.id for action in plan.actions}
    made: set[str] = set()
    for phase in phases(plan, world.view):
        for action in phase:
            assert action.object is not None
            bare = isinstance(action.object, Acl) and "rules" not in action.body
            assert bare or targets(action.object) & new <= made | {action.id}
        made |= {action.id for action in phase}
    assert made == new


@given(documents())
@settings(max_examples=10, deadline=None)
def test_nothing_is_deleted_before_what_uses_it(document: dict[str, Any]) -> None:
    world = World(document)
    plan = world.plan({})
    for phase in phases(plan, world.view):
        for action in phase:
            assert not list(world.view.users(action.id))
        for action in phase:
            world.view.remove(action.id)


def test_an_acl_that_names_a_new_port_gets_its_rules_later() -> None:
    assert told(World({}), CIRCLE) == [
        ["create guard", "create inner"],
        ["create web"],
        ["create web/p"],
        ["update guard"],
    ]


def test_a_circle_is_opened_before_it_is_deleted() -> None:
    assert told(World(CIRCLE), {}) == [
        ["update guard", "update inner"],
        ["delete web/p", "delete inner"],
        ["delete web", "delete guard"],
    ]


def test_what_stays_lets_go_before_the_deletion() -> None:
    before = {
        "networks": {"web": {"ports": {"p": {"security_groups": ["old"]}}}},
        "security_groups": {"old": {"rules": {"r": {"direction": "ingress"}}}},
    }
    after = {
        "networks": {"web": {"ports": {"p": {"security_groups": ["new"]}}}},
        "security_groups": {"new": {}},
    }
    assert told(World(before), after) == [
        ["delete old/r"],
        ["create new"],
        ["update web/p"],
        ["delete old"],
    ]


def test_a_rule_about_a_port_that_goes_does_not_hold_it() -> None:
    def with_port(name: str) -> dict[str, Any]:
        rules = [{"id": "a", "action": "allow", "match": {"in_port": f"web/{name}"}}]
        rules += [{"id": "b", "action": "drop"}]
        return {"networks": {"web": {"ports": {name: {}}}}, "acls": {"guard": {"rules": rules}}}

    world = World(with_port("a"))
    assert told(world, with_port("b")) == [
        ["update guard"],
        ["delete web/a"],
        ["create web/b"],
        ["update guard"],
    ]
    first = phases(world.plan(with_port("b")), world.view)[0][0]
    assert first.body == {"rules": [{"id": "b", "action": "drop"}]}


def test_a_new_object_may_take_the_address_of_a_deleted_one() -> None:
    def with_port(name: str) -> dict[str, Any]:
        port = {"addresses": [{"ip": "10.0.0.9"}]}
        return {"networks": {"web": {"subnets": {"v4": {"cidr": "10.0.0.0/24"}}, "ports": {name: port}}}}

    assert told(World(with_port("a")), with_port("b")) == [["delete web/a"], ["create web/b"]]
