"""The store: where the model lives. One small interface, two real drivers (`sqlite`, `etcd`).

A store is an ordered map from keys to values with one revision counter for the whole of it. Every
transaction that writes raises the revision by one, and every key remembers the revision of its last
write. Nothing here knows what the values mean.

Invariants every driver keeps (the conformance suite in `tests/store/` holds them to it):

* A transaction is whole or absent, and is acknowledged only when it is durable.
* A listing is of one revision, however many pages it takes.
* A watch delivers every change after its start revision exactly once, in order, all changes of one
  revision together. It survives a restart of the server. If the changes it still needs have been
  compacted away it ends with `Compacted`, and the caller lists again.
* `incarnation` names this store's history: it changes when the store is created or restored from a
  backup, so revisions of two incarnations are never compared.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

Key = str
Revision = int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value, and the revisions that created and last wrote it."""

    key: Key
    value: bytes
    created: Revision
    revision: Revision


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of one listing, all as of `revision`. `next` starts the page after this, if there is one."""

    entries: Sequence[Entry]
    revision: Revision
    next: Key | None


# --- guards: what must hold for a transaction to happen ----------------------------------------------


@dataclass(frozen=True, slots=True)
class Absent:
    key: Key


@dataclass(frozen=True, slots=True)
class Exists:
    key: Key


@dataclass(frozen=True, slots=True)
class AtRevision:
    """The key was last written at this revision."""

    key: Key
    revision: Revision


@dataclass(frozen=True, slots=True)
class PrefixEmpty:
    prefix: Key


@dataclass(frozen=True, slots=True)
class RangeEmpty:
    """There is no key from `start` up to, not including, `end`."""

    start: Key
    end: Key


Guard = Absent | Exists | AtRevision | PrefixEmpty | RangeEmpty


# --- writes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key. With a lease, the key goes away when the lease does."""

    key: Key
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: Key


Write = Put | Delete


@dataclass(frozen=True, slots=True)
class Committed:
    revision: Revision


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written, because these guards did not hold at `revision` (at least one is named)."""

    revision: Revision
    failed: Sequence[Guard]


Outcome = Committed | Refused


# --- watch ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction did to one key. `value` is None, and `created` 0, when the key was deleted."""

    key: Key
    value: bytes | None
    created: Revision


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes of one revision under the watched prefix; none, for a mark of progress."""

    revision: Revision
    changes: Sequence[Change]


# --- what can go wrong ------------------------------------------------------------------------------


class StoreError(Exception):
    """Something about the store itself, told in a sentence that names the way out."""


class Unavailable(StoreError):
    """The store cannot be reached or has no quorum. What was in flight may or may not have happened."""


class Compacted(StoreError):
    """The revision asked for is gone. `oldest` is the oldest that is still there."""

    def __init__(self, oldest: Revision) -> None:
        super().__init__(f"revisions before {oldest} have been compacted; list again")
        self.oldest = oldest


class TooLarge(StoreError):
    """A transaction beyond what the store accepts in one piece."""


class LeaseGone(StoreError):
    """A put named a lease that has expired, or was never granted. Nothing was written."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease:x} has expired or was revoked; grant a new one")
        self.lease = lease


class Incompatible(StoreError):
    """The store holds data that this version cannot read: corrupt, or written by a newer version."""


# --- the interface ----------------------------------------------------------------------------------


class Store(Protocol):
    @property
    def incarnation(self) -> str:
        """Names this store's history; changes when it is created anew or restored."""

    @property
    def max_operations(self) -> int:
        """The most guards, and the most writes, that one transaction may hold."""

    async def get(self, key: Key) -> Entry | None: ...

    async def list(
        self, prefix: Key, *, start: Key | None = None, revision: Revision | None = None, limit: int = 1000
    ) -> Page:
        """A page of the keys under a prefix, in order. Give the first page's revision and `next` for more.

        A page may hold fewer than `limit` where values are large: only `next` says whether it is the last.
        """

    async def transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Outcome:
        """All the writes if all the guards hold, else nothing. A key may be written once.

        Writes that change nothing (none at all, or deleting what is absent) raise no revision.
        """

    def watch(self, prefix: Key, *, after: Revision) -> AsyncGenerator[Batch, None]:
        """Every change after a revision, for ever. Marks of progress come between, now and then.

        A caller that breaks out of the loop closes the generator (`contextlib.aclosing`). A revision
        that the store has not reached is of another history, and ends in `Compacted` too.
        """

    async def revision(self) -> Revision: ...

    async def grant(self, ttl: float) -> int:
        """A new lease, which goes away `ttl` seconds after it was last kept alive.

        The store may make the time longer (etcd counts whole seconds, two at least), and starts it
        again when the store itself restarts.
        """

    async def keep_alive(self, lease: int) -> bool:
        """Start the lease's time again. False when it is gone already."""

    async def revoke(self, lease: int) -> None: ...

    async def compact(self, revision: Revision) -> None:
        """Forget what was before a revision; the current values stay.

        That revision can still be listed, and watched after; none before it can. Compacting to a
        revision that is compacted already does nothing.
        """

    async def close(self) -> None: ...


async def list_all(store: Store, prefix: Key, *, limit: int = 10_000) -> tuple[list[Entry], Revision]:
    """Every key under a prefix, at one revision."""
    page = await store.list(prefix, limit=limit)
    entries, revision = list(page.entries), page.revision
    while page.next is not None:
        page = await store.list(prefix, start=page.next, revision=revision, limit=limit)
        entries.extend(page.entries)
    return entries, revision
