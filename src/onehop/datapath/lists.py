"""Lists of elements in one array, and where each stands.

A list is written where nothing refers to, then its span is switched in one store, then its old place rests
until no packet can be reading it any more. Which places are taken is read from the spans, so tables in use
can be taken over.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onehop.datapath.extents import Extents
from onehop.datapath.layouts import Layout
from onehop.datapath.libbpf import MapFull
from onehop.datapath.maps import Map
from onehop.datapath.structs import Span
from onehop.datapath.tables import LISTS

__all__ = ["ListTable", "lists_of"]

Clock = Callable[[], float]


def lists_of(maps: Mapping[str, Map[Any, Any]], clock: Clock = time.monotonic) -> dict[str, ListTable]:
    """All that are declared, by name."""
    return {one.name: ListTable(maps[one.spans], maps[one.elements], clock) for one in LISTS}


class ListTable:
    def __init__(self, spans: Map[int, Span], elements: Map[int, Any], clock: Clock = time.monotonic) -> None:
        self.spans, self.elements = spans, elements
        self._clock = clock
        found = {id: span for id, span in spans.items() if span.count}
        size = elements.info.max_entries
        try:
            self._extents = Extents(size, ((span.base, span.count) for span in found.values()))
            self._placed = found
        except ValueError:  # what a stranger wrote there: every list will be placed anew
            self._extents, self._placed = Extents(size), {}

    def ids(self) -> set[int]:
        return set(self._placed)

    def contents(self) -> dict[int, tuple[Any, ...]]:
        """Every list. Those without elements cannot be told from those that are not there."""
        if not self._placed:
            return {}
        elements = [element for _, element in self.elements.items()]
        return {id: tuple(elements[at.base : at.base + at.count]) for id, at in self._placed.items()}

    def get(self, id: int) -> tuple[Any, ...]:
        span = self._placed.get(id, Span(0, 0))
        return tuple(self.elements.lookup(at) for at in range(span.base, span.base + span.count))

    def put(self, id: int, elements: Sequence[Layout]) -> None:
        """Write a list, or put it in the place of the one with its id, which stays if there is no room."""
        base = self._extents.take(len(elements), self._clock()) if elements else 0
        if base is None:
            what = f"map {self.elements.name} has no room for a list of {len(elements)}"
            raise MapFull(errno.ENOSPC, what)
        self.elements.update_many((base + i, element) for i, element in enumerate(elements))
        self._switch(id, Span(base, len(elements)))

    def remove(self, id: int) -> None:
        self._switch(id, Span(0, 0))

    def _switch(self, id: int, span: Span) -> None:
        self.spans.update(id, span)
        before = self._placed.pop(id, None)
        if before is not None:
            self._extents.give(before.base, before.count, self._clock())
        if span.count:
            self._placed[id] = span
