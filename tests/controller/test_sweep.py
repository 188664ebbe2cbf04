"""What outlives what it is about is swept away, and nothing else."""

from __future__ import annotations

import pytest

from onehop.controller.keys import guard_key
from onehop.controller.sweep import sweep
from onehop.store import Put, list_all
from tests.controller.desk import ADMIN, Desk, create, delete, port

pytestmark = pytest.mark.anyio


async def keys(desk: Desk, prefix: str) -> set[str]:
    entries, _ = await list_all(desk.store, prefix)
    return {entry.key for entry in entries}


async def test_status_of_what_is_gone_is_swept_and_the_rest_stays(desk: Desk) -> None:
    await desk.web()
    ports = [await desk.make("port", network="web", name=f"p{n}") for n in range(2)]
    hosts = [
        (await desk.do(create("host", name=f"h{n}"), actor=ADMIN)).results[0].object.id for n in range(2)
    ]
    binding = {"port": "mine:web/p0", "host": "h0", "interface": "tap0"}
    await desk.do(create("binding", **binding), actor=ADMIN)
    await desk.do(delete("port", "web/p1"))
    stay = {
        f"status/port/{ports[0].id}/{hosts[0]}",
        f"status/port-learned/{ports[0].id}/{hosts[0]}",
        f"status/host/{hosts[0]}/c-1",
        "status/controller/c-1/c-1",
    }
    go = {
        f"status/port/{ports[1].id}/{hosts[0]}",  # the port is gone
        f"status/port-learned/{ports[1].id}/{hosts[0]}",
        f"status/port/{ports[0].id}/{hosts[1]}",  # it is not bound there
    }
    await desk.store.transact([], [Put(key, b"{}") for key in (*stay, *go)])
    assert await sweep(desk.store, desk.cache) == len(go)
    assert await keys(desk, "status/") == stay


async def test_guards_of_sets_that_went_with_their_object_are_swept(desk: Desk) -> None:
    await desk.web()
    gone = await desk.make("port", network="web", name="p")
    await desk.do(delete("port", "web/p"))
    before = await keys(desk, "claim/guard/")
    await desk.store.transact([], [Put(guard_key(f"port/{gone.id}"), b"")])
    assert await sweep(desk.store, desk.cache) == 1
    assert await keys(desk, "claim/guard/") == before != set()


async def test_the_guard_of_a_trunk_goes_with_its_port(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "parent"), port("web", "sub"))
    await desk.do(create("host", name="h"), actor=ADMIN)
    parent = {"port": "mine:web/parent", "host": "h", "interface": "tap0"}
    sub = {"port": "mine:web/sub", "host": "h", "trunk": "mine:web/parent", "vlan": 7}
    await desk.do(create("binding", **parent), create("binding", **sub), actor=ADMIN)
    assert len([key for key in await keys(desk, "claim/guard/") if "/port/" in key]) == 2
    bindings = [delete("binding", id) for id in desk.cache.view.ids_of("binding")]
    await desk.do(*reversed(bindings), delete("port", "mine:web/sub"), actor=ADMIN)
    await desk.do(delete("port", "mine:web/parent"), actor=ADMIN)
    assert not [key for key in await keys(desk, "claim/guard/") if "/port/" in key]
