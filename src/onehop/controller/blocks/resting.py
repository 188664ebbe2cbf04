"""Blocks that were given up: nobody gets one before its last user cannot use it, and ten minutes more.

    given up ──its hosts have applied that, or are fenced or gone──► until: ten minutes later ──► free

`blocks/resting/<block>` tells it of each block, so that all controllers know, and those that come later. Its
value names the port and the hosts that had it; the revision that wrote it is the one they have to apply.
`blocks/leaving/<port>/<host>` says that a host had a port with blocks, and may not know yet that it has it no
more: whatever the port gives up waits for that host too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from onehop.model.claims import Claim
from onehop.store.interface import AtRevision, Delete, Guard, Put, Revision, Store, Write, list_all

PREFIX = "blocks/"
RESTING = f"{PREFIX}resting/"
LEAVING = f"{PREFIX}leaving/"
REST = 600.0  # seconds

HasApplied = Callable[[str, Revision], bool]  # whether a host has done so, or does not matter any more


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a block that was given up. `until` is set once nobody uses it."""

    port: str = ""
    hosts: tuple[str, ...] = ()
    until: float | None = None


class Kept(NamedTuple):
    given: Given
    revision: Revision


_decoder = msgspec.json.Decoder(Given)


def is_block(claim: Claim) -> bool:
    return claim.scope.startswith("block/")


def resting_key(claim: Claim) -> str:
    return f"{RESTING}{claim.scope.removeprefix('block/')}/{claim.value}"


def given_up(claim: Claim, port: str, hosts: Iterable[str]) -> Put:
    return Put(resting_key(claim), msgspec.json.encode(Given(port, tuple(sorted(set(hosts))))))


def leaving(port: str, host: str) -> Put:
    return Put(f"{LEAVING}{port}/{host}", b"")


class RestingBlocks:
    """What rests, in memory. Whoever follows the store tells it with `take`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._resting: dict[str, Kept] = {}
        self._leaving: dict[str, Revision] = {}
        self._noted: set[str] = set()  # given up, and not heard of from the store yet

    async def load(self, store: Store) -> Revision:
        entries, revision = await list_all(store, PREFIX)
        self._resting.clear()
        self._leaving.clear()
        for entry in entries:
            self.take(entry.key, entry.value, entry.revision)
        return revision

    def take(self, key: str, value: bytes | None, revision: Revision) -> None:
        if key.startswith(LEAVING):
            if value is None:
                self._leaving.pop(key, None)
            else:
                self._leaving[key] = revision
            return
        self._noted.discard(key)
        if value is None:
            self._resting.pop(key, None)
            return
        try:
            given = _decoder.decode(value)
        except msgspec.MsgspecError:
            given = Given()
        self._resting[key] = Kept(given, revision)

    def revisions(self) -> dict[str, Revision]:
        """What the store is known to hold of this, and since when."""
        return {key: kept.revision for key, kept in self._resting.items()} | self._leaving

    def note(self, claim: Claim) -> None:
        """A block was given up; the store tells the rest."""
        key = resting_key(claim)
        if key not in self._resting:
            self._noted.add(key)

    def rests(self, claim: Claim) -> bool:
        if not self._resting and not self._noted:
            return False
        key = resting_key(claim)
        return key in self._resting or key in self._noted

    def count(self, within: str, addresses: Iterable[str]) -> int:
        """How many blocks of some addresses rest."""
        ends = {f"{RESTING}{within}/{ip}" for ip in addresses}
        return sum(key.rpartition("/")[0] in ends for key in (*self._resting, *self._noted))

    def steps(self, has_applied: HasApplied) -> Iterator[tuple[Guard, Write]]:
        """What is to be written by now: each under its guard."""
        now = self._clock()
        left: dict[str, list[str]] = {}
        for key, revision in self._leaving.items():
            port, _, host = key.removeprefix(LEAVING).partition("/")
            if has_applied(host, revision):
                yield AtRevision(key, revision), Delete(key)
            else:
                left.setdefault(port, []).append(host)
        for key, (given, revision) in self._resting.items():
            if given.until is not None:
                if given.until <= now:
                    yield AtRevision(key, revision), Delete(key)
            elif all(has_applied(host, revision) for host in (*given.hosts, *left.get(given.port, ()))):
                rested = msgspec.structs.replace(given, until=now + REST)
                yield AtRevision(key, revision), Put(key, msgspec.json.encode(rested))
