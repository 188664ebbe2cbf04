"""`/v1/ports/<ref>/connections`: what two hosts have, as a controller tells it and has it deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from onehop.agent.feed_link import Controllers
from onehop.agent.follow import Batch, Follower
from onehop.agent.kept import Kept
from onehop.feed.messages import (
    Ask,
    Connection,
    Connections,
    ForgetConnections,
    Forgotten,
    ListConnections,
    Said,
    Tuple,
)
from tests.support.controller import Api, Controller, Json
from tests.support.feeding import PAUSE, until

pytestmark = pytest.mark.anyio
ENDS = Tuple("10.0.0.5", 4000, "10.0.0.6", 80)


def number(n: int) -> str:
    return f"{n:016x}"


class Machine:
    """A host that says to have connections."""

    def __init__(self, id: str, follower: Follower) -> None:
        self.id = id
        self.follower = follower
        self.connections: dict[str, list[Connection]] = {}
        self.forgotten: list[tuple[int, tuple[str, ...]]] = []

    async def answer(self, ask: Ask) -> Said:
        if isinstance(ask, ForgetConnections):
            self.forgotten.append((ask.key, ask.ids))
            return Forgotten(len(ask.ids))
        assert isinstance(ask, ListConnections)
        found = [c for c in self.connections.get(ask.port, []) if c.id > ask.after and ask.only in ("", c.id)]
        return Connections(tuple(found[: ask.limit]), more=len(found) > ask.limit)


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with Controller() as controller:
        yield controller


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.api()


@pytest.fixture(scope="module")
def ports(admin: Api) -> dict[str, Json]:
    """Ports a, b and loose of a project; hosts h1 and h2; a is on h1 and b on h2."""
    admin.create("projects", name="p1")
    for host in ("h1", "h2"):
        admin.create("hosts", name=host)
    project = {"project": "p1"}
    admin.told("POST", "/v1/networks", {"name": "web"}, params=project)
    made = {
        name: admin.told("POST", "/v1/ports", {"name": name, "network": "web"}, params=project)
        for name in ("a", "b", "loose")
    }
    for name, host in (("a", "h1"), ("b", "h2")):
        body = {"port": made[name]["id"], "host": host, "interface": "tap0"}
        admin.told("POST", "/v1/bindings", body)
    return made


@asynccontextmanager
async def machine(controller: Controller, admin: Api, name: str) -> AsyncIterator[Machine]:
    join = (await asyncio.to_thread(admin.told, "POST", f"/v1/hosts/{name}/join-token"))["token"]
    joined = await asyncio.to_thread(admin.told, "POST", "/v1/hosts/join", {"token": join})
    kept = Kept(":memory:")
    url = controller.url.replace("https:", "wss:") + "/v1/feed"
    at = Controllers((url,), joined["token"], str(Path(controller.directory) / "ca.pem"))

    async def on_change(batch: Batch) -> None:
        pass

    follower = Follower(joined["host"], "test", at, kept, on_change, pause=PAUSE)
    made = Machine(joined["host"], follower)
    follower.on_question = made.answer
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.current)
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kept.close()


@pytest.fixture
async def hosts(
    controller: Controller, admin: Api, ports: dict[str, Json], anyio_backend: str
) -> AsyncIterator[tuple[Machine, Machine]]:
    async with machine(controller, admin, "h1") as one, machine(controller, admin, "h2") as two:
        yield one, two


async def ask(api: Api, method: str, path: str, **query: str) -> Any:
    return await asyncio.to_thread(api.call, method, f"/v1/ports/{path}", params={"project": "p1", **query})


def out(n: int, other: Json) -> Connection:
    return Connection(number(n), "out", 6, ENDS, ENDS, other["key"], "open", 7)


def into(n: int, other: Json) -> Connection:
    return Connection(number(n), "in", 17, ENDS, None, other["key"], None, 7)


async def test_connections_are_listed_page_by_page(
    hosts: tuple[Machine, Machine], admin: Api, ports: dict[str, Json]
) -> None:
    hosts[0].connections[ports["a"]["id"]] = [out(n, ports["b"]) for n in range(5)]
    seen, cursor = [], {}
    for expected in (2, 2, 1):
        page = (await ask(admin, "GET", "web/a/connections", limit="2", **cursor)).json()
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        cursor = {"cursor": page["next"]}
    assert (seen, page["next"]) == ([number(n) for n in range(5)], None)


async def test_a_connection_is_shown_with_both_tuples_and_the_port_at_its_other_end(
    hosts: tuple[Machine, Machine], admin: Api, ports: dict[str, Json]
) -> None:
    hosts[0].connections[ports["a"]["id"]] = [out(1, ports["b"]), into(2, ports["b"])]
    ends = {"src": "10.0.0.5", "src_port": 4000, "dst": "10.0.0.6", "dst_port": 80}
    shown = (await ask(admin, "GET", f"web/a/connections/{number(1)}")).json()
    assert shown == {
        "id": number(1),
        "direction": "out",
        "protocol": "tcp",
        "near": ends,
        "far": ends,
        "other_port": ports["b"]["id"],
        "life": "open",
        "idle": 7,
    }
    shown = (await ask(admin, "GET", f"web/a/connections/{number(2)}")).json()
    assert (shown["direction"], shown["protocol"], shown["near"], shown["life"]) == ("in", "udp", None, None)


@pytest.mark.parametrize("id", [number(3), "x", "0" * 64, "%2e%2e"])
async def test_a_connection_that_is_not_there_is_not_found(
    hosts: tuple[Machine, Machine], admin: Api, id: str
) -> None:
    for method in ("GET", "DELETE"):
        reply = await ask(admin, method, f"web/a/connections/{id}")
        assert reply.status_code == 404, reply.text


async def test_a_connection_is_deleted_at_both_ends(
    hosts: tuple[Machine, Machine], admin: Api, ports: dict[str, Json]
) -> None:
    one, two = hosts
    one.connections[ports["a"]["id"]] = [out(1, ports["b"]), out(2, ports["b"])]
    reply = await ask(admin, "DELETE", f"web/a/connections/{number(2)}")
    assert (reply.status_code, reply.json()) == (200, {"deleted": 1})
    assert one.forgotten == two.forgotten == [(ports["a"]["key"], (number(2),))]


async def test_all_connections_of_a_port_are_deleted(
    hosts: tuple[Machine, Machine], admin: Api, ports: dict[str, Json]
) -> None:
    one, two = hosts
    inward = [into(n, ports["b"]) for n in range(1500)]
    one.connections[ports["a"]["id"]] = [*inward, out(2000, ports["loose"])]
    reply = await ask(admin, "DELETE", "web/a/connections")
    assert reply.json() == {"deleted": 1501}
    assert [len(ids) for _, ids in one.forgotten] == [1000, 501]
    assert [len(ids) for _, ids in two.forgotten] == [1000, 500]


async def test_a_connection_whose_opener_cannot_be_asked_is_not_said_to_be_deleted(
    controller: Controller, admin: Api, ports: dict[str, Json]
) -> None:
    async with machine(controller, admin, "h1") as one:
        one.connections[ports["a"]["id"]] = [into(1, ports["b"])]
        reply = await ask(admin, "DELETE", f"web/a/connections/{number(1)}")
        assert (reply.status_code, one.forgotten) == (409, [])
        assert "not connected" in reply.json()["error"]["message"]
        one.connections[ports["a"]["id"]] = [out(1, ports["b"])]
        reply = await ask(admin, "DELETE", f"web/a/connections/{number(1)}")
        assert (reply.status_code, reply.json()) == (200, {"deleted": 1})


async def test_who_only_reads_may_list_and_not_delete(
    hosts: tuple[Machine, Machine], controller: Controller, admin: Api, ports: dict[str, Json]
) -> None:
    def made(role: str, project: str) -> Api:
        token = admin.told("POST", "/v1/tokens", {"name": f"{role}-{project}"})
        admin.told("POST", "/v1/roles", {"token": token["id"], "role": role, "project": project})
        return controller.api(token["secret"])

    admin.create("projects", name="p2")
    reader, stranger = made("reader", "p1"), made("member", "p2")
    hosts[0].connections[ports["a"]["id"]] = [out(1, ports["b"])]
    assert len((await ask(reader, "GET", "web/a/connections")).json()["items"]) == 1
    for path in ("web/a/connections", f"web/a/connections/{number(1)}"):
        assert (await ask(reader, "DELETE", path)).status_code == 403
        for method in ("GET", "DELETE"):
            reply = await asyncio.to_thread(
                stranger.call, method, f"/v1/ports/{ports['a']['id']}/connections"
            )
            assert reply.status_code == 404
    assert hosts[0].forgotten == []


async def test_a_port_that_is_on_no_host_has_none(admin: Api, ports: dict[str, Json]) -> None:
    reply = await ask(admin, "GET", "web/loose/connections")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "conflict")


async def test_a_host_that_is_not_connected_is_named_as_the_reason(
    admin: Api, ports: dict[str, Json]
) -> None:
    for method in ("GET", "DELETE"):
        reply = await ask(admin, method, "web/a/connections")
        assert reply.status_code == 409
        assert "not connected to any controller" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"cursor": "x"}, {"name": "x"}, {"cursor": "é"}]
)
async def test_wrong_parameters_are_refused(
    admin: Api, ports: dict[str, Json], query: dict[str, str]
) -> None:
    assert (await ask(admin, "GET", "web/a/connections", **query)).status_code == 400


async def test_connections_take_no_other_methods(admin: Api, ports: dict[str, Json]) -> None:
    for method in ("POST", "PUT", "PATCH"):
        reply = await asyncio.to_thread(admin.call, method, "/v1/ports/web/a/connections", {})
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET, DELETE")
