from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from onehop.controller.cache import Cache, ObjectChange
from onehop.model import Network
from onehop.model.view import Topology
from onehop.store import Put
from tests.controller.desk import Desk, create, delete, objects, patch

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
