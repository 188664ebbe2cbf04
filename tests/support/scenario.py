"""Scenarios as values: what stands in `tests/scenarios/`, read and checked, with nothing run.

A *scenario* is a file. A *case* is a scenario in one family and one placement, with its document complete:
networks, routers and firewalls as written, plus hosts and bindings. Whoever runs cases (the simulation, the
kernel programs, the lab) starts from here. The format is told in `tests/scenarios/README.md`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from tests.support.families import Family, in_family

ROOT = Path(__file__).parents[1] / "scenarios"
UNDERLAY = "192.0.2.0/24"  # where the hosts are; in tests of values only

Place = Literal["together", "apart"]

# Groups that the lab does not play so far.
NOT_IN_LAB: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happens, and what is expected of it."""


class Send(Step, frozen=True, kw_only=True):
    """One packet enters at a port."""

    send: str
    at: str | None = None  # the port that the packet's source names, if left out
    delivered: str | list[str] | dict[str, str] | None = None
    answered: str | None = None
    dropped: str | None = None  # a reason, in small letters
    by: str | None = None  # the object, and the rule in it, that decided

    def deliveries(self) -> dict[str, str]:
        """Port to what is told of the packet there; `same` means byte for byte as sent."""
        if self.delivered is None:
            return {}
        if isinstance(self.delivered, str):
            return {self.delivered: "same"}
        if isinstance(self.delivered, list):
            return dict.fromkeys(self.delivered, "same")
        return dict(self.delivered)


class Throw(Step, frozen=True, kw_only=True):
    """One packet enters at a port, if that is there. All who run it do the same, whatever that is.

    Whoever gets it turns it around, and so on, so many `turns`: with an answer, or an ICMP error about it.
    `via`: the uplink that what the outside sends comes in by.
    """

    throw: str
    at: str
    turns: int = 0
    with_: Literal["answers", "errors"] = msgspec.field(name="with", default="answers")
    via: str | None = None
    mutate: dict[int, int] = {}  # bytes of the frame, by offset, modulo its length
    cut: int | None = None  # bytes that are left of it


class Exchange(Step, frozen=True, kw_only=True):
    """Two machines talk: a ping, a TCP connection or a UDP question, neighbours and replies included.

    `via`: the uplink that what the outside sends comes in by.
    """

    ping: str | None = None
    tcp: str | None = None
    udp: str | None = None
    fails: str | None = None  # why what did not get through was dropped
    via: str | None = None

    @property
    def protocol(self) -> str:
        return next(name for name in ("ping", "tcp", "udp") if getattr(self, name) is not None)

    @property
    def text(self) -> str:
        return self.ping or self.tcp or self.udp or ""


class Open(Step, frozen=True, kw_only=True):
    """A TCP connection that stays open, under a name."""

    open: str
    as_: str = msgspec.field(name="as")
    via: str | None = None


class Talk(Step, frozen=True, kw_only=True):
    """Data in both directions over an open connection."""

    talk: str
    fails: str | None = None  # neither direction gets through, and why
    via: str | None = None


class Traceroute(Step, frozen=True, kw_only=True):
    traceroute: str
    hops: list[str]


class Spread(Step, frozen=True, kw_only=True):
    """Connections that differ in their source port, three packets each: every one keeps to its way."""

    spread: str
    connections: int
    over: dict[str, int]  # port to its share


class Fill(Step, frozen=True, kw_only=True):
    """Connections that differ in their source port, a packet each, until there is no more room.

    No two may arrive alike. At least half of `most` have to arrive, and no more than that.
    """

    fill: str
    connections: int
    most: int
    dropped: str | None = None  # why the others do not arrive


class Change(Step, frozen=True, kw_only=True):
    """A merge patch (RFC 7396) to the document; null deletes."""

    change: dict[str, Any]


class Move(Step, frozen=True, kw_only=True):
    move: dict[str, str]  # port to host


class Interface(Step, frozen=True, kw_only=True):
    interface: dict[str, Literal["up", "down"]]


class Forget(Step, frozen=True, kw_only=True):
    """Hosts lose what they only remember: hints, flows."""

    forget: Literal["hints", "flows"] | list[Literal["hints", "flows"]]


class Wait(Step, frozen=True, kw_only=True):
    wait: float  # seconds
    dropped: str | None = None  # of packets that waited, and need not any more; `*` for whatever may happen
    answered: dict[str, str] = {}  # to whom, about the last packet sent there


class Settle(Step, frozen=True, kw_only=True):
    """What one host learned reaches the others, and packets that waited for it go on."""

    settle: Literal[True]
    delivered: dict[str, str] | Literal["*"] = {}  # of those that waited; `*`: anything


_STEPS: dict[str, type[Step]] = {
    "send": Send,
    "throw": Throw,
    "ping": Exchange,
    "tcp": Exchange,
    "udp": Exchange,
    "open": Open,
    "talk": Talk,
    "traceroute": Traceroute,
    "spread": Spread,
    "fill": Fill,
    "change": Change,
    "move": Move,
    "interface": Interface,
    "forget": Forget,
    "wait": Wait,
    "settle": Settle,
}


class _Repeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many entries alike: `{i}` counts, `{high}` and `{low}` are its bytes."""

    count: int
    name: str
    into: str = msgspec.field(name="in")
    value: Any


class Outside(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The world beyond the uplinks.

    Beyond each uplink stands a router, whose address `neighbours` tells; behind all of them are the
    `machines`, each with its address. The routers tell of themselves at the beginning, unless they are
    `silent`.
    """

    neighbours: dict[str, str] = {}  # uplink, as `provider/up1`, to the address of the router beyond it
    machines: dict[str, str] = {}
    silent: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    about: str
    steps: list[dict[str, Any]]
    base: str | None = None
    families: tuple[Family, ...] = ("v4", "v6")
    places: tuple[Place, ...] = ("together", "apart")
    topology: dict[str, Any] = {}
    hosts: dict[str, list[str]] | None = None
    underlay: Family | None = None  # which addresses the hosts have; those of the family
    repeat: list[_Repeat] = []


