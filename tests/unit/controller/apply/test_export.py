"""What is exported is what was applied."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from onehop.controller.apply.export import Clash, everything, export
from onehop.controller.apply.stack import LABEL
from onehop.model import Port, Project
from tests.unit.controller.apply.documents import documents
from tests.unit.controller.apply.worlds import World, told


def exported(world: World) -> dict[str, Any]:
    return export(world.stack, world.stack.members(world.view), world.view)


@given(documents())
@settings(max_examples=25, deadline=None)
def test_export_and_then_diff_is_empty(document: dict[str, Any]) -> None:
    world = World(document)
    assert told(world.plan(exported(world))) == []


@given(documents())
@settings(max_examples=10, deadline=None)
def test_what_is_exported_makes_the_same_again(document: dict[str, Any]) -> None:
    first = exported(World(document))
    assert exported(World(first)) == first


@given(documents())
@settings(max_examples=10, deadline=None)
def test_applying_twice_changes_nothing(document: dict[str, Any]) -> None:
    world = World(document)
    assert told(world.plan(document)) == []


WEB = {
    "networks": {"web": {"subnets": {"v4": {"cidr": "10.0.1.0/24"}}}},
    "routers": {"edge": {"attach": ["web"]}},
}


def test_a_joined_network_is_written_as_attach() -> None:
    document = exported(World(WEB))
    assert document["routers"] == {"edge": {"attach": ["web"]}}
    assert "links" not in document
    assert "ports" not in document["networks"]["web"]


def test_a_join_that_was_changed_by_hand_is_written_out() -> None:
    world = World(WEB)
    inside = next(port for port in world.view.all(Port) if port.router is not None)
    world.put(inside, admin_up=False)
    document = exported(world)
    assert document["routers"]["edge"]["ports"]["web"]["admin_up"] is False
    assert document["links"] == {"edge-web": {"a": "edge/web", "b": "web/edge"}}
    assert told(world.plan(document)) == []


def test_the_stacks_label_is_not_exported() -> None:
    world = World({"networks": {"web": {"labels": {"tier": "1"}}}})
    assert exported(world)["networks"]["web"] == {"labels": {"tier": "1"}}
    assert LABEL in world.find("network", "web").labels


def test_another_projects_object_is_named_with_its_project() -> None:
    world = World({"networks": {"web": {"subnets": {"v4": {"cidr": "10.0.1.0/24"}}}}})
    other = Project(id="00000000-0000-4000-8000-000000000001", name="other")
    world.view.put(other)
    net = world.find("network", "web")
    world.put(net, id="00000000-0000-4000-8000-000000000002", name="shared", project=other.id, labels={})
    port = Port(
        id="00000000-0000-4000-8000-000000000003",
        name="mine",
        network="00000000-0000-4000-8000-000000000002",
        project=world.project,
        labels={LABEL: "s"},
        mac="02:00:00:00:00:09",
    )
    world.view.put(port)
    document = exported(world)
    assert document["ports"]["mine"]["network"] == "other:shared"
    assert told(world.plan(document)) == []


def test_two_parts_of_one_name_without_their_parents_do_not_fit_one_document() -> None:
    world = World({"networks": {n: {"ports": {"p": {}}} for n in ("a", "b")}})
    for name in ("a", "b"):
        world.put(world.find("network", name), labels={})
    with pytest.raises(Clash, match="two of the ports"):
        exported(world)


def test_a_whole_project_can_be_exported() -> None:
    world = World(WEB)
    world.put(world.find("network", "web"), labels={})
    document = export(world.stack, everything(world.project, world.view), world.view)
    assert set(document) == {"stack", "project", "networks", "routers"}
