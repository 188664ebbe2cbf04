"""A walk while it is under way: where the packet is, what it is by now, and what has happened so far.

A stage is a function that takes the walk. It changes `frame`, tells a `step`, and ends the walk by raising
`Dropped` or `Finished`; both stay within `run`.

A *refusal* is what a security group or an ACL says. A refused packet that can be a reply of a connection
walks on to the port that it would reach, because that port's host may have its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

from onehop.model import Network, Port, Router
from onehop.model.routing import NextHop
from onehop.model.view import View
from onehop.model.vocabulary import MAX_DEVICES, Drop, Stage
from onehop.simulation.flow import Flow, flow_of
from onehop.simulation.packet import Frame, Icmp, Ip, IpPacket, Ipv4, Ipv6, Malformed, build, parse
from onehop.simulation.rewrite import between, rewritten, rewritten_error
from onehop.simulation.state import Budget, Effect, FirstFragment, Record, Spend, State, Tuple
from onehop.simulation.verdict import Ask, Log, Output, Request, Step, Verdict

Device = Network | Router
Macs = tuple[str, str]  # source, destination


class Dropped(Exception):
    """The packet goes no further."""

    def __init__(self, stage: Stage, where: str, drop: Drop) -> None:
        super().__init__(drop.name)
        self.stage, self.where, self.drop = stage, where, drop


class Finished(Exception):
    """The packet has been answered, or left to the slow path."""


@dataclass
class Visit:
    """A device on the way: how the packet came in, and how it left.

    The tuples are those of the connection's packet: as it came, behind the translation of its destination,
    and as it left.
    """

    device: Device
    in_port: Port
    macs_in: Macs
    out_port: Port | None = None
    macs_out: Macs | None = None
    came: Tuple | None = None
    within: Tuple | None = None
    went: Tuple | None = None


@dataclass
class Walk:
    """`origin` is the port that sent the packet; `record` the connection of which it is the opener's.

    `owner` keeps that record: the origin, or the machine's port that a packet from an uplink has to reach.
    """

    view: View
    state: State
    origin: str
    data: bytes
    original: Frame
    frame: Frame
    first: FirstFragment | None = None
    first_sent: FirstFragment | None = None  # the same, before any translation
    record: Record | None = None
    related: bool = False  # an ICMP error about `record`
    subject: Tuple | None = None  # the tuple of that record's own packets, as they would be here
    inbound: str | None = None  # judged by the host of this machine's port, for a packet from an uplink
    choosing: bool = False  # only to find the port that a packet from an uplink is for
    bound: bool = False  # a dynamic rule has translated it
    probe: bool = False  # not a packet, but the question whether the connection would still pass
    is_copy: bool = False  # of a flooded frame
    gives_up: bool = False  # has waited for its next hop, which has never answered
    stateful: bool = False  # has passed something that lets replies in
    visits: list[Visit] = field(default_factory=list)
    next_hop: NextHop | None = None
    connected: bool = False  # the route is that of a subnet of the router
    reached: Port | None = None
    is_flood: bool = False  # found while choosing: it is for several machines
    refused: Dropped | None = None
    outputs: list[Output] = field(default_factory=list)
    answers: list[Output] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    _flow: tuple[Frame, FirstFragment | None, Flow] | None = None  # what `flow` found last

    # --- where the packet is, and what it is --------------------------------------------------------------

    @property
    def visit(self) -> Visit:
        return self.visits[-1]

    @property
    def device(self) -> Device:
        return self.visit.device

    @property
    def network(self) -> Network:
        assert isinstance(self.device, Network)
        return self.device

    @property
    def router(self) -> Router:
        assert isinstance(self.device, Router)
        return self.device

    @property
    def in_port(self) -> Port:
        """The port by which it entered the device."""
        return self.visit.in_port

    @property
    def out_port(self) -> Port:
        """The port by which it leaves the device."""
        assert self.visit.out_port is not None
        return self.visit.out_port

    @property
    def origin_port(self) -> Port:
        port = self.view.get(Port, self.origin)
        if port is None:
            raise Dropped(Stage.INGRESS_PORT, self.origin, Drop.PORT_DOWN)
        return port

    @property
    def ip(self) -> IpPacket:
        assert isinstance(self.frame.payload, Ipv4 | Ipv6)
        return self.frame.payload

    @property
    def flow(self) -> Flow:
        known = self._flow
        if known is None or known[0] is not self.frame or known[1] is not self.first:
            known = self._flow = (self.frame, self.first, flow_of(self.frame, self.first))
        return known[2]

    @property
    def hops(self) -> int:
        """How many routers it has passed."""
        return sum(isinstance(v.device, Router) for v in self.visits)

    def enter(self, port: Port) -> None:
        """Go into the device that a port belongs to."""
        device = self.view.find(self.view.device(port))
        assert isinstance(device, Network | Router)
        if len(self.visits) == MAX_DEVICES:
            self.drop(Stage.INGRESS_PORT, device.id, Drop.TOO_MANY_DEVICES, f"device {MAX_DEVICES + 1}")
        here = self.connection
        self.visits.append(Visit(device, port, (self.frame.src, self.frame.dst), came=here, within=here))

    def leave_by(self, port: Port) -> None:
        self.visit.out_port = port
        self.visit.macs_out = (self.frame.src, self.frame.dst)
        self.visit.went = self.connection

    @property
    def owner(self) -> str:
        return self.inbound or self.origin

    @property
    def connection(self) -> Tuple | None:
        """The tuple of the packets of this connection, as they are here; an error about it has another."""
        return self.subject if self.related else self.flow.tuple

    @property
    def sent(self) -> Flow:
        """The flow of the packet as it was sent."""
        return flow_of(self.original, self.first_sent)

    def set_ip(self, ip: IpPacket) -> None:
        self.frame = replace(self.frame, payload=ip)

    def set_macs(self, src: str, dst: str) -> None:
        self.frame = replace(self.frame, src=src, dst=dst)

    def become(self, after: Tuple, before: Tuple | None = None, outer_src: Ip | None = None) -> None:
        """Turn the packet from one of a tuple, or of its connection's, into one of another.

        An ICMP error is translated with what it quotes. It comes from another address if its source is the
        one that is translated, or as `outer_src` says.
        """
        ip, before = self.ip, before or self.connection
        if before is None or (self.flow.is_icmp_error and not isinstance(ip.payload, Icmp)):
            self.set_ip(between(ip, outer_src or after.src, after.dst))
        elif self.flow.is_icmp_error:
            src = outer_src or (after.src if ip.src == before.src else ip.src)
            self.set_ip(rewritten_error(ip, before, after, src, after.dst))
            self.subject = after if self.related else None
        else:
            self.set_ip(rewritten(ip, before, after))
            if self.first is not None:
                self.first = replace(self.first, src_port=after.src_port, dst_port=after.dst_port)
        if self.visits and self.visit.out_port is None:
            self.visit.within = self.connection

    # --- what happens to it -------------------------------------------------------------------------------

    def step(self, stage: Stage, device: str, text: str, rule: str | None = None) -> None:
        self.steps.append(Step(stage, device, text, rule))

    def drop(self, stage: Stage, where: str, drop: Drop, text: str, rule: str | None = None) -> NoReturn:
        """End the walk here."""
        self.step(stage, where, f"dropped: {text}", rule)
        raise Dropped(stage, where, drop)

    def refuse(self, stage: Stage, where: str, drop: Drop, text: str, rule: str | None = None) -> None:
        """End the walk here, unless the packet can be a reply: then go on, to find whom to ask."""
        self.step(stage, where, f"refused: {text}", rule)
        refusal = Dropped(stage, where, drop)
        if not self.can_be_reply:
            raise refusal
        self.refused = self.refused or refusal

    @property
    def can_be_reply(self) -> bool:
        """Whether it may belong to a connection that the other side opened: not what only opens one."""
        flow = self.flow
        if self.probe or self.is_copy or self.inbound is not None or flow.version == 0:
            return False
        if flow.is_icmp_error:
            return True
        if flow.tuple is None or flow.is_echo_request:
            return False
        return flow.flags is None or not self.opens_tcp

    @property
    def opens_tcp(self) -> bool:
        flags = self.flow.flags
        return flags is not None and bool(flags & flags.SYN) and not flags & flags.ACK

    def answer(self, frame: Frame) -> None:
        """Send a frame back to the port that the packet came from."""
        self.answers.append(Output(self.origin, build(frame), self.origin))

    def request(self, what: Ask, port: str, ip: Ip | None = None) -> NoReturn:
        """Leave the packet to the slow path."""
        if not self.state.may(self.origin, Budget.SLOW_PATH):
            self.drop(Stage.NEIGHBOURS, port, Drop.BUDGET, "the port has used up its share of the slow path")
        self.spend(Budget.SLOW_PATH)
        if self.refused is not None:
            self.answers.clear()  # it may be a reply: that is found out when it goes on
        self.requests.append(Request(what, port, self.data, ip))
        raise Finished

    def spend(self, budget: Budget) -> None:
        self.effects.append(Spend(self.origin, budget))

    def find_ports(self, router: str) -> Iterator[Port]:
        """The ports of a router that are switched on."""
        return (p for p in self.view.ports(router) if p.admin_up)

    def verdict(self, dropped: Dropped | None = None) -> Verdict:
        ending = self.refused or dropped
        return Verdict(
            outputs=tuple(self.outputs),
            answers=tuple(self.answers),
            drop=ending.drop if ending and dropped else None,
            stage=ending.stage if ending else None,
            where=ending.where if ending else None,
            steps=tuple(self.steps),
            record=self.record,
            effects=tuple(self.effects),
            requests=tuple(self.requests),
            logs=tuple(self.logs),
        )


def run(view: View, state: State, origin: str, data: bytes, stages: Callable[[Walk], None]) -> Verdict:
    """Read a packet and take it through some stages."""
    frame = parse(data)
    if isinstance(frame, Malformed):
        step = Step(Stage.INGRESS_PORT, origin, f"dropped: {frame.why}")
        return Verdict(drop=frame.drop, stage=Stage.INGRESS_PORT, where=origin, steps=(step,))
    walk = Walk(view, state, origin, data, frame, frame)
    try:
        stages(walk)
    except Dropped as dropped:
        return walk.verdict(dropped)
    except Finished:
        pass
    return walk.verdict()
