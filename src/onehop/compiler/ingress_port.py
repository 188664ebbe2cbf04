"""Stage INGRESS_PORT: ports, where they are plugged in, and what they may send from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from onehop.compiler import acls, facts, security_groups, underlay
from onehop.compiler.addresses import ANYWHERE, addresses_of, bits, link_local, packed
from onehop.compiler.unit import Scope
from onehop.datapath import structs
from onehop.datapath.structs import InterfaceKey, SourceKey
from onehop.datapath.tables import SOURCE_BITS, THIS_HOST
from onehop.datapath.words import PortFlag, PortKind, SourceFlag
from onehop.model import Binding, Port
from onehop.model.formats import parse_cidr, parse_mac
from onehop.model.zones import is_uplink

_KINDS = {
    "vm": PortKind.VM,
    "router": PortKind.ROUTER,
    "vip": PortKind.VIP,
    "service": PortKind.SERVICE,
}


def is_guarded(port: Port) -> bool:
    """Whether source addresses are checked and security groups apply."""
    return port.kind == "vm" and port.port_security


# --- ports --------------------------------------------------------------------------------------------------


class Plug(NamedTuple):
    """Where a port is. Without an interface, it is elsewhere or the interface is absent."""

    host: int = 0
    interface: facts.Interface | None = None
    vlan: int = 0


def port(to: Scope, id: str) -> None:
    port = to.get(Port, id)
    assert port is not None
    face = to.one(facts.face(to.device(port)))
    if face is None:
        _end(to, port)
        return
    peer = to.peer(id)
    plug = _plug(to, port)
    inside, outside = security_groups.lists(to, port)
    row = structs.Port(
        device=face.number,
        kind=_KINDS[port.kind],
        mac=parse_mac(port.mac),
        flags=_flags(to, port, face, plug),
        peer=peer.key if peer is not None else 0,
        zone=to.zone(to.device(port)),
        host=plug.host,
        ifindex=plug.interface.ifindex if plug.interface is not None else 0,
        vlan=plug.vlan,
        mtu=_mtu(to, face, peer),
        sends=inside,
        receives=outside,
        acls_in=acls.place(to, port.acls_in),
        acls_out=acls.place(to, port.acls_out),
    )
    to.row("ports", port.key, row)
    if plug.interface is not None:
        to.row("interfaces", InterfaceKey(plug.interface.ifindex, plug.vlan), port.key)


def _end(to: Scope, port: Port) -> None:
    """A port whose device is not followed: packets come from it, and go back to where it is."""
    plug = _plug(to, port)
    if plug.host not in (0, THIS_HOST):
        zone = to.zone(to.device(port))
        to.row("ports", port.key, structs.Port(0, _KINDS[port.kind], bytes(6), zone=zone, host=plug.host))


def _flags(to: Scope, port: Port, face: facts.Face, plug: Plug) -> PortFlag:
    flags = PortFlag(0)
    if port.admin_up:
        flags |= PortFlag.UP
    if face.is_router:
        flags |= PortFlag.ON_ROUTER
    if is_guarded(port):
        flags |= PortFlag.SECURITY
    if plug.interface is not None and plug.interface.redirect_peer:
        flags |= PortFlag.REDIRECT_PEER
    if face.is_router and is_uplink(to, port):
        flags |= PortFlag.UPLINK
    if to.one(facts.translates(port.id)) is not None:
        flags |= PortFlag.NAT
    return flags


def _mtu(to: Scope, face: facts.Face, peer: Port | None) -> int:
    """Of the network that the port is on, or faces."""
    if not face.is_router:
        return face.mtu
    facing = to.one(facts.face(peer.network)) if peer is not None and peer.network is not None else None
    return facing.mtu if facing is not None else 0


def _plug(to: Scope, port: Port) -> Plug:
    binding = to.active_binding(port.id)
    if binding is None:
        return Plug()
    if binding.host != to.host:
        return Plug(host=underlay.host_id(to, binding.host))
    name = _interface(to, binding)
    interface = to.one(facts.interface(name)) if name is not None else None
    if name is not None and interface is None:
        to.problem(port.id, f"interface {name} is absent")
    elif interface is not None and interface.address and port.router is not None and binding.vlan is None:
        to.problem(port.id, _taken(name, interface.address))
        interface = None
    return Plug(THIS_HOST, interface, binding.vlan or 0)


def _taken(name: str | None, address: str) -> str:
    """An uplink takes all that comes in by its interface: the host could no longer be reached there."""
    return (
        f"interface {name} has an address of the host itself, {address}; an uplink needs an interface, "
        "or a VLAN of one, to itself"
    )


def _interface(to: Scope, binding: Binding) -> str | None:
    """The name of a binding's interface; that of the trunk, if it is on one."""
    if binding.trunk is None:
        return binding.interface
    trunk = next((b for b in to.bindings(binding.trunk) if b.host == to.host), None)
    if trunk is None or trunk.interface is None:
        to.problem(binding.port, "the port that is its trunk is not on this host")
        return None
    if trunk.vlan is not None:
        to.problem(binding.port, "unsupported: the port that is its trunk is itself on a VLAN")
        return None
    return trunk.interface


# --- sources ------------------------------------------------------------------------------------------------


def sources(to: Scope, id: str) -> None:
    """Every MAC that a port may send from, and the addresses that go with it."""
    port = to.get(Port, id)
    assert port is not None
    if to.one(facts.face(to.device(port))) is None:
        return
    to.zone(to.device(port))
    paired = {pair.mac for pair in port.allowed_address_pairs if pair.mac is not None}
    rows: dict[SourceKey, SourceFlag] = {}
    for mac, key, flag in _sources(port, paired):
        of_mac = SourceFlag.PAIRED if mac in paired else SourceFlag(0)
        rows[key] = rows.get(key, SourceFlag(0)) | flag | of_mac
    for key, flags in rows.items():
        to.row("sources", key, int(flags))


def _sources(port: Port, paired: set[str]) -> Iterator[tuple[str, SourceKey, SourceFlag]]:
    """What a guarded port is checked against. Of others only pairs matter, whose MACs are learned."""
    macs = sorted({port.mac, *paired} if is_guarded(port) else paired)
    for mac in macs:
        for version in (4, 6):
            yield mac, _source(port, mac, version, 0, ANYWHERE), SourceFlag(0)
        yield mac, _source(port, mac, 6, 128, link_local(mac)), SourceFlag.ADDRESS
    if port.mac in macs:
        for ip in addresses_of(port):
            yield port.mac, _source(port, port.mac, ip.version, 128, packed(ip)), SourceFlag.ADDRESS
    for pair in port.allowed_address_pairs:
        mac, prefix = pair.mac or port.mac, parse_cidr(pair.cidr)
        if mac in macs:
            address = packed(prefix.network_address)
            yield mac, _source(port, mac, prefix.version, bits(prefix), address), SourceFlag.ADDRESS


def _source(port: Port, mac: str, version: int, length: int, address: bytes) -> SourceKey:
    return SourceKey(SOURCE_BITS + length, port.key, parse_mac(mac), version, address)
