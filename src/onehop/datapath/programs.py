"""The datapath's own object: its programs, and its tables seen as `tables` declares them.

loaded = load(config={"udp_port": 4789}, sizes={"flows": 65536})
loaded.tables["ports"].update(7, Port(...))
loaded.lists["rule_lists"].put(3, [Rule(...), ...])
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from onehop.datapath.build import object_path
from onehop.datapath.layouts import Layout, per_cpu
from onehop.datapath.libbpf import BpfError, MapFull, possible_cpus
from onehop.datapath.maps import PER_CPU, Map
from onehop.datapath.object import Config, Object, Program, load_object
from onehop.datapath.structs import Span
from onehop.datapath.tables import LISTS, TABLES, Table, key_codec, value_codec
from onehop.datapath.testrun import run_program

__all__ = ["Datapath", "ListTable", "load"]

PROGRAMS = ("from_port", "from_underlay", "inject")  # those that are attached; the others are called by them


@dataclass(slots=True)
class Datapath:
    """The loaded object. `loaded.maps` has what is no table, too: `events`, `steps`, and scratch memory."""

    loaded: Object
    tables: dict[str, Map[Any, Any]]
    lists: dict[str, ListTable]

    @property
    def programs(self) -> dict[str, Program]:
        return self.loaded.programs

    def close(self) -> None:
        self.loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    *,
    config: Config | None = None,
    sizes: Mapping[str, int] | None = None,
    reuse: Mapping[str, Map[Any, Any]] | None = None,
) -> Datapath:
    """Load programs and tables, and start the timer that sweeps records and hints.

    `steps` is never to be reused: it holds the programs themselves. `sweepers` may be, so that its timer goes
    on with the new programs.
    """
    loaded = load_object(object_path("datapath"), config=config, max_entries=sizes, reuse=reuse)
    try:
        if run_program(loaded.programs["start"], bytes(64)).verdict != 0:
            raise BpfError(errno.EBUSY, "start the timer that sweeps records and hints")
        tables = {one.name: _typed(loaded, one) for one in TABLES}
        lists = {one.name: ListTable(tables[one.spans], tables[one.elements]) for one in LISTS}
    except BaseException:
        loaded.close()
        raise
    return Datapath(loaded, tables, lists)


def _typed(loaded: Object, one: Table) -> Map[Any, Any]:
    value = value_codec(one)
    if one.kind in PER_CPU:
        value = per_cpu(value, possible_cpus())
    return loaded.map(one.name, key_codec(one), value)


class ListTable:
    """Lists in one array, and where each stands.

    A list is written where nothing refers to, then its span is switched, then its old place is free. Whoever
    takes over tables that are in use reads the spans back (`adopt`).
    """

    def __init__(self, spans: Map[int, Span], elements: Map[int, Any]) -> None:
        self.spans, self.elements = spans, elements
        self._places: dict[int, Span] = {}
        self._free = [Span(0, elements.info.max_entries)]

    def adopt(self) -> None:
        """Learn from the tables themselves which places are taken."""
        self._places = {id: span for id, span in self.spans.items() if span.count}
        self._free, at = [], 0
        for span in sorted(self._places.values(), key=lambda span: span.base):
            if span.base > at:
                self._free.append(Span(at, span.base - at))
            at = span.base + span.count
        if at < self.elements.info.max_entries:
            self._free.append(Span(at, self.elements.info.max_entries - at))

    def ids(self) -> set[int]:
        return set(self._places)

    def get(self, id: int) -> tuple[Any, ...]:
        span = self._places.get(id, Span(0, 0))
        return tuple(self.elements.lookup(at) for at in range(span.base, span.base + span.count))

    def put(self, id: int, elements: Sequence[Layout]) -> None:
        """Write a list, or put it in the place of the one with its id."""
        old, span = self._places.get(id), self._take(len(elements))
        self.elements.update_many((span.base + i, element) for i, element in enumerate(elements))
        self.spans.update(id, span)
        self._places[id] = span
        if old is not None:
            self._give(old)

    def remove(self, id: int) -> None:
        old = self._places.pop(id, None)
        if old is not None:
            self.spans.update(id, Span(0, 0))
            self._give(old)

    def _take(self, count: int) -> Span:
        for i, free in enumerate(self._free):
            if free.count >= count:
                self._free[i : i + 1] = [Span(free.base + count, free.count - count)]
                return Span(free.base, count)
        raise MapFull(28, f"map {self.elements.name} has no room for a list of {count}")

    def _give(self, span: Span) -> None:
        merged: list[Span] = []
        for free in sorted([*self._free, span], key=lambda span: span.base):
            if merged and merged[-1].base + merged[-1].count == free.base:
                merged[-1] = Span(merged[-1].base, merged[-1].count + free.count)
            elif free.count:
                merged.append(free)
        self._free = merged
