"""Stage NEIGHBOURS: who has an address, on networks and at the other ends of routers' links."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.compiler import facts
from onehop.compiler.addresses import addresses_of, link_local, packed, prefixes_of
from onehop.compiler.unit import Scope
from onehop.datapath.structs import Neighbour, NeighbourKey
from onehop.datapath.words import NeighbourFlag
from onehop.model import Port
from onehop.model.formats import parse_ip, parse_mac
from onehop.model.zones import is_uplink

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
    if port.kind == "router":
        neighbour = _router(end, port)
    else:
        down = NeighbourFlag(0) if port.admin_up else NeighbourFlag.DOWN
        neighbour = Neighbour(parse_mac(port.mac), down, port.key)
    for address in _addresses(end):
        to.row("neighbours", NeighbourKey(face.number, address), neighbour)


def on_link(to: Scope, id: str) -> None:
    """Whom a router's port finds at the other end, and which addresses there are nobody's.

    An uplink finds itself: that is what it answers for.
    """
    port = to.get(Port, id)
    assert port is not None
    if port.router is None or to.one(facts.face(port.router)) is None:
        return
    to.zone(port.router)
    peer = to.peer(id)
    if peer is not None and peer.router is not None and peer.mac:
        for address in _addresses(peer):
            to.row("neighbours", NeighbourKey(port.key, address), _router(peer))
    if is_uplink(to, port):
        for address in _addresses(port):
            to.row("neighbours", NeighbourKey(port.key, address), _router(port))
    for prefix in prefixes_of(to, port):
        if prefix.version == 4 and prefix.prefixlen <= 30:
            for ip in (prefix.network_address, prefix.broadcast_address):
                key = NeighbourKey(port.key, packed(ip))
                to.row("neighbours", key, Neighbour(NOBODY, NeighbourFlag.SUBNET))


def answer(to: Scope, end: str, id: str, ip: str) -> None:
    """An external address of a router's port, for those at the other end of its link."""
    at, port = to.get(Port, end), to.get(Port, id)
    if at is None or port is None or not port.mac:
        return
    face = to.one(facts.face(to.device(at)))
    if face is None:
        return
    to.zone(to.device(at))
    neighbour = _router(port) if face.is_router else _router(port, at)
    segment = at.key if face.is_router else face.number
    to.row("neighbours", NeighbourKey(segment, packed(parse_ip(ip))), neighbour)


def _router(port: Port, behind: Port | None = None) -> Neighbour:
    """A router's port, behind one of a network, or alone."""
    if behind is None:
        return Neighbour(parse_mac(port.mac), NeighbourFlag.ROUTER)
    flags = NeighbourFlag.ROUTER
    if not (behind.admin_up and port.admin_up):
        flags |= NeighbourFlag.DOWN
    return Neighbour(parse_mac(port.mac), flags, behind.key)


def _addresses(port: Port) -> Iterator[bytes]:
    yield link_local(port.mac)
    yield from map(packed, addresses_of(port))
