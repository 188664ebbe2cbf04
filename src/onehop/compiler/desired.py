"""What the tables should hold, as claimed by units, and what changed in it.

Several units may claim the same place: two ports with one MAC, two users of one hop group. Then the first
unit, by order, has its way; who claimed first in time does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onehop.compiler.unit import Place, Unit
from onehop.datapath.tables import LISTS, TABLES, Role

LIST_NAMES = tuple(one.name for one in LISTS)
TABLE_NAMES = tuple(one.name for one in TABLES if one.role is Role.COMPILED)

Contents = Mapping[str, Mapping[Any, Any]]


@dataclass(frozen=True, slots=True)
class Desired:
    """Contents of tables and of lists, and by object why it does not work on this host."""

    tables: Contents = field(default_factory=dict)
    lists: Contents = field(default_factory=dict)
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Claims:
    """Who claims what at each place."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[Any, Any]] = {name: {} for name in (*TABLE_NAMES, *LIST_NAMES)}
        self._by: dict[Place, dict[Unit, Any]] = {}
        self._before: dict[Place, Any] = {}

    def exchange(self, unit: Unit, old: Mapping[Place, Any], new: Mapping[Place, Any]) -> None:
        """Take what a unit claims now for what it claimed before."""
        for place, value in new.items():
            if place not in old or old[place] != value:
                self._by.setdefault(place, {})[unit] = value
                self._settle(place)
        for place in old.keys() - new.keys():
            del self._by[place][unit]
            self._settle(place)

    def take_changes(self) -> dict[Place, tuple[Any, Any]]:
        """Each place that has changed since this was last asked: before and after, None for nothing."""
        changes = {}
        for place, before in self._before.items():
            after = self.contents[place[0]].get(place[1])
            if before != after:
                changes[place] = (before, after)
        self._before = {}
        return changes

    def _settle(self, place: Place) -> None:
        name, key = place
        table, by = self.contents[name], self._by[place]
        self._before.setdefault(place, table.get(key))
        if by:
            table[key] = by[min(by)] if len(by) > 1 else next(iter(by.values()))
        else:
            del self._by[place], table[key]
