"""Packets whose next hop nobody is known to have: they wait, while their host asks for it.

none ── a packet needs it: ask ──► asked ── it is learned ──► the packets go on
                                      └── 3 s ──► they are dropped: NO_NEIGHBOUR, and the senders told
"""

from __future__ import annotations

from dataclasses import dataclass

from onehop.simulation.packet import Ip
from onehop.simulation.state import NeighbourKey
from onehop.simulation.verdict import Output

PATIENCE = 3.0  # seconds
AT_ONCE = 3  # packets for one next hop; the oldest make room


@dataclass(frozen=True, slots=True)
class Waiting:
    """A packet as its port sent it, or as it has `arrived` from elsewhere for that port."""

    port: str
    data: bytes
    since: float
    arrived: Output | None = None

    @property
    def charged(self) -> str:
        return self.port if self.arrived is None else self.arrived.source


class WaitingRoom:
    """The packets that wait on one host."""

    def __init__(self) -> None:
        self._for: dict[NeighbourKey, list[Waiting]] = {}

    def add(self, router_port: str, ip: Ip, packet: Waiting) -> bool:
        """Let a packet wait; says whether the question has still to be asked."""
        packets = self._for.setdefault((router_port, ip), [])
        packets.append(packet)
        del packets[:-AT_ONCE]
        return len(packets) == 1

    def take(self, key: NeighbourKey) -> list[Waiting]:
        """The packets that waited for a neighbour."""
        return self._for.pop(key, [])

    def give_up(self, now: float) -> list[Waiting]:
        """The packets that have waited for too long."""
        late = [w for packets in self._for.values() for w in packets if now - w.since > PATIENCE]
        left = {key: [w for w in packets if w not in late] for key, packets in self._for.items()}
        self._for = {key: packets for key, packets in left.items() if packets}
        return late
