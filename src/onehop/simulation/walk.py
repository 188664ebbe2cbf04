"""The order of stages: what happens to a packet, from the port that sent it to where it ends.

`send` is what the host of a port does with a packet from the machine there. `receive` is what the host of
the destination does with what `send` gave out. `walk` is both on one state, as if all ports were on one
host: that is what a trace shows. `emit` is a frame that a router makes itself.

    a machine's port ─ CHECKS ─┬─ own record, or neither ─ ADMISSION ─► device ─ LEAVING ─► a machine's port
                               │                                         ▲         │
                               │                                         └─ LINK ──┘  at most 16 devices
                               └─ a hint: RETURN to the opener

What the walk refuses and may be a reply goes on as ASK (see `connections`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from onehop.model import Network, Port, Router
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.simulation import (
    acls,
    connections,
    egress_port,
    flood,
    fragments,
    icmp_errors,
    ingress_port,
    neighbours,
    router,
    security_groups,
    switch,
)
from onehop.simulation.addresses import addresses_of
from onehop.simulation.context import Dropped, Finished, Visit, Walk, run
from onehop.simulation.packet import Frame, Ip, build, build_ip, with_ttl
from onehop.simulation.state import Record, State
from onehop.simulation.verdict import Output, Verdict

Stages = Sequence[Callable[[Walk], None]]

CHECKS: Stages = (
    ingress_port.is_up,
    ingress_port.makes_sense,
    ingress_port.is_honest,
    fragments.follow,
    ingress_port.wants_service,
    ingress_port.fits,
)
ADMISSION: Stages = (
    security_groups.from_machine,
    acls.into_port,
)
SWITCH: Stages = (
    acls.into_device,
    switch.learn,
    neighbours.answer,
    switch.choose,
    acls.out_of_device,
)
ROUTER: Stages = (
    router.is_up,
    neighbours.ends_here,
    router.is_for_me,
    # load balancing and destination NAT
    acls.into_device,
    router.own_address,
    router.choose_way,
    router.lower_ttl,
    acls.forward,
    # source NAT
    router.fits,
    neighbours.resolve,
    acls.out_of_device,
)
LEAVING: Stages = (
    egress_port.is_up,
    security_groups.to_machine,
    acls.out_of_port,
)
LINK: Stages = (
    ingress_port.is_up,
    acls.into_port,
)
COPY: Stages = (
    acls.out_of_device,
    *LEAVING,
)


# --- from a port ------------------------------------------------------------------------------------------


def send(view: View, state: State, port: str, data: bytes) -> Verdict:
    """What becomes of a packet that the machine at a port sends."""
    return run(view, state, port, data, _send)


def _send(walk: Walk) -> None:
    walk.enter(walk.origin_port)
    _through(CHECKS, walk)
    connections.own_record(walk)
    hint = connections.hint(walk)
    if hint is not None and walk.record is None:
        connections.send_back(walk, hint)
        return
    try:
        _forward(walk)
    except Dropped:
        if hint is not None:
            connections.send_back(walk, hint)
        elif walk.refused is not None and walk.reached is not None:
            connections.ask(walk, walk.refused)
        else:
            raise


def _forward(walk: Walk) -> None:
    """From the port that the packet has entered by to the port that it leaves by."""
    _through(ADMISSION, walk)
    _cross(walk)


def _cross(walk: Walk) -> None:
    while True:
        _through(SWITCH if isinstance(walk.device, Network) else ROUTER, walk)
        _through(LEAVING, walk)
        if not egress_port.crosses_link(walk):
            break
        _through(LINK, walk)
    egress_port.deliver(walk)


def _through(stages: Stages, walk: Walk) -> None:
    for stage in stages:
        stage(walk)


def emit(view: View, state: State, router_port: str, frame: Frame) -> Verdict:
    """What becomes of a frame that a router sends out of one of its ports, such as an ARP request."""

    def leave(walk: Walk) -> None:
        port = walk.origin_port
        device = view.get(Router, port.router)
        assert device is not None
        walk.visits.append(Visit(device, port, (frame.src, frame.dst)))
        walk.leave_by(port)
        _through(LEAVING, walk)
        if egress_port.crosses_link(walk):
            _through(LINK, walk)
            _cross(walk)
        else:
            egress_port.deliver(walk)

    return run(view, state, router_port, build(frame), leave)


# --- at the destination -----------------------------------------------------------------------------------


def receive(view: View, state: State, packet: Output, here: Collection[str] | None = None) -> Verdict:
    """What becomes of what another host, or this one, has sent on. `here` are the ports of this host."""

    def stages(walk: Walk) -> None:
        if packet.flags & TunnelFlag.FLOOD:
            _copies(walk, packet.target, here)
        elif packet.flags & (TunnelFlag.RETURN | TunnelFlag.ASK):
            _reply(walk, packet.target)
        else:
            _arrive(walk, packet)

    return run(view, state, packet.source, packet.data, stages)


def _arrive(walk: Walk, packet: Output) -> None:
    """The sender's walk has judged everything. What is left is to learn from it."""
    port = walk.view.get(Port, packet.target)
    if port is None:
        walk.drop(Stage.EGRESS_PORT, packet.target, Drop.UNKNOWN_KEY, "there is no such port")
    if walk.flow.fragment != "later":
        if packet.flags & TunnelFlag.LEARN:
            connections.note_hint(walk, packet.target)
        record = connections.claimed(walk, packet.target)
        if record is not None:
            connections.keep_up(walk, record)
    walk.outputs.append(Output(packet.target, packet.data, packet.source))


