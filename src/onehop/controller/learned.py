"""What hosts have learned from traffic at their ports, for the other hosts: followed in the status.

`status/port-learned/<port>/<host>` is written by whichever controller the host reports to; every controller
follows all of it, and passes it on to those of its hosts that follow the port.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, KeysView

import msgspec
import structlog

from onehop.feed.messages import MAX_TOLD, Learned
from onehop.store import Change, Compacted, Store, StoreError, list_all

PREFIX = "status/port-learned/"
RETRY = 1.0

log = structlog.get_logger()
Heard = Callable[[str, str], None]  # a port, and the host that has said something new about it


class _Entry(msgspec.Struct):
    key: str
    via: str = ""


_decoder = msgspec.json.Decoder(dict[str, list[_Entry]])


class LearnedEntries:
    """Open it with `await LearnedEntries.open(store)`; close it when done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, tuple[Learned, ...]]] = {}  # port -> host
        self._listeners: list[Heard] = []
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store: Store) -> LearnedEntries:
        entries = cls(store)
        revision = await entries._load()
        entries._task = asyncio.create_task(entries._follow(revision), name="follow what hosts learn")
        return entries

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def listen(self, listener: Heard) -> None:
        """Call this with every port of which a host has said something."""
        self._listeners.append(listener)

    def ports(self) -> KeysView[str]:
        return self._known.keys()

    def of(self, port: str, but: str) -> tuple[Learned, ...]:
        """What is known of a port, but for what one host said itself."""
        told = self._known.get(port, {})
        return tuple(entry for host, entries in told.items() if host != but for entry in entries)[:MAX_TOLD]

    async def _load(self) -> int:
        listed, revision = await list_all(self._store, PREFIX)
        before, self._known = self._known, {}
        for entry in listed:
            self._take(entry.key, entry.value)
        for port in before.keys() - self._known.keys():
            self._tell(port, "")
        return revision

    async def _follow(self, revision: int) -> None:
        while True:
            try:
                async for batch in self._store.watch(PREFIX, after=revision):
                    self._take_all(batch.changes)
                    revision = batch.revision
            except Compacted:
                log.info("what hosts learned has been compacted away; listing again")
            except StoreError as error:
                log.warning("the store does not tell what hosts learn; trying again", error=str(error))
                await asyncio.sleep(RETRY)
                continue
            with contextlib.suppress(StoreError):
                revision = await self._load()

    def _take_all(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._take(change.key, change.value)

    def _take(self, key: str, value: bytes | None) -> None:
        port, _, host = key.removeprefix(PREFIX).partition("/")
        known = self._known.setdefault(port, {})
        known.pop(host, None)
        if value is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                known[host] = _entries(port, value)
        if not known:
            del self._known[port]
        self._tell(port, host)

    def _tell(self, port: str, host: str) -> None:
        for listener in self._listeners:
            listener(port, host)


def _entries(port: str, value: bytes) -> tuple[Learned, ...]:
    lists = _decoder.decode(value)
    return tuple(
        Learned(port, what, entry.key, entry.via)  # type: ignore[arg-type]
        for what, entries in lists.items()
        if what in ("mac", "neighbour")
        for entry in entries
    )
