"""Fills a store through the controller's own engine: `python -m bench.control.seed STORE PLAN.json`.

A process of its own, so that the controller that is measured afterwards starts cold. The plan says how many
hosts and which tenants; what is printed is one line of JSON: the hosts' ids and credentials.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench.control.cloud import Tenant, bindings, host_name, objects
from onehop.controller.actor import CONTROLLER
from onehop.controller.auth import new_secret
from onehop.controller.cache import Cache
from onehop.controller.engine import Engine, Operation
from onehop.store import open_store

AT_ONCE = 120  # operations in one commit
IN_FLIGHT = 6


def chunks(items: Iterable[Operation]) -> Iterator[list[Operation]]:
    source = iter(items)
    while chunk := list(islice(source, AT_ONCE)):
        yield chunk


def operations(tenant: Tenant) -> Iterator[Operation]:
    for kind, fields in objects(tenant):
        yield Operation("create", kind, body=fields, project=tenant.name)


async def seed(store_url: str, plan: dict[str, Any]) -> list[dict[str, str]]:
    store = await open_store(store_url)
    cache = await Cache.open(store)
    engine = await Engine.open(store, cache)
    made = [Tenant(t["name"], tuple(t["hosts"])) for t in plan["tenants"]]
    try:
        credentials = await _hosts(engine, plan["hosts"])
        await _all(engine, [Operation("create", "project", body={"name": t.name}) for t in made])
        await asyncio.gather(*(_worker(engine, made[n::IN_FLIGHT]) for n in range(IN_FLIGHT)))
        return credentials
    finally:
        await cache.close()
        await store.close()


async def _all(engine: Engine, wanted: Iterable[Operation]) -> list[Any]:
    results: list[Any] = []
    for chunk in chunks(wanted):
        results += (await engine.commit(chunk, CONTROLLER)).results
    return results


async def _worker(engine: Engine, mine: list[Tenant]) -> None:
    for tenant in mine:
        await _all(engine, operations(tenant))
        await _all(engine, (Operation("create", kind, body=fields) for kind, fields in bindings(tenant)))


async def _hosts(engine: Engine, count: int) -> list[dict[str, str]]:
    """Hosts with credentials, as joining would give them."""
    if not count:
        return []
    await _all(engine, [Operation("create", "underlay", body={"name": "lan"})])
    wanted = []
    for n in range(count):
        address = {"underlay": "lan", "ip": f"172.16.{n >> 8}.{n & 255}"}
        wanted.append(Operation("create", "host", body={"name": host_name(n), "addresses": [address]}))
    made = await _all(engine, wanted)
    credentials: list[dict[str, str]] = []
    tokens: list[Operation] = []
    for result in made:
        id = str(uuid.uuid4())
        secret = new_secret(id)
        trusted = {"id": id, "hash": secret.hash, "host": result.object.id}
        tokens.append(
            Operation("create", "token", body={"name": f"t-{id[:8]}-{len(tokens)}"}, trusted=trusted)
        )
        tokens.append(Operation("create", "role", body={"token": id, "role": "host"}))
        credentials.append({"id": result.object.id, "token": secret.text})
    await _all(engine, tokens)
    return credentials


if __name__ == "__main__":
    print(json.dumps(asyncio.run(seed(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))))
