"""The tables of one host: filled with what the compiler says, read back as the simulation's words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from onehop.compiler.desired import Desired
from onehop.compiler.difference import Difference, Put, Remove
from onehop.datapath.extents import REST
from onehop.datapath.layouts import Codec, Layout
from onehop.datapath.lists import lists_of
from onehop.datapath.programs import Datapath
from onehop.datapath.structs import LearnedMac, LearnedNeighbour, NeighbourKey
from onehop.datapath.tables import table, value_codec
from onehop.datapath.traffic import Bucket, BudgetKey
from onehop.datapath.words import Kind
from onehop.simulation.cloud.budgets import ALLOWANCES
from onehop.simulation.connections import LIFETIME, LIFETIME_TCP
from onehop.simulation.packet import TCP
from onehop.simulation.state import FRAGMENT_LIFE, HINT_LIFE, NEIGHBOUR_LIFE, Life
from onehop.simulation.state import Budget as SimBudget

# What packets teach, and the field that says when.
TAUGHT: Mapping[str, str | None] = {
    "records": "used",
    "hints": "used",
    "fragments": "seen",
    "learned_macs": "seen",
    "learned_neighbours": "seen",
    "flows": "made",
    "budgets": "filled",
    "translated": None,
    "openers": None,
    "counters": None,
}
LIVES = {
    "hints": HINT_LIFE,
    "fragments": FRAGMENT_LIFE,
    "learned_neighbours": NEIGHBOUR_LIFE,
    "flows": 1.0,
}
BUDGETS = {1: SimBudget.ICMP_ERROR, 2: SimBudget.ASK, 3: SimBudget.FLOOD, 4: SimBudget.SLOW_PATH}
# Small tables are quick to empty; their size matters to no packet here.
SIZES = dict.fromkeys(
    ("records", "hints", "translated", "openers", "fragments", "learned_macs", "learned_neighbours", "flows",
     "budgets", "counters", "ports", "networks", "fdb", "neighbours", "members", "remotes", "port_addresses",
     "router_addresses", "interfaces", "peers"),
    4096,
)  # fmt: skip


class Tables:
    """What a host's programs read and write. `actual` is what has been written of what is compiled."""

    def __init__(self, datapath: Datapath) -> None:
        self.maps = datapath.maps
        self._lists = lists_of(self.maps, itertools.count(0, REST).__next__)
        self.actual = Desired({}, {}, {})
        self._zeros = {name: _zeros(value_codec(table(name))) for name in ("routers", "hosts")}

    # --- what is compiled -------------------------------------------------------------------------------

    def begin(self, desired: Desired) -> None:
        """Become another host: hold this, and know nothing from packets."""
        self.apply(Difference.between(desired, self.actual))
        self.forget(*TAUGHT)

    def apply(self, difference: Difference) -> None:
        """Write what differs; then the epochs go up."""
        for step in difference.steps():
            if isinstance(step, Put):
                self._put(step)
            else:
                self._remove(step)
        self.bump(*difference.zones)

    def _put(self, step: Put) -> None:
        contents = self._contents(step.table)
        if step.table in self._lists:
            for id, elements in step.entries.items():
                self._lists[step.table].put(id, elements)
        else:
            self.maps[step.table].update_many(step.entries.items())
        contents.update(step.entries)

    def _remove(self, step: Remove) -> None:
        contents = self._contents(step.table)
        for key in step.keys:
            contents.pop(key, None)
            if step.table in self._lists:
                self._lists[step.table].remove(key)
            elif step.table in self._zeros:
                self.maps[step.table].update(key, self._zeros[step.table])
        if step.table not in self._lists and step.table not in self._zeros:
            self.maps[step.table].delete_many(step.keys)

    def _contents(self, name: str) -> dict[Any, Any]:
        of = self.actual.lists if name in self._lists else self.actual.tables
        return of.setdefault(name, {})  # type: ignore[attr-defined,no-any-return]

    def bump(self, *zones: int) -> None:
        for zone in zones:
            self.maps["epochs"].update(zone, self.maps["epochs"].lookup(zone) + 1)

    # --- what packets teach -----------------------------------------------------------------------------

    def forget(self, *names: str) -> None:
        for name in names:
            self.maps[name].delete_many(list(self.maps[name].keys()))

    def items(self, name: str) -> Iterator[tuple[Any, Any]]:
        keys = list(self.maps[name].keys())
        return iter([(key, self.maps[name].lookup(key)) for key in keys])

    def age(self, seconds: float) -> None:
        """Make all that has a time that much older, and fill up budgets."""
        passed = int(seconds * 1e9)
        for name, when in TAUGHT.items():
            if when is None:
                continue
            for key, value in self.items(name):
                then = getattr(value, when) - passed
                if then <= 0 and seconds > _lifetime(name, key, value):
                    self.maps[name].delete(key)  # from before the machine started: no time says that
                else:
                    self.maps[name].update(key, msgspec.structs.replace(value, **{when: max(then, 1)}))
        for key, bucket in self.items("budgets"):
            self.maps["budgets"].update(key, _filled(key, bucket, seconds))

    def learn_mac(self, key: Any, port: int, now: int) -> None:
        self.maps["learned_macs"].update(key, LearnedMac(port, now))

    def learn_neighbour(self, key: NeighbourKey, mac: bytes, now: int) -> None:
        self.maps["learned_neighbours"].update(key, LearnedNeighbour(mac, now))

    def end_waiting(self) -> None:
        """Nobody answers questions here: let the next packet ask again."""
        for key, known in self.items("learned_neighbours"):
            if known.mac == bytes(6):
                self.maps["learned_neighbours"].delete(key)


def _zeros(codec: Codec[Any]) -> Layout:
    zeros: Layout = codec.decode(bytes(codec.size))
    return zeros


def _lifetime(name: str, key: Any, value: Any) -> float:
    if name == "records":
        return (LIFETIME_TCP if key.protocol == TCP else LIFETIME)[Life(value.life)]
    return {
        "hints": HINT_LIFE,
        "fragments": FRAGMENT_LIFE,
        "learned_neighbours": NEIGHBOUR_LIFE,
        "flows": 1,
    }.get(name, float("inf"))


def _filled(key: BudgetKey, bucket: Bucket, seconds: float) -> Bucket:
    allowance = ALLOWANCES[BUDGETS[key.budget]]
    tokens = min(bucket.tokens + int(seconds * allowance.rate * 1000), int(allowance.burst * 1000))
    return msgspec.structs.replace(bucket, tokens=tokens)


__all__ = ["SIZES", "TAUGHT", "Kind", "Tables"]
