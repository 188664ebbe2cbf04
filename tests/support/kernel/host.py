"""One host of the kernel's cloud: frames go in at `from_port` and `from_underlay`, and what the programs did
is told as the simulation's events.

Frames enter by BPF_PROG_TEST_RUN. It can neither give a frame a VLAN tag as the kernel's receive path does,
nor take long ones: those come in through the interface itself.
"""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from onehop.compiler.compile import Compiler, Local
from onehop.compiler.facts import Interface, Move
from onehop.datapath.attach import Attachment, Direction, attach
from onehop.datapath.injection import Mark, from_port, from_stranger
from onehop.datapath.layouts import codec
from onehop.datapath.programs import load
from onehop.datapath.ringbuf import Ring
from onehop.datapath.structs import FdbKey, NeighbourKey
from onehop.datapath.testrun import SkBuff, run_program
from onehop.datapath.traffic import Event as Said
from onehop.datapath.traffic import Record, TupleKey, Verdict
from onehop.datapath.words import Action, Copy, EventKind, RecordFlag, RuleAction
from onehop.model import Acl, Binding, Port
from onehop.model import Host as HostObject
from onehop.model.view import Topology
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.model.zones import is_uplink
from onehop.simulation import neighbours
from onehop.simulation.addresses import prefixes_of
from onehop.simulation.cloud import FORWARDING, Delivered, Dropped, Envelope, Event, Left, Logged, Sent
from onehop.simulation.cloud.budgets import ALLOWANCES
from onehop.simulation.cloud.places import host_of
from onehop.simulation.cloud.waiting import Waiting, WaitingRoom
from onehop.simulation.connections import LIFETIME, LIFETIME_TCP
from onehop.simulation.neighbours import owner_of, owners
from onehop.simulation.packet import TCP, Frame, Ipv4, Ipv6, Udp, build, parse
from onehop.simulation.state import (
    FRAGMENT_LIFE,
    HINT_LIFE,
    NEIGHBOUR_LIFE,
    LearnMac,
    LearnNeighbour,
    Life,
    Neighbour,
)
from onehop.simulation.verdict import Ask, Log, Output, Request
from tests.support.kernel.floor import Floor, Tap
from tests.support.kernel.reasons import decided
from tests.support.kernel.tables import BUDGETS, SIZES, Tables
from tests.support.kernel.words import Names, ip_of, mac_of, packed

SHOT, REDIRECT = 2, 7
UDP_PORT = 4789
SHORTEST = {b"\x08\x00": 34, b"\x86\xdd": 54}  # bytes of a frame that BPF_PROG_TEST_RUN takes, by ethertype
LONGEST = 3400  # with room to spare
TAGS = (b"\x81\x00", b"\x88\xa8")
_ACTIONS = {action: action.name.lower() for action in RuleAction}
_ASKS = {EventKind.DHCP: Ask.DHCP, EventKind.ROUTER_SOLICITATION: Ask.ROUTER_ADVERTISEMENT}
_EMPTY = codec(Verdict).decode(bytes(codec(Verdict).size))

Learned = LearnMac | LearnNeighbour


class Broken(AssertionError):
    """The programs did not do what they said."""


@dataclass(frozen=True, slots=True)
class Carried(Sent):
    """A packet on the underlay, as the programs made it. `because`: of the frame that it is about."""

    outer: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Asked(Left):
    """A packet that waits, of the port `by`."""

    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Run:
    """What one packet did on one host."""

    host: str
    verdict: Verdict
    events: tuple[Event, ...]


def now() -> int:
    return time.clock_gettime_ns(6)  # CLOCK_MONOTONIC_COARSE, as the programs read it


