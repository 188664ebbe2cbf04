"""What has to be written so that tables hold what they should, and in which order.

What is referred to comes before what refers to it, and goes after it: first everything that is added or
changed, from the far end of references to the near one, then everything that goes, the other way round. So at
no moment does anything point to what is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from onehop.compiler.desired import LIST_NAMES, TABLE_NAMES, Desired

# From what is only referred to, to what packets start from. Ports and networks refer to each other; nothing
# starts from either before `interfaces`, `fdb` and `routes` lead there.
ORDER: tuple[str, ...] = (
    "address_sets", "rule_lists", "hosts", "moved", "routers", "sources", "ports", "remotes", "members",
    "networks", "block_lists", "nat_bindings", "nat_blocks", "nat_forwards", "nat_destinations",
    "nat_sources", "port_addresses", "neighbours", "fdb", "router_addresses", "hop_groups",
    "source_routes", "routes", "peers", "interfaces",
)  # fmt: skip
assert sorted(ORDER) == sorted((*TABLE_NAMES, *LIST_NAMES)), "every table has its place in the order"


@dataclass(frozen=True, slots=True)
class Put:
    """Write these entries; of lists, each is swapped whole."""

    table: str
    entries: Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Remove:
    table: str
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`zones` are those whose epochs go up when all is written; zone 0 is the whole host.

    `problems` has the objects whose problems have changed; with none, if they are over.
    """

    puts: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)
    removes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    zones: frozenset[int] = frozenset()
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of_changes(
        cls,
        changes: Mapping[tuple[str, Any], tuple[Any, Any]],
        zones: Iterable[int],
        problems: Mapping[str, tuple[str, ...]],
    ) -> Difference:
        """From what stands at each changed place, before and after; None for nothing."""
        puts: dict[str, dict[Any, Any]] = {}
        removes: dict[str, list[Any]] = {}
        for (table, key), (_, after) in changes.items():
            if after is None:
                removes.setdefault(table, []).append(key)
            else:
                puts.setdefault(table, {})[key] = after
        gone = {table: tuple(keys) for table, keys in removes.items()}
        return cls(puts, gone, frozenset(zones), problems)

    @classmethod
    def between(cls, desired: Desired, actual: Desired) -> Difference:
        """What takes actual contents to desired ones, whatever they are from."""
        changes: dict[tuple[str, Any], tuple[Any, Any]] = {}
        for wanted, found in ((desired.tables, actual.tables), (desired.lists, actual.lists)):
            for table in {*wanted, *found}:
                want, have = wanted.get(table, {}), found.get(table, {})
                for key, value in want.items():
                    if (before := have.get(key)) != value:
                        changes[table, key] = (before, value)
                changes.update(((table, key), (have[key], None)) for key in have if key not in want)
        problems: dict[str, tuple[str, ...]] = {
            id: () for id in actual.problems if id not in desired.problems
        }
        problems |= {id: p for id, p in desired.problems.items() if actual.problems.get(id) != p}
        return cls.of_changes(changes, {0} if changes else (), problems)

    def __bool__(self) -> bool:
        return bool(self.puts or self.removes)

    def steps(self) -> Iterator[Put | Remove]:
        """The writes, in order."""
        for table in ORDER:
            entries = self.puts.get(table)
            if entries:
                yield Put(table, _jumps_last(entries) if table == "rule_lists" else entries)
        for table in reversed(ORDER):
            keys = self.removes.get(table)
            if keys:
                yield Remove(table, keys)


def _jumps_last(lists: Mapping[int, Any]) -> dict[int, Any]:
    """Lists in an order in which those that are jumped to come before those that jump."""
    ordered: dict[int, Any] = {}

    def visit(id: int, way: frozenset[int]) -> None:
        if id in ordered or id in way or id not in lists:
            return
        for rule in lists[id]:
            if rule.jump:
                visit(rule.jump, way | {id})
        ordered[id] = lists[id]

    for id in lists:
        visit(id, frozenset())
    return ordered
