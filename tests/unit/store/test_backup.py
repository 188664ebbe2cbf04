"""Backups of an SQLite store: whole, alone in their file, put in place without a loss."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from onehop.store import Put, StoreError
from onehop.store.backup import back_up, restore
from onehop.store.sqlite import SqliteStore


async def write(path: Path, value: bytes) -> str:
    """Write one key; the incarnation of the store."""
    store = await SqliteStore.open(path)
    await store.transact([], [Put("obj/a", value)])
    await store.close()
    return store.incarnation


async def read(path: Path) -> tuple[bytes | None, str]:
    store = await SqliteStore.open(path)
    entry = await store.get("obj/a")
    await store.close()
    return (entry.value if entry else None), store.incarnation


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_restored_store_holds_what_the_backup_holds_and_is_a_new_incarnation(tmp_path: Path) -> None:
    store, backup = tmp_path / "store.db", tmp_path / "backup.db"
    first = asyncio.run(write(store, b"1"))
    back_up(store, backup)
    asyncio.run(write(store, b"2"))
    restore(backup, store)
    value, second = asyncio.run(read(store))
    restore(backup, store)
    assert value == b"1"
    assert len({first, second, asyncio.run(read(store))[1]}) == 3


def test_what_was_replaced_is_kept(tmp_path: Path) -> None:
    store, backup = tmp_path / "store.db", tmp_path / "backup.db"
    asyncio.run(write(store, b"1"))
    back_up(store, backup)
    asyncio.run(write(store, b"2"))
    kept = restore(backup, store)
    assert kept is not None
    assert asyncio.run(read(kept))[0] == b"2"


def test_a_backup_is_one_file_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    store, backup = tmp_path / "store.db", tmp_path / "kept" / "backup.db"
    backup.parent.mkdir()
    asyncio.run(write(store, b"1"))
    back_up(store, backup)
    assert files(backup.parent) == {"backup.db"}
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert files(tmp_path) == {"store.db", "store.db.lock", "kept"}


def test_a_restore_into_an_empty_directory_needs_no_store_there(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / "store.db", b"1"))
    back_up(tmp_path / "store.db", tmp_path / "backup.db")
    place = tmp_path / "new"
    place.mkdir()
    assert restore(tmp_path / "backup.db", place / "store.db") is None
    assert files(place) == {"store.db", "store.db.lock"}
    assert asyncio.run(read(place / "store.db"))[0] == b"1"


@pytest.mark.parametrize("damage", [b"not a database" * 1000, b""])
def test_a_damaged_store_is_replaced_and_kept(tmp_path: Path, damage: bytes) -> None:
    store = tmp_path / "store.db"
    asyncio.run(write(store, b"1"))
    back_up(store, tmp_path / "backup.db")
    store.write_bytes(damage)
    kept = restore(tmp_path / "backup.db", store)
    assert asyncio.run(read(store))[0] == b"1"
    assert kept is not None and kept.exists()


def test_what_a_crash_left_in_the_log_does_not_get_into_the_restored_store(tmp_path: Path) -> None:
    """A log that belongs to the old file must not be read as one of the new file."""

    async def crashed() -> None:
        store = await SqliteStore.open(tmp_path / "running.db")
        await store.transact([], [Put("obj/a", b"1")])
        back_up(tmp_path / "running.db", tmp_path / "backup.db")
        await store.transact([], [Put("obj/a", b"2")])
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"running.db{end}", tmp_path / f"store.db{end}")
        await store.close()

    asyncio.run(crashed())
    kept = restore(tmp_path / "backup.db", tmp_path / "store.db")
    assert asyncio.run(read(tmp_path / "store.db"))[0] == b"1"
    assert kept is not None
    assert asyncio.run(read(kept))[0] == b"2"


def test_a_copy_of_a_running_store_is_no_backup(tmp_path: Path) -> None:
    async def copied() -> None:
        store = await SqliteStore.open(tmp_path / "running.db")
        await store.transact([], [Put("obj/a", b"1")])
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"running.db{end}", tmp_path / f"copy.db{end}")
        await store.close()

    asyncio.run(copied())
    with pytest.raises(StoreError, match="onehop controller backup"):
        restore(tmp_path / "copy.db", tmp_path / "store.db")


def test_what_is_no_backup_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    asyncio.run(write(store, b"1"))
    (tmp_path / "text").write_text("hello" * 1000)
    (tmp_path / "empty").touch()
    with closing(sqlite3.connect(tmp_path / "theirs")) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = files(tmp_path)
    for name, says in (
        ("text", "not a database"),
        ("empty", "empty"),
        ("theirs", "not a Onehop store"),
        ("nowhere", "no backup at"),
    ):
        with pytest.raises(StoreError, match=says):
            restore(tmp_path / name, store)
    assert files(tmp_path) == before
    assert asyncio.run(read(store))[0] == b"1"


def test_a_store_in_use_is_not_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        await store.transact([], [Put("obj/a", b"1")])
        back_up(tmp_path / "store.db", tmp_path / "backup.db")
        with pytest.raises(StoreError, match="in use by process"):
            restore(tmp_path / "backup.db", tmp_path / "store.db")
        await store.close()

    asyncio.run(run())


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / "store.db", b"1"))
    (tmp_path / "backup.db").write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        back_up(tmp_path / "store.db", tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_text() == "precious"


def test_a_store_that_is_not_there_is_not_made_by_a_backup(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        back_up(tmp_path / "store.db", tmp_path / "backup.db")
    assert files(tmp_path) == set()
