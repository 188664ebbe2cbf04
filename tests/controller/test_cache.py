from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.engine import Engine, Operation
from onehop.model import Host, Network
from onehop.model.view import Topology
from onehop.store import Put
from onehop.store.sqlite import SqliteStore
from tests.controller.desk import ADMIN, Desk, create, delete, objects, patch

pytestmark = pytest.mark.anyio


class Notes:
    """What a subscriber was told, and the topology that it makes of it."""

    def __init__(self, cache: Cache) -> None:
        self.revisions: list[int] = []
        self.view = Topology(cache.view)
        self.cache = cache
        cache.subscribe(self)

    def __call__(self, revision: int, changes: Sequence[ObjectChange]) -> None:
        self.revisions.append(revision)
        assert self.cache.revision == revision
        for change in changes:
            assert self.view.find(change.id) == change.before
            assert self.cache.view.find(change.id) == change.after
            if change.after is not None:
                self.view.put(change.after)
            else:
                self.view.remove(change.id)


def same(a: Topology, b: Topology) -> bool:
    return {obj.id: obj for obj in a} == {obj.id: obj for obj in b}


async def test_a_cache_follows_what_others_write(desk: Desk, other: Desk) -> None:
    done = await desk.do(create("network", name="web"))
    async with asyncio.timeout(10):
        await other.cache.wait_for(done.revision)
    assert same(other.cache.view, desk.cache.view)
    assert other.cache.revision_of(done.results[0].object.id) == done.revision


async def test_a_new_cache_holds_what_is_there(desk: Desk) -> None:
    await desk.web()
    cache = await Cache.open(desk.store)
    assert same(cache.view, desk.cache.view)
    assert all(cache.revision_of(o.id) == desk.cache.revision_of(o.id) for o in cache.view)
    await cache.close()


async def test_subscribers_are_told_every_change_in_order(desk: Desk, other: Desk) -> None:
    notes = Notes(other.cache)
    for i in range(20):
        await desk.do(create("network", name=f"n{i}"))
    await desk.do(patch("network", "n3", mtu=1400), delete("network", "n4"))
    async with asyncio.timeout(10):
        await other.cache.wait_for(desk.cache.revision)
    assert notes.revisions == sorted(set(notes.revisions))
    assert len(notes.revisions) == 21
    assert same(notes.view, desk.cache.view)


async def test_what_a_compaction_took_away_is_listed_and_told_as_a_difference(desk: Desk) -> None:
    """A cache that stands still while the store forgets what it has not seen."""
    await desk.do(create("network", name="old"), create("network", name="kept"))
    cache = await Cache.open(desk.store)
    await cache.close()  # it stands still
    notes = Notes(cache)
    await desk.do(delete("network", "old"), patch("network", "kept", mtu=1400), create("network", name="new"))
    await desk.do(create("network", name="newer"))
    await desk.store.compact(await desk.store.revision())
    cache._task = asyncio.create_task(cache._follow())
    async with asyncio.timeout(10):
        await cache.wait_for(desk.cache.revision)
    assert same(cache.view, desk.cache.view)
    assert same(notes.view, desk.cache.view)
    assert len(notes.revisions) == 1
    assert cache.holders.scope("name/network/" + desk.mine).keys() == {"kept", "new", "newer"}
    await cache.close()


async def test_other_keys_do_not_wake_subscribers(desk: Desk) -> None:
    notes = Notes(desk.cache)
    await desk.store.transact((), [Put("status/network/x/y", b"{}")])
    await desk.do(create("network", name="web"))
    assert len(notes.revisions) == 1
    assert same(notes.view, await objects(desk.store))


async def test_a_subscription_ends(desk: Desk) -> None:
    told: list[int] = []
    end = desk.cache.subscribe(lambda revision, changes: told.append(revision))
    await desk.do(create("network", name="a"))
    end()
    await desk.do(create("network", name="b"))
    assert len(told) == 1
    assert len(desk.cache.view.all(Network)) == 2


async def test_a_subscriber_that_fails_keeps_nobody_else_from_going_on(desk: Desk) -> None:
    def fail(revision: int, changes: Sequence[ObjectChange]) -> None:
        raise RuntimeError("mine alone")

    desk.cache.subscribe(fail)
    notes = Notes(desk.cache)
    await desk.do(create("network", name="a"))
    await desk.do(create("network", name="b"))
    assert len(notes.revisions) == 2


async def test_a_restored_store_is_listed_and_told_as_a_difference(tmp_path: Path) -> None:
    """The cache goes on at a backup, whose history went another way since."""
    first = await SqliteStore.open(tmp_path / "first.db")
    at_first = await Cache.open(first)
    engine = Engine(first, at_first)

    async def do(engine: Engine, *operations: Operation) -> None:
        await engine.commit(operations, ADMIN)

    await do(engine, create("project", name="p"), create("host", name="a"), create("host", name="b"))
    await first.backup(tmp_path / "second.db")
    await do(engine, patch("host", "a", title="lost"), create("host", name="lost"), delete("host", "b"))

    second = await SqliteStore.open(tmp_path / "second.db")
    at_second = await Cache.open(second)
    await do(Engine(second, at_second), create("host", name="new"))

    await at_first.close()  # it stands still
    notes = Notes(at_first)
    at_first._store = second
    told = asyncio.Event()
    at_first.subscribe(lambda revision, changes: told.set())
    at_first._task = asyncio.create_task(at_first._follow())
    async with asyncio.timeout(10):
        await told.wait()
    assert same(at_first.view, at_second.view)
    assert at_first.incarnation == second.incarnation
    assert at_first.revision == at_second.revision
    assert same(notes.view, at_second.view)
    assert {host.name for host in at_first.view.all(Host)} == {"a", "b", "new"}
    assert at_first.holders.scope("name/host/-").keys() == {"a", "b", "new"}
    for cache in (at_first, at_second):
        await cache.close()
    for store in (first, second):
        await store.close()


async def test_who_has_given_up_waiting_is_forgotten(desk: Desk) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await desk.cache.wait_for(10**15)
    assert desk.cache._waiters == []
