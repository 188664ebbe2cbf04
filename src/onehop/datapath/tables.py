"""Every table that the eBPF programs and Python share, declared once: shape, size, and who writes it.

Whoever has to do with tables works from here. The compiler makes their desired contents; the agent
compares them with the actual ones; `generate` writes the maps and structs out for C (a test holds the
written headers to this file); tests fill them by hand. `docs/design/datapath.md` tells how they go together.

**Desired contents** are `{table name: {key: value}}` for tables of role COMPILED, and for the lists
`{list name: {id: (element, ...)}}`: where a list stands in its array is the agent's business.

* Keys and values are `Layout`s, or plain numbers where the declaration says so (`U32`).
* **Order of changes**: what is referred to comes before what refers to it, and goes after it. Lists are
  swapped whole: the new one is written beside the old one, then its `Span` is changed in one store.
* After a batch, the epochs of the zones that it concerns go up by one. Taking a port off an interface,
  or moving it to another zone, concerns the zone where it was, too.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from onehop.datapath import words
from onehop.datapath.layouts import IP6, U8, U32, Codec, Layout, codec, scalar
from onehop.datapath.structs import (
    Block,
    FdbKey,
    Hop,
    Host,
    InterfaceKey,
    LearnedMac,
    LearnedNeighbour,
    MemberKey,
    Moved,
    NatBindingKey,
    NatBlockKey,
    NatDestination,
    NatForward,
    NatForwardKey,
    NatSource,
    Neighbour,
    NeighbourKey,
    Network,
    Port,
    PortAddressKey,
    PrefixKey,
    Route,
    Router,
    RouterAddressKey,
    Rule,
    SourceKey,
    Span,
)  # fmt: skip
from onehop.datapath.traffic import (
    MAX_COPIES,
    MAX_ZONES,
    Bucket,
    BudgetKey,
    Counter,
    CounterKey,
    Ends,
    Event,
    FirstFragment,
    Flow,
    FlowKey,
    FragmentKey,
    Hint,
    Record,
    TupleKey,
    Verdict,
)  # fmt: skip
from onehop.datapath.words import Kind
from onehop.model.nat import BLOCK
from onehop.model.vocabulary import MAX_DEVICES, Drop, Stage, TunnelFlag

__all__ = [
    "CONSTANTS", "ENUMERATIONS", "EVENTS", "GIVES_UP", "LAYOUTS", "LISTS", "MAX_JUMPS", "OF_IPV6",
    "PLACE_PORT", "PLACE_TUNNEL", "SOURCE_BITS", "STRANGE_PEER", "TABLES", "THIS_HOST", "List", "Role",
    "Table", "key_codec", "table", "value_codec",
]  # fmt: skip

NO_PREALLOC = 1  # BPF_F_NO_PREALLOC: memory as it is used; LPM tries insist on it


class Role(enum.Enum):
    """Who writes a table."""

    COMPILED = "compiled"  # the agent, from what the compiler makes of the model
    LEARNED = "learned"  # the programs; the agent reads, and removes what concerns ports that go
    TOLD = "told"  # the programs and the agent, which passes on what other hosts learned
    KEPT = "kept"  # the agent's own bookkeeping: epochs, places of lists


@dataclass(frozen=True, slots=True)
class Table:
    """A map. `key` and `value` are a `Layout` or a plain number's annotation."""

    name: str
    kind: Kind
    key: Any
    value: Any
    size: int  # entries, unless configured otherwise
    role: Role
    doc: str
    flags: int = 0


@dataclass(frozen=True, slots=True)
class List:
    """Lists by id, each a run of elements in one array. `spans` holds base and length by id."""

    name: str
    spans: str
    elements: str
    element: type[Layout]
    doc: str


def key_codec(one: Table) -> Codec[Any]:
    return _codec(one.key)


def value_codec(one: Table) -> Codec[Any]:
    """Of one value: per-CPU tables have one per CPU (`layouts.per_cpu`)."""
    return _codec(one.value)


def _codec(declared: Any) -> Codec[Any]:
    is_struct = isinstance(declared, type) and issubclass(declared, Layout)
    return codec(declared) if is_struct else scalar(declared)


def table(name: str) -> Table:
    return _BY_NAME[name]


C, L, T, K = Role.COMPILED, Role.LEARNED, Role.TOLD, Role.KEPT
HASH, LRU, LPM, ARRAY = Kind.HASH, Kind.LRU_HASH, Kind.LPM_TRIE, Kind.ARRAY

