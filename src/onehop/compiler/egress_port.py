"""Stage EGRESS_PORT: what a router's port needs in order to send: addresses to speak from, links to leave by.

The rows of `ports` are made in `ingress_port`; one table serves both stages.
"""

from __future__ import annotations

from onehop.compiler import facts
from onehop.compiler.unit import Scope
from onehop.model import Link, Port
from onehop.model.translation import is_usable_uplink
from onehop.model.zones import is_uplink


def link(to: Scope, id: str) -> None:
    """Which devices are side by side: what zones are made of."""
    link = to.get(Link, id)
    assert link is not None
    a, b = to.get(Port, link.a), to.get(Port, link.b)
    if a is not None and b is not None:
        to.say(facts.beside(to.device(a)), to.device(b))
        to.say(facts.beside(to.device(b)), to.device(a))


def uplink(to: Scope, id: str) -> None:
    """A router's port that is bound rather than linked makes the router a boundary."""
    port = to.get(Port, id)
    assert port is not None
    if port.router is not None and is_uplink(to, port):
        to.say(facts.boundary(port.router), True)


def is_usable(to: Scope, port: Port) -> bool:
    """Whether packets can leave by a router's port, and what is at its other end is switched on."""
    peer = to.peer(port.id)
    if peer is None and is_uplink(to, port):
        return is_usable_uplink(to, port)
    return port.admin_up and (peer is None or peer.admin_up)
