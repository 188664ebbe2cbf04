"""What controllers and hosts say to each other, over one WebSocket per host.

    host                                      controller
      │ Hello: what it holds, as digests          │
      │ ────────────────────────────────────────► │
      │          Welcome: which buckets differ    │
      │ ◄──────────────────────────────────────── │
      │ Held: ids and revisions in those buckets  │
      │ ────────────────────────────────────────► │
      │          Delta ... Delta(last)            │  up to date
      │ ◄──────────────────────────────────────── │
      │ Applied, Report, Follow, NeedBlocks ...   │  from now on, both ways as things happen
      │ ◄───────────────────────────────────────► │
      │  Delta, Delta, ... Answer, Told, Question │

* A change of one revision, or of several that were coalesced, comes as one or more `Delta`, the last marked.
  The host applies them as one. A last `Delta` without contents is a mark of progress.
* If the host's history is not the store's (`Welcome.differing` is None), what it holds counts for nothing:
  it keeps what comes up to the first last `Delta`, and forgets the rest then.
* Either side closes with `Goodbye` and a reason in a sentence.

Everything is an array with its tag first. Every list has a bound, and frames have one too.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

VERSION = 1
MAX_UP = 1 << 20  # bytes in a frame from a host
MAX_DOWN = 16 << 20  # bytes in a frame to a host: one object may be large
CHUNK = 1 << 18  # where a controller starts a new frame
MAX_TOLD = 1024  # entries learned at a port, in one frame
MAX_ASKS = 16384  # what a host may follow on demand; they fit into a Hello
MAX_CONNECTIONS = 1000  # told of in one frame
MAX_RECORDS = 1 << 18  # bytes of records in one frame

Id = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
Short = Annotated[str, Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Key = Annotated[int, Meta(ge=1, le=(1 << 24) - 1)]


class Holder(msgspec.Struct, frozen=True, array_like=True, tag="holder"):
    """Whoever has an address on a network, with what is around it."""

    network: Id
    ip: Short


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """Where the port with a key is, and nothing around it: enough to talk with it."""

    key: Key


Target = Id | Key | Holder | End  # what is around an object, by its id or by its key on the wire
Targets = Annotated[tuple[Target, ...], Meta(max_length=1024)]


class Message(msgspec.Struct, frozen=True, array_like=True, omit_defaults=False):
    """A frame is one of these."""


# --- what a host is asked, and says ------------------------------------------------------------------


class ListConnections(msgspec.Struct, frozen=True, array_like=True, tag="connections"):
    """Which connections a port has that is bound to the host: in the order of their ids, those after one."""

    port: Id
    after: Short = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_CONNECTIONS)] = MAX_CONNECTIONS
    only: Short = ""  # this one


class ForgetConnections(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Remove what the host knows of connections from or to a port, wherever that is bound."""

    key: Annotated[int, Meta(ge=1, le=(1 << 24) - 1)]  # the port's
    ids: Annotated[tuple[Short, ...], Meta(max_length=MAX_CONNECTIONS)]


class GiveRecords(msgspec.Struct, frozen=True, array_like=True, tag="records"):
    """The records of a port, for the host that it moves to: in the order of their keys, those after one."""

    key: Annotated[int, Meta(ge=1, le=(1 << 24) - 1)]  # the port's
    since: Count = 0  # used since this moment of the host's clock
    after: Annotated[bytes, Meta(max_length=256)] = b""


Ask = ListConnections | ForgetConnections | GiveRecords

L4 = Annotated[int, Meta(ge=0, le=65535)]


class Tuple(msgspec.Struct, frozen=True, array_like=True):
    """As packets have it that go the opener's way. An echo has its id in both ports."""

    src: Short
    src_port: L4
    dst: Short
    dst_port: L4


class Connection(msgspec.Struct, frozen=True, array_like=True):
    """A connection of a port. Its id is the same at both ends.

    Its owner is the port whose host keeps the record: the opener, or the port that a connection from outside
    reaches. `near` is the tuple at the owner's machine, `far` at the other end. What only the owner's host
    knows is None elsewhere.
    """

    id: Short
    direction: Literal["out", "in"]  # whether the port opened it
    protocol: Annotated[int, Meta(ge=0, le=255)]
    far: Tuple
    near: Tuple | None
    other: Annotated[int, Meta(ge=0, le=(1 << 24) - 1)]  # the other port, by its key
    life: Literal["opening", "open", "closing"] | None
    idle: Count  # seconds


class Connections(msgspec.Struct, frozen=True, array_like=True, tag="connections"):
    found: Annotated[tuple[Connection, ...], Meta(max_length=MAX_CONNECTIONS)]
    more: bool


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag="forgotten"):
    count: Count


class Records(msgspec.Struct, frozen=True, array_like=True, tag="records"):
    """Records as the tables have them, without what means something on one host alone (`agent/records.py`).

    `shape` names their layout, `now` is the host's clock when it began to look. `settled`: by then the port
    was no longer active here, so none of its records changes any more.
    """

    shape: Short
    now: Count
    settled: bool
    rows: Annotated[bytes, Meta(max_length=MAX_RECORDS)]
    more: bool


class Unable(msgspec.Struct, frozen=True, array_like=True, tag="unable"):
    """It cannot be answered, and why. `absent`: the port, or the host, is not where it was looked for."""

    reason: Text
    absent: bool = False


Said = Connections | Forgotten | Records | Unable


