"""What is SQLite's own: the file, its owner, its checks. What all drivers do is in `tests/store/`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from onehop.store import Incompatible, Put, StoreError, Unavailable, open_store
from onehop.store.sqlite import SqliteStore, mark_restored


async def written(path: Path, count: int = 1) -> str:
    """Make a store with some keys, close it, and give its incarnation."""
    store = await SqliteStore.open(path)
    for number in range(count):
        await store.transact([], [Put(f"obj/{number:05}", b"x" * 100)])
    await store.close()
    return store.incarnation


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "store.db"
        incarnation = await written(path, 3)
        store = await open_store(f"sqlite://{path}")
        page = await store.list("obj/")
        assert [entry.key for entry in page.entries] == ["obj/00000", "obj/00001", "obj/00002"]
        assert page.revision == await store.revision() == 4
        assert store.incarnation == incarnation
        await store.close()

    asyncio.run(run())


def test_a_second_opener_is_told_who_owns_the_file(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        with pytest.raises(Unavailable, match=r"in use by process \d+.*etcd"):
            await SqliteStore.open(tmp_path / "store.db")
        await store.close()
        await (await SqliteStore.open(tmp_path / "store.db")).close()

    asyncio.run(run())


@pytest.mark.parametrize("place", [0, 5000])
def test_a_corrupt_file_is_refused_with_the_way_out(tmp_path: Path, place: int) -> None:
    path = tmp_path / "store.db"
    asyncio.run(written(path, 200))
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xa5" * 4096)
    with pytest.raises(Incompatible, match=r"corrupt.*restore a backup"):
        asyncio.run(SqliteStore.open(path))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    asyncio.run(written(path, 500))
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2 // 4096 * 4096)
    with pytest.raises(Incompatible, match="corrupt"):
        asyncio.run(SqliteStore.open(path))


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    asyncio.run(written(path))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(Incompatible, match=r"newer Onehop \(store format 99"):
        asyncio.run(SqliteStore.open(path))


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(Incompatible, match="not a Onehop store"):
        asyncio.run(SqliteStore.open(path))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no directory .*/nowhere"):
        asyncio.run(SqliteStore.open(tmp_path / "nowhere" / "store.db"))


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    asyncio.run(written(tmp_path / "store.db"))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_restored_file_is_marked_as_a_new_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    before = asyncio.run(written(path))
    marked = mark_restored(path)

    async def reopened() -> str:
        store = await SqliteStore.open(path)
        await store.close()
        return store.incarnation

    assert asyncio.run(reopened()) == marked != before


def test_a_backup_holds_everything_and_is_a_new_incarnation(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        await store.transact([], [Put("obj/a", b"1")])
        await store.backup(tmp_path / "copy.db")
        await store.transact([], [Put("obj/a", b"2")])
        copy = await SqliteStore.open(tmp_path / "copy.db")
        entry = await copy.get("obj/a")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"1", 2)
        assert copy.incarnation != store.incarnation
        await copy.close()
        await store.close()

    asyncio.run(run())


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        await store.close()
        with pytest.raises(Unavailable, match="closed"):
            await store.get("obj/a")
        with pytest.raises(Unavailable, match="closed"):
            await store.transact([], [Put("obj/a", b"")])

    asyncio.run(run())


@pytest.mark.parametrize("url", ["sqlite://store.db", "sqlite:///", "redis://x", "store.db", ""])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises((ValueError, StoreError)):
        asyncio.run(open_store(url))


def test_a_watch_reads_from_the_file_what_is_no_longer_in_memory(tmp_path: Path) -> None:
    """More than it reads at a time, with a revision that lies across two readings."""

    async def run() -> None:
        path = tmp_path / "store.db"
        store = await SqliteStore.open(path)
        for n in range(30):
            await store.transact(
                [], [Put(f"{'obj' if n % 3 else 'other'}/{k}", b"%d" % n) for k in range(151)]
            )
        await store.close()
        store = await SqliteStore.open(path)
        seen = []
        async with contextlib.aclosing(store.watch("obj/", after=1)) as watch:
            async for batch in watch:
                if batch.changes:
                    seen.append((batch.revision, len(batch.changes)))
                if batch.revision == 31:
                    break
        assert seen == [(n + 2, 151) for n in range(30) if n % 3]
        await store.close()

    asyncio.run(run())


def test_a_full_disk_loses_nothing_acknowledged_and_is_survived(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        store._db.execute("PRAGMA max_page_count = 100")
        acknowledged = 0
        with pytest.raises(Unavailable, match=r"full; nothing was written. Look at the disk"):
            while True:
                await store.transact([], [Put(f"obj/{acknowledged:05}", bytes(5000))])
                acknowledged += 1
        assert len((await store.list("obj/")).entries) == acknowledged > 0
        revision = await store.revision()
        store._db.execute("PRAGMA max_page_count = 100000")
        await store.transact([], [Put("obj/more", bytes(5000))])
        assert await store.revision() == revision + 1
        await store.close()

    asyncio.run(run())


def test_a_lease_starts_again_when_the_store_is_opened(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        lease = await store.grant(3600)
        await store.transact([], [Put("duty/a", b"", lease)])
        await store.close()
        store = await SqliteStore.open(tmp_path / "store.db")
        assert await store.keep_alive(lease)
        await store.revoke(lease)
        assert await store.get("duty/a") is None
        await store.close()

    asyncio.run(run())


def test_compaction_goes_on_in_steps_and_across_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "store.db"
        store = await SqliteStore.open(path)
        for n in range(60):
            await store.transact([], [Put(f"obj/{k}", b"%d" % n) for k in range(300)])
        before = (await store.list("obj/")).entries
        await store.compact(await store.revision())
        await store.close()
        store = await SqliteStore.open(path)
        while store._writer.sweeping:
            await store.transact([], [Put("other", b"")])
        assert (await store.list("obj/")).entries == before
        await store.close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM change WHERE key < x'6f74'").fetchone() == (300,)

    asyncio.run(run())
