"""Stage SWITCH: where a frame goes on a virtual network.

The network's `acls_in` come first. Then the switch **learns**: a source MAC that is no port's own is
remembered with the port that it came in by, if the network learns, or if the port is allowed that MAC by an
address pair. A MAC that shows up elsewhere is followed there. Questions for known addresses are **answered**
(see `neighbours`).

Then the **destination MAC** decides: several machines - flooded; a port's own MAC, or that of the router
interface linked to a port - to that port; a learned MAC - to where it was learned; any other - flooded or
dropped, as the network says. A frame for the very port that it came from is dropped.

`acls_out` come last. For frames that are flooded they are asked for each copy.
"""

from __future__ import annotations

from onehop.model import Network, Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation import flood
from onehop.simulation.context import Walk
from onehop.simulation.packet import is_multicast_mac
from onehop.simulation.state import LearnMac


def learn(walk: Walk) -> None:
    network, port, mac = walk.network, walk.in_port, walk.frame.src
    paired = any(pair.mac == mac for pair in port.allowed_address_pairs)
    if walk.probe or not (network.learning or paired) or port_of(walk.view, network, mac) is not None:
        return
    if walk.state.macs.get((network.id, mac)) != port.id:
        walk.step(Stage.SWITCH, network.id, f"learned: {mac} is behind port {port.name}")
        walk.effects.append(LearnMac(network.id, mac, port.id))


def choose(walk: Walk) -> None:
    network, mac = walk.network, walk.frame.dst
    if is_multicast_mac(mac):
        flood.spread(walk, f"{mac} means several machines")
    port = port_of(walk.view, network, mac) or _learned(walk, network, mac)
    if port is None and network.unknown_unicast == "flood":
        flood.spread(walk, f"nobody is known to have {mac}")
    if port is None:
        walk.drop(Stage.SWITCH, network.id, Drop.UNKNOWN_MAC, f"nobody on {network.name} has {mac}")
    if port.id == walk.in_port.id:
        walk.drop(Stage.SWITCH, network.id, Drop.OWN_PORT, f"{mac} is where it comes from")
    walk.step(Stage.SWITCH, network.id, f"{mac} is behind port {port.name}")
    walk.leave_by(port)


def port_of(view: View, network: Network, mac: str) -> Port | None:
    """The port that has a MAC by the model."""
    for port in view.ports(network.id):
        end = view.peer(port.id) if port.kind == "router" else port
        if end is not None and end.mac == mac:
            return port
    return None


def _learned(walk: Walk, network: Network, mac: str) -> Port | None:
    port = walk.view.get(Port, walk.state.macs.get((network.id, mac)))
    if port is None and walk.probe and walk.record is not None and walk.record.far_macs[1] == mac:
        port = walk.view.get(Port, walk.record.far_port)
    return port if port is not None and port.network == network.id else None
