"""What a host does with a packet, told to the cloud: deliver it, send it to another host, drop it."""

from __future__ import annotations

from dataclasses import dataclass

from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud.wire import Envelope
from onehop.simulation.verdict import Log, Request, Verdict


@dataclass(frozen=True, slots=True)
class Delivered:
    """A frame that came out at a port of this host."""

    host: str
    port: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that goes over the underlay."""

    host: str
    envelope: Envelope
    flags: TunnelFlag
    forwarded: bool = False  # by the host that a port has just left
    refused: Drop | None = None  # with ASK: why; it is not on the wire


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame, or one copy of it, that goes nowhere. `refused`: why its sender asked at all."""

    host: str
    reason: Drop
    port: str | None = None  # that is charged with it
    refused: Drop | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict that was reached on the way."""

    host: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Left:
    """Left to the slow path."""

    host: str
    request: Request


@dataclass(frozen=True, slots=True)
class Logged:
    host: str
    log: Log


Event = Delivered | Sent | Dropped | Judged | Left | Logged
