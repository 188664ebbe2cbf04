"""What a refusal, a plan or a name lets slip of what others own: nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.controller import Api, Controller, Json, Refused, someone


@pytest.fixture
def other(admin: Api, project: Json) -> Json:
    return admin.create("projects", name=f"{project['name']}-other")


@pytest.fixture
def stranger(controller: Controller, other: Json) -> Api:
    return someone(controller, **{other["id"]: "member"})


def planned(api: Api, **document: Any) -> list[Json]:
    """The actions of a dry run, or the refusal's problems."""
    reply = api.call("POST", "/v1/apply", {"document": {"stack": "s", **document}, "dry_run": True})
    lines = [json.loads(line) for line in reply.text.splitlines()]
    return [action for line in lines for action in line.get("actions", [])]


def test_a_plan_does_not_find_what_its_reader_may_not_see(admin: Api, stranger: Api) -> None:
    host = admin.create("hosts", name="hidden")
    first, second = (planned(stranger, hosts={"hidden": {}}) for _ in range(2))
    assert [action["op"] for action in first] == ["create"]
    assert host["id"] not in (first[0]["id"], second[0]["id"])
    assert first[0]["id"] != second[0]["id"]


def test_applying_a_port_that_another_project_has_on_a_shared_network_tells_no_id(
    api: Api, stranger: Api, project: Json
) -> None:
    network = api.create("networks", name="shared", grants=[{"allow": "use"}])
    hidden = api.create("ports", name="taken", network="shared")
    ports = {"taken": {"network": network["id"]}}
    reply = stranger.call("POST", "/v1/apply", {"document": {"stack": "s", "ports": ports}})
    assert "is taken by another project" in reply.text
    assert hidden["id"] not in reply.text


def test_an_ambiguous_name_in_another_project_is_told_as_one_that_is_not_there(
    api: Api, stranger: Api, project: Json
) -> None:
    for name in ("a", "b"):
        api.create("networks", name=name)
        api.create("ports", name="twice", network=name)
    replies = {
        stranger.call("GET", f"/v1/ports/{where}:{name}").text.replace(where, "P").replace(name, "N")
        for where, name in ((project["name"], "twice"), (project["name"], "never"), ("nowhere", "twice"))
    }
    assert len(replies) == 1


def test_an_overlap_behind_another_projects_router_is_refused_without_its_names(
    api: Api, stranger: Api, other: Json
) -> None:
    network = api.create("networks", name="shared", grants=[{"allow": "link", "project": other["id"]}])
    stranger.create("routers", name="secret-router")
    stranger.create("networks", name="inside")
    stranger.create("subnets", name="secret-subnet", network="inside", cidr="10.66.0.0/24")
    for target in (network["id"], "inside"):
        stranger.told("POST", "/v1/routers/secret-router/attach", {"network": target})
    with pytest.raises(Refused) as refused:
        api.create("subnets", network="shared", cidr="10.66.0.0/16")
    assert refused.value.fields == ["cidr"]
    told = json.dumps(refused.value.error)
    assert "overlaps" in told
    assert "secret" not in told and "10.66.0.0/24" not in told


def test_a_service_port_is_the_administrators_to_make(api: Api, stranger: Api) -> None:
    stranger.create("networks", name="web")
    with pytest.raises(Refused) as refused:
        stranger.create("ports", network="web", kind="service")
    assert (refused.value.status, refused.value.fields) == (422, ["kind"])
    api.create("networks", name="web")
    assert api.create("ports", network="web", kind="service")["kind"] == "service"
