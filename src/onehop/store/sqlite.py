"""The embedded store: one SQLite file, owned by one process, no server.

* One thread writes. Whatever transactions wait when it is ready become one SQLite transaction (group
  commit), and are acknowledged together once that is on disk (`synchronous=FULL`).
* Readers have connections of their own, in threads of their own; WAL lets them read while it writes.
* Watches are fed from memory, and from the file when they are behind.

The event loop never waits for the disk. All methods belong to the loop on which the store was opened.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from onehop.store import _sqlite_file as file
from onehop.store._shared import check, check_key
from onehop.store._sqlite_file import mark_restored
from onehop.store._sqlite_writer import Writer
from onehop.store.interface import (
    Batch,
    Change,
    Compacted,
    Entry,
    Guard,
    Incompatible,
    Key,
    Outcome,
    Page,
    Revision,
    StoreError,
    Unavailable,
    Write,
)

__all__ = ["SqliteStore", "mark_restored"]

T = TypeVar("T")

MAX_OPERATIONS = 4096
GROUP = 1024  # jobs in one SQLite transaction, at most
READERS = 2
CATCH_UP = 2000  # changes that a watch reads from the file at a time
RECENT = 8192  # batches kept in memory for watches...
RECENT_BYTES = 16 << 20  # ...and their size


class _Job:
    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[Writer], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future


# The class below has a method called `list`, so these need names.
_Jobs = list[_Job]
_Done = list[tuple["asyncio.Future[Any]", Any, Exception | None]]
_Batches = list[Batch]


class SqliteStore:
    """Open it with `await SqliteStore.open(path)`; close it when done."""

    def __init__(self, path: Path, held: int, db: sqlite3.Connection) -> None:
        self._path = path
        self._held = held
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(db)
        self._incarnation = file.incarnation(db)
        self._head = self._writer.revision
        self._compacted = self._writer.compacted
        self._recent: _Batches = []
        self._recent_bytes = 0
        self._news = asyncio.Event()
        self._waiting: _Jobs = []
        self._jobs: queue.SimpleQueue[_Jobs | None] = queue.SimpleQueue()
        self._closed = False
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="onehop-store-read")
        self._thread = threading.Thread(target=self._write_for_ever, name="onehop-store-write", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path | str) -> SqliteStore:
        path = Path(path)

        def take() -> tuple[int, sqlite3.Connection]:
            held = file.lock(path)
            try:
                return held, file.open_writer(path)
            except BaseException:
                os.close(held)
                raise

        try:
            held, db = await asyncio.to_thread(take)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error
        return cls(path, held, db)

    async def close(self) -> None:
        """Finish what was begun, then let go of the file."""
        if self._closed:
            return
        self._flush()
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._pool.shutdown)
        for db in [*self._readers, self._db]:
            db.close()
        os.close(self._held)
        self._announce()

    # --- reading ------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def max_operations(self) -> int:
        return MAX_OPERATIONS

    async def revision(self) -> Revision:
        return await self._read(lambda db: file.get_meta(db, "revision"))

    async def get(self, key: Key) -> Entry | None:
        check_key(key)
        return await self._read(lambda db: file.get(db, key))

    async def list(
        self, prefix: Key, *, start: Key | None = None, revision: Revision | None = None, limit: int = 1000
    ) -> Page:
        if limit < 1:
            raise ValueError(f"a page holds at least one entry, not {limit}")
        return await self._read(lambda db: file.list_page(db, prefix, start, revision, limit))

    async def backup(self, target: Path | str) -> None:
        """Copy the whole store, as it is now, to a new file; it is a new incarnation when opened."""
        await self._read(lambda db: file.backup(db, Path(target)))

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()

        def run() -> T:
            db = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = file.open_reader(self._path)
                self._readers.append(db)
            try:
                return query(db)
            except sqlite3.Error as error:
                raise _told(self._path, error) from error

        return await self._loop.run_in_executor(self._pool, run)

    # --- writing ------------------------------------------------------------------------------------

    async def transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Outcome:
        check(guards, writes, MAX_OPERATIONS)
        return await self._submit(lambda writer: writer.transact(guards, writes))

    async def grant(self, ttl: float) -> int:
        if not ttl > 0:
            raise ValueError(f"a lease lasts longer than {ttl} seconds")
        return await self._submit(lambda writer: writer.grant(ttl))

    async def keep_alive(self, lease: int) -> bool:
        return await self._submit(lambda writer: writer.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        await self._submit(lambda writer: writer.revoke(lease))

    async def compact(self, revision: Revision) -> None:
        await self._submit(lambda writer: writer.compact(revision))

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(f"the store {self._path} was closed")

    async def _submit(self, work: Callable[[Writer], T]) -> T:
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        # Everything submitted in one turn of the loop goes over together: else the first would wake the
        # writer, and be a group of its own.
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(_Job(work, future))
        return await future

    def _flush(self) -> None:
        if self._waiting:
            self._jobs.put(self._waiting)
            self._waiting = []

    # --- the writing thread -------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        going = True
        while going:
            jobs, going = self._take()
            done = self._run_group(jobs)
            batches, compacted = self._writer.batches, self._writer.compacted
            try:
                self._loop.call_soon_threadsafe(self._deliver, done, batches, compacted)
            except RuntimeError:  # the loop was closed before the store was
                return

    def _take(self) -> tuple[_Jobs, bool]:
        """The jobs that wait; none, when there is something else to do. False when it is time to end."""
        jobs: _Jobs = []
        try:
            more = self._jobs.get(timeout=self._patience())
            while more is not None:
                jobs += more
                if len(jobs) >= GROUP:
                    return jobs, True
                more = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _patience(self) -> float | None:
        if self._writer.sweeping:
            return 0.001
        deadline = self._writer.next_deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _run_group(self, jobs: _Jobs) -> _Done:
        writer = self._writer
        try:
            writer.begin()
            writer.expire()
            done = [_run(job, writer) for job in jobs]
            if writer.sweeping:
                writer.sweep()
            writer.commit()
        except Exception as error:
            told = _told(self._path, error) if isinstance(error, sqlite3.Error) else error
            writer.batches = []
            try:
                writer.rollback()
            except sqlite3.Error as again:
                told = _told(self._path, again)
            time.sleep(0.05)  # a full disk is not a reason to spin
            return [(job.future, None, told) for job in jobs]
        return done

    def _deliver(self, done: _Done, batches: _Batches, compacted: int) -> None:
        """Back on the loop: what the group did is on disk."""
        self._compacted = compacted
        if batches:
            self._head = batches[-1].revision
            self._recent += batches
            self._recent_bytes += sum(map(_weight, batches))
            self._trim()
            self._announce()
        for future, result, error in done:
            if future.done():  # its task was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _trim(self) -> None:
        if len(self._recent) > RECENT or self._recent_bytes > RECENT_BYTES:
            del self._recent[: (len(self._recent) + 1) // 2]
            self._recent_bytes = sum(map(_weight, self._recent))

    # --- watching -----------------------------------------------------------------------------------

    async def watch(self, prefix: Key, *, after: Revision) -> AsyncGenerator[Batch, None]:
        position = after
        if after > self._head and after > (now := await self.revision()):
            raise Compacted(now)
        while True:
            self._check_open()
            news = self._news
            if position < self._compacted:
                raise Compacted(self._compacted)
            if position >= self._head:
                await news.wait()
                continue
            batches, reached = await self._next(prefix, position)
            for batch in batches:
                yield batch
            if not batches or batches[-1].revision < reached:
                yield Batch(reached, ())
            position = reached

    async def _next(self, prefix: Key, position: Revision) -> tuple[_Batches, Revision]:
        recent = self._recent
        if not recent or recent[0].revision > position + 1:
            return await self._read(lambda db: file.changes_after(db, prefix, position, CATCH_UP))
        fresh = recent[position + 1 - recent[0].revision :]
        matching = []
        for batch in fresh:
            changes = tuple(change for change in batch.changes if change.key.startswith(prefix))
            if changes:
                matching.append(Batch(batch.revision, changes))
        return matching, fresh[-1].revision


def _run(job: _Job, writer: Writer) -> tuple[asyncio.Future[Any], Any, Exception | None]:
    try:
        return job.future, job.work(writer), None
    except (StoreError, ValueError) as error:
        return job.future, None, error


def _weight(batch: Batch) -> int:
    return sum(_size(change) for change in batch.changes)


def _size(change: Change) -> int:
    return 200 + len(change.key) + len(change.value or b"")


def _told(path: Path, error: sqlite3.Error) -> StoreError:
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(f"{path}: {error}; nothing was written. Look at the disk's space and health")
    return Incompatible(f"{path} is corrupt ({error}); stop, and restore a backup")
