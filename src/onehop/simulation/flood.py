"""Stage FLOOD: one frame for all members of a network.

The switch sends one frame, marked FLOOD, for the whole network, and every host makes the copies for its own
ports: a copy for each machine's or service's port but the one that it came from. Each copy goes through the
network's `acls_out` and the stages of its egress port by itself; one that is refused is not sent, and the
others are; nobody is asked whether it is a reply. A router interface on the network listens to ARP and
neighbour messages, and takes no other flooded frame. Flooded packets open no connection.

In a copy's ACLs, `in_port` is the port that sent the packet, where that is a port of this network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from onehop.model import Network, Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.simulation.context import Dropped, Finished, Visit, Walk
from onehop.simulation.neighbours import heard, owners
from onehop.simulation.packet import build
from onehop.simulation.state import Budget
from onehop.simulation.verdict import Output


def spread(walk: Walk, why: str) -> None:
    """Send a frame to all members; the walk ends here."""
    network = walk.network
    if walk.choosing:
        walk.is_flood = True
        raise Finished
    if walk.inbound is not None:
        text = "the gateway took it to be for one machine, and it is for all members"
        walk.drop(Stage.FLOOD, network.id, Drop.CONNECTION_ENDED, text)
    if walk.refused is not None:
        raise walk.refused
    if not walk.state.may(walk.origin, Budget.FLOOD):
        why = "the port has used up its share of copies"
        walk.drop(Stage.FLOOD, network.id, Drop.BUDGET, why)
    walk.spend(Budget.FLOOD)
    walk.step(Stage.FLOOD, network.id, f"to all members: {why}")
    for owner in owners(walk.view, network.id):
        interface = walk.view.peer(owner.port.id)
        if owner.is_router and owner.is_up and interface is not None and owner.port.id != walk.in_port.id:
            heard(walk, interface)
    walk.outputs.append(Output(network.id, build(walk.frame), walk.origin, TunnelFlag.FLOOD))
    raise Finished


def members(view: View, network: str) -> list[Port]:
    """The ports that get copies."""
    return [p for p in view.ports(network) if p.kind in ("vm", "service")]


def copy_out(
    walk: Walk,
    network: Network,
    here: Collection[str] | None,
    stages: Sequence[Callable[[Walk], None]],
) -> None:
    """Make the copies for the ports that are here; for all, if that is not said."""
    source = walk.view.get(Port, walk.origin)
    refused: Dropped | None = None
    walk.is_copy = True
    for port in members(walk.view, network.id):
        if port.id == walk.origin or (here is not None and port.id not in here):
            continue
        in_port = source if source is not None and source.network == network.id else None
        macs = (walk.frame.src, walk.frame.dst)
        walk.visits = [Visit(network, in_port or port, macs, port, macs)]
        try:
            for stage in stages:
                stage(walk)
        except Dropped as dropped:
            refused = dropped  # the last one says why, if there is no copy at all
        else:
            walk.outputs.append(Output(port.id, walk.data, walk.origin))
    if refused is not None and not walk.outputs:
        raise refused
