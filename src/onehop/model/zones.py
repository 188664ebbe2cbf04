"""Zones: sets of linked devices, up to the boundaries between tenants and the world.

A provider router, and a network that is granted as external, is a *boundary*, and a zone by itself. Where a
port's network lies decides which routers translate for it, and which flows a change can matter to.
"""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.routing import Router
from onehop.model.switching import Network, Port
from onehop.model.view import View


def is_uplink(view: View, port: Port) -> bool:
    """Whether a port is a router's to the outside: bound to a host's interface, and no end of a link."""
    return port.kind == "router" and view.link(port.id) is None and bool(view.bindings(port.id))


def uplinks(view: View, router: str) -> list[Port]:
    """The ports by which a router reaches the outside."""
    return [port for port in view.ports(router) if is_uplink(view, port)]


def is_boundary(view: View, device: str) -> bool:
    """Whether a device stands between tenants and the world."""
    found = view.find(device)
    if isinstance(found, Network):
        return view.is_external(found)
    return isinstance(found, Router) and bool(uplinks(view, device))


def beside(view: View, device: str) -> Iterator[str]:
    """The devices at the other ends of a device's links."""
    for id in sorted(view.referrers(device, "port")):
        port = view.get(Port, id)
        if port is None or port.kind != "router" or view.device(port) != device:
            continue  # machines' ports, of which there may be thousands, are no ends of links
        peer = view.peer(id)
        if peer is not None:
            yield view.device(peer)


def zone(view: View, device: str) -> frozenset[str]:
    """The devices of the zone that a device is in."""
    if is_boundary(view, device):
        return frozenset((device,))
    members, waiting = {device}, [device]
    while waiting:
        for other in beside(view, waiting.pop()):
            if other not in members and not is_boundary(view, other):
                members.add(other)
                waiting.append(other)
    return frozenset(members)
