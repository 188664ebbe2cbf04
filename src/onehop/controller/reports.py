"""What a controller writes of status: `status/<kind>/<id>/<reporter>`, coalesced.

The newest word on a key wins, and is written with whatever else waits, in few transactions. *Present* keys
hang on one lease of this controller: they are gone soon after it is, and come back if only the lease was
lost. When the store cannot be reached, reports wait; they are bounded by what there is to report on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from onehop.store import Delete, LeaseGone, Put, Store, StoreError

COALESCE = 0.02  # seconds that a report waits for company
RETRY = 1.0
MOST = 128  # writes in one transaction

Value = Mapping[str, Any]
log = structlog.get_logger()


def key(kind: str, id: str, reporter: str) -> str:
    return f"status/{kind}/{id}/{reporter}"


class Reports:
    """Open it with `await Reports.open(store, lease)`; close it when done."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self.lease = 0
        self._waiting: dict[str, Value | None] = {}
        self._present: dict[str, Value] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, store: Store, seconds: float) -> Reports:
        reports = cls(store, seconds)
        reports.lease = await store.grant(seconds)
        reports._tasks = [
            asyncio.create_task(reports._write_on(), name="write status"),
            asyncio.create_task(reports._stay(), name="keep the controller's lease"),
        ]
        return reports

    async def close(self) -> None:
        """Stop, and take back what hangs on the lease."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._store.revoke(self.lease)

    def put(self, key: str, value: Value) -> None:
        """Say something that stays."""
        self._present.pop(key, None)
        self._say(key, value)

    def present(self, key: str, value: Value) -> None:
        """Say something that is true while this controller is there."""
        self._present[key] = value
        self._say(key, value)

    def remove(self, key: str) -> None:
        self._present.pop(key, None)
        self._say(key, None)

    def _say(self, key: str, value: Value | None) -> None:
        self._waiting[key] = value
        self._wake.set()

    async def _write_on(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(COALESCE)
            self._wake.clear()
            while self._waiting:
                some = {key: self._waiting.pop(key) for key in list(self._waiting)[:MOST]}
                try:
                    await self._write(some)
                except StoreError as error:
                    # What was said meanwhile is newer.
                    self._waiting = {**some, **self._waiting}
                    log.warning("status cannot be written; trying again", error=str(error))
                    await asyncio.sleep(RETRY)

    async def _write(self, some: Mapping[str, Value | None]) -> None:
        try:
            await self._store.transact([], [self._written(key, value) for key, value in some.items()])
        except LeaseGone:
            await self._return()
            await self._store.transact([], [self._written(key, value) for key, value in some.items()])

    def _written(self, key: str, value: Value | None) -> Put | Delete:
        if value is None:
            return Delete(key)
        return Put(key, msgspec.json.encode(value), self.lease if key in self._present else None)

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                if not await self._store.keep_alive(self.lease):
                    await self._return()
            except StoreError as error:
                log.warning("the lease cannot be kept alive; trying again", error=str(error))

    async def _return(self) -> None:
        """The lease is gone: take another, and say again what hung on it."""
        self.lease = await self._store.grant(self._seconds)
        self._waiting = {**self._present, **self._waiting}
        self._wake.set()
