"""Runs the steps of a case on a network, and says where what happens is not what is expected.

Every packet is held to this, too: it crosses the underlay once if it is delivered on another host, and not at
all if it is dropped, unless it is a reply, or asks whether it is one. Of a flood, one copy goes to each host.
What comes from outside may be dropped by the host that it is for, and answered from there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from ipaddress import IPv4Address, IPv6Address

from onehop.model import Port
from onehop.model.document import parse as parse_document
from onehop.model.offline import build as build_document
from onehop.model.view import Topology, View
from onehop.simulation.packet import (
    BROADCAST,
    Arp,
    Frame,
    Icmp,
    Ip,
    Ipv4,
    Ipv6,
    Malformed,
    Tcp,
    TcpFlag,
    Udp,
    build,
    multicast_mac,
    parse,
    parse_quote,
)
from tests.support import scenario
from tests.support.machines import ANSWER, QUESTION, TRACEROUTE, End, Machines, Talk, echo, packet, turned
from tests.support.network import Life, Network
from tests.support.packet_text import changed, is_whole, received, sent, source_port
from tests.support.same_packet import difference
from tests.support.scenario import (
    Case,
    Change,
    Exchange,
    Fill,
    Forget,
    Interface,
    Move,
    Open,
    Send,
    Settle,
    Spread,
    Step,
    Throw,
    Traceroute,
    Wait,
    bind,
    machines,
    merge,
    path_of,
)
from tests.support.stable import stable
from tests.support.world import World

ERRORS = (1, 3, 11)  # unreachable and time exceeded, of ICMPv6 and of ICMP


MOST_TURNED = 8  # of the copies of a packet
_NAMED = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True)
class Side:
    """One side of a connection: who it is, and both ends' addresses and ports as it knows them."""

    end: End
    port: int
    peer: Ip
    peer_port: int


@dataclass(frozen=True)
class Conversation:
    client: Side
    server: Side


class Unexpected(AssertionError):
    """What happened is not what the scenario says."""


def view_of(document: dict[str, object], before: View | None = None) -> Topology:
    """The objects of a case's document. What was assigned before stays."""
    return stable(build_document(parse_document(document)), document, before)


