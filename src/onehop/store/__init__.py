"""Where the model lives: `open_store` gives a `Store`, whichever driver the URL names."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from onehop.store.interface import (
    Absent,
    AtRevision,
    Batch,
    Change,
    Committed,
    Compacted,
    Delete,
    Entry,
    Exists,
    Guard,
    Incompatible,
    Key,
    LeaseGone,
    Outcome,
    Page,
    PrefixEmpty,
    Put,
    Refused,
    Revision,
    Store,
    StoreError,
    TooLarge,
    Unavailable,
    Write,
    list_all,
)

__all__ = [
    "Absent",
    "AtRevision",
    "Batch",
    "Change",
    "Committed",
    "Compacted",
    "Delete",
    "Entry",
    "Exists",
    "Guard",
    "Incompatible",
    "Key",
    "LeaseGone",
    "Outcome",
    "Page",
    "PrefixEmpty",
    "Put",
    "Refused",
    "Revision",
    "Store",
    "StoreError",
    "TooLarge",
    "Unavailable",
    "Write",
    "list_all",
    "open_store",
]


async def open_store(url: str) -> Store:
    """The store at `sqlite:///absolute/path.db`.

    Drivers are imported when they are asked for: an embedded store needs no gRPC.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from onehop.store.sqlite import SqliteStore

        return await SqliteStore.open(_path(url))
    raise ValueError(f"no store is called {scheme or url!r}; use sqlite:///path/file.db")


def _path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} names no file; write sqlite:///path/file.db, with three slashes")
    return unquote(parts.path)
