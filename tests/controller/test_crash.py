"""A controller killed in the middle of writing: what it acknowledged is there, and nothing by halves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onehop.model import Network, Port, Subnet
from onehop.store import open_store
from tests.controller.desk import assert_in_order

pytestmark = pytest.mark.anyio

# Writes networks with two ports each, many at once, and says which are done.
WRITER = """
import asyncio, sys
from onehop.controller.actor import CONTROLLER
from onehop.controller.cache import Cache
from onehop.controller.engine import Engine, Operation
from onehop.store import open_store

async def write(engine, worker):
    for i in range(100_000):
        name = f"n{worker}-{i}"
        fields = [
            ("network", {"name": name}),
            ("subnet", {"name": "v4", "network": name, "cidr": "10.0.0.0/24"}),
            ("port", {"name": "a", "network": name}),
            ("port", {"name": "b", "network": name}),
        ]
        await engine.commit(
            [Operation("create", kind, body={**body, "project": "p"}) for kind, body in fields], CONTROLLER
        )
        print(name, flush=True)

async def main():
    store = await open_store(sys.argv[1])
    cache = await Cache.open(store)
    engine = await Engine.open(store, cache)
    if cache.view.named("project", None, "p") is None:
        await engine.commit([Operation("create", "project", body={"name": "p"})], CONTROLLER)
    await asyncio.gather(*(write(engine, f"{sys.argv[2]}-{worker}") for worker in range(4)))

asyncio.run(main())
"""


def killed(url: str, run: int, after: int) -> list[str]:
    """What a writer acknowledged before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(run)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(after)]
    finally:
        process.kill()
    rest = process.stdout.read().splitlines()
    process.stdout.close()
    process.wait()
    return [*told, *rest]


async def test_what_a_killed_controller_wrote_is_whole(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    told = [name for run, after in enumerate((3, 20, 41)) for name in killed(url, run, after)]
    store = await open_store(url)
    try:
        view = await assert_in_order(store)
    finally:
        await store.close()
    networks = {network.name: network.id for network in view.all(Network)}
    assert set(filter(None, told)) <= networks.keys()
    for id in networks.values():
        assert len(view.children(Subnet, id)) == 1
        assert len(view.children(Port, id)) == 2
