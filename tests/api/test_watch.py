"""Server-sent events of what changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.controller import Api, Controller, Json, someone

Events = Iterator[tuple[str, Json]]


@contextmanager
def watching(api: Api, **parameters: Any) -> Iterator[Events]:
    """The events of a watch, once it has begun."""
    headers = parameters.pop("headers", {})
    with api.http.stream("GET", "/v1/watch", params=parameters, headers=headers) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = read(reply)
        assert next(events)[0] == "ready"
        yield events


def read(reply: httpx.Response) -> Events:
    name = ""
    for line in reply.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def told(events: Events, count: int) -> list[tuple[str, str, str]]:
    return [(e["op"], e["kind"], e["id"]) for _, e in (next(events) for _ in range(count))]


def test_a_watch_tells_every_change_in_order(api: Api, project: Json) -> None:
    with watching(api, project=project["name"]) as events:
        network = api.create("networks", name="web")
        changed = api.patch("networks", "web", mtu=1400)
        api.delete("networks", "web")
        (_, made), (_, patched), (_, gone) = (next(events) for _ in range(3))
    assert (made["op"], made["object"]) == ("put", network)
    assert (patched["revision"], patched["object"]) == (changed["revision"], changed)
    assert (gone["op"], gone["id"], gone["object"]) == ("delete", network["id"], None)


def test_a_watch_goes_on_from_a_revision(api: Api, project: Json) -> None:
    network = api.create("networks", name="web")
    router = api.create("routers", name="edge")
    with watching(api, project=project["name"], revision=network["revision"]) as events:
        assert told(events, 1) == [("put", "router", router["id"])]
    last = {"Last-Event-ID": str(network["revision"])}
    with watching(api, project=project["name"], headers=last) as events:
        assert told(events, 1) == [("put", "router", router["id"])]


def test_a_watch_tells_only_the_kinds_asked_for(api: Api, project: Json) -> None:
    with watching(api, project=project["name"], kind=["router"]) as events:
        api.create("networks", name="web")
        router = api.create("routers", name="edge")
        assert told(events, 1) == [("put", "router", router["id"])]


def test_a_watch_tells_nothing_of_other_projects(controller: Controller, admin: Api, project: Json) -> None:
    other = admin.create("projects", name=f"{project['name']}-watched")
    stranger = someone(controller, **{other["id"]: "member"})
    with watching(stranger) as events:
        admin.create("networks", name="web", project=project["id"])
        mine = admin.create("networks", name="mine", project=other["id"])
        assert told(events, 1) == [("put", "network", mine["id"])]


def test_what_is_no_longer_granted_is_told_as_deleted(
    controller: Controller, admin: Api, api: Api, project: Json
) -> None:
    other = admin.create("projects", name=f"{project['name']}-friend")
    friend = someone(controller, **{other["id"]: "member"})
    network = api.create("networks", name="shared")
    with watching(friend) as events:
        api.patch("networks", "shared", grants=[{"allow": "use", "project": other["id"]}])
        assert told(events, 1) == [("put", "network", network["id"])]
        api.patch("networks", "shared", grants=[])
        assert told(events, 1) == [("delete", "network", network["id"])]


def test_a_watch_ends_with_its_token(controller: Controller, admin: Api) -> None:
    made = admin.create("tokens", name="watching")
    with watching(controller.api(made["secret"])) as events:
        admin.delete("tokens", "watching")
        assert list(events) == []


def test_a_revision_that_has_never_been_is_refused(api: Api) -> None:
    reply = api.call("GET", "/v1/watch", params={"revision": 10**15})
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "gone")


def test_changes_that_have_been_forgotten_are_refused(api: Api) -> None:
    reply = api.call("GET", "/v1/watch", params={"revision": 0})
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "gone")
