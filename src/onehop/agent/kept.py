"""What a host keeps of the topology on its own disk, so that it needs nobody in order to start.

One SQLite file, written in one transaction per change: after a crash it holds what one change or the one
before it left, and the feed brings the rest. Objects are kept as they came; one that this version cannot
decode is kept too, and decoded after an upgrade.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onehop.feed.codec import BadFrame, decode_object
from onehop.feed.messages import Item
from onehop.model import Object

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ask (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Position:
    """Of which history something is held, and up to which revision."""

    incarnation: str = ""
    revision: int = 0


class Kept:
    """`revisions` and `asks` mirror the file; the objects themselves are only there."""

    def __init__(self, path: Path | str) -> None:
        """Open a file, or begin one. What cannot be read is set aside: the feed can bring it all again."""
        self._db = _open(str(path))
        self.position = self._read_position()
        self.revisions: dict[str, int] = dict(self._db.execute("SELECT id, revision FROM object"))
        self.asks: set[str] = {id for (id,) in self._db.execute("SELECT id FROM ask")}

    def close(self) -> None:
        self._db.close()

    def objects(self) -> Iterator[tuple[str, Object | None]]:
        """Every object held, or None for one that this version cannot decode."""
        for id, kind, value in self._db.execute("SELECT id, kind, value FROM object"):
            try:
                yield id, decode_object(kind, value)
            except BadFrame:
                yield id, None

    def take(self, position: Position, puts: Mapping[str, Item], removes: Iterable[str]) -> None:
        """Hold these, no longer hold those, and be at a new position: all at once."""
        gone = [id for id in removes if id in self.revisions]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("DELETE FROM object WHERE id = ?", [(id,) for id in gone])
            self._db.executemany(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?)",
                [(id, item.kind, item.revision, bytes(item.value)) for id, item in puts.items()],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("incarnation", position.incarnation), ("revision", str(position.revision))],
            )
        self.position = position
        for id in gone:
            del self.revisions[id]
        self.revisions.update((id, item.revision) for id, item in puts.items())

    def ask(self, ids: Iterable[str]) -> None:
        new = set(ids) - self.asks
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO ask VALUES (?)", [(id,) for id in new])
        self.asks |= new

    def let_go(self, ids: Iterable[str]) -> None:
        gone = set(ids) & self.asks
        with self._db:
            self._db.executemany("DELETE FROM ask WHERE id = ?", [(id,) for id in gone])
        self.asks -= gone

    def _read_position(self) -> Position:
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        return Position(meta.get("incarnation", ""), int(meta.get("revision", "0")))


def _open(path: str) -> sqlite3.Connection:
    try:
        return _open_once(path)
    except sqlite3.DatabaseError:
        if path == ":memory:":
            raise
        Path(path).replace(f"{path}.unreadable")
        for rest in ("-wal", "-shm"):
            Path(path + rest).unlink(missing_ok=True)
        return _open_once(path)


def _open_once(path: str) -> sqlite3.Connection:
    # The connection is made in one thread and may be used in another, one at a time.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (FORMAT,))
        (found,) = db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        if found != FORMAT or db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError(f"{path} has format {found} or is damaged")
    except BaseException:
        db.close()
        raise
    return db
