"""A unit: one function over one object or list, the smallest thing that is computed anew.

The function gets a `Scope`: a view of the topology that notes what is read, and a sheet to write the result
on. A unit computes the same result from the same reads, whatever came before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from onehop.compiler.facts import Topic
from onehop.compiler.tracked import Read, Tracked
from onehop.model import Object
from onehop.model.view import View

T = TypeVar("T")
Place = tuple[str, Any]  # a table or lists, and the key in it


class Unit(NamedTuple):
    """Units are ordered by the step of the pipeline that they are of."""

    step: int
    of: tuple[str, ...]


class Unsupported(Exception):
    """The topology asks for what this host cannot do. Said of the object that the unit is about."""


@dataclass(slots=True)
class Result:
    """What a unit says.

    rows       what stands in tables and lists
    facts      what other units may ask for
    demands    units that it needs; they are there as long as somebody needs them
    ids        the numbers that it holds
    zones      whose flows depend on its rows; besides, those of the units in `within`
    problems   by object, why it does not work here
    """

    reads: set[Read] = field(default_factory=set)
    rows: dict[Place, Any] = field(default_factory=dict)
    facts: set[tuple[Topic[Any], Any]] = field(default_factory=set)
    demands: set[Unit] = field(default_factory=set)
    ids: set[tuple[str, str]] = field(default_factory=set)
    zones: set[int] = field(default_factory=set)
    within: set[Unit] = field(default_factory=set)
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)


class World(Protocol):
    """What a scope asks, besides the topology."""

    view: View
    host: str

    def facts(self, topic: Topic[T]) -> frozenset[T]: ...

    def number(self, space: str, name: str) -> int: ...

    def zone_of(self, device: str) -> str: ...

    def step(self, name: str) -> int: ...


class Scope(Tracked):
    """What a unit sees, and where it says what comes out."""

    def __init__(self, world: World) -> None:
        super().__init__(world.view)
        self._world = world
        self.result = Result(reads=self.reads)

    # --- what it sees, besides objects ------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The id of this host."""
        return self._world.host

    def all_of(self, topic: Topic[T]) -> frozenset[T]:
        self.reads.add(topic)
        return self._world.facts(topic)

    def one(self, topic: Topic[T]) -> T | None:
        """The one fact of a topic; the least, if there are several."""
        found = self.all_of(topic)
        return min(found, default=None) if len(found) != 1 else next(iter(found))  # type: ignore[type-var]

    def number(self, space: str, name: str) -> int:
        """This host's own number for something; its name keeps it while anybody holds it."""
        self.result.ids.add((space, name))
        return self._world.number(space, name)

    def zone_name(self, device: str) -> str:
        self.reads.add(Topic("zone", device))
        return self._world.zone_of(device)

    def zone(self, device: str) -> int:
        """The zone of a device. Its flows are what the rows here are about."""
        zone = self.number("zones", self.zone_name(device))
        self.result.zones.add(zone)
        return zone

    # --- what it says -----------------------------------------------------------------------------------

    def row(self, table: str, key: Any, value: Any) -> None:
        self.result.rows[table, key] = value

    def say(self, topic: Topic[T], fact: T) -> None:
        self.result.facts.add((topic, fact))

    def demand(self, step: str, *of: str) -> None:
        """Have a unit computed, for as long as this one needs it."""
        self.result.demands.add(Unit(self._world.step(step), of))

    def part_of(self, step: str, *of: str) -> None:
        """The rows here are about the flows of whoever demands that unit."""
        self.result.within.add(Unit(self._world.step(step), of))

    def whole_host(self) -> None:
        """The rows here are about all flows of the host."""
        self.result.zones.add(0)

    def problem(self, object: str, text: str) -> None:
        self.result.problems[object] = (*self.result.problems.get(object, ()), text)


@dataclass(frozen=True, slots=True)
class Step:
    """A function over each object of a kind; without a kind, over what others demand."""

    name: str
    compute: Callable[..., None]
    per: type[Object] | None = None
