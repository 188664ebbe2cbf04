"""Listings are of one revision, however many pages they take and whatever their size."""

from __future__ import annotations

import asyncio

import pytest

from onehop.store import Absent, Committed, Delete, Page, Put, Store, StoreError, list_all

pytestmark = pytest.mark.anyio


async def fill(store: Store, count: int, size: int = 10) -> None:
    for start in range(0, count, 100):
        outcome = await store.transact(
            [], [Put(f"obj/{n:05}", b"%0*d" % (size, n)) for n in range(start, min(start + 100, count))]
        )
        assert isinstance(outcome, Committed)


def keys(page: Page) -> list[str]:
    return [entry.key for entry in page.entries]


async def test_nothing_is_listed_as_nothing(store: Store) -> None:
    page = await store.list("obj/")
    assert (page.entries, page.next, page.revision) == ([], None, await store.revision())


async def test_a_prefix_lists_its_keys_in_order_and_no_others(store: Store) -> None:
    names = ["obj", "obj.", "obj/b", "obj/a", "obj/a/x", "obj/\U0010ffff", "obj0", "objé", "z"]
    await store.transact([], [Put(name, b"") for name in names])
    assert keys(await store.list("obj/")) == ["obj/a", "obj/a/x", "obj/b", "obj/\U0010ffff"]
    assert keys(await store.list("obj/a")) == ["obj/a", "obj/a/x"]
    assert keys(await store.list("obj/\U0010ffff")) == ["obj/\U0010ffff"]
    assert keys(await store.list("")) == sorted(names)


async def test_pages_follow_each_other_without_gap_or_repeat(store: Store) -> None:
    await fill(store, 25)
    page = await store.list("obj/", limit=10)
    seen = keys(page)
    while page.next is not None:
        page = await store.list("obj/", start=page.next, revision=page.revision, limit=10)
        seen += keys(page)
    assert seen == [f"obj/{n:05}" for n in range(25)]


async def test_a_page_that_ends_with_the_last_key_is_the_last(store: Store) -> None:
    await fill(store, 20)
    assert (await store.list("obj/", limit=20)).next is None
    assert (await store.list("obj/", limit=19)).next is not None


async def test_pages_are_of_one_revision_while_writes_go_on(store: Store) -> None:
    await fill(store, 300)
    before, _ = await list_all(store, "obj/")
    going, written = True, 0

    async def disturb(lane: int) -> None:
        nonlocal written
        number = lane
        while going:
            number = (number + 7) % 300
            await store.transact([], [Put(f"obj/{number:05}", b"changed"), Put(f"obj/{number:05}+", b"new")])
            await store.transact([], [Delete(f"obj/{(number * 3) % 300:05}")])
            written += 1

    async def disturbed() -> None:
        seen = written
        while written == seen:  # noqa: ASYNC110 - writers go on without an end
            await asyncio.sleep(0)

    page = await store.list("obj/", limit=7)
    entries = list(page.entries)
    writers = [asyncio.create_task(disturb(lane)) for lane in range(4)]
    while page.next is not None:
        await disturbed()
        page = await store.list("obj/", start=page.next, revision=page.revision, limit=7)
        entries += page.entries
    going = False
    await asyncio.gather(*writers)
    assert entries == before
    assert await store.revision() > page.revision + 20


async def test_an_older_revision_is_listed_as_it_was(store: Store) -> None:
    await store.transact([], [Put("obj/a", b"1"), Put("obj/b", b"1")])
    then = await store.revision()
    entries = (await store.list("obj/")).entries
    await store.transact([], [Put("obj/a", b"2"), Delete("obj/b"), Put("obj/c", b"1")])
    await store.transact([], [Put("obj/b", b"3"), Delete("obj/a")])
    page = await store.list("obj/", revision=then)
    assert (page.entries, page.revision) == (entries, then)
    assert keys(await store.list("obj/", revision=then + 1)) == ["obj/a", "obj/c"]
    assert keys(await store.list("obj/")) == ["obj/b", "obj/c"]


async def test_a_listing_beyond_four_megabytes_is_whole(store: Store) -> None:
    value = bytes(500_000)
    for n in range(20):
        await store.transact([Absent(f"obj/{n:02}")], [Put(f"obj/{n:02}", value)])
    entries, _ = await list_all(store, "obj/")
    assert [entry.key for entry in entries] == [f"obj/{n:02}" for n in range(20)]
    assert all(entry.value == value for entry in entries)


async def test_many_small_then_many_large_entries_are_listed_whole(store: Store) -> None:
    await fill(store, 3000)
    for n in range(100):
        await store.transact([], [Put(f"obj/x{n:03}", bytes(900_000))])
    entries, _ = await list_all(store, "obj/", limit=5000)
    assert len(entries) == 3100
    assert sum(len(entry.value) for entry in entries) == 3000 * 10 + 100 * 900_000


async def test_a_revision_that_is_not_yet_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="future"):
        await store.list("obj/", revision=await store.revision() + 100)


async def test_a_page_of_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await store.list("obj/", limit=0)
