"""Which hosts are there. Advisory: it is shown, and says whom not to wait for; no packet depends on it.

A host is there while some controller has its feed; that controller says so under a lease of its own
(`status/host/<host>/<controller>`). A host that has been gone for a lease time counts as dead, except

* while the judge itself has been up for less than two lease times: it may not have heard yet;
* when more than a fifth of the hosts went together: then something else is wrong than they.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from onehop.store import Change, Compacted, Store, StoreError, list_all

HOSTS = "status/host/"
CONTROLLERS = "status/controller/"
SHARE = 5  # more than one in so many at once is not believed
RETRY = 1.0

log = structlog.get_logger()


class Judge:
    """Pure: told who came and went, and when; says who is dead."""

    def __init__(self, lease: float, now: float) -> None:
        self._lease = lease
        self._started = now
        self._here: set[str] = set()
        self._lost: dict[str, float] = {}

    def is_here(self, host: str) -> bool:
        return host in self._here

    def came(self, host: str) -> None:
        self._here.add(host)
        self._lost.pop(host, None)

    def went(self, host: str, now: float) -> None:
        """Also for a host that was never here: then it went when it was first missed."""
        self._here.discard(host)
        self._lost.setdefault(host, now)

    def only(self, hosts: set[str]) -> None:
        """There are no hosts but these; others no longer count."""
        self._lost = {host: at for host, at in self._lost.items() if host in hosts}

    def dead(self, now: float) -> set[str]:
        if now - self._started < 2 * self._lease:
            return set()
        times = sorted(self._lost.values())
        most = max(1, (len(self._here) + len(self._lost)) // SHARE)

        def together(at: float) -> int:
            return bisect_right(times, at + self._lease) - bisect_left(times, at - self._lease)

        return {host for host, at in self._lost.items() if now - at >= self._lease and together(at) <= most}


class Presence:
    """Follows who is where. Open it with `await Presence.open(...)`; close it when done."""

    def __init__(self, store: Store, lease: float, hosts: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._hosts = hosts
        self._clock = asyncio.get_running_loop().time
        self._judge = Judge(lease, self._clock())
        self._at: dict[str, set[str]] = {}
        self._at_start: set[str] = set()  # hosts that there were, which may have been here before us
        self._came: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[], None]] = []
        self.controllers: dict[str, dict[str, Any]] = {}

    @classmethod
    async def open(cls, store: Store, lease: float, hosts: Callable[[], Iterable[str]]) -> Presence:
        """`hosts` says which hosts there are meant to be."""
        presence = cls(store, lease, hosts)
        for prefix, take in ((HOSTS, presence._take_host), (CONTROLLERS, presence._take_controller)):
            revision = await presence._load(prefix, take)
            follow = presence._follow(prefix, take, revision)
            presence._tasks.append(asyncio.create_task(follow, name=f"follow {prefix}"))
        presence.look()
        presence._at_start = set(hosts())
        return presence

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this whenever something changed."""
        self._listeners.append(listener)

    def is_here(self, host: str) -> bool:
        """Whether some controller has the host's feed."""
        return self._judge.is_here(host)

    def where(self, host: str) -> frozenset[str]:
        """The controllers that say they have the host's feed."""
        return frozenset(self._at.get(host, ()))

    def never_came(self, host: str) -> bool:
        """Whether a host is new and no controller has had its feed yet, as far as this one can know."""
        return host not in self._at_start and host not in self._came

    def dead(self) -> set[str]:
        return self._judge.dead(self._clock())

    def look(self) -> None:
        """Take account of hosts that were made or removed."""
        hosts = set(self._hosts())
        for host in hosts - self._at.keys():
            self._judge.went(host, self._clock())
        self._judge.only(hosts)

    async def _load(self, prefix: str, take: Callable[[str, bytes | None], None]) -> int:
        entries, revision = await list_all(self._store, prefix)
        known = [*self._keys(prefix)]
        listed = {entry.key for entry in entries}
        for key in known:
            if key not in listed:
                take(key, None)
        for entry in entries:
            take(entry.key, entry.value)
        return revision

    def _keys(self, prefix: str) -> Iterable[str]:
        if prefix == CONTROLLERS:
            return [f"{CONTROLLERS}{name}/{name}" for name in self.controllers]
        return [f"{HOSTS}{host}/{name}" for host, names in self._at.items() for name in names]

    async def _follow(self, prefix: str, take: Callable[[str, bytes | None], None], revision: int) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._store.watch(prefix, after=revision)) as watch:
                    async for batch in watch:
                        self._take_all(batch.changes, take)
                        revision = batch.revision
            except Compacted:
                log.info("changes of status have been compacted away; listing again", prefix=prefix)
            except StoreError as error:
                log.warning("the store does not tell of status; trying again", error=str(error))
                await asyncio.sleep(RETRY)
            with contextlib.suppress(StoreError):
                revision = await self._load(prefix, take)
                self._tell()

    def _take_all(self, changes: Iterable[Change], take: Callable[[str, bytes | None], None]) -> None:
        for change in changes:
            take(change.key, change.value)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _take_host(self, key: str, value: bytes | None) -> None:
        host, _, controller = key.removeprefix(HOSTS).partition("/")
        at = self._at.setdefault(host, set())
        if value is not None:
            at.add(controller)
            self._came.add(host)
            self._judge.came(host)
            return
        at.discard(controller)
        if not at:
            del self._at[host]
            self._judge.went(host, self._clock())

    def _take_controller(self, key: str, value: bytes | None) -> None:
        name = key.rpartition("/")[2]
        self.controllers.pop(name, None)
        if value is not None:
            with contextlib.suppress(msgspec.DecodeError):
                told = msgspec.json.decode(value)
                self.controllers[name] = told if isinstance(told, dict) else {}
