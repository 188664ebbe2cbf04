"""How a frame is marked that goes out of the injection device: what it is, and for whom. Pure.

mark      what it is (`Injection`, 8 bits), key (24 bits)
priority  8 bits of flags, key (24 bits)
"""

from __future__ import annotations

from typing import NamedTuple

from onehop.datapath.tables import GIVES_UP
from onehop.datapath.words import Injection
from onehop.model.vocabulary import Drop

__all__ = ["Mark", "from_port", "from_stranger"]


class Mark(NamedTuple):
    mark: int
    priority: int


def from_port(port: int, asker: int = 0, gives_up: Drop | None = None) -> Mark:
    """As the port sends it. What a router's port sends goes out in the name of `asker`, a machine's.

    `gives_up`: the packet has waited for something in vain; where it needs that, it is dropped.
    """
    return Mark(Injection.FROM_PORT << 24 | port, (gives_up or 0) << 24 | asker)


def from_stranger(target: int, source: int, how: int, *, gives_up: bool = False) -> Mark:
    """As it came from another host; `how` is what the event said. Or it is to be dropped after all."""
    return Mark(Injection.FROM_TUNNEL << 24 | target, (how | (GIVES_UP if gives_up else 0)) << 24 | source)
