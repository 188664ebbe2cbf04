"""The SQLite file: its layout, who may open it, and reading it. Nothing here knows of asyncio.

`change` holds every write since the last compaction, and the newest of every key for ever; it is what
watches read. `entry` says which change is each key's current one. A value is stored once.

    seq = revision << 20 | place in its transaction

orders changes by revision. `previous` is the seq of the change that this one replaced: following it
gives a listing at an older revision without an index by key. Compacting to a revision drops what was
replaced up to it, and the marks of deletion.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from onehop.store._shared import prefix_end
from onehop.store.interface import (
    Batch,
    Change,
    Compacted,
    Entry,
    Incompatible,
    Page,
    StoreError,
    Unavailable,
)

APPLICATION = 0x6F6E6568  # "oneh": tells our files from other SQLite databases
VERSION = 1
PLACES = 20
_LAST_PLACE = (1 << PLACES) - 1

_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE change (seq INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL,
                     previous INTEGER, value BLOB);
CREATE TABLE entry (key BLOB PRIMARY KEY, seq INTEGER NOT NULL, created INTEGER NOT NULL,
                    lease INTEGER) WITHOUT ROWID;
CREATE INDEX entry_lease ON entry (lease) WHERE lease IS NOT NULL;
CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
INSERT INTO meta VALUES ('revision', 1), ('compacted', 0), ('swept', 0), ('incarnation', '');
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


def first_seq(revision: int) -> int:
    return revision << PLACES


def last_seq(revision: int) -> int:
    return revision << PLACES | _LAST_PLACE


def lock(path: Path) -> int:
    """Take the file for this process. The lock goes with the returned descriptor, or the process."""
    if not path.parent.is_dir():
        raise StoreError(f"there is no directory {path.parent} to keep the store in; create it first")
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise Unavailable(
            f"{path} is in use by process {holder or '?'}; one process owns an SQLite store. Stop that "
            "process first, or use etcd to run several controllers"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes; creates the file, or checks that it is whole and ours."""
    if not path.exists():
        # SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        _prepare(db, path)
    except sqlite3.DatabaseError as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"{path} cannot be opened: {error}") from error
        raise _corrupt(path, str(error)) from error
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    db.execute("PRAGMA query_only = 1")
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    is_filled = check_ours(db, path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if not is_filled:
        db.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        new_incarnation(db)


def check_ours(db: sqlite3.Connection, path: Path) -> bool:
    """Refuse a file that is not a whole store of a format known here. False for one with nothing in it."""
    ours, version, tables = (
        db.execute(query).fetchone()[0]
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if tables and ours != APPLICATION:
        raise Incompatible(f"{path} is an SQLite database, but not a Onehop store; name another file")
    if version > VERSION:
        raise Incompatible(
            f"{path} was written by a newer Onehop (store format {version}, this one reads up to {VERSION}); "
            "run that version, or restore a backup made by this one"
        )
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise _corrupt(path, problem.splitlines()[-1])
    return bool(tables)


def _corrupt(path: Path, detail: str) -> Incompatible:
    return Incompatible(
        f"{path} is corrupt ({detail}); restore a backup, or move the file away to start with an empty store"
    )


def get_meta(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def set_meta(db: sqlite3.Connection, name: str, value: int | str) -> None:
    db.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


def incarnation(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchone()[0])


def new_incarnation(db: sqlite3.Connection) -> str:
    name = uuid.uuid4().hex
    set_meta(db, "incarnation", name)
    return name


def mark_restored(path: Path) -> str:
    """Give a file that was restored from a backup a new incarnation. No process may have it open."""
    held = lock(path)
    try:
        if not path.exists():
            raise StoreError(f"there is no store at {path}")
        db = open_writer(path)
        try:
            return new_incarnation(db)
        finally:
            db.close()
    finally:
        os.close(held)


def backup(db: sqlite3.Connection, target: Path) -> None:
    """A whole copy as of now, which is an incarnation of its own if it is ever opened."""
    if target.exists():
        raise StoreError(f"{target} exists already; name a new file for the backup")
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(target)) as copy:
        db.backup(copy)
    mark_restored(target)


# --- reading ----------------------------------------------------------------------------------------


def get(db: sqlite3.Connection, key: str) -> Entry | None:
    row = db.execute(
        "SELECT c.value, c.created, c.seq FROM entry e JOIN change c ON c.seq = e.seq WHERE e.key = ?",
        (key.encode(),),
    ).fetchone()
    return Entry(key, row[0], row[1], row[2] >> PLACES) if row else None


def list_page(
    db: sqlite3.Connection, prefix: str, start: str | None, revision: int | None, limit: int
) -> Page:
    db.execute("BEGIN")
    try:
        head, compacted = get_meta(db, "revision"), get_meta(db, "compacted")
        at = head if revision is None else revision
        if at < compacted:
            raise Compacted(compacted)
        if at > head:
            raise StoreError(f"revision {at} is in the future of this store, which is at {head}; list again")
        low = max(prefix, start or prefix).encode()
        rows = _rows(db, low, prefix_end(prefix), at, head, limit + 1)
    finally:
        db.execute("COMMIT")
    entries = [
        Entry(key.decode(), value, created, seq >> PLACES) for key, value, created, seq in rows[:limit]
    ]
    return Page(entries, at, rows[limit][0].decode() if len(rows) > limit else None)


_Row = tuple[bytes, bytes, int, int]  # key, value, created, seq


def _rows(db: sqlite3.Connection, low: bytes, end: bytes, at: int, head: int, limit: int) -> list[_Row]:
    """What is as it was at that revision, and what has been changed since, as it was before."""
    rows: list[_Row] = db.execute(
        "SELECT e.key, c.value, c.created, c.seq FROM entry e JOIN change c ON c.seq = e.seq"
        " WHERE e.key >= ? AND e.key < ? AND e.seq <= ? ORDER BY e.key LIMIT ?",
        (low, end, last_seq(at), limit),
    ).fetchall()
    if at == head:
        return rows
    since = db.execute(
        "SELECT s.key, c.value, c.created, c.seq FROM"
        " (SELECT key, min(seq), previous FROM change WHERE seq > ? AND key >= ? AND key < ? GROUP BY key) s"
        " JOIN change c ON c.seq = s.previous WHERE c.value IS NOT NULL",
        (last_seq(at), low, end),
    ).fetchall()
    return sorted(rows + since)[:limit] if since else rows


def changes_after(db: sqlite3.Connection, prefix: str, after: int, limit: int) -> tuple[list[Batch], int]:
    """The next batches, and the revision up to which they are complete."""
    db.execute("BEGIN")
    try:
        head, compacted = get_meta(db, "revision"), get_meta(db, "compacted")
        if after < compacted:
            raise Compacted(compacted)
        rows = db.execute(
            "SELECT seq, key, created, value FROM change WHERE seq > ? AND key >= ? AND key < ?"
            " ORDER BY seq LIMIT ?",
            (last_seq(after), prefix.encode(), prefix_end(prefix), limit),
        ).fetchall()
        if len(rows) == limit:  # the last revision may go on beyond the limit
            head = rows[-1][0] >> PLACES
            while rows and rows[-1][0] >> PLACES == head:
                rows.pop()
            rows += db.execute(
                "SELECT seq, key, created, value FROM change WHERE seq BETWEEN ? AND ?"
                " AND key >= ? AND key < ? ORDER BY seq",
                (first_seq(head), last_seq(head), prefix.encode(), prefix_end(prefix)),
            ).fetchall()
    finally:
        db.execute("COMMIT")
    return list(_batches(rows)), head


def _batches(rows: Iterable[tuple[int, bytes, int, bytes | None]]) -> Iterable[Batch]:
    for revision, group in groupby(rows, key=lambda row: row[0] >> PLACES):
        yield Batch(revision, tuple(Change(key.decode(), value, created) for _, key, created, value in group))