class Runner:
    """One case on one network."""

    def __init__(self, case: Case, start: Callable[[View], Network]) -> None:
        self.case = case
        self.document = case.document
        self.network = start(view_of(self.document))
        self.open: dict[str, Conversation] = {}
        self.values: dict[str, int] = {}  # of `$name` in packets, once seen
        self._last: dict[str, Frame] = {}  # packet by packet: what each port sent last
        self._ids = 100
        self._renew()

    def run(self) -> None:
        for number, step in enumerate(self.case.steps, 1):
            try:
                self.step(step)
            except Unexpected as error:
                raise Unexpected(f"{self.case.id}, step {number}: {step}\n  {error}") from None

    def _renew(self) -> None:
        self.world = World(self.network.view, self.case.family, self.case.outside)
        neighbours = self.machines.neighbours if hasattr(self, "machines") else {}
        self.machines = Machines(self.network, self.world)
        self.machines.neighbours.update(neighbours)
        self._announce()

    def _announce(self) -> None:
        """The routers outside tell where they are."""
        for uplink in [] if self.case.outside.silent else self.world.uplinks():
            mac, ip = self.world.mac_at(uplink), self.world.neighbour(uplink)
            if self.network.view.active_binding(uplink.id) is not None:
                self.network.send(uplink, build(announcement(mac, ip)))

    def _become(self, document: dict[str, object]) -> None:
        self.document = document
        self.network.change(view_of(document, self.network.view))
        self._renew()

    @singledispatchmethod
    def step(self, step: Step) -> None:
        raise NotImplementedError(step)

    # --- changes --------------------------------------------------------------------------------------

    @step.register
    def _(self, step: Change) -> None:
        document = merge(self.document, step.change)
        for path in set(machines(document)) - set(machines(self.document)):
            bind(document, path, self.case.hosts[0])
        self._become(document)

    @step.register
    def _(self, step: Move) -> None:
        document = merge(self.document, {})
        for port, host in step.move.items():
            bind(document, path_of(document, port), host)
        self._become(document)

    @step.register
    def _(self, step: Interface) -> None:
        for port, state in step.interface.items():
            self.network.interface(self.world.port(port), state == "up")

    @step.register
    def _(self, step: Forget) -> None:
        self.network.forget(hints="hints" in step.forget, flows="flows" in step.forget)

    @step.register
    def _(self, step: Wait) -> None:
        life = self.network.wait(step.wait)
        self._announce()
        if step.dropped == "*":
            return
        expected = {step.dropped.upper()} if step.dropped else set()
        if {d.reason.name for d in life.dropped} != expected:
            raise Unexpected(f"dropped while waiting: {life.dropped or 'nothing'}")
        texts = [(self.world.port(name), text) for name, text in step.answered.items()]
        about = {port.id: self._last[port.id] for port, _ in texts}
        self._compare({p.id: received(text, self.world, p, about[p.id]) for p, text in texts}, life)

    @step.register
    def _(self, step: Settle) -> None:
        life = self.network.settle()
        if step.delivered == "*":
            return
        texts = [(self.world.port(name), text) for name, text in step.delivered.items()]
        expected = {port.id: received(text, self.world, port) for port, text in texts}
        self._compare(expected, life)

    # --- one packet -----------------------------------------------------------------------------------

    @step.register
    def _(self, step: Send) -> None:
        text = self._filled(step.send)
        at = self.world.port(step.at or source_port(text))
        frame = sent(text, self.world, at)
        self._last[at.id] = frame
        life = self.network.send(at, build(frame))
        self._check_deliveries(step, at, frame, life)
        self._check_drop(step, life)
        self._check_crossings(at, life)

    @step.register
    def _(self, step: Throw) -> None:
        paths = [*(path.partition("/")[2] for path in machines(self.document)), *self.case.outside.neighbours]
        if step.at not in (*paths, *machines(self.document)):
            return  # it has been deleted
        at = self.world.port(step.at)
        data = bytearray(build(sent(step.throw, self.world, at)))
        for place, byte in step.mutate.items():
            data[place % len(data)] = byte
        life = self.network.send(at, bytes(data[: step.cut]))
        with self._via(step.via):
            for _ in range(step.turns):
                life = self._turn(life, step.with_ == "errors")

    def _turn(self, life: Life, errors: bool) -> Life:
        """Whoever got something sends it back."""
        lives = []
        for delivery in life.delivered[:MOST_TURNED]:
            port, frame = self.network.view.get(Port, delivery.port), parse(delivery.frame)
            back = turned(frame, errors) if isinstance(frame, Frame) else None
            if port is not None and back is not None:
                at, frame = self.machines.entering(port, back)
                lives.append(self.network.send(at, build(frame)))
        return Life(tuple(d for one in lives for d in one.delivered))

    def _check_deliveries(self, step: Send, at: Port, frame: Frame, life: Life) -> None:
        expected: dict[str, Frame] = {}
        for name, text in step.deliveries().items():
            port = self._where(name, life)
            if is_whole(text):
                expected[port.id] = self._received(text, port, life)
            else:
                expected[port.id] = changed(frame, text, self.world, at, port)
        if step.answered:
            expected[at.id] = self._received(step.answered, at, life, about=frame)
        self._compare(expected, life)

    def _where(self, name: str, life: Life) -> Port:
        """The port of a name; of a machine outside, the uplink by which something left."""
        if name in self.case.outside.machines:
            arrived = {delivery.port for delivery in life.delivered}
            return next((p for p in self.world.uplinks() if p.id in arrived), self.world.port(name))
        return self.world.port(name)

    # --- numbers that a scenario only names ------------------------------------------------------------

    def _filled(self, text: str) -> str:
        """A packet's text with `$name` replaced by its value."""
        return _NAMED.sub(lambda found: str(self.values[found[1]]), text)

    def _received(self, text: str, port: Port, life: Life, about: Frame | None = None) -> Frame:
        """The frame that a text tells. A `$name` that is new takes its value of the frame that has come."""
        unknown = {name for name in _NAMED.findall(text) if name not in self.values}
        if not unknown:
            return received(self._filled(text), self.world, port, about)
        (name,) = unknown
        frames = [parse(d.frame) for d in life.delivered if d.port == port.id]
        for number in sorted({number for frame in frames for number in _numbers(frame)}):
            self.values[name] = number
            expected = received(self._filled(text), self.world, port, about)
            if any(difference(frame, expected) is None for frame in frames):
                break
        self.values.setdefault(name, 0)
        return received(self._filled(text), self.world, port, about)

    def _compare(self, expected: dict[str, Frame], life: Life) -> None:
        arrived = Counter(d.port for d in life.delivered)
        if arrived != Counter(expected.keys()):
            names = {self._name(id): count for id, count in arrived.items()}
            raise Unexpected(f"delivered at {names or 'no port'}; dropped: {life.dropped}")
        for delivery in life.delivered:
            wrong = difference(parse(delivery.frame), expected[delivery.port])
            if wrong:
                raise Unexpected(f"at {self._name(delivery.port)}: {wrong}")

    def _check_drop(self, step: Send, life: Life) -> None:
        if step.dropped is not None and not any(d.has(step.dropped) for d in life.dropped):
            raise Unexpected(f"not dropped as {step.dropped}: {life.dropped or 'not dropped'}")
        if step.dropped is None and life.dropped and not life.flooded:
            raise Unexpected(f"dropped: {life.dropped}")
        if step.by is not None:
            deciders = {by for d in life.dropped for by in d.by} | set(life.by)
            if step.by not in deciders:
                raise Unexpected(f"not decided by {step.by}, but by {sorted(deciders)}")

    def _check_crossings(self, at: Port, life: Life) -> None:
        remote = {self._host(d.port) for d in life.delivered} - {self._host(at.id)}
        once = life.crossings - life.asked - life.forwarded - life.flooded
        if life.flooded > len(self.case.hosts) - 1:
            raise Unexpected(f"{life.flooded} copies for {len(self.case.hosts) - 1} other hosts")
        judged_there = life.flooded or life.asked or any(d.has("no_binding") for d in life.dropped)
        judged_there = judged_there or self.world.is_outside(at)
        told = bool(life.returned) and any(d.port == at.id for d in life.delivered)  # an error about a reply
        if not judged_there and once not in range(len(remote), len(remote) + life.returned + told + 1):
            raise Unexpected(f"crossed the underlay {once} times for {len(remote)} hosts")

    def _host(self, port: str) -> str | None:
        binding = self.network.view.active_binding(port)
        return binding.host if binding else None

    def _name(self, port: str) -> str:
        found = self.network.view.get(Port, port)
        return self.world.name(found) if found else port

    # --- machines that talk ---------------------------------------------------------------------------

    @step.register
    def _(self, step: Exchange) -> None:
        src, dst, dport = self._ends(step.text)
        sport = self._next()
        with self._via(step.via):
            if step.protocol == "ping":
                talk = self.machines.send(src.port, echo(self.world, src.ip, dst, sport))
                good = any(isinstance(p.payload, Icmp) and p.payload.type in (0, 129) for p in talk.at(src))
            elif step.protocol == "udp":
                talk = self._say(Side(src, sport, dst, dport), Udp(sport, dport, QUESTION))
                good = any(isinstance(p.payload, Udp) and p.payload.data == ANSWER for p in talk.at(src))
            else:
                conversation, talk = self._connect(Side(src, sport, dst, dport))
                good = conversation is not None
                if conversation is not None:
                    good, talk = self._ask(conversation.client)
                if conversation is not None and good:
                    self._close(conversation)
        self._judge(good, talk, step.fails)

    @contextmanager
    def _via(self, uplink: str | None) -> Iterator[None]:
        """What the outside says comes in by this uplink."""
        self.machines.via = self.world.port(uplink) if uplink is not None else None
        try:
            yield
        finally:
            self.machines.via = None

    @step.register
    def _(self, step: Open) -> None:
        client, _, server = step.open.removeprefix("tcp ").partition(" > ")
        (src, sport), (dst, dport) = (end.rsplit(":", 1) for end in (client, server))
        with self._via(step.via):
            side = Side(self._end(src), int(sport), self.world.ip(dst.strip("[]")), int(dport))
            conversation, talk = self._connect(side)
        self._judge(conversation is not None, talk, None)
        assert conversation is not None
        self.open[step.as_] = conversation

    @step.register
    def _(self, step: scenario.Talk) -> None:
        conversation = self.open[step.talk]
        for side in (conversation.client, conversation.server):
            with self._via(step.via):
                good, talk = self._ask(self._now(side))
            self._judge(good, talk, step.fails)

    def _now(self, side: Side) -> Side:
        """A side as its port is by now."""
        port = self.network.view.get(Port, side.end.port.id)
        return replace(side, end=replace(side.end, port=port)) if port is not None else side

    @step.register
    def _(self, step: Traceroute) -> None:
        src, dst, _ = self._ends(step.traceroute)
        hops = [self.world.ip(hop) for hop in step.hops]
        for ttl, hop in enumerate(hops, 1):
            probe = Udp(self._next(), TRACEROUTE[ttl])
            talk = self.machines.send(src.port, packet(self.world, src.ip, dst, probe, ttl))
            heard = [
                p.src for p in talk.at(src) if isinstance(p.payload, Icmp) and p.payload.type in (1, 3, 11)
            ]
            if heard != [hop]:
                raise Unexpected(f"hop {ttl} is {heard or 'silent'}, not {hop}; {talk.dropped}")

    @step.register
    def _(self, step: Spread) -> None:
        src = self.world.port(source_port(step.spread).partition(":")[0])
        tally: Counter[str] = Counter()
        for number in range(step.connections):
            frame = _with_source_port(sent(step.spread, self.world, src), number)
            ways = {self._one_way(src, frame) for _ in range(3)}
            if len(ways) != 1:
                raise Unexpected(f"connection {number} goes by {ways}")
            tally[ways.pop()] += 1
        self._check_shares(step, tally)

    @step.register
    def _(self, step: Fill) -> None:
        src = self.world.port(source_port(step.fill).partition(":")[0])
        arrived: set[bytes] = set()
        for number in range(step.connections):
            life = self.network.send(src, build(_with_source_port(sent(step.fill, self.world, src), number)))
            if {d.frame for d in life.delivered} & arrived:
                raise Unexpected(f"connection {number} arrives like another")
            if not life.delivered and not any(d.has(step.dropped or "") for d in life.dropped):
                raise Unexpected(f"connection {number} is dropped: {life.dropped}")
            arrived |= {d.frame for d in life.delivered}
        if not step.most // 2 <= len(arrived) <= step.most:
            raise Unexpected(f"{len(arrived)} connections arrive, and {step.most} could")

    def _one_way(self, src: Port, frame: Frame) -> str:
        life = self.network.send(src, build(frame))
        if len(life.delivered) != 1:
            raise Unexpected(f"delivered {len(life.delivered)} times; {life.dropped}")
        return life.delivered[0].port

    def _check_shares(self, step: Spread, tally: Counter[str]) -> None:
        shares = {self.world.port(name).id: share for name, share in step.over.items()}
        for port, share in shares.items():
            fair = step.connections * share / sum(shares.values())
            if not 0.5 * fair <= tally[port] <= 1.5 * fair:
                raise Unexpected(f"{self._name(port)} got {tally[port]} connections, and {fair} were fair")
        if tally.keys() - shares.keys():
            raise Unexpected(f"also over {[self._name(port) for port in tally.keys() - shares.keys()]}")

    def _judge(self, good: bool, talk: Talk, fails: str | None) -> None:
        if fails is None and not good:
            raise Unexpected(f"does not get through: {talk.dropped or 'no answer'}")
        if fails is not None and good:
            raise Unexpected("gets through")
        if fails is not None and fails not in talk.reasons():
            raise Unexpected(f"fails for {talk.reasons() or 'no reason'}")

    def _ends(self, text: str) -> tuple[End, Ip, int]:
        """`a > c:80`: who begins, and the address and port that it speaks to."""
        src, _, dst = text.partition(" > ")
        if dst.startswith("["):
            name, _, port = dst[1:].partition("]:")
        else:
            name, _, port = dst.partition(":") if dst.count(":") <= 1 else (dst, "", "")
        return self._end(src), self.world.ip(name), int(port or 0)

    def _end(self, name: str) -> End:
        port = self.world.port(name)
        return End(port, self.world.ip(name), self.world.is_outside(port))

    def _next(self) -> int:
        self._ids += 1
        return 40000 + self._ids

    def _say(self, side: Side, payload: Tcp | Udp) -> Talk:
        return self.machines.send(side.end.port, packet(self.world, side.end.ip, side.peer, payload))

    def _connect(self, client: Side) -> tuple[Conversation | None, Talk]:
        """Open a connection. Who serves it, and under which addresses, is seen where the SYN arrives."""
        talk = self._say(client, Tcp(client.port, client.peer_port, TcpFlag.SYN, 1))
        both = TcpFlag.SYN | TcpFlag.ACK
        good = any(isinstance(p.payload, Tcp) and p.payload.flags == both for p in talk.at(client.end))
        server = self._server(talk)
        if not good or server is None:
            return None, talk
        self._say(client, Tcp(client.port, client.peer_port, TcpFlag.ACK, 2, 1001))
        return Conversation(client, server), talk

    def _server(self, talk: Talk) -> Side | None:
        for id, frame in talk.received:
            ip, port = frame.payload, self.network.view.get(Port, id)
            if isinstance(ip, Ipv4 | Ipv6) and isinstance(ip.payload, Tcp) and port is not None:
                end = End(port, ip.dst, self.world.is_outside(port))
                return Side(end, ip.payload.dst, ip.src, ip.payload.src)
        return None

    def _ask(self, side: Side) -> tuple[bool, Talk]:
        question = Tcp(side.port, side.peer_port, TcpFlag.PSH | TcpFlag.ACK, 2, 1001, data=QUESTION)
        talk = self._say(side, question)
        return any(isinstance(p.payload, Tcp) and p.payload.data == ANSWER for p in talk.at(side.end)), talk

    def _close(self, conversation: Conversation) -> None:
        client, server = conversation.client, conversation.server
        fin = TcpFlag.FIN | TcpFlag.ACK
        self._say(client, Tcp(client.port, client.peer_port, fin, 3, 1002))
        self._say(server, Tcp(server.port, server.peer_port, fin, 1002, 4))
        self._say(client, Tcp(client.port, client.peer_port, TcpFlag.ACK, 4, 1003))


