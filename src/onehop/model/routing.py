"""Virtual routers, how they are joined, and where they send things."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import Object, Struct, kind
from onehop.model.switching import Acls


@kind("router")
class Router(Object, frozen=True, kw_only=True):
    """A virtual router, on every host at once."""

    acls_in: Annotated[Acls, field("ACLs for packets that enter the router.")] = ()
    acls_forward: Annotated[Acls, field("ACLs for packets that it forwards, once it knows where to.")] = ()
    acls_out: Annotated[Acls, field("ACLs for packets that leave the router.")] = ()
    admin_up: Annotated[bool, field("Switched on. A router that is off drops everything.")] = True


@kind("link")
class Link(Object, frozen=True, kw_only=True):
    """Joins a router's port to a network's port, or to another router's port."""

    a: Annotated[str, field("A port of a router.", ref="port", immutable=True)]
    b: Annotated[str, field("The port at the other end.", ref="port", immutable=True)]


class NextHop(Struct, frozen=True, kw_only=True):
    """One way to the destination of a route: an address, a port of the router, or both."""

    ip: Annotated[
        str | None,
        field("The next router; the destination itself, if left out.", format=Format.IP),
    ] = None
    port: Annotated[
        str | None,
        field("The router's port to leave by; found from the address, if left out.", ref="port"),
    ] = None
    weight: Annotated[int, field("Its share of the connections.", ge=1, le=256)] = 1


@kind("route")
class Route(Object, frozen=True, kw_only=True):
    """Where a router sends packets. The longest destination wins, then the longest source."""

    router: Annotated[str, field("The router.", ref="router", parent=True)]
    destination: Annotated[str, field("Where to.", format=Format.CIDR, immutable=True)]
    source: Annotated[str | None, field("Only packets from here.", format=Format.CIDR, immutable=True)] = None
    action: Annotated[
        Literal["forward", "blackhole", "reject"],
        field("`forward` to the next hops, drop silently, or answer that it cannot be reached."),
    ] = "forward"
    next_hops: Annotated[
        tuple[NextHop, ...],
        msgspec.Meta(max_length=64),
        field("The ways; with several, each connection keeps to one of them."),
    ] = ()
