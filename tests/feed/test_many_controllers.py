"""Controllers side by side on one etcd; one of them is killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onehop.store import open_store
from tests.feed.town import BLUE, GATEWAY, H1, H2, H3, RED, TOWN, bound, port, retitled
from tests.support.etcd import EtcdCluster
from tests.support.feeding import Watcher, controller, until, watching, write

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def feeding_process(store: str, name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.feed.feeding_process",
        store,
        name,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_hosts_of_a_killed_controller_go_on_at_another_without_a_gap(
    etcd: EtcdCluster, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    url = etcd.url(f"/test-{uuid.uuid4().hex}/")
    store = await open_store(url)
    await write(store, *TOWN)
    made: list[int] = []
    async with (
        contextlib.AsyncExitStack() as stack,
        controller(store, name="survivor", lease=2.0) as survivor,
        feeding_process(url, "victim") as (process, victim),
    ):
        hosts: list[Watcher] = [
            await stack.enter_async_context(watching(host, victim, survivor.url, kept=tmp_path / host))
            for host in (H1, H2, H3, GATEWAY)
        ]
        await until(lambda: all(host.has(survivor) for host in hosts))
        for step in range(150):
            if step == 75:
                process.kill()
            if made and chance.random() < 0.3:
                n = made.pop(chance.randrange(len(made)))
                await write(store, gone=[bound(port(RED, n), H1), port(RED, n)])
            else:
                n = 100 + step
                made.append(n)
                tenant = port(chance.choice((RED, BLUE)), 10)
                new = port(RED, n)
                revision = await write(store, new, bound(new, chance.choice((H1, H2))))
                revision = await write(store, retitled(tenant, str(step)))
        result = await survivor.wait(revision)
        assert result.done
        await until(lambda: all(host.has(survivor) for host in hosts))
        assert set(survivor.sessions) == {H1, H2, H3, GATEWAY}
    await store.close()


async def test_waiting_covers_the_hosts_of_other_controllers(etcd: EtcdCluster) -> None:
    url = etcd.url(f"/test-{uuid.uuid4().hex}/")
    one, other = await open_store(url), await open_store(url)
    await write(one, *TOWN)
    async with (
        controller(one, name="one") as a,
        controller(other, name="other") as b,
        watching(H1, a.url) as near,
        watching(H2, b.url) as far,
        watching(GATEWAY, b.url) as gateway,
    ):
        await until(lambda: near.has(a) and far.has(b) and gateway.has(b))
        await until(lambda: len(a.feed.presence.controllers) == len(b.feed.presence.controllers) == 2)
        await until(lambda: all(a.feed.presence.is_here(host) for host in (H1, H2, GATEWAY)))
        revision = await write(one, retitled(port(RED, 10), "first"))
        assert (await a.wait(revision)).done
        assert far.mirror[port(RED, 10).id].title == "first"
        far.may_apply.clear()
        revision = await write(one, retitled(port(RED, 10), "second"))
        result = await a.wait(revision, 1)
        assert (result.waiting, result.dead) == ((H2,), ())
        far.may_apply.set()
        assert (await a.wait(revision)).done
    await other.close()
    await one.close()
