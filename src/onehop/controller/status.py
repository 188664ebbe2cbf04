"""What hosts and controllers say of objects: `status/<kind>/<id>/<reporter>`, followed by watch.

Status is kept beside objects and never raises their revision. Of several reports on one object, the reply
shows the one of the host that matters: for a port, the host of its active binding; else the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import structlog

from onehop.model import Port
from onehop.model.view import View
from onehop.store import Change, Compacted, Store, StoreError, list_all

PREFIX = "status/"
RETRY = 1.0

Status = dict[str, Any]
log = structlog.get_logger()


class Statuses:
    """All reports, by object. Open it with `await Statuses.open(store)`; close it when done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports: dict[tuple[str, str], dict[str, Status]] = {}
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store: Store) -> Statuses:
        statuses = cls(store)
        revision = await statuses._load()
        statuses._task = asyncio.create_task(statuses._follow(revision), name="follow status")
        return statuses

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def of(self, kind: str, id: str, view: View) -> Status | None:
        """The status of an object as its reply shows it; None when nobody has said anything."""
        reports = self._reports.get((kind, id))
        if not reports:
            return None
        if kind == Port.__name__.lower():
            binding = view.active_binding(id)
            if binding is not None and binding.host in reports:
                return reports[binding.host]
        return next(reversed(reports.values()))

    async def _load(self) -> int:
        entries, revision = await list_all(self._store, PREFIX)
        self._reports.clear()
        for entry in sorted(entries, key=lambda e: e.revision):
            self._take(entry.key, entry.value)
        return revision

    async def _follow(self, revision: int) -> None:
        while True:
            try:
                async for batch in self._store.watch(PREFIX, after=revision):
                    self._take_all(batch.changes)
                    revision = batch.revision
            except Compacted:
                log.info("status changes have been compacted away; listing again")
            except StoreError as error:
                log.warning("the store does not tell of status changes; trying again", error=str(error))
                await asyncio.sleep(RETRY)
                continue
            with contextlib.suppress(StoreError):
                revision = await self._load()

    def _take_all(self, changes: Any) -> None:
        change: Change
        for change in changes:
            self._take(change.key, change.value)

    def _take(self, key: str, value: bytes | None) -> None:
        _, kind, id, reporter = (*key.split("/", 3), "", "")[:4]
        reports = self._reports.setdefault((kind, id), {})
        reports.pop(reporter, None)  # so that the newest report stands last
        if value is not None:
            with contextlib.suppress(msgspec.DecodeError):
                told = msgspec.json.decode(value)
                if isinstance(told, dict):
                    reports[reporter] = told
        if not reports:
            del self._reports[(kind, id)]
