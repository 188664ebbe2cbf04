"""The seam between scenarios and what runs them: a network that takes frames and tells their fate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from onehop.model import Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop


@dataclass(frozen=True)
class Delivered:
    """A frame that came out at a port."""

    port: str
    frame: bytes


@dataclass(frozen=True)
class Dropped:
    """A frame, or one copy of it, that went nowhere.

    `refused` is why it was sent on with ASK, where the host that was asked had no record of it.
    """

    reason: Drop
    by: Collection[str] = ()  # what decided, as paths: `guard/no-telnet`
    refused: Drop | None = None

    def has(self, reason: str) -> bool:
        return reason.upper() in (self.reason.name, self.refused.name if self.refused else "")


@dataclass(frozen=True)
class Life:
    """What became of one frame that entered at a port, and of what answered it."""

    delivered: tuple[Delivered, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    crossings: int = 0  # how often the underlay was crossed
    asked: int = 0  # how many of those were to ask for a record
    returned: int = 0  # how many of those were replies on their way to who opened the connection
    flooded: int = 0  # how many of those were copies for the members on another host
    forwarded: int = 0  # how many of those were from a host that the port had just left
    by: Collection[str] = ()  # the rules that it passed by


class Network(Protocol):
    """A cloud that frames can be sent into."""

    @property
    def view(self) -> View: ...

    def send(self, port: Port, frame: bytes) -> Life: ...

    def change(self, view: View) -> None: ...

    def interface(self, port: Port, up: bool) -> None: ...

    def forget(self, hints: bool, flows: bool) -> None: ...

    def wait(self, seconds: float) -> Life: ...

    def settle(self) -> Life: ...
