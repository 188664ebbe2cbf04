"""Stage EGRESS_PORT: out of a port.

A port that is switched off lets nothing out. A machine's port asks its security groups, then every port its
`acls_out`. What leaves by one end of a link enters by the other, and the walk goes on there. Anything else
leaves the virtual network: its connection is recorded, and the packet goes to the port's interface, wherever
that is.
"""

from __future__ import annotations

from onehop.model.vocabulary import Drop, Stage
from onehop.simulation import connections
from onehop.simulation.context import Finished, Walk
from onehop.simulation.packet import build
from onehop.simulation.verdict import Output


def is_up(walk: Walk) -> None:
    port = walk.out_port
    if not port.admin_up:
        walk.drop(Stage.EGRESS_PORT, port.id, Drop.PORT_DOWN, f"port {port.name} is switched off")


def crosses_link(walk: Walk) -> bool:
    """Go on at the other end of a link, if the port is linked."""
    peer = walk.view.peer(walk.out_port.id)
    if peer is None:
        return False
    walk.step(Stage.EGRESS_PORT, walk.out_port.id, f"over the link to {peer.name}")
    walk.enter(peer)
    return True


def deliver(walk: Walk) -> None:
    port = walk.out_port
    if port.kind == "vip":
        text = "the address is of a load balancer, and nothing is balanced here"
        walk.drop(Stage.EGRESS_PORT, port.id, Drop.NO_SUCH_SERVICE, text)
    if port.kind == "router" and walk.view.active_binding(port.id) is None:
        walk.drop(
            Stage.EGRESS_PORT, port.id, Drop.NO_BINDING, f"port {port.name} is neither linked nor bound"
        )
    if walk.inbound not in (None, port.id):
        text = f"the gateway took it to be for another port than {port.name}"
        walk.drop(Stage.EGRESS_PORT, port.id, Drop.CONNECTION_ENDED, text)
    walk.reached = port
    if walk.choosing:
        raise Finished
    if walk.refused is not None:
        raise walk.refused
    if walk.probe:
        return
    flags = connections.keep(walk, port)
    walk.step(Stage.EGRESS_PORT, port.id, f"leaves by port {port.name}")
    walk.outputs.append(Output(port.id, build(walk.frame), walk.origin, flags))
