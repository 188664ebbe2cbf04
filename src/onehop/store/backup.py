"""Backups of an SQLite store as files: taken from a running store, put in place of a stopped one.

A backup is a store file of its own: one file, whole as of one moment, an incarnation that no host has seen.
Hosts and controllers that knew the old history notice, and compare by content.

Neither function leaves anything by halves: a backup appears under its name once it is complete, and a store
is replaced in one step. What was replaced is kept beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from onehop.store import _sqlite_file as file
from onehop.store.interface import StoreError

__all__ = ["back_up", "restore"]


def back_up(store: Path, target: Path) -> None:
    """Copy a store, which may be in use, to a new file. Its controller goes on meanwhile."""
    _need(store, "store")
    if target.exists():
        raise StoreError(f"{target} exists already; name a new file for the backup")
    scratch = _scratch(target)
    try:
        with _told(store), contextlib.closing(file.open_reader(store)) as db:
            file.check_ours(db, store)
            file.backup(db, scratch)
        _to_disk(scratch)
        scratch.rename(target)
        _to_disk(target.parent)
    finally:
        _forget(scratch)


def restore(backup: Path, store: Path) -> Path | None:
    """Put a backup in the place of a store that nobody uses. Where the old store is now, if there was one."""
    _check_backup(backup)
    held = file.lock(store)
    scratch = _scratch(store)
    try:
        shutil.copyfile(backup, scratch)
        scratch.chmod(0o600)
        _give_to_owner(scratch, store)
        file.mark_restored(scratch)
        _to_disk(scratch)
        kept = _keep(store) if store.exists() else None
        scratch.replace(store)
        _to_disk(store.parent)
    finally:
        _forget(scratch)
        os.close(held)
    return kept


def _check_backup(backup: Path) -> None:
    """Without a trace beside the backup, which may be on a medium that cannot be written."""
    _need(backup, "backup")
    wal = Path(f"{backup}-wal")
    if wal.exists() and wal.stat().st_size:
        raise StoreError(
            f"{backup} is a store in use, or was copied from one, and is not whole without {wal.name}; "
            "restore a file that `onehop controller backup` made"
        )
    uri = f"{backup.resolve().as_uri()}?mode=ro&immutable=1"
    with _told(backup), contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        if not file.check_ours(db, backup):
            raise StoreError(f"{backup} is empty; name a backup")


def _keep(store: Path) -> Path:
    """Give what is at a store's place a second name. The place is never empty: a controller that started
    just then would make a new store there."""
    with contextlib.suppress(StoreError, sqlite3.Error):
        file.open_writer(store).close()  # takes in the log beside the file; a damaged store keeps it
    kept = store.with_name(f"{store.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    os.link(store, kept)
    wal = Path(f"{store}-wal")
    if wal.exists():
        wal.rename(f"{kept}-wal")
    Path(f"{store}-shm").unlink(missing_ok=True)
    return kept


def _need(path: Path, what: str) -> None:
    if not path.is_file():
        raise StoreError(f"there is no {what} at {path}")


def _scratch(path: Path) -> Path:
    if not path.parent.is_dir():
        raise StoreError(f"there is no directory {path.parent}; create it first")
    return path.with_name(f".{path.name}.{os.getpid()}")


def _forget(scratch: Path) -> None:
    for end in ("", "-wal", "-shm", ".lock"):
        Path(f"{scratch}{end}").unlink(missing_ok=True)


def _give_to_owner(new: Path, store: Path) -> None:
    """Root may restore what a service's user owns."""
    if os.geteuid() == 0:
        owner = (store if store.exists() else store.parent).stat()
        os.chown(new, owner.st_uid, owner.st_gid)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