def announcement(mac: str, ip: Ip) -> Frame:
    """What a router says, unasked, to all beyond its wire."""
    if isinstance(ip, IPv4Address):
        return Frame(BROADCAST, mac, Arp(2, mac, ip, mac, ip))
    everybody = IPv6Address("ff02::1")
    data = ip.packed + bytes((2, 1)) + bytes.fromhex(mac.replace(":", ""))
    told = Icmp(136, rest=bytes((0xA0, 0, 0, 0)), data=data)
    return Frame(multicast_mac(everybody), mac, Ipv6(ip, everybody, told, ttl=255))


def _numbers(frame: Frame | Malformed) -> set[int]:
    """Every number of a packet that a scenario may only name: ports and ids, also in what an error quotes."""
    if isinstance(frame, Malformed) or not isinstance(frame.payload, Ipv4 | Ipv6):
        return set()
    inner = frame.payload.payload
    match inner:
        case Tcp() | Udp():
            return {inner.src, inner.dst}
        case Icmp():
            quote = parse_quote(inner.data, frame.payload.src.version)
            return {inner.id} | ({quote.src_port, quote.dst_port} if quote is not None else set())
    return set()


def _with_source_port(frame: Frame, number: int) -> Frame:
    packet = frame.payload
    assert isinstance(packet, Ipv4 | Ipv6) and isinstance(packet.payload, Tcp | Udp)
    inner = replace(packet.payload, src=packet.payload.src + number)
    return replace(frame, payload=replace(packet, payload=inner))
