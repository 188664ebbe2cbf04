"""One host of a cloud: what it does with frames from its ports, and with packets from the underlay.

A frame from a port:

    flow cache ── hit, epochs current ─────────────────────────────────────────► send on
        └─ miss ─► judge (own record, hint, walk) ─► apply effects ─► note flow ─► send on

A packet from the underlay passes these gates, in this order, or is dropped by the name given:

    from a host's address ──► that is not fenced ──► for a port or network that is here ──► from a port there
        UNKNOWN_PEER             FENCED                 UNKNOWN_KEY                           FORGED_SOURCE
                                                        └─ for a port that left here: forwarded, for a minute

A port, as a host sees it:

    elsewhere ── its active binding comes here ──► here ── it goes to another host ──► gone: forwarded ── 60 s
        ▲                                                                                                 │
        └─────────────────────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from onehop.model import Network, Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.model.zones import is_uplink
from onehop.simulation import neighbours, walk
from onehop.simulation.cloud import lives
from onehop.simulation.cloud.budgets import Budgets
from onehop.simulation.cloud.events import Delivered, Dropped, Event, Judged, Left, Logged, Sent
from onehop.simulation.cloud.flows import FlowCache, FlowKey, flow_of, key_of
from onehop.simulation.cloud.places import address_of, by_address, by_key, host_of, is_device, port_of
from onehop.simulation.cloud.waiting import Waiting, WaitingRoom
from onehop.simulation.cloud.wire import HEADER, Envelope, Header
from onehop.simulation.cloud.zones import Clock, Zones, changes
from onehop.simulation.flood import members
from onehop.simulation.packet import Frame, parse
from onehop.simulation.state import (
    Effect,
    LearnMac,
    LearnNeighbour,
    NoteHint,
    Record,
    Spend,
    State,
    WriteRecord,
)
from onehop.simulation.verdict import Ask, Output, Request, Verdict

FORWARDING = 60.0  # seconds for which the host that a port left forwards


@dataclass(frozen=True, slots=True)
class Moved:
    """A port that was elsewhere, or here, until lately."""

    host: str  # the other one
    until: float


class Host:
    """A host with its tables. Every method that takes a packet returns what the host does with it."""

    def __init__(
        self, id: str, view: View, *, use_flows: bool = True, budgets: Budgets | None = None
    ) -> None:
        self.id = id
        self.view = view
        self.state = State()
        self.flows = FlowCache()
        self.clock = Clock()
        self.learned: list[Effect] = []  # not yet told to the other hosts
        self.absent: set[str] = set()  # ports whose interface is gone
        self._zones = Zones(view)
        self._waiting = WaitingRoom()
        self._ready: list[Waiting] = []  # their next hop has been found
        self._use_flows = use_flows
        self._budgets = budgets or Budgets()
        self._left: dict[str, Moved] = {}  # ports that moved away
        self._came: dict[str, Moved] = {}  # ports that moved here

    # --- what it follows ------------------------------------------------------------------------------

    def follow(self, view: View, changed: Iterable[str]) -> None:
        """A change of the topology: the tables first, then the epochs."""
        before, self.view = self.view, view
        changed = list(changed)
        self._zones = Zones(view)
        for id in changed:
            self._follow_binding(before, id)
        self.clock.bump(changes(before, view, changed))

    def _follow_binding(self, before: View, id: str) -> None:
        """Note ports that move from or to this host."""
        for port in {port_of(before, id), port_of(self.view, id)} - {None}:
            assert port is not None
            was, now = host_of(before, port), host_of(self.view, port)
            if was is None or now is None or was == now:
                continue
            if was == self.id or port in self._left:
                self._left[port] = Moved(now, self.state.now + FORWARDING)
            if now == self.id:
                self._left.pop(port, None)
            self._came[port] = Moved(was, self.state.now + FORWARDING)

    def tick(self, now: float) -> list[Event]:
        """Time passes; what is idle goes."""
        self.state = lives.sweep(replace(self.state, now=now))
        self._left = {port: moved for port, moved in self._left.items() if moved.until > now}
        self._came = {port: moved for port, moved in self._came.items() if moved.until > now}
        late = self._waiting.give_up(now)
        return [event for waiting in late for event in self._waited_in_vain(waiting)]

    def _waited_in_vain(self, waiting: Waiting) -> Iterator[Event]:
        """What has come from elsewhere has been judged there, and nobody is told."""
        if waiting.arrived is not None or not self.has(waiting.port):
            yield Dropped(self.id, Drop.NO_NEIGHBOUR, waiting.charged)
            return
        verdict = walk.give_up(self.view, self._told(), waiting.port, waiting.data)
        self._apply(verdict.effects)
        yield from self._sent_on(verdict, waiting.port)

    def forget_hints(self) -> None:
        self.state = replace(self.state, hints={})

    # --- records that move with a port ----------------------------------------------------------------

    def records_of(self, port: str) -> list[Record]:
        return [record for record in self.state.records.values() if record.owner == port]

    def give_up(self, port: str) -> list[Record]:
        """The records of a port that has left; they are no longer here."""
        gone = self.records_of(port)
        self.state = self.state.without_records(record.key for record in gone)
        return gone

    def take_over(self, records: Iterable[Record]) -> None:
        """The records of a port that has come. What was already written here is newer."""
        self.state = self.state.with_records(r for r in records if r.key not in self.state.records)

    # --- frames from ports ----------------------------------------------------------------------------

    def from_port(self, port: str, data: bytes) -> list[Event]:
        """What a machine sent."""
        if not self.has(port):
            return [Dropped(self.id, Drop.PORT_DOWN, port)]
        frame = parse(data)
        key = key_of(port, frame) if isinstance(frame, Frame) and self._use_flows else None
        if key is not None and isinstance(frame, Frame):
            events = self._from_cache(key, frame, data)
            if events is not None:
                return events
        return list(self._judge(port, data, key, frame if isinstance(frame, Frame) else None))

    def _from_cache(self, key: FlowKey, frame: Frame, data: bytes) -> list[Event] | None:
        flow = self.flows.get(key)
        if flow is None or not self.clock.is_current(flow.epochs):
            return None
        refreshed = lives.refreshed(self.state, flow.record, flow.hint)
        out = flow.apply(frame, len(data)) if refreshed is not None else None
        if refreshed is None or out is None:
            return None
        self.state = refreshed
        return list(self._on_its_way(Output(flow.target, out, key[0], flow.flags)))

    def _judge(self, port: str, data: bytes, key: FlowKey | None, frame: Frame | None) -> Iterator[Event]:
        epochs_before = self.clock.snapshot()
        verdict = walk.send(self.view, self._told(), port, data)
        self._apply(verdict.effects)
        if key is not None and frame is not None:
            self._note_flow(key, frame, data, verdict, epochs_before)
        yield from self._sent_on(verdict, port)
        yield from self._wait_for(verdict.requests, Waiting(port, data, self.state.now))

    def _sent_on(self, verdict: Verdict, port: str) -> Iterator[Event]:
        yield from self._tell(verdict, port)
        for output in verdict.outputs:
            yield from self._on_its_way(output)
        for answer in verdict.answers:
            yield from self._back(answer, port)

    def _wait_for(self, requests: Iterable[Request], packet: Waiting) -> Iterator[Event]:
        """Let a packet wait, and ask who has its next hop.

        The question goes out in the name of the port whose packet waits: a router's port is bound nowhere,
        but for an uplink.
        """
        for request in requests:
            if request.what is not Ask.RESOLVE or request.ip is None:
                continue
            if not self._waiting.add(request.port, request.ip, packet):
                continue
            question = neighbours.question(self.view, request.port, request.ip)
            if question is not None:
                yield from self._emit(request.port, question, packet)

    def _emit(self, router_port: str, frame: Frame, packet: Waiting) -> Iterator[Event]:
        verdict = walk.emit(self.view, self._told(), router_port, frame)
        yield from self._tell(verdict, packet.charged)
        for output in verdict.outputs:
            if output.target == router_port:
                yield Delivered(self.id, output.target, output.data)
            else:
                yield from self._on_its_way(replace(output, source=packet.port))

    def resume(self) -> list[Event]:
        """The packets go on whose next hop has been found meanwhile."""
        ready, self._ready = self._ready, []
        return [event for waiting in ready for event in self._go_on(waiting)]

    def _go_on(self, waiting: Waiting) -> Iterable[Event]:
        if waiting.arrived is not None:
            return self._arrive(waiting.arrived)
        return self.from_port(waiting.port, waiting.data)

    def _note_flow(
        self, key: FlowKey, frame: Frame, data: bytes, verdict: Verdict, before: Mapping[str, int]
    ) -> None:
        """Remember what was done, where it was done to one frame for one port and can be done again."""
        self.flows.put(key, None)
        if len(verdict.outputs) != 1 or verdict.answers or verdict.requests or verdict.logs or verdict.drop:
            return
        (output,) = verdict.outputs
        if output.flags & (TunnelFlag.ASK | TunnelFlag.FLOOD):
            return
        zones = self._crossed(key[0], output.target, verdict)
        epochs = {zone: before.get(zone, 0) for zone in zones}
        record = next((e.record.key for e in verdict.effects if isinstance(e, WriteRecord)), None)
        hint = key[:2] if output.flags & TunnelFlag.RETURN else None
        self.flows.put(key, flow_of(frame, data, output, epochs, record, hint))

    def _crossed(self, source: str, target: str, verdict: Verdict) -> set[str]:
        devices = {step.device for step in verdict.steps} | {source, target}
        found = [self.view.find(id) for id in devices]
        ids = {self.view.device(obj) if isinstance(obj, Port) else obj.id for obj in found if obj is not None}
        return {self._zones.of(id) for id in ids if is_device(self.view, id)}

    # --- packets from the underlay --------------------------------------------------------------------

    def from_underlay(self, envelope: Envelope) -> list[Event]:
        """What came from another host, or pretends to."""
        peer = by_address(self.view, envelope.src)
        if peer is None or peer.id == self.id:
            return [Dropped(self.id, Drop.UNKNOWN_PEER)]
        if peer.fenced:
            return [Dropped(self.id, Drop.FENCED)]
        header = Header.unpack(envelope.data)
        if header is None:
            return [Dropped(self.id, Drop.MALFORMED)]
        if header.flags & TunnelFlag.FLOOD:
            target: Port | Network | None = by_key(self.view, Network, header.target)
        else:
            target = by_key(self.view, Port, header.target)
        forwarded = bool(header.flags & TunnelFlag.FORWARDED)
        has_left = target is not None and target.id in self._left and not forwarded
        if target is None or not (has_left or self._is_here(target)):
            return [Dropped(self.id, Drop.UNKNOWN_KEY)]
        source = by_key(self.view, Port, header.source)
        if source is None or not self._may_come(source.id, peer.id, target.id if forwarded else None):
            return [Dropped(self.id, Drop.FORGED_SOURCE)]
        if has_left:
            return self._forward(target.id, header, envelope.data[HEADER.size :])
        flags = header.flags & ~TunnelFlag.FORWARDED
        return list(self._arrive(Output(target.id, envelope.data[HEADER.size :], source.id, flags)))

    def _is_here(self, target: Port | Network) -> bool:
        if isinstance(target, Port):
            return self.has(target.id) or host_of(self.view, target.id) == self.id
        return any(host_of(self.view, port.id) == self.id for port in members(self.view, target.id))

    def _may_come(self, source: str, peer: str, forwarded_to: str | None) -> bool:
        """Whether a port's packets may come from a host.

        Its bindings say so, standby ones too. For a minute after a move the former host is believed as well:
        of the port that left it, and in what it forwards to the port that came from it.
        """
        if any(binding.host == peer for binding in self.view.bindings(source)):
            return True
        return any(
            (moved := self._came.get(port)) is not None and moved.host == peer
            for port in (source, forwarded_to)
            if port is not None
        )

    def _forward(self, port: str, header: Header, frame: bytes) -> list[Event]:
        """Once: two hosts that each think the port is on the other one would forward for ever."""
        to = address_of(self.view, self._left[port].host)
        own = address_of(self.view, self.id)
        if to is None or own is None:
            return [Dropped(self.id, Drop.NO_BINDING, port)]
        flags = header.flags | TunnelFlag.FORWARDED
        data = replace(header, flags=flags).pack() + frame
        return [Sent(self.id, Envelope(own, to, data), flags, forwarded=True)]

    def _arrive(self, output: Output) -> Iterator[Event]:
        """A frame for a port or network of this host, from wherever."""
        if not output.flags & TunnelFlag.FLOOD and not self.has(output.target):
            yield Dropped(self.id, Drop.NO_BINDING, output.source, output.refused)
            return
        verdict = walk.receive(self.view, self._told(), output, self._ports())
        self._apply(verdict.effects)
        yield from self._tell(verdict, output.source, output.refused)
        for out in verdict.outputs:
            if self.has(out.target):
                yield Delivered(self.id, out.target, out.data)
        for answer in verdict.answers:
            yield from self._back(answer, output.target)
        arrived = Waiting(output.target, output.data, self.state.now, output)
        yield from self._wait_for(verdict.requests, arrived)

    def _back(self, answer: Output, source: str) -> Iterator[Event]:
        """An answer to who sent a packet here, maybe from another host; it comes from the port it was for.

        What the owner of a connection answers to an uplink, goes there as everything does.
        """
        host = host_of(self.view, answer.target)
        target = self.view.get(Port, answer.target)
        if target is not None and is_uplink(self.view, target) and source != target.id:
            yield from self._on_its_way(replace(answer, source=source))
        elif host is None or host == self.id:
            yield Delivered(self.id, answer.target, answer.data)
        else:
            yield self._wrapped(replace(answer, source=source), host)

    # --- common to both -------------------------------------------------------------------------------

    def _on_its_way(self, output: Output) -> Iterator[Event]:
        """To where a frame goes: a port here, a port elsewhere, or every member of a network."""
        if output.flags & TunnelFlag.FLOOD:
            yield from self._flood(output)
            return
        host = host_of(self.view, output.target)
        if host is None:
            known = self.view.get(Port, output.target) is not None
            reason = Drop.NO_BINDING if known else Drop.NOT_FOLLOWED
            yield Dropped(self.id, reason, output.source, output.refused)
        elif host == self.id:
            yield from self._arrive(output)
        else:
            yield self._wrapped(output, host)

    def _flood(self, output: Output) -> Iterator[Event]:
        """One copy for each other host, however many members are there; then the members here.

        A frame of which copies have left is not dropped, whatever the members here say to it.
        """
        hosts = {host_of(self.view, port.id) for port in members(self.view, output.target)}
        others = sorted(h for h in hosts if h is not None and h != self.id)
        for host in others:
            yield self._wrapped(output, host)
        if self.id in hosts:
            yield from (e for e in self._arrive(output) if not others or not isinstance(e, Dropped))

    def _wrapped(self, output: Output, host: str) -> Event:
        source = self.view.get(Port, output.source)
        target = self.view.find(output.target)
        own, to = address_of(self.view, self.id), address_of(self.view, host)
        if own is None or to is None or source is None or not isinstance(target, Port | Network):
            return Dropped(self.id, Drop.NO_BINDING, output.source, output.refused)
        header = Header(target.key, source.key, output.flags)
        return Sent(
            self.id, Envelope(own, to, header.pack() + output.data), output.flags, refused=output.refused
        )

    def has(self, port: str) -> bool:
        """Whether a port is here, with its interface."""
        return host_of(self.view, port) == self.id and port not in self.absent

    def _ports(self) -> set[str]:
        return {p.id for p in self.view.all(Port) if self.has(p.id)}

    def _told(self) -> State:
        return replace(self.state, exhausted=self._budgets.exhausted(self.state.now))

    def _tell(self, verdict: Verdict, charged: str, refused: Drop | None = None) -> Iterator[Event]:
        yield Judged(self.id, verdict)
        yield from (Left(self.id, request) for request in verdict.requests)
        yield from (Logged(self.id, log) for log in verdict.logs)
        if verdict.drop is not None:
            yield Dropped(self.id, refused or verdict.drop, charged)

    def _apply(self, effects: Iterable[Effect]) -> None:
        effects = tuple(effects)
        for effect in effects:
            match effect:
                case Spend(port, budget):
                    self._budgets.spend(port, budget, self.state.now)
                case NoteHint(port, replies, hint):
                    known = self.state.hints.get((port, replies))
                    if known is None or known.opener != hint.opener:
                        self.flows.forget_tuple(port, replies)
                case WriteRecord(record) if record.inbound and record.key not in self.state.records:
                    self.flows.forget_tuple(record.owner, record.home)  # what it sends is a reply from now on
                case LearnMac() | LearnNeighbour():
                    self._learn(effect)
        self.state = self.state.after(effects)

    def _learn(self, effect: LearnMac | LearnNeighbour) -> None:
        """What is new is told to the others, and flows that were judged without it are judged anew."""
        if isinstance(effect, LearnMac):
            device = effect.network
            known = self.state.macs.get((effect.network, effect.mac)) == effect.port
        else:
            port = self.view.get(Port, effect.router_port)
            device = self.view.device(port) if port is not None else ""
            before = self.state.neighbours.get((effect.router_port, effect.ip))
            known = before is not None and before.mac == effect.neighbour.mac
            self._ready += self._waiting.take((effect.router_port, effect.ip))
        if not known:
            self.learned.append(effect)
            if is_device(self.view, device):
                self.clock.bump([self._zones.of(device)])

    def hear(self, learned: Iterable[Effect]) -> None:
        """What other hosts learned."""
        mine = len(self.learned)
        self._apply(learned)
        del self.learned[mine:]
