"""Writes into the tables what a `Difference` says, in its order, and reads back what they hold.

* A table without room loses what found none, and nothing else: it is tried again with the next change, and
  `full` says so.
* A list is written beside the old one, then its span is changed in one store.
* Epochs go up last.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from onehop.compiler.desired import LIST_NAMES, TABLE_NAMES, Desired
from onehop.compiler.difference import Difference, Put, Remove
from onehop.datapath.libbpf import MapFull
from onehop.datapath.lists import Clock, lists_of
from onehop.datapath.maps import Kind, Map
from onehop.datapath.tables import table, value_codec

__all__ = ["Applier"]

# Programs raise epochs too, by one; a step of ours that is larger cannot be mistaken for theirs.
EPOCH_STEP = 256
_EPOCHS = 1 << 32

Maps = Mapping[str, Map[Any, Any]]


class Applier:
    def __init__(self, maps: Maps, clock: Clock = time.monotonic) -> None:
        self._maps = maps
        self._lists = lists_of(maps, clock)
        self._empty = {
            name: value_codec(table(name)).decode(bytes(value_codec(table(name)).size))
            for name in TABLE_NAMES
            if table(name).kind == Kind.ARRAY
        }
        self._owed: dict[str, dict[Any, Any]] = {}

    @property
    def full(self) -> dict[str, int]:
        """Tables without room, and how many entries wait for some."""
        return {name: len(entries) for name, entries in self._owed.items() if entries}

    def actual(self) -> Desired:
        """What the tables hold. Lists without elements cannot be told from those that are not there."""
        tables = {name: self._contents(name) for name in TABLE_NAMES}
        return Desired(tables, {name: self._lists[name].contents() for name in LIST_NAMES})

    def reconcile(self, desired: Desired) -> Difference:
        """Make the tables hold what they should, whatever they hold; what had to be written."""
        actual = self.actual()
        empty = {
            name: {id: () for id, elements in desired.lists.get(name, {}).items() if not elements}
            for name in LIST_NAMES
        }
        lists = {
            name: {**actual.lists[name], **_absent(empty[name], actual.lists[name])} for name in LIST_NAMES
        }
        difference = Difference.between(desired, Desired(actual.tables, lists))
        self.apply(difference)
        return difference

    def apply(self, difference: Difference) -> None:
        for step in difference.steps():
            match step:
                case Put(name, entries):
                    self._put(name, entries)
                case Remove(name, keys):
                    self._remove(name, keys)
        if difference:
            self._retry()
        self.bump(difference.zones)

    def bump(self, zones: Iterable[int]) -> None:
        """Have every cached flow of these zones judged anew."""
        epochs = self._maps["epochs"]
        for zone in sorted(zones):
            epochs.update(zone, ((epochs.lookup(zone) or 0) + EPOCH_STEP) % _EPOCHS)

    # --- one table ----------------------------------------------------------------------------------

    def _contents(self, name: str) -> dict[Any, Any]:
        entries = self._maps[name].items()
        if name not in self._empty:
            return dict(entries)
        return {key: value for key, value in entries if value != self._empty[name]}

    def _put(self, name: str, entries: Mapping[Any, Any]) -> None:
        owed = self._owed.get(name)
        if owed:
            for key in entries:
                owed.pop(key, None)
        write = self._place if name in self._lists else self._write
        unplaced = write(name, entries)
        if unplaced:
            self._owed.setdefault(name, {}).update(unplaced)

    def _write(self, name: str, entries: Mapping[Any, Any]) -> dict[Any, Any]:
        """Write entries; those that found no room."""
        remaining, unplaced = list(entries.items()), {}
        while remaining:
            try:
                self._maps[name].update_many(remaining)
                break
            except MapFull as full:
                key, value = remaining[full.done]
                unplaced[key] = value
                remaining = remaining[full.done + 1 :]
        return unplaced

    def _place(self, name: str, entries: Mapping[int, Any]) -> dict[int, Any]:
        """Write lists; those that found no room, which stay as they were."""
        unplaced = {}
        for id, elements in entries.items():
            try:
                self._lists[name].put(id, elements)
            except MapFull:
                unplaced[id] = elements
        return unplaced

    def _remove(self, name: str, keys: Iterable[Any]) -> None:
        owed = self._owed.get(name, {})
        for key in keys:
            owed.pop(key, None)
        if name in self._lists:
            for key in keys:
                self._lists[name].remove(key)
        elif name in self._empty:
            self._maps[name].update_many((key, self._empty[name]) for key in keys)
        else:
            self._maps[name].delete_many(keys)

    def _retry(self) -> None:
        for name, entries in list(self._owed.items()):
            if entries:
                self._put(name, dict(entries))


def _absent(wanted: Mapping[Any, Any], there: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in wanted.items() if key not in there}
