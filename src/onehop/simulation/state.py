"""What a host remembers between packets, as one frozen value.

A walk reads a `State` and returns `Effect`s; `State.after` makes the next state of them. Nothing here is
needed to be *right* about a topology: it is what packets have taught.

* A **record** is a connection. It lives on the host of its *owner*: the port that opened it, or where that
  is an uplink, the machine's port that it reaches. It is keyed by the owner and by *away*: the tuple of what
  the owner sends, as the other side sees it. Where *home*, the tuple as the owner itself sends it, is
  another, an index leads from (owner, home) to the record.
* A **hint** lives on the host of the far port, keyed by that port and by the tuple of its replies. It names
  the port that opened the connection, and so where replies go. Hints may be lost at any time.
* A **fragment** entry lets later fragments follow their first, keyed by the port that sent them.
* Learned **MACs** and **neighbours** are of machines that the model does not know.
* A **budget** that a port has used up is told here from outside; a walk says what it spends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import TypeVar

from onehop.simulation.packet import Ip

HINT_LIFE = 300.0  # seconds without a packet of either direction
FRAGMENT_LIFE = 30.0
NEIGHBOUR_LIFE = 300.0


@dataclass(frozen=True, slots=True)
class Tuple:
    """What a connection is known by. An echo has its id in both ports; other protocols have 0 there."""

    protocol: int
    src: Ip
    dst: Ip
    src_port: int = 0
    dst_port: int = 0

    def reversed(self) -> Tuple:
        """The tuple of the replies."""
        return Tuple(self.protocol, self.dst, self.src, self.dst_port, self.src_port)


class Life(IntEnum):
    """How far a connection is.

    first packet ──► OPENING ── a reply ──► OPEN ── FIN or RST ──► CLOSING
    mid-stream TCP ──────────────────────────┘          SYN from the opener ──► OPENING
    """

    OPENING = 1
    OPEN = 2
    CLOSING = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A connection, kept by the host of its owner."""

    opener: str  # port
    near: Tuple  # as the opener sends
    far_port: str
    far: Tuple  # as the far port receives; differs from `near` where addresses are translated
    near_macs: tuple[str, str]  # source, destination: of the opener's frames
    far_macs: tuple[str, str]  # of the frames as the far port receives them
    tos: int = 0  # of the opener's packets, for rules that match DSCP
    life: Life = Life.OPENING
    used: float = 0.0
    inbound: bool = False  # opened from an uplink, and owned by the machine's port that it reaches
    router: str | None = None  # that of the uplink, where one end is an uplink

    @property
    def owner(self) -> str:
        return self.far_port if self.inbound else self.opener

    @property
    def home(self) -> Tuple:
        """The tuple of what the owner sends, as it sends it."""
        return self.far.reversed() if self.inbound else self.near

    @property
    def away(self) -> Tuple:
        """The tuple of what the owner sends, as the other side sees it."""
        return self.near.reversed() if self.inbound else self.far

    @property
    def key(self) -> RecordKey:
        return (self.owner, self.away)


@dataclass(frozen=True, slots=True)
class Hint:
    """Replies of a tuple go to this port."""

    opener: str
    used: float = 0.0


@dataclass(frozen=True, slots=True)
class FragmentKey:
    """What the fragments of one packet have in common."""

    port: str  # that sent them
    protocol: int
    src: Ip
    dst: Ip
    id: int


@dataclass(frozen=True, slots=True)
class FirstFragment:
    """What later fragments need to know of the first."""

    src_port: int
    dst_port: int
    icmp: tuple[int, int] | None  # type and code
    end: int  # where the first ends: the others begin there or later
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    mac: str
    seen: float = 0.0


class Budget(Enum):
    """What a port may use only so much of."""

    ICMP_ERROR = "icmp-error"
    ASK = "ask"
    FLOOD = "flood"
    SLOW_PATH = "slow-path"
    CONNECTIONS = "connections"


