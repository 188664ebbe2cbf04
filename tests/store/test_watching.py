"""A watch delivers every change once, in order, the changes of a revision together."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from onehop.store import (
    Batch,
    Change,
    Committed,
    Compacted,
    Delete,
    Put,
    Store,
    StoreError,
    Unavailable,
    list_all,
)

pytestmark = pytest.mark.anyio


async def commit(store: Store, *writes: Put | Delete) -> int:
    outcome = await store.transact([], writes)
    assert isinstance(outcome, Committed)
    return outcome.revision


async def until(store: Store, prefix: str, after: int, last: int) -> list[Batch]:
    """What a watch delivers up to a revision, marks of progress left out."""
    batches: list[Batch] = []
    async with asyncio.timeout(30), aclosing(store.watch(prefix, after=after)) as watch:
        async for batch in watch:
            if batch.changes:
                batches.append(batch)
            if batch.revision >= last:
                break
    return batches


async def test_changes_of_the_past_are_delivered_by_revision(store: Store) -> None:
    start = await store.revision()
    first = await commit(store, Put("obj/a", b"1"), Put("other", b""), Put("obj/b", b"1"))
    second = await commit(store, Put("obj/a", b"2"))
    third = await commit(store, Delete("obj/b"), Put("obj/c", b"1"))
    assert await until(store, "obj/", start, third) == [
        Batch(first, (Change("obj/a", b"1", first), Change("obj/b", b"1", first))),
        Batch(second, (Change("obj/a", b"2", first),)),
        Batch(third, (Change("obj/b", None, 0), Change("obj/c", b"1", third))),
    ]
    assert [batch.revision for batch in await until(store, "obj/", first, third)] == [second, third]


async def test_a_watch_from_the_beginning_sees_everything(store: Store) -> None:
    revisions = [await commit(store, Put("obj/a", b"%d" % n)) for n in range(3)]
    # etcd is shared by the tests, and others may have compacted it.
    try:
        batches = await until(store, "obj/", 0, revisions[-1])
    except Compacted as compacted:
        batches = await until(store, "obj/", compacted.oldest, revisions[-1])
    assert [batch.revision for batch in batches] == revisions


async def test_changes_arrive_as_they_happen(store: Store) -> None:
    async with asyncio.timeout(30), aclosing(store.watch("obj/", after=await store.revision())) as watch:
        for n in range(5):
            waiting = asyncio.create_task(_next_change(watch))
            revision = await commit(store, Put("obj/a", b"%d" % n))
            batch = await waiting
            assert batch.revision == revision
            assert [change.value for change in batch.changes] == [b"%d" % n]


async def _next_change(watch: object) -> Batch:
    async for batch in watch:  # type: ignore[attr-defined]
        if batch.changes:
            found: Batch = batch
            return found
    raise AssertionError("a watch goes on for ever")


async def test_no_gap_and_no_repeat_while_many_write(store: Store) -> None:
    start = await store.revision()

    async def write(lane: int) -> None:
        for n in range(50):
            await commit(store, Put(f"obj/{lane}/{n}", b""), Put(f"obj/{lane}/last", b"%d" % n))

    writers = [asyncio.create_task(write(lane)) for lane in range(8)]
    early = asyncio.create_task(until(store, "obj/", start, start + 400))
    await asyncio.gather(*writers)
    late = await until(store, "obj/", start, start + 400)
    assert [batch.revision for batch in late] == list(range(start + 1, start + 401))
    assert all(len(batch.changes) == 2 for batch in late)
    assert await early == late


async def test_a_replayed_watch_ends_in_what_a_listing_shows(store: Store) -> None:
    start = await store.revision()
    for n in range(60):
        await commit(
            store, Put(f"obj/{n % 7}", b"%d" % n), *([Delete(f"obj/{n % 5}")] if n % 5 != n % 7 else [])
        )
    state: dict[str, bytes] = {}
    for batch in await until(store, "obj/", start, await store.revision()):
        for change in batch.changes:
            if change.value is None:
                del state[change.key]
            else:
                state[change.key] = change.value
    assert state == {entry.key: entry.value for entry in (await list_all(store, "obj/"))[0]}


async def test_large_revisions_arrive_whole(store: Store) -> None:
    """etcd sends what is more than a megabyte and a half in fragments."""
    start = await store.revision()
    for n in range(6):
        await commit(store, *(Put(f"obj/{n}/{part:02}", bytes(25_000)) for part in range(50)))
    batches = await until(store, "obj/", start, start + 6)
    assert [(batch.revision - start, len(batch.changes)) for batch in batches] == [
        (n, 50) for n in range(1, 7)
    ]


async def test_progress_is_marked_though_nothing_changes_under_the_prefix(store: Store) -> None:
    start = await store.revision()
    last = await commit(store, Put("other/a", b""))
    assert await until(store, "obj/", start, last) == []


async def test_watches_do_not_disturb_each_other(store: Store) -> None:
    start = await store.revision()
    tasks = [asyncio.create_task(until(store, f"obj/{n}/", start, start + 10)) for n in range(10)]
    for n in range(10):
        await commit(store, *(Put(f"obj/{lane}/{n}", b"") for lane in range(10)))
    assert [len(batches) for batches in await asyncio.gather(*tasks)] == [10] * 10


async def test_a_watch_of_another_history_is_told_to_list_again(store: Store) -> None:
    with pytest.raises(Compacted):
        await until(store, "obj/", await store.revision() + 1000, 0)


async def test_closing_the_store_ends_its_watches(store: Store) -> None:
    watching = asyncio.create_task(until(store, "obj/", await store.revision(), 1 << 60))
    first = await commit(store, Put("obj/a", b""))
    assert await until(store, "obj/", first - 1, first)
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await watching


async def test_a_cancelled_watch_is_cancelled(store: Store) -> None:
    watching = asyncio.create_task(until(store, "obj/", await store.revision(), 1 << 60))
    await commit(store, Put("obj/a", b""))
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await commit(store, Put("obj/a", b""))


# --- compaction -------------------------------------------------------------------------------------


async def test_what_was_compacted_is_gone_and_the_rest_stays(store: Store) -> None:
    first = await commit(store, Put("obj/a", b"1"), Put("obj/b", b"1"), Put("obj/gone", b"1"))
    await commit(store, Put("obj/a", b"2"))
    kept = await commit(store, Delete("obj/gone"))
    then = (await list_all(store, "obj/"))[0]
    last = await commit(store, Put("obj/a", b"3"))
    await store.compact(kept)
    for old in (first, kept - 1):
        with pytest.raises(Compacted) as caught:
            await until(store, "obj/", old, last)
        assert caught.value.oldest == kept
        with pytest.raises(Compacted) as caught:
            await store.list("obj/", revision=old)
        assert caught.value.oldest == kept
    assert list((await store.list("obj/", revision=kept)).entries) == then
    assert [batch.revision for batch in await until(store, "obj/", kept, last)] == [last]
    entries, revision = await list_all(store, "obj/")
    assert [(entry.key, entry.value) for entry in entries] == [("obj/a", b"3"), ("obj/b", b"1")]
    assert revision == last


async def test_older_revisions_stay_right_after_a_compaction(store: Store) -> None:
    for n in range(30):
        await commit(store, Put(f"obj/{n % 6}", b"%d" % n), Delete(f"obj/{(n + 3) % 6}"))
    middle = await store.revision()
    then = (await store.list("obj/")).entries
    for n in range(30):
        await commit(store, Delete(f"obj/{n % 6}"), Put(f"obj/{(n + 3) % 6}", b"later"))
    await store.compact(middle - 5)
    assert (await store.list("obj/", revision=middle)).entries == then
    await store.compact(middle)
    assert (await store.list("obj/", revision=middle)).entries == then


async def test_a_watch_that_follows_is_not_disturbed_by_compaction(store: Store) -> None:
    async with asyncio.timeout(30), aclosing(store.watch("obj/", after=await store.revision())) as watch:
        for n in range(10):
            revision = await commit(store, Put("obj/a", b"%d" % n))
            assert (await _next_change(watch)).revision == revision
            await store.compact(revision)


async def test_compacting_twice_does_nothing_and_to_the_future_is_refused(store: Store) -> None:
    revision = await commit(store, Put("obj/a", b""))
    await store.compact(revision)
    await store.compact(revision)
    await store.compact(revision - 1)
    with pytest.raises(StoreError, match="cannot compact"):
        await store.compact(revision + 1000)