def _copies(walk: Walk, target: str, here: Collection[str] | None) -> None:
    network = walk.view.get(Network, target)
    if network is None:
        walk.drop(Stage.FLOOD, target, Drop.UNKNOWN_KEY, "there is no such network")
    fragments.follow(walk)
    flood.copy_out(walk, network, here, COPY)


def _reply(walk: Walk, opener: str) -> None:
    """A reply has come to the owner of its connection: judge it and give it to the opener."""
    fragments.follow(walk)
    record = connections.claimed(walk, opener)
    if record is None:
        text = "no connection of this port has such a reply"
        walk.drop(Stage.CONNECTIONS, opener, Drop.UNSOLICITED, text)
    way = _probe(walk, record)
    _last_hops(walk, way, record)
    walk.set_macs(src=record.near_macs[1], dst=record.near_macs[0])
    connections.keep_up(walk, record)
    walk.step(Stage.EGRESS_PORT, opener, "a reply: leaves by the port that opened the connection")
    walk.outputs.append(Output(opener, build(walk.frame), walk.origin))


def _probe(walk: Walk, record: Record) -> list[Visit]:
    """Ask whether the connection would still pass; gives the way of its packets."""
    frame = connections.probe_frame(record)
    probe = Walk(walk.view, walk.state, record.opener, b"", frame, frame, record=record, probe=True)
    try:
        probe.enter(probe.origin_port)
        _through(CHECKS, probe)
        _forward(probe)
        if probe.reached is not None and probe.reached.id == record.far_port:
            acls.judge_reply(probe)
    except Finished:
        pass
    finally:
        walk.steps.extend(probe.steps)
        walk.logs.extend(probe.logs)
    if probe.reached is None or probe.reached.id != record.far_port:
        text = "the opener's packets now go elsewhere"
        walk.drop(Stage.CONNECTIONS, record.opener, Drop.CONNECTION_ENDED, text)
    return probe.visits


def _last_hops(walk: Walk, way: list[Visit], record: Record) -> None:
    """What the routers and the network on the way back would do to a reply: TTL, and size."""
    routers = [visit for visit in reversed(way) if isinstance(visit.device, Router)]
    ip = walk.ip
    if routers and ip.ttl <= len(routers):
        end = routers[max(ip.ttl, 1) - 1]
        icmp_errors.tell(walk, icmp_errors.Error.TTL_EXPIRED, source=_facing(end, ip.dst))
        walk.drop(Stage.ROUTER, end.device.id, Drop.TTL_EXPIRED, "its time to live ends here")
    network, size = way[0].device, len(build_ip(ip))
    if isinstance(network, Network) and size > network.mtu:
        last = routers[-1] if routers else None
        source = _facing(last, ip.dst) if last is not None else ip.dst
        icmp_errors.tell(walk, icmp_errors.Error.TOO_BIG, network.mtu, source=source)
        text = f"{size} bytes, and {network.name} takes {network.mtu}"
        walk.drop(Stage.ROUTER, network.id, Drop.TOO_BIG, text)
    if routers:
        walk.set_ip(with_ttl(ip, ip.ttl - len(routers)))


def _facing(visit: Visit, ip: Ip) -> Ip:
    """The address of a router on the side that a reply comes from."""
    own = addresses_of(visit.out_port) if visit.out_port is not None else []
    return next((a for a in own if a.version == ip.version), ip)


# --- all hosts as one -------------------------------------------------------------------------------------


def walk(view: View, state: State, port: str, data: bytes) -> Verdict:
    """What becomes of a packet, seen over all hosts at once. Its outputs are what machines receive."""
    sent = send(view, state, port, data)
    result = replace(sent, outputs=())
    for packet in sent.outputs:
        got = receive(view, state.after(result.effects), packet)
        result = replace(
            result,
            outputs=result.outputs + got.outputs,
            answers=result.answers + got.answers,
            drop=packet.refused or got.drop if got.drop else None,
            stage=sent.stage or got.stage,
            where=sent.where or got.where,
            steps=result.steps + got.steps,
            record=got.record or result.record,
            effects=result.effects + got.effects,
            logs=result.logs + got.logs,
        )
    return result
