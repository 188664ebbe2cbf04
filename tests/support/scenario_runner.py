"""Runs the steps of a case on a network, and says where what happens is not what is expected.

Every packet is held to this, too: it crosses the underlay once if it is delivered on another host, and not at
all if it is dropped, unless it is a reply, or asks whether it is one. Of a flood, one copy goes to each host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import singledispatchmethod

from onehop.model import Port
from onehop.model.document import parse as parse_document
from onehop.model.offline import build as build_document
from onehop.model.view import Topology, View
from onehop.simulation.packet import Frame, Icmp, Ipv4, Ipv6, Tcp, TcpFlag, Udp, build, parse
from tests.support import scenario
from tests.support.machines import ANSWER, QUESTION, TRACEROUTE, Machines, Talk, echo, packet
from tests.support.network import Life, Network
from tests.support.packet_text import changed, is_whole, received, sent, source_port
from tests.support.same_packet import difference
from tests.support.scenario import (
    Case,
    Change,
    Exchange,
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
        self.open: dict[str, tuple[str, str, int, int]] = {}  # client, server, their ports
        self._ids = 100
        self._renew()

    def run(self) -> None:
        for number, step in enumerate(self.case.steps, 1):
            try:
                self.step(step)
            except Unexpected as error:
                raise Unexpected(f"{self.case.id}, step {number}: {step}\n  {error}") from None

    def _renew(self) -> None:
        self.world = World(self.network.view, self.case.family)
        neighbours = self.machines.neighbours if hasattr(self, "machines") else {}
        self.machines = Machines(self.network, self.world)
        self.machines.neighbours.update(neighbours)

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
        if step.dropped == "*":
            return
        expected = {step.dropped.upper()} if step.dropped else set()
        if {d.reason.name for d in life.dropped} != expected:
            raise Unexpected(f"dropped while waiting: {life.dropped or 'nothing'}")

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
        at = self.world.port(step.at or source_port(step.send))
        frame = sent(step.send, self.world, at)
        life = self.network.send(at, build(frame))
        self._check_deliveries(step, at, frame, life)
        self._check_drop(step, life)
        self._check_crossings(at, life)

    @step.register
    def _(self, step: Throw) -> None:
        if all(step.at not in path.split("/") for path in machines(self.document)):
            return  # it has been deleted
        at = self.world.port(step.at)
        data = bytearray(build(sent(step.throw, self.world, at)))
        for place, byte in step.mutate.items():
            data[place % len(data)] = byte
        self.network.send(at, bytes(data[: step.cut]))

    def _check_deliveries(self, step: Send, at: Port, frame: Frame, life: Life) -> None:
        expected: dict[str, Frame] = {}
        for name, text in step.deliveries().items():
            port = self.world.port(name)
            if is_whole(text):
                expected[port.id] = received(text, self.world, port)
            else:
                expected[port.id] = changed(frame, text, self.world, at, port)
        if step.answered:
            expected[at.id] = received(step.answered, self.world, at, about=frame)
        self._compare(expected, life)

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
        if step.protocol == "ping":
            talk = self.machines.send(src, echo(self.world, src, dst, sport))
            good = any(isinstance(p.payload, Icmp) and p.payload.type in (0, 129) for p in talk.at(src))
        elif step.protocol == "udp":
            talk = self._say(src, dst, Udp(sport, dport, QUESTION))
            good = any(isinstance(p.payload, Udp) and p.payload.data == ANSWER for p in talk.at(src))
        else:
            good, talk = self._connect(src, dst, sport, dport)
            if good:
                good, talk = self._ask(src, dst, sport, dport)
            if good:
                self._close(src, dst, sport, dport)
        self._judge(good, talk, step.fails)

    @step.register
    def _(self, step: Open) -> None:
        client, _, server = step.open.removeprefix("tcp ").partition(" > ")
        (src, sport), (dst, dport) = (end.rsplit(":", 1) for end in (client, server))
        good, talk = self._connect(self.world.port(src), self.world.port(dst), int(sport), int(dport))
        self._judge(good, talk, None)
        self.open[step.as_] = (src, dst, int(sport), int(dport))

    @step.register
    def _(self, step: scenario.Talk) -> None:
        client, server, sport, dport = self.open[step.talk]
        src, dst = self.world.port(client), self.world.port(server)
        for one, other, ports in ((src, dst, (sport, dport)), (dst, src, (dport, sport))):
            good, talk = self._ask(one, other, *ports)
            self._judge(good, talk, step.fails)

    @step.register
    def _(self, step: Traceroute) -> None:
        src, dst, _ = self._ends(step.traceroute)
        hops = [self.world.ip(hop) for hop in step.hops]
        for ttl, hop in enumerate(hops, 1):
            probe = Udp(self._next(), TRACEROUTE[ttl])
            ends = self.world.address(src), self.world.address(dst)
            talk = self.machines.send(src, packet(self.world, *ends, probe, ttl))
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

    def _ends(self, text: str) -> tuple[Port, Port, int]:
        src, _, dst = text.partition(" > ")
        name, _, port = dst.partition(":")
        return self.world.port(src), self.world.port(name), int(port or 0)

    def _next(self) -> int:
        self._ids += 1
        return 40000 + self._ids

    def _say(self, src: Port, dst: Port, payload: Tcp | Udp) -> Talk:
        ends = self.world.address(src), self.world.address(dst)
        return self.machines.send(src, packet(self.world, *ends, payload))

    def _connect(self, src: Port, dst: Port, sport: int, dport: int) -> tuple[bool, Talk]:
        talk = self._say(src, dst, Tcp(sport, dport, TcpFlag.SYN, 1))
        both = TcpFlag.SYN | TcpFlag.ACK
        good = any(isinstance(p.payload, Tcp) and p.payload.flags == both for p in talk.at(src))
        if good:
            self._say(src, dst, Tcp(sport, dport, TcpFlag.ACK, 2, 1001))
        return good, talk

    def _ask(self, src: Port, dst: Port, sport: int, dport: int) -> tuple[bool, Talk]:
        question = Tcp(sport, dport, TcpFlag.PSH | TcpFlag.ACK, 2, 1001, data=QUESTION)
        talk = self._say(src, dst, question)
        return any(isinstance(p.payload, Tcp) and p.payload.data == ANSWER for p in talk.at(src)), talk

    def _close(self, src: Port, dst: Port, sport: int, dport: int) -> None:
        fin = TcpFlag.FIN | TcpFlag.ACK
        self._say(src, dst, Tcp(sport, dport, fin, 3, 1002))
        self._say(dst, src, Tcp(dport, sport, fin, 1002, 4))
        self._say(src, dst, Tcp(sport, dport, TcpFlag.ACK, 4, 1003))


def _with_source_port(frame: Frame, number: int) -> Frame:
    packet = frame.payload
    assert isinstance(packet, Ipv4 | Ipv6) and isinstance(packet.payload, Tcp | Udp)
    inner = replace(packet.payload, src=packet.payload.src + number)
    return replace(frame, payload=replace(packet, payload=inner))
