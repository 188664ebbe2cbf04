"""Small numbers for this host's own use: of routers, lists, sets, zones, hosts.

A name keeps its number while anybody holds it, and over restarts, given the assignment of before. A freed
number rests: numbers are given out in a circle, so the one that was freed last comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from onehop.datapath.tables import OF_IPV6, THIS_HOST, table

_FREE = 1 << 31  # numbers that index nothing

LIMITS: Mapping[str, int] = {
    "routers": table("routers").size,
    "hosts": table("hosts").size,
    "zones": table("epochs").size,
    "rule_lists": table("rule_spans").size,
    "hop_groups": table("hop_spans").size,
    "address_sets": OF_IPV6,
    "source_tables": OF_IPV6,
    "rules": _FREE,  # of security groups and ACLs, for traces
    "filters": _FREE,  # security groups and ACLs, for traces
    "routes": _FREE,  # for traces
    "block_lists": table("block_spans").size,
    "shared_rules": _FREE,  # NAT rules that share addresses, by family
}
FIRST = {"hosts": THIS_HOST + 1}  # 0 is none

Spaces = Mapping[str, Mapping[str, int]]


class Exhausted(Exception):
    """All numbers of a space are taken."""

    def __init__(self, space: str, limit: int) -> None:
        super().__init__(f"a host can have at most {limit} {space.replace('_', ' ')}")


@dataclass(slots=True)
class _Space:
    first: int
    limit: int
    next: int
    ids: dict[str, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who has which number, as a plain value to be kept on disk. `next` is where each space goes on."""

    ids: Spaces = field(default_factory=dict)
    next: Mapping[str, int] = field(default_factory=dict)


class Ids:
    def __init__(self, before: Assignment | None = None, limits: Mapping[str, int] = LIMITS) -> None:
        before = before or Assignment()
        self.version = 0  # goes up whenever a number is given out or given back
        self._spaces: dict[str, _Space] = {}
        for name, limit in limits.items():
            first = FIRST.get(name, 1)
            given = dict(before.ids.get(name, {}))
            names = {number: whose for whose, number in given.items()}
            space = _Space(first, limit, before.next.get(name, first), given, names)
            self._spaces[name] = space

    def of(self, space: str, name: str) -> int:
        """The number of a name; a new one, if it has none. Raises Exhausted."""
        here = self._spaces[space]
        number = here.ids.get(name)
        if number is None:
            number = here.ids[name] = _free(space, here)
            here.names[number] = name
            self.version += 1
        return number

    def release(self, space: str, name: str) -> None:
        here = self._spaces[space]
        number = here.ids.pop(name, None)
        if number is not None:
            del here.names[number]
            self.version += 1

    def number(self, space: str, name: str) -> int | None:
        """The number of a name, if it has one."""
        return self._spaces[space].ids.get(name)

    def name(self, space: str, number: int) -> str | None:
        """Whose a number is."""
        return self._spaces[space].names.get(number)

    def names(self) -> Iterator[tuple[str, str]]:
        for space, here in self._spaces.items():
            for name in here.ids:
                yield space, name

    def assignment(self) -> Assignment:
        ids = {name: dict(space.ids) for name, space in self._spaces.items()}
        return Assignment(ids, {name: space.next for name, space in self._spaces.items()})


def _free(name: str, space: _Space) -> int:
    """The next free number, round the circle."""
    if len(space.names) >= space.limit - space.first:
        raise Exhausted(name, space.limit - space.first)
    number = space.next
    while number in space.names or not space.first <= number < space.limit:
        number = number + 1 if space.first <= number < space.limit - 1 else space.first
    space.next = number + 1
    return number