class KernelHost:
    """Programs and tables, loaded once, that can be one host of a cloud after another."""

    def __init__(self, floor: Floor, number: int) -> None:
        self.floor = floor
        with floor.entered():
            index = floor.tap(f"i{number}").ifindex  # what goes out there is redirected by `inject`
            self._datapath = load(config=_config(index), sizes=SIZES)
            self._inject = attach(self._datapath.programs["inject"], index, Direction.EGRESS)
        self._ring = Ring(self._datapath.maps["events"])
        self.tables = Tables(self._datapath)
        self._verdicts = self.tables.maps["verdicts"]
        self._blank = tuple(_EMPTY for _ in self._verdicts.lookup(0))
        self.learned: list[Learned] = []
        self.absent: set[str] = set()
        self.runs: list[Run] = []

    def close(self) -> None:
        self._inject.close()
        self._ring.close()
        self._datapath.close()

    # --- what it follows --------------------------------------------------------------------------------

    def begin(self, id: str, view: Topology, plugs: Mapping[str, Tap]) -> None:
        """Be this host from now on. Others change the view; `follow` tells of it."""
        self.id, self.view, self.plugs = id, view, plugs
        self.absent.clear()
        self.learned.clear()
        self.time = 0.0
        self._moves: dict[str, tuple[Move, float]] = {}
        self._waiting = WaitingRoom()
        self._ready: list[tuple[Waiting, str]] = []
        self._vain: list[tuple[Mark, bytes]] = []  # what needs something that is nowhere, as it goes back in
        self._names = Names()
        self._names.add(view)
        self._compiler = Compiler(id)
        self.tables.begin(self._compiler.compile(view, self._local()))
        self._ring.consume(lambda record: None, limit=1 << 30)

    def follow(self, changed: Iterable[str]) -> None:
        self._names.add(self.view)
        self.tables.apply(self._compiler.update(changed, self._local()))

    def note_move(self, port: str, was: str, now: str) -> None:
        """As the agent does. `follow` puts it into effect."""
        before = self._moves.get(port)
        has_left = was == self.id or (before is not None and before[0].to is not None)
        to = now if has_left and now != self.id else None
        self._moves[port] = (Move(was, to), self.time + FORWARDING)

    def _local(self) -> Local:
        interfaces = {}
        for binding in self.view.all(Binding):
            if binding.host == self.id and binding.interface and binding.port not in self.absent:
                interfaces[binding.interface] = Interface(self.plugs[binding.interface].ifindex)
        this = self.view.get(HostObject, self.id)
        own = [address.ip for address in this.addresses] if this is not None else []
        moves = {port: move for port, (move, _) in self._moves.items()}
        return Local(interfaces, dict.fromkeys(own, Interface(self.floor.underlay.ifindex)), moves)

    def has(self, port: str) -> bool:
        return host_of(self.view, port) == self.id and port not in self.absent

    def _plug(self, port: str) -> Tap:
        binding = self.view.active_binding(port)
        assert binding is not None and binding.interface is not None
        return self.plugs[binding.interface]

    # --- packets ----------------------------------------------------------------------------------------

    def from_port(self, port: str, frame: bytes) -> list[Event]:
        if not self.has(port):
            return [Dropped(self.id, Drop.PORT_DOWN, port)]
        tap = self._plug(port)
        return self._asking(self._run("from_port", frame, SkBuff(ifindex=tap.ifindex), tap))

    def from_underlay(self, outer: bytes) -> list[Event]:
        tap = self.floor.underlay
        return self._asking(self._run("from_underlay", outer, SkBuff(ifindex=tap.ifindex), tap))

    def _asking(self, events: list[Event]) -> list[Event]:
        asked = [e for e in events if isinstance(e, Asked) and e.request.what is Ask.RESOLVE]
        return [*events, *(event for one in asked for event in self._resolve(one.request, one.by))]

    def _resolve(self, request: Request, by: str) -> list[Event]:
        """Let a packet wait that a port has sent, and ask who has its next hop."""
        assert request.ip is not None
        interface, asker = self.view.get(Port, request.port), self.view.get(Port, by)
        assert interface is not None and asker is not None
        # What came from elsewhere, or is an answer, has been judged: it lacks but the MAC.
        arrived = None
        if is_uplink(self.view, interface) and (by == interface.id or not self.has(by)):
            arrived = Output(request.port, request.data, by)
        if not self._waiting.add(request.port, request.ip, Waiting(by, request.data, self.time, arrived)):
            return []
        question = neighbours.question(self.view, request.port, request.ip)
        if question is None:
            return []
        if is_uplink(self.view, interface):
            return [Delivered(self.id, interface.id, build(question))]
        return self._inject_frame(from_port(interface.key, asker.key), build(question))

    def _inject_frame(self, mark: Mark, frame: bytes) -> list[Event]:
        return self._run("inject", frame, SkBuff(**mark._asdict(), ifindex=self._inject.ifindex), None)

    def resume(self) -> list[Event]:
        """The packets go on whose next hop has been found meanwhile."""
        ready, self._ready = self._ready, []
        return [event for waiting, mac in ready for event in self._go_on(waiting, mac)]

    def _go_on(self, waiting: Waiting, mac: str) -> list[Event]:
        if waiting.arrived is None:
            return self.from_port(waiting.port, waiting.data)
        frame, uplink = parse(waiting.data), self.view.get(Port, waiting.arrived.target)
        assert isinstance(frame, Frame) and uplink is not None
        out = build(dataclasses.replace(frame, src=uplink.mac, dst=mac))
        return [Delivered(self.id, uplink.id, out)]

    def wait(self, seconds: float) -> list[Event]:
        self.time += seconds
        self.tables.age(seconds)
        if any(until <= self.time for _, until in self._moves.values()):
            self._moves = {port: m for port, m in self._moves.items() if m[1] > self.time}
            self.follow(())
        late = self._waiting.give_up(self.time)
        return [event for waiting in late for event in self._waited_in_vain(waiting)]

    def _waited_in_vain(self, waiting: Waiting) -> list[Event]:
        port = self.view.get(Port, waiting.port)
        if waiting.arrived is not None or port is None or not self.has(waiting.port):
            return [Dropped(self.id, Drop.NO_NEIGHBOUR, waiting.charged)]
        return self._inject_frame(from_port(port.key, gives_up=Drop.NO_NEIGHBOUR), waiting.data)

    def _run(self, program: str, frame: bytes, skb: SkBuff, tap: Tap | None) -> list[Event]:
        self._verdicts.update(0, self._blank)
        whole = SHORTEST.get(frame[12:14], 15) <= len(frame) <= LONGEST and frame[12:14] not in TAGS
        with self.floor.entered():
            if whole or tap is None:
                out = self._test_run(program, frame, skb)
            else:
                out = self._receive(program, frame, tap)
            came = self.floor.read()
        verdicts = [v for v in self._verdicts.lookup(0) if v.action]
        if len(verdicts) != 1:
            raise Broken(f"{len(verdicts)} verdicts of {program} on {frame.hex()}")
        (verdict,) = verdicts
        events = [*self._told(verdict, out, came), *self._said(verdict)]
        self.tables.end_waiting()
        vain, self._vain = self._vain, []
        events += [event for mark, data in vain for event in self._inject_frame(mark, data)]
        self.runs.append(Run(self.id, verdict, tuple(events)))
        return events

    def _test_run(self, program: str, frame: bytes, skb: SkBuff) -> bytes | None:
        done = run_program(self._datapath.programs[program], frame, skb)
        return done.data if done.verdict == REDIRECT else None

    def _receive(self, program: str, frame: bytes, tap: Tap) -> None:
        """Through the interface: what is redirected comes out of another one."""
        attached: Attachment = attach(self._datapath.programs[program], tap.ifindex, Direction.INGRESS)
        try:
            tap.write(frame)
        finally:
            attached.detach()

    # --- what became of them ----------------------------------------------------------------------------

    def _told(self, verdict: Verdict, out: bytes | None, came: dict[int, list[bytes]]) -> list[Event]:
        origin = self._names.port(verdict.source)
        events: list[Event] = []
        if verdict.drop:
            events.append(self._dropped(verdict, origin))
        if verdict.action in (Action.DELIVERED, Action.SENT, Action.ANSWERED):
            events.append(self._out(verdict, origin, out, came))
        elif out is not None:
            raise Broken(f"redirected, and told {Action(verdict.action).name}")
        events.extend(self._came(verdict, came))
        return events

    def _dropped(self, verdict: Verdict, origin: str) -> Dropped:
        """A packet that asked, and was asked about here, was dropped for why it had to ask."""
        numbers = self._compiler.assignment().ids
        is_charged = verdict.source and verdict.drop not in (Drop.FENCED, Drop.FORGED_SOURCE)
        return decided(self.id, verdict, origin if is_charged else None, numbers)

    def _out(self, verdict: Verdict, origin: str, out: bytes | None, came: dict[int, list[bytes]]) -> Event:
        """The packet itself, or the answer to it."""
        answers = verdict.action == Action.ANSWERED
        target = origin if answers else self._names.port(verdict.target)
        here = host_of(self.view, target) == self.id
        ifindex = self._plug(target).ifindex if here else self.floor.underlay.ifindex
        if out is None and came.get(ifindex):
            out = came[ifindex].pop()
        if out is None:
            raise Broken(f"told {Action(verdict.action).name}, and was not redirected")
        return Delivered(self.id, target, out) if here else self._sent(out, verdict)

    def _came(self, verdict: Verdict, came: dict[int, list[bytes]]) -> list[Event]:
        """Copies: for ports here, for other hosts, and of packets that are asked about."""
        at = {self._plug(p.id).ifindex: p.id for p in self.view.all(Port) if self.has(p.id)}
        events: list[Event] = []
        for ifindex, frames in came.items():
            for frame in frames:
                if ifindex == self.floor.underlay.ifindex:
                    events.append(self._sent(frame, verdict))
                else:
                    events.append(Delivered(self.id, at.get(ifindex, f"interface {ifindex}"), frame))
        copies = [c for c in verdict.copied[: verdict.copies] if c.copy != Copy.DROPPED]
        if verdict.action == Action.FLOODED and len(copies) != len(events):
            raise Broken(f"told of {len(copies)} copies, and made {len(events)}")
        return events

    def _sent(self, outer: bytes, verdict: Verdict) -> Carried:
        envelope = unwrapped(outer)
        flags = TunnelFlag(envelope.data[7])
        refused = Drop(verdict.refused) if flags & TunnelFlag.ASK and verdict.refused else None
        forwarded = bool(flags & TunnelFlag.FORWARDED)
        return Carried(self.id, envelope, flags, refused=refused, forwarded=forwarded, outer=outer)

    # --- what they told the agent -----------------------------------------------------------------------

    def _said(self, verdict: Verdict) -> list[Event]:
        records: list[bytes] = []
        self._ring.consume(lambda record: records.append(bytes(record)))
        size = codec(Said).size
        return [e for r in records for e in self._heard(codec(Said).decode(r[:size]), r[size:])]

    def _heard(self, said: Said, rest: bytes) -> list[Event]:
        port, data = self._names.port(said.port), rest[: said.captured]
        match said.kind:
            case EventKind.RESOLVE:
                ask = Request(Ask.RESOLVE, self._names.port(said.segment), data, ip_of(said.address))
                return [Asked(self.id, ask, by=port)]
            case EventKind.NAT_LOW:
                return [Left(self.id, Request(Ask.BLOCKS, port, b"", None, self._shared_rule(said.id)))]
            case EventKind.DHCP | EventKind.ROUTER_SOLICITATION:
                return [Left(self.id, Request(_ASKS[said.kind], port, data))]
            case EventKind.NOT_FOLLOWED:
                self._vain.append((from_port(said.port, gives_up=Drop.NOT_FOLLOWED), data))
            case EventKind.STRANGER:
                self._vain.append((from_stranger(said.id, said.segment, said.action, gives_up=True), data))
            case EventKind.LOG:
                return [Logged(self.id, self._log(said))]
            case EventKind.LEARNED_MAC:
                network = self._names.network(said.segment)
                self.learned.append(LearnMac(network, mac_of(said.mac), port))
            case EventKind.LEARNED_NEIGHBOUR:
                self._learn_neighbours(said)
        return []

    def _shared_rule(self, number: int) -> str:
        ids = self._compiler.assignment().ids["shared_rules"]
        return next(name for name, known in ids.items() if known == number).partition("/")[0]

    def _log(self, said: Said) -> Log:
        ids = self._compiler.assignment().ids["rules"]
        name = next(name for name, number in ids.items() if number == said.id)
        acl, _, rule = name.rpartition("/")
        assert self.view.get(Acl, acl) is not None
        return Log(acl, rule, _ACTIONS[RuleAction(said.action)])

    def _learn_neighbours(self, said: Said) -> None:
        """What the agent makes of a claim: which of the routers' interfaces that heard it learn from it."""
        ip = ip_of(said.address)
        for interface in self._listeners(said):
            inside = any(ip in prefix and ip != own for own, prefix in prefixes_of(self.view, interface))
            peer = self.view.peer(interface.id)
            known = peer is not None and (
                peer.network is None or owner_of(self.view, peer.network, ip) is not None
            )
            if inside and not known:
                self._note_neighbour(LearnNeighbour(interface.id, ip, Neighbour(mac_of(said.mac))))

    def _listeners(self, said: Said) -> list[Port]:
        if not self._names.is_network(said.segment):
            port = self.view.get(Port, self._names.port(said.segment))
            return [port] if port is not None else []
        network = self._names.network(said.segment)
        up = [o for o in owners(self.view, network) if o.is_router and o.is_up]
        return [peer for o in up if (peer := self.view.peer(o.port.id)) is not None]

    def _note_neighbour(self, learned: LearnNeighbour) -> None:
        port = self.view.get(Port, learned.router_port)
        assert port is not None
        key = NeighbourKey(port.key, packed(learned.ip))
        mac = bytes.fromhex(learned.neighbour.mac.replace(":", ""))
        before = self.tables.maps["learned_neighbours"].lookup(key)
        self.tables.learn_neighbour(key, mac, now())
        taken = self._waiting.take((learned.router_port, learned.ip))
        self._ready += [(waiting, learned.neighbour.mac) for waiting in taken]
        if before is None or before.mac != mac:
            self.learned.append(learned)
            self.tables.bump(self._zone(port))

    def _zone(self, port: Port) -> int:
        return int(self.tables.actual.tables["ports"][port.key].zone)

    def hear(self, learned: Iterable[Learned]) -> None:
        """What other hosts learned."""
        mine = len(self.learned)
        for one in learned:
            if isinstance(one, LearnNeighbour):
                self._note_neighbour(one)
            else:
                self._note_mac(one)
        del self.learned[mine:]

    def _note_mac(self, learned: LearnMac) -> None:
        port = self.view.get(Port, learned.port)
        row = next((r for k, r in self.tables.actual.tables["ports"].items() if port and k == port.key), None)
        if port is None or row is None:
            return
        mac = bytes.fromhex(learned.mac.replace(":", ""))
        self.tables.learn_mac(FdbKey(row.device, mac), port.key, now())
        self.tables.bump(row.zone)

    # --- what it remembers ------------------------------------------------------------------------------

    def records(self) -> dict[Any, Any]:
        found = {}
        for key, record in self.tables.items("records"):
            lifetimes = LIFETIME_TCP if key.protocol == TCP else LIFETIME
            if _age(record.used) <= lifetimes[Life(record.life)]:
                macs = [record.near_src, record.near_dst, record.far_src, record.far_dst]
                opener, far = self._names.port(key.port), self._names.port(record.far_port)
                if record.flags & RecordFlag.INBOUND:
                    opener, far = far, opener
                home = record.home if record.flags & RecordFlag.TRANSLATED else key
                found[self.tuple_of(key)] = (
                    opener, far, home.src, home.dst, home.src_port, home.dst_port, *map(mac_of, macs),
                    record.tos >> 2, Life(record.life),
                )  # fmt: skip
        return found

    def hints(self) -> dict[Any, Any]:
        hints = self.tables.items("hints")
        return {self.tuple_of(k): self._names.port(h.opener) for k, h in hints if _age(h.used) <= HINT_LIFE}

    def tuple_of(self, key: Any) -> tuple[Any, ...]:
        return self._names.port(key.port), key.protocol, key.src, key.dst, key.src_port, key.dst_port

    def fragments(self) -> dict[Any, Any]:
        return {
            (self._names.port(k.port), k.protocol, k.src, k.dst, k.id): (
                f.src_port, f.dst_port, f.icmp_type, f.icmp_code, f.end,
            )
            for k, f in self.tables.items("fragments")
            if _age(f.seen) <= FRAGMENT_LIFE
        }  # fmt: skip

    def macs(self) -> dict[Any, Any]:
        macs = self.tables.items("learned_macs")
        return {(self._names.network(k.network), mac_of(k.mac)): self._names.port(m.port) for k, m in macs}

    def neighbours(self) -> dict[Any, Any]:
        known = self.tables.items("learned_neighbours")
        live = [(k, n) for k, n in known if _age(n.seen) <= NEIGHBOUR_LIFE]
        return {(self._names.port(k.segment), k.address): mac_of(n.mac) for k, n in live}

    def move_records(self, port: Port, to: KernelHost) -> None:
        """A port's records go with it to another host, where they are to be judged anew."""
        for key, record in self.tables.items("records"):
            if key.port == port.key:
                fresh = {"zones": 0, "flags": record.flags & ~RecordFlag.JUDGED, "router": 0}
                to.put_record(key, msgspec.structs.replace(record, **fresh))
                self.remove_record(key)

    def put_record(self, key: TupleKey, record: Record) -> None:
        run_program(self._datapath.programs["put_record"], bytes(16) + key.encode() + record.encode())

    def remove_record(self, key: TupleKey) -> None:
        run_program(self._datapath.programs["forget_record"], bytes(16) + key.encode())


