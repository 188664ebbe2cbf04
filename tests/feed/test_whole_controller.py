"""A host that joined over REST, fed by a controller as operators run it, over TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from onehop.agent.feed_link import Controllers
from onehop.agent.follow import Batch, Follower
from onehop.agent.kept import Kept
from onehop.feed.messages import PortReport
from onehop.model import NatRule, Port, Router, SnatBlock
from tests.support.controller import Api, Controller, Json
from tests.support.feeding import PAUSE, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with Controller() as controller:
        yield controller


@pytest.fixture(scope="module")
def admin(controller: Controller) -> Api:
    return controller.api()


@pytest.fixture(scope="module")
def host(admin: Api) -> Json:
    made = admin.create("hosts", name="h1")
    token = admin.told("POST", "/v1/hosts/h1/join-token")["token"]
    return made | {"token": admin.told("POST", "/v1/hosts/join", {"token": token})["token"]}


@pytest.fixture
async def agent(controller: Controller, host: Json, anyio_backend: str) -> AsyncIterator[Follower]:
    async def on_change(batch: Batch) -> None:
        pass

    kept = Kept(":memory:")
    url = controller.url.replace("https:", "wss:") + "/v1/feed"
    controllers = Controllers((url,), host["token"], str(Path(controller.directory) / "ca.pem"))
    follower = Follower(host["id"], "test", controllers, kept, on_change, pause=PAUSE)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kept.close()


async def test_a_write_that_waits_returns_when_the_host_has_it(agent: Follower, admin: Api) -> None:
    def build() -> tuple[Json, Json]:
        admin.create("projects", name="p1")
        admin.told("POST", "/v1/networks", {"name": "web"}, params={"project": "p1"})
        port = admin.told("POST", "/v1/ports", {"name": "a", "network": "web"}, params={"project": "p1"})
        binding = {"port": port["id"], "host": "h1", "interface": "tap0"}
        return port, admin.told("POST", "/v1/bindings", binding, params={"wait": "10"})

    await until(lambda: agent.current)
    port, bound = await asyncio.to_thread(build)
    assert bound["convergence"] == {"done": True, "waiting": [], "dead": [], "controllers": []}
    assert agent.topology.get(Port, port["id"]) is not None
    agent.report_ports([PortReport(port["id"], "active", "", bound["revision"])])

    def status() -> Json:
        found: Json = admin.get("ports", port["id"])["status"]
        return found

    async with asyncio.timeout(10):
        while (told := await asyncio.to_thread(status)) is None:
            pass
    assert (told["state"], told["host"], told["revision"]) == ("active", agent.host, bound["revision"])


async def test_an_apply_that_waits_returns_when_the_host_has_all_of_it(agent: Follower, admin: Api) -> None:
    def build() -> Json:
        admin.create("projects", name="p2")
        admin.told("POST", "/v1/networks", {"name": "web"}, params={"project": "p2"})
        port = admin.told("POST", "/v1/ports", {"name": "a", "network": "web"}, params={"project": "p2"})
        admin.told("POST", "/v1/bindings", {"port": port["id"], "host": "h1", "interface": "tap1"})
        ports: Json = {f"b-{i}": {} for i in range(300)}  # in several batches, most of which concern no host
        document = {"stack": "s", "project": "p2", "networks": {"more": {"ports": ports}}}
        document["routers"] = {"edge": {"attach": ["web"]}}
        document["networks"]["more"]["subnets"] = {"v4": {"cidr": "10.9.0.0/22"}}
        reply = admin.call("POST", "/v1/apply", {"document": document}, params={"wait": "20"})
        return json.loads(reply.text.splitlines()[-1])

    await until(lambda: agent.current)
    done = await asyncio.to_thread(build)
    assert done["event"] == "done"
    assert done["convergence"] == {"done": True, "waiting": [], "dead": [], "controllers": []}
    assert [router.name for router in agent.topology.all(Router)] == ["edge"]


async def test_a_host_has_its_ports_blocks_with_the_binding_and_gets_more_when_it_needs_them(
    agent: Follower, admin: Api
) -> None:
    def build() -> tuple[Json, Json]:
        def made(plural: str, **body: object) -> Json:
            told: Json = admin.told("POST", f"/v1/{plural}", body, params={"project": "p3"})
            return told

        admin.create("projects", name="p3")
        made("networks", name="street", grants=[{"allow": "external"}])
        made("subnets", network="street", name="v4", cidr="203.0.113.0/24")
        made("networks", name="web")
        made("routers", name="edge")
        admin.told("POST", "/v1/routers/edge/attach", {"network": "web"}, params={"project": "p3"})
        made("ports", router="edge", name="out", addresses=[{"subnet": "street/v4", "ip": "203.0.113.10"}])
        made("ports", network="street", name="edge", kind="router")
        made("links", a="edge/out", b="street/edge")
        rule = made("nat-rules", port="edge/out", action="masquerade")
        port = made("ports", name="a", network="web")
        binding = {"port": port["id"], "host": "h1", "interface": "tap3"}
        bound = admin.told("POST", "/v1/bindings", binding, params={"wait": "10"})
        assert bound["convergence"]["done"]
        return rule, port

    await until(lambda: agent.current)
    rule, port = await asyncio.to_thread(build)
    (block,) = agent.topology.children(SnatBlock, port["id"])
    assert (block.ip, block.rule) == ("203.0.113.10", rule["id"])
    assert agent.topology.get(NatRule, rule["id"]) is not None
    agent.need_blocks(port["id"], rule["id"], "ipv4")
    await until(lambda: len(agent.topology.children(SnatBlock, port["id"])) == 2)


async def test_a_credential_that_has_expired_ends_the_feed(controller: Controller, admin: Api) -> None:
    made = admin.create("hosts", name="h-expires")
    join = admin.told("POST", "/v1/hosts/h-expires/join-token")["token"]
    joined = admin.told("POST", "/v1/hosts/join", {"token": join})

    async def on_change(batch: Batch) -> None:
        pass

    kept = Kept(":memory:")
    url = controller.url.replace("https:", "wss:") + "/v1/feed"
    controllers = Controllers((url,), joined["token"], str(Path(controller.directory) / "ca.pem"))
    follower = Follower(made["id"], "test", controllers, kept, on_change, pause=PAUSE)
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: follower.current)
        (token,) = [t["id"] for t in admin.list("tokens") if t["host"] == made["id"]]
        past = {"expires": "2020-01-01T00:00:00Z"}
        await asyncio.to_thread(admin.told, "PATCH", f"/v1/tokens/{token}", past)
        await until(lambda: follower.refused)
        await until(lambda: not follower.current)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kept.close()


async def test_a_revoked_credential_ends_the_feed(agent: Follower, admin: Api, host: Json) -> None:
    await until(lambda: agent.current)
    (token,) = [t["id"] for t in admin.list("tokens") if t["host"] == host["id"]]
    (role,) = [r["id"] for r in admin.list("roles") if r["token"] == token]
    await asyncio.to_thread(admin.delete, "roles", role)
    await until(lambda: agent.refused)
    assert "revoked" in str(agent.refused)
    await until(lambda: not agent.current)


async def test_the_feed_is_a_websocket_and_needs_a_hosts_credential(admin: Api) -> None:
    reply = await asyncio.to_thread(admin.call, "GET", "/v1/feed")
    assert (reply.status_code, reply.json()["error"]["code"]) == (426, "upgrade_required")