# --- from the host ----------------------------------------------------------------------------------


class Hello(Message, frozen=True, array_like=True, tag="hello"):
    """The first frame. `version` is the protocol's."""

    version: Count
    host: Id
    agent: Short  # the agent's own version, for people
    incarnation: Short  # of the store that it holds something of; empty, if it holds nothing
    digests: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=256)]
    asks: Annotated[tuple[Id, ...], Meta(max_length=MAX_ASKS)]  # what `Answer`s named, and it still wants


class Held(Message, frozen=True, array_like=True, tag="held"):
    """What the host holds in buckets that differ."""

    pairs: Annotated[tuple[tuple[Id, Count], ...], Meta(max_length=8192)]
    last: bool


class Follow(Message, frozen=True, array_like=True, tag="follow"):
    """Send me this too, until I let go."""

    targets: Targets


class Release(Message, frozen=True, array_like=True, tag="release"):
    """I no longer need this."""

    targets: Targets


class Applied(Message, frozen=True, array_like=True, tag="applied"):
    """All that came up to a revision is in effect."""

    revision: Count


class PortReport(msgspec.Struct, frozen=True, array_like=True):
    """How a port that is bound to the host is doing. `gone` takes back what was said."""

    port: Id
    state: Literal["active", "down", "error", "gone"]
    reason: Text = ""
    revision: Count = 0  # of the binding that this is about


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """Learned from traffic at a bound port; an expired entry has no `via`."""

    port: Id
    what: Literal["mac", "neighbour", "route"]
    key: Short  # the MAC, the address, the prefix
    via: Short = ""  # nothing more for a MAC, the neighbour's MAC, the next hop


class Report(Message, frozen=True, array_like=True, tag="report"):
    """What is new at the host. `health` names what is wrong, by part; None when that has not changed."""

    ports: Annotated[tuple[PortReport, ...], Meta(max_length=1024)] = ()
    learned: Annotated[tuple[Learned, ...], Meta(max_length=1024)] = ()
    health: Annotated[dict[Short, Text], Meta(max_length=64)] | None = None


class NeedBlocks(Message, frozen=True, array_like=True, tag="need-blocks"):
    """A machine's port here runs out of the ports of shared addresses that it has for a NAT rule.

    Nothing answers it but more blocks, when they come. Said again after a while if they do not.
    """

    port: Id
    rule: Id
    family: Literal["ipv4", "ipv6"]


class Alive(Message, frozen=True, array_like=True, tag="alive"):
    """Still here."""


class Fetch(Message, frozen=True, array_like=True, tag="fetch"):
    """Get me the records of a port that moves to this host, from where it is or was; as in `GiveRecords`."""

    number: Count
    port: Id
    since: Count = 0
    after: Annotated[bytes, Meta(max_length=256)] = b""


class Reply(Message, frozen=True, array_like=True, tag="reply"):
    """What a host says to a question."""

    question: Count
    said: Said


# --- from the controller ----------------------------------------------------------------------------


class Welcome(Message, frozen=True, array_like=True, tag="welcome"):
    """Answers a Hello. Tells the buckets in which host and store differ; None: in everything."""

    version: Count
    controller: Short
    incarnation: Short
    lease: float  # say something this often, in seconds
    differing: Annotated[tuple[Annotated[int, Meta(ge=0, le=255)], ...], Meta(max_length=256)] | None


class Delta(Message, frozen=True, array_like=True, tag="delta"):
    """Objects to hold, and ids to forget. Each of `puts` is an `Item`."""

    revision: Count
    last: bool
    puts: tuple[Raw, ...] = ()
    removes: tuple[Id, ...] = ()


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One object. `value` is decoded by its kind."""

    kind: Short
    id: Id
    revision: Count
    value: Raw


class Answer(Message, frozen=True, array_like=True, tag="answer"):
    """What came of a `Follow`: what is followed now, to be named in `Release`, or None where there is no such
    thing. What they bring comes before it.
    """

    targets: Targets
    ids: Annotated[tuple[Id | None, ...], Meta(max_length=1024)]


class Told(Message, frozen=True, array_like=True, tag="told"):
    """All that other hosts have learned from traffic at a port that this host follows. It replaces what was
    told of the port before."""

    port: Id
    entries: Annotated[tuple[Learned, ...], Meta(max_length=MAX_TOLD)] = ()


class Question(Message, frozen=True, array_like=True, tag="question"):
    """Answer this. `number` tells the questions of one connection apart."""

    number: Count
    ask: Ask


class Fetched(Message, frozen=True, array_like=True, tag="fetched"):
    """What came of a `Fetch`."""

    number: Count
    said: Said


class Moved(Message, frozen=True, array_like=True, tag="moved"):
    """A port that this host follows went from one host to another, some time ago.

    For `seconds` more, its former host forwards what comes for it, and is believed. It comes before the
    change itself, and again when a feed begins.
    """

    port: Id
    former: Id
    now: Id
    seconds: Annotated[float, Meta(ge=0, le=3600)]


# --- from either ------------------------------------------------------------------------------------


class Goodbye(Message, frozen=True, array_like=True, tag="goodbye"):
    """The last frame. `again` says whether it is worth coming back as one is."""

    reason: Text
    again: bool = True


Up = Hello | Held | Follow | Release | Applied | Report | NeedBlocks | Fetch | Reply | Alive | Goodbye
Down = Welcome | Delta | Answer | Told | Question | Fetched | Moved | Goodbye
