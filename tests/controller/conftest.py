"""The write path runs against both drivers, etcd being a real one."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onehop.controller.actor import CONTROLLER
from onehop.controller.cache import Cache
from onehop.controller.engine import Engine, Operation
from onehop.store import Store, open_store
from tests.controller.desk import Desk
from tests.support.etcd import EtcdCluster, etcd_for_tests

etcd = pytest.fixture(scope="session")(etcd_for_tests)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One event loop for all tests: gRPC does not survive the end of its loop."""
    yield


@pytest.fixture(params=["sqlite", "etcd"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/store.db"
    cluster: EtcdCluster = request.getfixturevalue("etcd")
    return cluster.url(f"/test-{uuid.uuid4().hex}/")


@pytest.fixture
async def store(url: str, anyio_backend: str) -> AsyncIterator[Store]:
    store = await open_store(url)
    yield store
    await store.close()


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    """An engine on the store, with the projects `mine` and `theirs`."""
    cache = await Cache.open(store)
    engine = await Engine.open(store, cache)
    done = await engine.commit(
        [Operation("create", "project", body={"name": name}) for name in ("mine", "theirs")], CONTROLLER
    )
    mine, theirs = (result.object.id for result in done.results)
    yield Desk(store, cache, engine, mine, theirs)
    await cache.close()


@pytest.fixture
async def other(desk: Desk) -> AsyncIterator[Desk]:
    """A second controller on the same store."""
    cache = await Cache.open(desk.store)
    yield Desk(desk.store, cache, await Engine.open(desk.store, cache), desk.mine, desk.theirs)
    await cache.close()