@dataclass(frozen=True)
class Case:
    """A scenario in one family and one placement. `document` is complete, with hosts and bindings."""

    name: str
    about: str
    family: Family
    place: Place
    document: dict[str, Any]
    hosts: tuple[str, ...]
    steps: tuple[Step, ...]
    outside: Outside

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]

    @property
    def id(self) -> str:
        return f"{self.name}-{self.family}-{self.place}"


def cases(root: Path = ROOT) -> Iterator[Case]:
    """Every case of every file, in the order of their names."""
    for path in sorted(root.glob("*/*.yaml")):
        if path.parent.name != "bases":
            yield from cases_of(path, root)


def real_cases(root: Path = ROOT) -> Iterator[Case]:
    """The cases that the lab plays."""
    return (case for case in cases(root) if case.group not in NOT_IN_LAB)


def cases_of(path: Path, root: Path = ROOT) -> Iterator[Case]:
    name = path.relative_to(root).with_suffix("").as_posix()
    file = _read(path)
    topology = _topology(file, root)
    for family in file.families:
        for place in file.places:
            yield _case(name, file, topology, family, place)


def case_of(name: str, raw: Mapping[str, Any]) -> Case:
    """The first case of what a file might hold."""
    file = msgspec.convert(raw, _File)
    return _case(name, file, _topology(file, ROOT), file.families[0], file.places[0])


def _case(name: str, file: _File, topology: dict[str, Any], family: Family, place: Place) -> Case:
    document = in_family(topology, family)
    outside = msgspec.convert(document.pop("outside", {}), Outside)
    where = _places(document, file.hosts, place, list(outside.neighbours))
    for port, host in where.items():
        bind(document, port, host)
    hosts = sorted({*where.values(), *(file.hosts or {} if place == "apart" else {})})
    add_hosts(document, hosts, file.underlay or family)
    steps = tuple(step(in_family(raw, family)) for raw in file.steps)
    return Case(name, file.about.strip(), family, place, document, tuple(hosts), steps, outside)


def step(raw: Mapping[str, Any]) -> Step:
    """A step, by the word that says what it is."""
    words = [word for word in raw if word in _STEPS]
    if len(words) != 1:
        raise ValueError(f"a step is one of {', '.join(_STEPS)}; this has {sorted(raw)}")
    return msgspec.convert(raw, _STEPS[words[0]])


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): a new value, the target as it was."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def bind(document: dict[str, Any], port: str, host: str | None) -> None:
    """Put a port (`web/a`, or an uplink: `provider/up1`) on a host, or on none."""
    device, _, name = port.partition("/")
    section = "networks" if device in document.get("networks", {}) else "routers"
    body = document[section][device]["ports"][name]
    body["bindings"] = {host: {"host": host, "interface": name}} if host is not None else {}


def machines(document: Mapping[str, Any]) -> list[str]:
    """The paths of the ports that machines are plugged into."""
    return [
        f"{network}/{name}"
        for network, body in document.get("networks", {}).items()
        for name, port in body.get("ports", {}).items()
        if (port or {}).get("kind", "vm") == "vm"
    ]


def path_of(document: Mapping[str, Any], port: str) -> str:
    """The path of a machine's port, given by path or by its bare name; of an uplink, by path."""
    device, slash, name = port.partition("/")
    if slash and name in document.get("routers", {}).get(device, {}).get("ports", {}):
        return port
    found = [path for path in machines(document) if port in (path, path.partition("/")[2])]
    if len(found) != 1:
        raise ValueError(f"{port!r} names {len(found)} ports")
    return found[0]


def _read(path: Path) -> _File:
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), _File)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from None


def read_base(name: str, root: Path = ROOT) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((root / "bases" / f"{name}.yaml").read_text())
    return document


def _topology(file: _File, root: Path) -> dict[str, Any]:
    topology: dict[str, Any] = merge(read_base(file.base, root) if file.base else {}, file.topology)
    topology.setdefault("project", "demo")
    for repeat in file.repeat:
        at = topology
        for word in repeat.into.split("."):
            at = at.setdefault(word, {})
        at.update(_repeated(repeat))
    return topology


def _repeated(repeat: _Repeat) -> dict[str, Any]:
    def fill(value: Any, i: int) -> Any:
        if isinstance(value, str):
            return value.replace("{i}", str(i)).replace("{high}", str(i >> 8)).replace("{low}", str(i & 255))
        return {key: fill(inner, i) for key, inner in value.items()} if isinstance(value, dict) else value

    return {fill(repeat.name, i): fill(repeat.value, i) for i in range(repeat.count)}


def _places(
    document: dict[str, Any], hosts: dict[str, list[str]] | None, place: Place, uplinks: list[str]
) -> dict[str, str]:
    """Port to host: all on one, or as the file says, or each on its own."""
    ports = machines(document) + uplinks
    if place == "together":
        return dict.fromkeys(ports, "one")
    if hosts is not None:
        return {path_of(document, port): host for host, names in hosts.items() for port in names}
    return {port: f"host-{port.replace('/', '-')}" for port in ports}


def add_hosts(document: dict[str, Any], hosts: list[str], underlay: Family = "v4") -> None:
    address = {"v4": "192.0.2.{}", "v6": "2001:db8::{:x}"}[underlay]
    document["underlays"] = {"floor": {}}
    document["hosts"] = {
        host: {"addresses": [{"underlay": "floor", "ip": address.format(number)}]}
        for number, host in enumerate(hosts, 1)
    }