def _age(then: int) -> float:
    return ((now() - then) % (1 << 64)) / 1e9


def _config(inject: int) -> dict[str, int | bytes]:
    """Budgets as the simulation has them; what fills them up is the harness, with its own clock."""
    bursts = [0, *(int(ALLOWANCES[BUDGETS[number]].burst) for number in sorted(BUDGETS))]
    return {
        "explain": 1,
        "inject_ifindex": inject,
        "udp_port": UDP_PORT,
        "budget_rate": bytes(20),
        "budget_burst": struct.pack("=5I", *bursts),
    }


# --- the underlay -------------------------------------------------------------------------------------------


def unwrapped(outer: bytes) -> Envelope:
    """What the outer headers say; they are held to be right."""
    frame = parse(outer)
    packet = frame.payload if isinstance(frame, Frame) else None
    if not isinstance(packet, Ipv4 | Ipv6) or not isinstance(packet.payload, Udp):
        raise Broken(f"not a packet for the underlay: {outer.hex()}")
    udp = packet.payload
    lengths = len(outer) - (34 if packet.src.version == 4 else 54)
    if udp.dst != UDP_PORT or udp.length != lengths or len(udp.data) != lengths - 8:
        raise Broken(f"not a tunnel's packet: {outer.hex()}")
    return Envelope(packet.src, packet.dst, udp.data)


def wrapped(envelope: Envelope) -> bytes:
    """An envelope as it would come in."""
    udp = Udp(50000, UDP_PORT, envelope.data)
    make: Any = Ipv4 if envelope.src.version == 4 else Ipv6
    return build(Frame("02:00:00:00:fe:01", "02:00:00:00:fe:02", make(envelope.src, envelope.dst, udp)))


__all__ = ["Broken", "Carried", "KernelHost", "Run", "unwrapped", "wrapped"]
