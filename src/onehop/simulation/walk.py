"""What happens to a packet, from the port that sent it to where it ends. `stages` has the order of stages.

`send` is what the host of a port does with a packet from the machine there. `receive` is what the host of
the destination does with what `send` gave out. `walk` is both on one state, as if all ports were on one
host: that is what a trace shows. `emit` is a frame that a router makes itself.

    a machine's port ─ CHECKS ─┬─ own record, or neither ─ the walk ─► a port
                               ├─ own record, opened from an uplink: a reply, out by an uplink
                               └─ a hint: RETURN to the opener
    an uplink ─ CHECKS ─ the choosing walk ─► a machine's port, whose host judges (see `uplinks`)

What the walk refuses and may be a reply goes on as ASK (see `connections`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from onehop.model import Network, Port, Router
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.model.zones import is_uplink
from onehop.simulation import connections, egress_port, flood, fragments, replies, uplinks
from onehop.simulation.context import Dropped, Visit, Walk, run
from onehop.simulation.packet import Frame, build
from onehop.simulation.stages import CHECKS, COPY, LEAVING, LINK, cross, forward, through
from onehop.simulation.state import State
from onehop.simulation.verdict import Ask, Output, Verdict

# --- from a port ------------------------------------------------------------------------------------------


def send(view: View, state: State, port: str, data: bytes) -> Verdict:
    """What becomes of a packet that the machine at a port sends."""
    return run(view, state, port, data, _send)


def _send(walk: Walk) -> None:
    walk.enter(walk.origin_port)
    through(CHECKS, walk)
    if is_uplink(walk.view, walk.origin_port) and uplinks.pass_on(walk):
        return
    connections.own_record(walk)
    record = walk.record
    hint = connections.hint(walk)
    if hint is not None and record is None:
        connections.send_back(walk, hint)
        return
    try:
        if record is not None and record.inbound:
            uplinks.reply(walk, record)
        else:
            forward(walk)
    except Dropped:
        if hint is not None:
            connections.send_back(walk, hint)
        elif walk.refused is not None and walk.reached is not None:
            connections.ask(walk, walk.refused)
        else:
            raise


def give_up(view: View, state: State, port: str, data: bytes) -> Verdict:
    """What becomes of a packet whose next hop has never answered, while it waited."""

    def once_more(walk: Walk) -> None:
        walk.gives_up = True
        _send(walk)

    return run(view, state, port, data, once_more)


def emit(view: View, state: State, router_port: str, frame: Frame) -> Verdict:
    """What becomes of a frame that a router sends out of one of its ports, such as an ARP request."""

    def leave(walk: Walk) -> None:
        port = walk.origin_port
        device = view.get(Router, port.router)
        assert device is not None
        walk.visits.append(Visit(device, port, (frame.src, frame.dst)))
        walk.leave_by(port)
        through(LEAVING, walk)
        if egress_port.crosses_link(walk):
            through(LINK, walk)
            cross(walk)
        else:
            egress_port.deliver(walk)

    return run(view, state, router_port, build(frame), leave)


# --- at the destination -----------------------------------------------------------------------------------


def receive(view: View, state: State, packet: Output, here: Collection[str] | None = None) -> Verdict:
    """What becomes of what another host, or this one, has sent on. `here` are the ports of this host."""
    target, source = (view.get(Port, id) for id in (packet.target, packet.source))

    def stages(walk: Walk) -> None:
        if packet.flags & TunnelFlag.FLOOD:
            _copies(walk, packet.target, here)
        elif packet.flags & (TunnelFlag.RETURN | TunnelFlag.ASK):
            _reply(walk, packet.target)
        elif target is not None and is_uplink(view, target):
            uplinks.leave(walk, target)
        elif target is not None and source is not None and is_uplink(view, source):
            uplinks.arrive(walk, target.id)
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
        if record is not None and record.near != record.far:
            replies.accept(walk, record)  # as it is, its opener would not know it
            return
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
    """A reply has come to the owner of its connection."""
    fragments.follow(walk)
    record = connections.claimed(walk, opener)
    if record is None:
        text = "no connection of this port has such a reply"
        walk.drop(Stage.CONNECTIONS, opener, Drop.UNSOLICITED, text)
    replies.accept(walk, record)


# --- all hosts as one -------------------------------------------------------------------------------------


def walk(view: View, state: State, port: str, data: bytes) -> Verdict:
    """What becomes of a packet, seen over all hosts at once. Its outputs are what machines receive.

    What leaves by an uplink is told as it leaves, even where the gateway would first ask for its next hop.
    """
    sent = send(view, state, port, data)
    result = replace(sent, outputs=())
    for packet in sent.outputs:
        got = receive(view, state.after(result.effects), packet)
        waits = any(request.what is Ask.RESOLVE for request in got.requests)
        result = replace(
            result,
            outputs=result.outputs + ((packet,) if waits else got.outputs),
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
