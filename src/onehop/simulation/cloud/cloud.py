"""A whole cloud in one process: hosts, the underlay between them, and a clock that tests turn.

    cloud = Cloud(view)
    life = cloud.send(port, frame)
    life.delivered, life.dropped, life.crossings

A `Life` tells what became of a frame, until nothing of it is on its way any more. Changes reach every host
at once, unless a test names the hosts that a change reaches. Nothing is random, and no real clock is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from onehop.model import Host as HostObject
from onehop.model import Port
from onehop.model.kinds import KINDS
from onehop.model.view import View
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud.budgets import Budgets
from onehop.simulation.cloud.events import Delivered, Dropped, Event, Judged, Left, Sent
from onehop.simulation.cloud.host import Host
from onehop.simulation.cloud.places import by_address, host_of
from onehop.simulation.cloud.wire import Envelope
from onehop.simulation.packet import Ip
from onehop.simulation.verdict import Request, Verdict

MAX_EVENTS = 10_000  # of one frame; more would be a storm


@dataclass(frozen=True)
class Life:
    """What became of a frame."""

    events: tuple[Event, ...]

    @property
    def delivered(self) -> tuple[Delivered, ...]:
        return tuple(e for e in self.events if isinstance(e, Delivered))

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        return tuple(e for e in self.events if isinstance(e, Dropped))

    @property
    def sent(self) -> tuple[Sent, ...]:
        return tuple(e for e in self.events if isinstance(e, Sent))

    @property
    def crossings(self) -> int:
        """How often the underlay was crossed."""
        return len(self.sent)

    @property
    def asked(self) -> int:
        return sum(bool(e.flags & TunnelFlag.ASK) for e in self.sent)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(e.verdict for e in self.events if isinstance(e, Judged))

    @property
    def requests(self) -> tuple[Request, ...]:
        return tuple(e.request for e in self.events if isinstance(e, Left))


class Cloud:
    """Hosts on an underlay."""

    def __init__(self, view: View, *, use_flows: bool = True, budgets: bool = True) -> None:
        self.view = view
        self.now = 0.0
        self._use_flows = use_flows
        self._budgets = budgets
        self._cut: set[str] = set()  # hosts that the underlay does not reach
        self.hosts: dict[str, Host] = {}
        self._add_hosts()

    def _add_hosts(self) -> None:
        for host in self.view.all(HostObject):
            if host.id not in self.hosts:
                budgets = Budgets() if self._budgets else Budgets({})
                self.hosts[host.id] = Host(host.id, self.view, use_flows=self._use_flows, budgets=budgets)
                self.hosts[host.id].tick(self.now)

    # --- packets --------------------------------------------------------------------------------------

    def send(self, port: str, frame: bytes) -> Life:
        """A machine sends a frame."""
        host = host_of(self.view, port)
        if host is None:
            raise LookupError(f"port {port} is on no host")
        return self._run(self.hosts[host].from_port(port, frame))

    def throw(self, envelope: Envelope) -> Life:
        """A packet on the underlay, from wherever."""
        return self._run(self._carry(envelope))

    def _run(self, events: Iterable[Event]) -> Life:
        done: list[Event] = []
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            done.append(event)
            if len(done) > MAX_EVENTS:
                raise RuntimeError("a storm: packets beget packets without end")
            if isinstance(event, Sent):
                waiting.extend(_because(event.refused, e) for e in self._carry(event.envelope))
        return Life(tuple(done))

    def _carry(self, envelope: Envelope) -> list[Event]:
        """The underlay: it delivers to whoever has the address, and believes every source."""
        to = by_address(self.view, envelope.dst)
        if to is None or to.id in self._cut or self._is_cut(envelope.src):
            return []
        return self.hosts[to.id].from_underlay(envelope)

    def _is_cut(self, address: Ip) -> bool:
        host = by_address(self.view, address)
        return host is not None and host.id in self._cut

    # --- changes --------------------------------------------------------------------------------------

    def change(self, view: View, hosts: Collection[str] | None = None) -> None:
        """The topology becomes another, on all hosts or on some.

        Ports that move take their records along: the bulk before their new host has them, the rest after.
        """
        before, self.view = self.view, view
        self._add_hosts()
        moves = [(p, a, b) for p, a, b in _moves(before, view) if hosts is None or {a, b} & set(hosts)]
        bulk = {port: self.hosts[was].records_of(port) for port, was, _ in moves}
        for port, _, now in moves:
            self.hosts[now].take_over(bulk[port])
        for id, host in self.hosts.items():
            if hosts is None or id in hosts:
                host.follow(view, _changed(host.view, view))
        for port, was, now in moves:
            self.hosts[now].take_over(self.hosts[was].give_up(port))

    def interface(self, port: str, up: bool) -> None:
        """A machine's interface vanishes from its host, or comes back."""
        host = self.hosts[host_of(self.view, port) or ""]
        (host.absent.discard if up else host.absent.add)(port)

    def cut(self, host: str) -> None:
        """The underlay reaches a host no more."""
        self._cut.add(host)

    def mend(self, host: str) -> None:
        self._cut.discard(host)

    def wait(self, seconds: float) -> Life:
        self.now += seconds
        return self._run([event for host in self.hosts.values() for event in host.tick(self.now)])

    def settle(self) -> Life:
        """What each host learned reaches the others, and packets that waited for it go on."""
        told = {id: tuple(host.learned) for id, host in self.hosts.items()}
        for id, host in self.hosts.items():
            host.learned.clear()
            for other, learned in told.items():
                if other != id:
                    host.hear(learned)
        return self._run([event for host in self.hosts.values() for event in host.resume()])

    def forget(self, *, hints: bool = False, flows: bool = False) -> None:
        """Every host loses what it only remembers."""
        for host in self.hosts.values():
            if hints:
                host.forget_hints()
            if flows:
                host.flows.clear()


def _because(refused: Drop | None, event: Event) -> Event:
    """What a host that was asked drops, was refused by the one that asked."""
    return replace(event, refused=refused) if isinstance(event, Dropped) else event


def _changed(before: View, after: View) -> list[str]:
    """The ids of the objects that differ."""
    ids = {id for view in (before, after) for kind in KINDS for id in view.ids_of(kind)}
    return sorted(id for id in ids if before.find(id) != after.find(id))


def _moves(before: View, after: View) -> list[tuple[str, str, str]]:
    """The ports that go from one host to another."""
    moves = []
    for port in before.all(Port):
        was, now = host_of(before, port.id), host_of(after, port.id)
        if was is not None and now is not None and was != now:
            moves.append((port.id, was, now))
    return moves
