from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onehop.store import Store, open_store
from tests.support.etcd import etcd_for_tests

etcd = pytest.fixture(scope="session")(etcd_for_tests)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One event loop for all tests: gRPC does not survive the end of its loop."""
    yield


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite://{tmp_path}/store.db")
    yield store
    await store.close()