TABLES: tuple[Table, ...] = (
    # who there is
    Table("ports", HASH, U32, Port, 65536, C, "Ports by key."),
    Table("networks", HASH, U32, Network, 16384, C, "Networks by key."),
    Table("routers", ARRAY, U32, Router, 4096, C, "Routers by id. All zeros: there is none."),
    Table("hosts", ARRAY, U32, Host, 4096, C, "Hosts by id; at THIS_HOST, this one's own address."),
    Table("peers", HASH, IP6, U32, 8192, C, "Hosts by underlay address; one may have several."),
    Table("moved", HASH, U32, Moved, 16384, C, "Ports that moved lately, by key.", NO_PREALLOC),
    Table("interfaces", HASH, InterfaceKey, U32, 4096, C, "Ports by interface of this host."),
    # where things are
    Table("sources", LPM, SourceKey, U8, 65536, C, "What ports may send from: SourceFlag. Each (port, MAC) "
          "has an entry at SOURCE_BITS for either version.", NO_PREALLOC),
    Table("fdb", HASH, FdbKey, U32, 65536, C, "Ports by network and MAC, as the model knows."),
    Table("neighbours", HASH, NeighbourKey, Neighbour, 65536, C, "Who has an address on a segment."),
    Table("router_addresses", HASH, RouterAddressKey, U32, 16384, C, "Ports of routers by their addresses."),
    Table("port_addresses", HASH, PortAddressKey, IP6, 32768, C, "What a router's port calls itself."),
    Table("members", HASH, MemberKey, U32, 65536, C, "Ports of this host that hear a network's floods."),
    Table("remotes", HASH, MemberKey, U32, 65536, C, "Other hosts that have such ports."),
    # routes
    Table("routes", LPM, PrefixKey, Route, 65536, C, "Within `of`, a router's id: by destination.",
          NO_PREALLOC),
    Table("source_routes", LPM, PrefixKey, Route, 16384, C, "Within `of`, a source table's id: by source.",
          NO_PREALLOC),
    Table("hop_spans", ARRAY, U32, Span, 8192, K, "Where a hop group stands in `hops`."),
    Table("hops", ARRAY, U32, Hop, 16384, K, "Next hops."),
    # rules
    Table("rule_spans", ARRAY, U32, Span, 16384, K, "Where a list of rules stands in `rules`."),
    Table("rules", ARRAY, U32, Rule, 32768, K, "Rules of security groups and ACLs."),
    Table("address_sets", LPM, PrefixKey, U8, 262144, C, "Within `of`, a set's id: 1 at each prefix.",
          NO_PREALLOC),
    # NAT
    Table("nat_destinations", LPM, PrefixKey, NatDestination, 16384, C, "Within `of`, a router's id: its "
          "external addresses.", NO_PREALLOC),
    Table("nat_forwards", HASH, NatForwardKey, NatForward, 16384, C, "Ports of external addresses."),
    Table("nat_blocks", HASH, NatBlockKey, U32, 65536, C, "Who has a block: a port's key."),
    Table("nat_sources", LPM, PrefixKey, NatSource, 16384, C, "Within `of`, the key of the port that a "
          "packet leaves by: by source.", NO_PREALLOC),
    Table("nat_bindings", HASH, NatBindingKey, U32, 8192, C, "Which list of blocks a port of this host has."),
    Table("block_spans", ARRAY, U32, Span, 8192, K, "Where a list of blocks stands in `blocks`."),
    Table("blocks", ARRAY, U32, Block, 32768, K, "Blocks, sorted by address and first port."),
    # validity
    Table("epochs", ARRAY, U32, U32, 16384, K, "By zone. Zone 0 is the whole host: every flow is of it."),
    # what packets teach
    # Records and hints have their memory from the start, 75 MB: to allocate it for each new connection costs
    # more than to write it.
    Table("records", HASH, TupleKey, Record, 262144, L, "Connections that ports of this host opened."),
    Table("hints", HASH, TupleKey, Hint, 262144, L, "Where replies go."),
    Table("translated", HASH, TupleKey, TupleKey, 262144, L, "From what an owner sends to its record, where "
          "that is known by another tuple.", NO_PREALLOC),
    Table("uses", ARRAY, U32, U32, 1, L, "1 at 0 once there has been a record of a connection that is "
          "translated or inbound: until then nobody looks for one."),
    Table("openers", HASH, U32, U32, 65536, L, "How many records a port has.", NO_PREALLOC),
    Table("fragments", LRU, FragmentKey, FirstFragment, 16384, L, "First fragments that have passed."),
    Table("learned_macs", LRU, FdbKey, LearnedMac, 65536, T, "MACs that the model does not know."),
    Table("learned_neighbours", LRU, NeighbourKey, LearnedNeighbour, 65536, T, "Addresses that it does "
          "not; the segment is the router's port."),
    Table("flows", LRU, FlowKey, Flow, 131072, L, "What was decided. May be emptied at any time."),
    # limits and reports
    Table("budgets", LRU, BudgetKey, Bucket, 16384, L, "Token buckets of ports."),
    Table("counters", Kind.LRU_PERCPU_HASH, CounterKey, Counter, 16384, L, "Drops by port and reason."),
    Table("verdicts", Kind.PERCPU_ARRAY, U32, Verdict, 1, L, "The last packet's, for tests and traces."),
)  # fmt: skip

