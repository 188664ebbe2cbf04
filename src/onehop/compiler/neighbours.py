"""Stage NEIGHBOURS: who has an address, on networks and at the other ends of routers' links."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.compiler import facts
from onehop.compiler.addresses import addresses_of, link_local, packed, prefixes_of
from onehop.compiler.unit import Scope
from onehop.datapath.structs import Neighbour, NeighbourKey
from onehop.datapath.words import NeighbourFlag
from onehop.model import Port
from onehop.model.formats import parse_mac

NOBODY = bytes(6)


def on_network(to: Scope, id: str) -> None:
    """The addresses on a network of one of its ports, or of the router linked to it."""
    port = to.get(Port, id)
    assert port is not None
    face = to.one(facts.face(port.network)) if port.network is not None else None
    end = to.peer(id) if port.kind == "router" else port
    if face is None or end is None or not end.mac:
        return
    to.zone(to.device(port))
    flags = NeighbourFlag.ROUTER if port.kind == "router" else NeighbourFlag(0)
    if not (port.admin_up and end.admin_up):
        flags |= NeighbourFlag.DOWN
    neighbour = Neighbour(parse_mac(end.mac), flags, port.key)
    for address in _addresses(end):
        to.row("neighbours", NeighbourKey(face.number, address), neighbour)


def on_link(to: Scope, id: str) -> None:
    """Whom a router's port finds at the other end, and which addresses there are nobody's."""
    port = to.get(Port, id)
    assert port is not None
    if port.router is None or to.one(facts.face(port.router)) is None:
        return
    to.zone(port.router)
    peer = to.peer(id)
    if peer is not None and peer.router is not None and peer.mac:
        neighbour = Neighbour(parse_mac(peer.mac), NeighbourFlag.ROUTER)
        for address in _addresses(peer):
            to.row("neighbours", NeighbourKey(port.key, address), neighbour)
    for prefix in prefixes_of(to, port):
        if prefix.version == 4 and prefix.prefixlen <= 30:
            for ip in (prefix.network_address, prefix.broadcast_address):
                key = NeighbourKey(port.key, packed(ip))
                to.row("neighbours", key, Neighbour(NOBODY, NeighbourFlag.SUBNET))


def _addresses(port: Port) -> Iterator[bytes]:
    yield link_local(port.mac)
    yield from map(packed, addresses_of(port))
