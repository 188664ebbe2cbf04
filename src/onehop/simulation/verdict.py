"""What becomes of a packet, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.simulation.packet import Ip
from onehop.simulation.state import Effect, Record

NO_FLAGS = TunnelFlag(0)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened on the way: at which stage, decided by which object and which rule of it."""

    stage: Stage
    device: str  # id of the object that decided: port, network, router, security group, ACL
    text: str
    rule: str | None = None  # id of the rule or route


@dataclass(frozen=True, slots=True)
class Output:
    """A frame on its way to a port; with FLOOD in `flags`, to every member of a network.

    `source` is the port that it came from. Nothing else is said about it on the wire. With ASK, `refused` is
    why the sender's walk refused the packet.
    """

    target: str
    data: bytes
    source: str
    flags: TunnelFlag = NO_FLAGS
    refused: Drop | None = None


class Ask(Enum):
    """What the simulation leaves to the agent and its services."""

    DHCP = "dhcp"
    ROUTER_ADVERTISEMENT = "router-advertisement"
    RESOLVE = "resolve"  # find out the MAC of `ip` behind `port`; the packet waits
    BLOCKS = "blocks"  # `port` runs out of shared ports of `rule`; the packet goes on


@dataclass(frozen=True, slots=True)
class Request:
    """Something for the slow path. The packet is neither dropped nor delivered, but for BLOCKS."""

    what: Ask
    port: str
    data: bytes
    ip: Ip | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """A rule that asks to be logged has matched."""

    acl: str
    rule: str
    action: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a packet.

    outputs   on their way, to other ports or to a network's members
    answers   made here, for the port that sent the packet: ARP, ND, echo replies, ICMP errors
    drop      why the packet went no further; None if it was delivered, answered, or left to the slow path
    where     the object that dropped it, or refused what is now asked about; `stage` is its stage
    record    the connection that it belongs to, as it is after this packet
    """

    outputs: tuple[Output, ...] = ()
    answers: tuple[Output, ...] = ()
    drop: Drop | None = None
    stage: Stage | None = None
    where: str | None = None
    steps: tuple[Step, ...] = ()
    record: Record | None = None
    effects: tuple[Effect, ...] = ()
    requests: tuple[Request, ...] = ()
    logs: tuple[Log, ...] = ()

    @property
    def delivered(self) -> bool:
        return bool(self.outputs)
