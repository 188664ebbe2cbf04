"""Stage ROUTER: routers and their own addresses. Their routes are in `routes`."""

from __future__ import annotations

from onehop.compiler import acls, facts
from onehop.compiler.addresses import addresses_of, packed
from onehop.compiler.unit import Scope
from onehop.datapath import structs
from onehop.datapath.structs import PortAddressKey, RouterAddressKey
from onehop.datapath.words import RouterFlag
from onehop.model import Port, Router


def face(to: Scope, id: str) -> None:
    to.say(facts.face(id), facts.Face(to.number("routers", id), 0, True))


def router(to: Scope, id: str) -> None:
    router = to.get(Router, id)
    face = to.one(facts.face(id))
    assert router is not None
    if face is None:
        return
    row = structs.Router(
        zone=to.zone(id),
        flags=_flags(router, to.one(facts.translates(id)) is not None),
        acls_in=acls.place(to, router.acls_in),
        acls_forward=acls.place(to, router.acls_forward),
        acls_out=acls.place(to, router.acls_out),
    )
    to.row("routers", face.number, row)


def _flags(router: Router, translates: bool) -> RouterFlag:
    flags = RouterFlag.UP if router.admin_up else RouterFlag(0)
    return flags | RouterFlag.NAT if translates else flags


def addresses(to: Scope, id: str) -> None:
    """The addresses of a router's port, and those among them that it calls itself by."""
    port = to.get(Port, id)
    assert port is not None
    face = to.one(facts.face(port.router)) if port.router is not None else None
    if face is None:
        return
    to.zone(to.device(port))
    for ip in reversed(addresses_of(port)):
        to.row("router_addresses", RouterAddressKey(face.number, packed(ip)), port.key)
        to.row("port_addresses", PortAddressKey(port.key, ip.version), packed(ip))
