"""Each test of the suite runs against both drivers, etcd being a real one."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onehop.store import Store, open_store
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