LISTS: tuple[List, ...] = (
    List("rule_lists", "rule_spans", "rules", Rule, "Security rules, or ACLs of one hook, as one list each."),
    List("block_lists", "block_spans", "blocks", Block, "The blocks of one port for one rule."),
    List("hop_groups", "hop_spans", "hops", Hop, "The next hops of a route, with weights summed up."),
)

EVENTS = "events"
"""The ring buffer of `Event`s. Its size is a number of bytes, a power of two."""

THIS_HOST = 1
SOURCE_BITS = 96  # of a SourceKey before its address: port, MAC, version
OF_IPV6 = 1 << 31  # in PrefixKey.of, so that ::/0 does not hold v4-mapped addresses
PLACE_PORT = 1 << 30
PLACE_TUNNEL = 1 << 31
STRANGE_PEER = 64  # beside tunnel flags: the host that it came from is not known either
GIVES_UP = 128  # beside them: nothing was found out about it
MAX_JUMPS = 8  # lists within lists
MAX_CAPTURE = 2048  # bytes of a packet that an event carries

LAYOUTS: tuple[type[Layout], ...] = (
    InterfaceKey, Port, Network, Router, Host, Moved, SourceKey, FdbKey, LearnedMac, NeighbourKey, Neighbour,
    LearnedNeighbour, RouterAddressKey, PortAddressKey, MemberKey, PrefixKey, Route, Span, Hop, Rule,
    NatDestination, NatForwardKey, NatForward, NatBlockKey, NatSource, NatBindingKey, Block,
    TupleKey, Ends, Record, Hint, FragmentKey, FirstFragment, FlowKey, Flow, BudgetKey, Bucket, CounterKey,
    Counter, Event, Verdict,
)  # fmt: skip
ENUMERATIONS: tuple[type[enum.IntEnum] | type[enum.IntFlag], ...] = (
    Stage, Drop, TunnelFlag,
    words.PortKind, words.PortFlag, words.NetworkFlag, words.RouterFlag, words.HostFlag,
    words.NatDestinationFlag, words.NatAction,
    words.SourceFlag, words.NeighbourFlag, words.RouteAction, words.RouteFlag, words.RuleAction,
    words.RuleFlag, words.MatchField, words.Fragment,
    words.ConnectionState, words.Life, words.RecordFlag, words.FlowKind, words.FlowFlag,
    words.Budget, words.EventKind, words.Injection, words.Action, words.Copy,
)  # fmt: skip
CONSTANTS: dict[str, int] = {
    "MAX_DEVICES": MAX_DEVICES,
    "MAX_ZONES": MAX_ZONES,
    "MAX_JUMPS": MAX_JUMPS,
    "MAX_CAPTURE": MAX_CAPTURE,
    "MAX_COPIES": MAX_COPIES,
    "BLOCK_PORTS": BLOCK,
    "THIS_HOST": THIS_HOST,
    "SOURCE_BITS": SOURCE_BITS,
    "OF_IPV6": OF_IPV6,
    "PLACE_PORT": PLACE_PORT,
    "PLACE_TUNNEL": PLACE_TUNNEL,
    "STRANGE_PEER": STRANGE_PEER,
    "GIVES_UP": GIVES_UP,
}

_BY_NAME = {one.name: one for one in TABLES}
