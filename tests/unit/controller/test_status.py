"""What hosts say of objects shows in replies, beside the object and without touching its revision."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from onehop.controller.status import Statuses
from onehop.model import Binding
from onehop.model.view import Topology
from onehop.store import Delete, Put, Store, open_store

PORT, ONE, TWO = "p" * 36, "host-1", "host-2"


def report(host: str, **status: str) -> Put:
    return Put(f"status/port/{PORT}/{host}", json.dumps(status).encode())


@contextlib.asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[tuple[Store, Statuses]]:
    store = await open_store(f"sqlite://{directory / 'store.db'}")
    await store.transact((), [report(ONE, state="active")])
    statuses = await Statuses.open(store)
    try:
        yield store, statuses
    finally:
        await statuses.close()
        await store.close()


async def until_told(statuses: Statuses, view: Topology, state: str | None) -> None:
    async with asyncio.timeout(10):
        while (statuses.of("port", PORT, view) or {}).get("state") != state:  # noqa: ASYNC110  (it tells nobody of news)
            await asyncio.sleep(0.005)


def test_the_newest_report_is_shown_and_a_deleted_one_is_not(tmp_path: Path) -> None:
    async def story() -> None:
        view = Topology()
        async with opened(tmp_path) as (store, statuses):
            await until_told(statuses, view, "active")
            await store.transact((), [report(TWO, state="down")])
            await until_told(statuses, view, "down")
            await store.transact((), [Delete(f"status/port/{PORT}/{TWO}")])
            await until_told(statuses, view, "active")
            await store.transact((), [Delete(f"status/port/{PORT}/{ONE}")])
            await until_told(statuses, view, None)

    asyncio.run(story())


def test_of_a_ports_reports_the_one_of_its_active_host_is_shown(tmp_path: Path) -> None:
    async def story() -> None:
        view = Topology([Binding(id="b", name="b", port=PORT, host=ONE)])
        async with opened(tmp_path) as (store, statuses):
            await store.transact((), [report(TWO, state="down")])
            await store.transact((), [report(ONE, state="moving")])
            await store.transact((), [report(TWO, state="late")])
            await until_told(statuses, view, "moving")
            await until_told(statuses, Topology(), "late")

    asyncio.run(story())


def test_a_report_that_cannot_be_read_is_no_report(tmp_path: Path) -> None:
    async def story() -> None:
        view = Topology()
        async with opened(tmp_path) as (store, statuses):
            await store.transact((), [Put(f"status/port/{PORT}/{ONE}", b"\xff")])
            await until_told(statuses, view, None)
            await store.transact((), [report(ONE, state="again")])
            await until_told(statuses, view, "again")

    asyncio.run(story())