RecordKey = tuple[str, Tuple]  # owner, away; in the index: owner, home
HintKey = tuple[str, Tuple]  # far port, tuple of its replies
MacKey = tuple[str, str]  # network, MAC
NeighbourKey = tuple[str, Ip]  # router port, address


# --- effects --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Add a record, or put it in the place of the one with its key."""

    record: Record


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """A record is no longer valid: its connection ends."""

    key: RecordKey


@dataclass(frozen=True, slots=True)
class NoteHint:
    port: str
    replies: Tuple
    hint: Hint


@dataclass(frozen=True, slots=True)
class NoteFragment:
    key: FragmentKey
    first: FirstFragment


@dataclass(frozen=True, slots=True)
class LearnMac:
    network: str
    mac: str
    port: str


@dataclass(frozen=True, slots=True)
class LearnNeighbour:
    router_port: str
    ip: Ip
    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class Spend:
    port: str
    budget: Budget


Effect = WriteRecord | DeleteRecord | NoteHint | NoteFragment | LearnMac | LearnNeighbour | Spend

K = TypeVar("K")
V = TypeVar("V")


def _frozen() -> MappingProxyType[K, V]:
    return MappingProxyType({})


def _with(base: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return MappingProxyType({**base, key: value})


@dataclass(frozen=True)
class State:
    """What a host remembers at a moment. `now` is in seconds, by any clock that does not go back."""

    now: float = 0.0
    records: Mapping[RecordKey, Record] = field(default_factory=_frozen)
    homes: Mapping[RecordKey, RecordKey] = field(default_factory=_frozen)  # where home is not away
    hints: Mapping[HintKey, Hint] = field(default_factory=_frozen)
    fragments: Mapping[FragmentKey, FirstFragment] = field(default_factory=_frozen)
    macs: Mapping[MacKey, str] = field(default_factory=_frozen)  # to the port behind which the MAC is
    neighbours: Mapping[NeighbourKey, Neighbour] = field(default_factory=_frozen)
    exhausted: frozenset[tuple[str, Budget]] = frozenset()

    def after(self, effects: Iterable[Effect]) -> State:
        state = self
        for effect in effects:
            state = state._after(effect)
        return state

    def _after(self, effect: Effect) -> State:
        match effect:
            case WriteRecord(record):
                return self._with_record(record)
            case DeleteRecord(key):
                return self.without_records([key])
            case NoteHint(port, replies, hint):
                return replace(self, hints=_with(self.hints, (port, replies), hint))
            case NoteFragment(key, first):
                return replace(self, fragments=_with(self.fragments, key, first))
            case LearnMac(network, mac, port):
                return replace(self, macs=_with(self.macs, (network, mac), port))
            case LearnNeighbour(router_port, ip, neighbour):
                return replace(self, neighbours=_with(self.neighbours, (router_port, ip), neighbour))
            case Spend():
                return self

    def at(self, now: float) -> State:
        return replace(self, now=now)

    def may(self, port: str, budget: Budget) -> bool:
        return (port, budget) not in self.exhausted

    def _with_record(self, record: Record) -> State:
        homes = self.homes
        if record.home != record.away:
            homes = _with(homes, (record.owner, record.home), record.key)
        return replace(self, records=_with(self.records, record.key, record), homes=homes)

    def without_records(self, keys: Iterable[RecordKey]) -> State:
        gone = {key for key in keys if key in self.records}
        if not gone:
            return self
        records = {key: record for key, record in self.records.items() if key not in gone}
        homes = {home: key for home, key in self.homes.items() if key not in gone}
        return replace(self, records=MappingProxyType(records), homes=MappingProxyType(homes))

    def with_records(self, records: Iterable[Record]) -> State:
        state = self
        for record in records:
            state = state._with_record(record)
        return state

    def records_at_home(self, owner: str, home: Tuple) -> Iterator[Record]:
        """The records of what their owner sends: the one that is not translated, then the one that is."""
        at = (owner, home)
        for key in (at, self.homes.get(at)):
            record = self.records.get(key) if key is not None else None
            if record is not None and record.home == home:
                yield record
