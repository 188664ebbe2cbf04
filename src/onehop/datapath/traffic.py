"""The structs of what packets teach the eBPF programs: connections, hints, flows; and of what they report.

`structs` has what the compiler writes, and says what the numbers mean.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from onehop.datapath.layouts import BE16, BE32, IP6, MAC, U8, U16, U32, U64, Layout, array, enumerated, pad
from onehop.datapath.words import Action, Budget, Copy, EventKind, FlowKind, Life, RecordFlag
from onehop.model.vocabulary import Drop, TunnelFlag

MAX_ZONES = 4  # of one flow; a longer walk is simulated for each packet
MAX_COPIES = 32  # of one flooded frame that a verdict tells of


class Crossing(Layout, frozen=True):
    """A zone that a walk crossed, and its epoch before that."""

    zone: U32
    epoch: U32


Crossings = Annotated[tuple[Crossing, ...], array(Crossing, MAX_ZONES)]


class TupleKey(Layout, frozen=True):
    """A tuple at a port. An echo has its id in both ports; other protocols without ports have 0 there."""

    port: U32
    src: IP6
    dst: IP6
    src_port: BE16
    dst_port: BE16
    protocol: U8
    _1: ClassVar = pad(3)


class Ends(Layout, frozen=True):
    """Addresses and ports of a packet, as in a `TupleKey`."""

    src: IP6
    dst: IP6
    src_port: BE16
    dst_port: BE16


NO_ENDS = Ends(bytes(16), bytes(16), 0, 0)


class Record(Layout, frozen=True):
    """A connection, at its owner's host. Its key: the owner, and the tuple of what the owner sends as the
    other side sees it (away). Of an inbound one, opener and `near` are outside, behind the uplink `far_port`.
    """

    far_port: U32
    near_dst: Annotated[MAC, "of the opener's frames"]
    near_src: MAC
    far_dst: Annotated[MAC, "of the frames as the far port receives them"]
    far_src: MAC
    hops: Annotated[U8, "routers on the way"]
    tos: Annotated[U8, "of the opener's packets"]
    life: Annotated[Life, enumerated(Life, U8)]
    flags: Annotated[RecordFlag, enumerated(RecordFlag, U8)]
    mtu: Annotated[U16, "largest IP packet that may come back"]
    zones: Annotated[U16, "how many of `crossed` count"]
    router: Annotated[U32, "whose uplink the far port is; 0 if it is none, or not known any more"]
    used: U64
    crossed: Crossings
    home: Annotated[Ends, "with TRANSLATED: of what the owner sends, as it sends it"] = NO_ENDS
    _1: ClassVar = pad(4)


class Hint(Layout, frozen=True):
    """Replies go to this port. Its key: the far port, and the tuple of its replies."""

    opener: U32
    _1: ClassVar = pad(4)
    used: U64


class FragmentKey(Layout, frozen=True):
    """What the fragments of one packet have in common."""

    port: Annotated[U32, "that sent them"]
    src: IP6
    dst: IP6
    id: BE32
    protocol: U8
    _1: ClassVar = pad(3)


class FirstFragment(Layout, frozen=True):
    """What later fragments need to know of the first."""

    src_port: BE16
    dst_port: BE16
    icmp_type: U8
    icmp_code: U8
    end: Annotated[U16, "where the first ends: the others begin there or later"]
    seen: U64


class FlowKey(Layout, frozen=True):
    """A flow where it enters."""

    place: Annotated[U32, "ifindex; PLACE_PORT | key of a port with a VLAN; PLACE_TUNNEL | key of the target"]
    src: IP6
    dst: IP6
    src_port: BE16
    dst_port: BE16
    protocol: U8
    icmp_type: U8
    version: U8
    _1: ClassVar = pad(1)


class Flow(Layout, frozen=True):
    """What was decided about a flow. It holds while the epochs are those in `crossed`."""

    crossed: Crossings
    zones: Annotated[U8, "how many of `crossed` count"]
    kind: Annotated[FlowKind, enumerated(FlowKind, U8)]
    hops: Annotated[U8, "by which the TTL goes down"]
    tunnel: Annotated[TunnelFlag, enumerated(TunnelFlag, U8)]
    mtu: Annotated[U16, "largest IP packet; a larger one is simulated"]
    vlan: Annotated[U16, "to tag with, delivered here"]
    dst_mac: Annotated[MAC, "of the frames that this is about; others are simulated"]
    src_mac: MAC
    new_dst_mac: MAC
    new_src_mac: MAC
    target: Annotated[U32, "key of the port that it goes to"]
    source: Annotated[U32, "key of the port that it came from"]
    host: Annotated[U32, "to send to; or that it must come from"]
    ifindex: Annotated[U32, "to deliver to, if here"]
    flags: Annotated[U32, "FlowFlag"]
    dscp: Annotated[U8, "of the packets that this is about"]
    _1: ClassVar = pad(3)
    made: Annotated[U64, "it holds for FLOW_LIFE, so that records and hints are touched now and then"]
    new: Annotated[Ends, "with TRANSLATE"] = NO_ENDS
    _2: ClassVar = pad(4)


# --- limits, counters, events -----------------------------------------------------------------------------


class BudgetKey(Layout, frozen=True):
    """What a port may use so much of."""

    port: U32
    budget: Annotated[Budget, enumerated(Budget, U32)]


class Bucket(Layout, frozen=True):
    """A token bucket."""

    tokens: Annotated[U64, "in thousandths"]
    filled: U64


class CounterKey(Layout, frozen=True):
    """A reason for which packets of a port were dropped; port 0 where none is known."""

    port: U32
    drop: Annotated[Drop, enumerated(Drop, U32)]


class Counter(Layout, frozen=True):
    packets: U64
    bytes: U64


class Event(Layout, frozen=True):
    """A record of the ring `events`; the packet's first `captured` bytes follow."""

    kind: Annotated[EventKind, enumerated(EventKind, U32)]
    port: Annotated[U32, "that the packet entered by"]
    segment: Annotated[U32, "network or router port that it is about, or a key that is missing"]
    length: Annotated[U32, "of the packet"]
    captured: U32
    id: Annotated[U32, "of a rule that logs"]
    address: Annotated[IP6, "to be resolved, or learned"]
    mac: Annotated[MAC, "learned"]
    action: Annotated[U8, "RuleAction of a rule that logs"]
    partial: Annotated[U8, "1: the transport checksum is only begun"]
    time: U64


class Copied(Layout, frozen=True):
    """What became of one copy of a flooded frame."""

    target: Annotated[U32, "port, or host"]
    copy: Annotated[Copy, enumerated(Copy, U16)]
    drop: Annotated[U16, "Drop, or 0"]


class Verdict(Layout, frozen=True):
    """What became of the last packet on a CPU. Written only if `explain` is set at loading."""

    action: Annotated[Action, enumerated(Action, U8)]
    stage: Annotated[U8, "Stage that dropped or answered it, or 0"]
    drop: Annotated[U8, "Drop, or 0"]
    refused: Annotated[U8, "why the walk refused a packet that asks"]
    tunnel: Annotated[TunnelFlag, enumerated(TunnelFlag, U8)]
    hit: Annotated[U8, "1: the flow cache decided"]
    _1: ClassVar = pad(2)
    target: Annotated[U32, "port key; network key for a flood"]
    source: Annotated[U32, "port key"]
    host: Annotated[U32, "that it was sent to; 0 if delivered here"]
    rule: Annotated[U32, "id of the rule or route that decided, or 0"]
    copies: Annotated[U32, "how many of `copied` count"]
    copied: Annotated[tuple[Copied, ...], array(Copied, MAX_COPIES)]
