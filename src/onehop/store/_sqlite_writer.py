"""What the one writing thread of the SQLite driver does to the file.

A group is a number of jobs in one SQLite transaction: `begin`, then the jobs, then `commit` or
`rollback`. A job checks everything before it writes anything, so one that is refused leaves nothing
behind and the group needs no savepoints.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Sequence

from onehop.store._shared import prefix_end
from onehop.store._sqlite_file import PLACES, first_seq, get_meta, last_seq, set_meta
from onehop.store.interface import (
    Absent,
    AtRevision,
    Batch,
    Change,
    Committed,
    Delete,
    Exists,
    Guard,
    LeaseGone,
    Outcome,
    PrefixEmpty,
    Put,
    RangeEmpty,
    Refused,
    StoreError,
    Write,
)

SWEEP = 5000  # changes that one step of a compaction looks at


class Writer:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.batches: list[Batch] = []  # what the current group has done
        self._leases: dict[int, tuple[float, float]] = {}  # id: time to live, deadline
        self._reload()

    def _reload(self) -> None:
        self.revision = self._recorded = get_meta(self._db, "revision")
        self.compacted, self.swept = get_meta(self._db, "compacted"), get_meta(self._db, "swept")
        known, now = self._leases, time.monotonic()
        # Time that passed while the store was closed does not count: nobody could keep a lease alive.
        self._leases = {
            lease: known.get(lease, (ttl, now + ttl))
            for lease, ttl in self._db.execute("SELECT id, ttl FROM lease")
        }

    def begin(self) -> None:
        self.batches = []
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        if self.revision != self._recorded:
            set_meta(self._db, "revision", self.revision)
        self._db.execute("COMMIT")
        self._recorded = self.revision

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._reload()

    # --- transactions -------------------------------------------------------------------------------

    def transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Outcome:
        failed = [guard for guard in guards if not self._holds(guard)]
        if failed:
            return Refused(self.revision, failed)
        for write in writes:
            if isinstance(write, Put) and write.lease is not None and write.lease not in self._leases:
                raise LeaseGone(write.lease)
        self._write(writes)
        return Committed(self.revision)

    def _holds(self, guard: Guard) -> bool:
        match guard:
            case Absent(key):
                return self._find(key.encode()) is None
            case Exists(key):
                return self._find(key.encode()) is not None
            case AtRevision(key, revision):
                found = self._find(key.encode())
                return found is not None and found[0] >> PLACES == revision
            case PrefixEmpty(prefix):
                return self._is_empty(prefix.encode(), prefix_end(prefix))
            case RangeEmpty(start, end):
                return self._is_empty(start.encode(), end.encode())

    def _is_empty(self, start: bytes, end: bytes) -> bool:
        query = "SELECT 1 FROM entry WHERE key >= ? AND key < ? LIMIT 1"
        return self._db.execute(query, (start, end)).fetchone() is None

    def _find(self, key: bytes) -> tuple[int, int] | None:
        """Seq and revision of creation of a key."""
        found: tuple[int, int] | None = self._db.execute(
            "SELECT seq, created FROM entry WHERE key = ?", (key,)
        ).fetchone()
        return found

    def _write(self, writes: Sequence[Write]) -> None:
        revision = self.revision + 1
        seq = first_seq(revision)
        changes: list[Change] = []
        row: tuple[int, bytes, int, int | None, bytes | None]
        for write in writes:
            key = write.key.encode()
            found = self._find(key)
            if isinstance(write, Delete):
                if found is None:
                    continue
                self._db.execute("DELETE FROM entry WHERE key = ?", (key,))
                change, row = Change(write.key, None, 0), (seq, key, 0, found[0], None)
            else:
                value, created = bytes(write.value), found[1] if found else revision
                self._db.execute("REPLACE INTO entry VALUES (?, ?, ?, ?)", (key, seq, created, write.lease))
                change = Change(write.key, value, created)
                row = (seq, key, created, found[0] if found else None, value)
            self._db.execute("INSERT INTO change VALUES (?, ?, ?, ?, ?)", row)
            changes.append(change)
            seq += 1
        if changes:
            self.revision = revision
            self.batches.append(Batch(revision, tuple(changes)))

    # --- leases -------------------------------------------------------------------------------------

    def grant(self, ttl: float) -> int:
        lease = secrets.randbits(62) + 1
        self._db.execute("INSERT INTO lease VALUES (?, ?)", (lease, ttl))
        self._leases[lease] = (ttl, time.monotonic() + ttl)
        return lease

    def keep_alive(self, lease: int) -> bool:
        if lease not in self._leases:
            return False
        ttl = self._leases[lease][0]
        self._leases[lease] = (ttl, time.monotonic() + ttl)
        return True

    def revoke(self, lease: int) -> None:
        rows = self._db.execute("SELECT key FROM entry WHERE lease = ? ORDER BY key", (lease,)).fetchall()
        self._write([Delete(key.decode()) for (key,) in rows])
        self._db.execute("DELETE FROM lease WHERE id = ?", (lease,))
        self._leases.pop(lease, None)

    def expire(self) -> None:
        now = time.monotonic()
        for lease in [lease for lease, (_, deadline) in self._leases.items() if deadline <= now]:
            self.revoke(lease)

    def next_deadline(self) -> float | None:
        return min((deadline for _, deadline in self._leases.values()), default=None)

    # --- compaction ---------------------------------------------------------------------------------

    def compact(self, revision: int) -> None:
        if revision > self.revision:
            raise StoreError(f"cannot compact to revision {revision}: the store is at {self.revision}")
        if revision <= self.compacted:
            return
        set_meta(self._db, "compacted", revision)
        self.compacted = revision

    @property
    def sweeping(self) -> bool:
        """Whether there is something left of what compaction has given up."""
        return self.compacted > 0 and self.swept < last_seq(self.compacted)

    def sweep(self) -> None:
        """One step of removing it; in steps, so that writes go on between."""
        end = last_seq(self.compacted)
        step = self._db.execute(
            "SELECT seq FROM change WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT 1 OFFSET ?",
            (self.swept, end, SWEEP - 1),
        ).fetchone()
        bounds = (self.swept, step[0] if step else end)
        self._db.execute(
            "DELETE FROM change WHERE seq IN (SELECT previous FROM change WHERE seq > ? AND seq <= ?)", bounds
        )
        self._db.execute("DELETE FROM change WHERE seq > ? AND seq <= ? AND value IS NULL", bounds)
        self.swept = bounds[1]
        set_meta(self._db, "swept", self.swept)
