"""Stage SWITCH: networks, and which MAC is behind which port."""

from __future__ import annotations

from onehop.compiler import acls, facts
from onehop.compiler.unit import Scope
from onehop.datapath import structs
from onehop.datapath.structs import FdbKey
from onehop.datapath.words import NetworkFlag
from onehop.model import Network, Port, Subnet
from onehop.model.formats import parse_cidr, parse_mac


def face(to: Scope, id: str) -> None:
    network = to.get(Network, id)
    assert network is not None
    to.say(facts.face(id), facts.Face(network.key, network.mtu, False))
    if to.is_external(network):
        to.say(facts.boundary(id), True)


def network(to: Scope, id: str) -> None:
    network = to.get(Network, id)
    assert network is not None
    row = structs.Network(
        zone=to.zone(id),
        flags=_flags(network, to.subnets(id)),
        acls_in=acls.place(to, network.acls_in),
        acls_out=acls.place(to, network.acls_out),
        members=len(to.all_of(facts.members(id))),
        remotes=len(to.all_of(facts.remotes(id))),
        mtu=network.mtu,
    )
    to.row("networks", network.key, row)


def _flags(network: Network, subnets: list[Subnet]) -> NetworkFlag:
    flags = NetworkFlag(0)
    if network.unknown_unicast == "flood":
        flags |= NetworkFlag.FLOOD_UNKNOWN
    if network.learning:
        flags |= NetworkFlag.LEARNING
    if any(s.dhcp and parse_cidr(s.cidr).version == 4 for s in subnets):
        flags |= NetworkFlag.DHCP4
    modes = {s.ipv6_mode for s in subnets if parse_cidr(s.cidr).version == 6}
    if "dhcpv6" in modes:
        flags |= NetworkFlag.DHCP6
    if modes - {"none"}:
        flags |= NetworkFlag.ADVERTISES6
    return flags


def fdb(to: Scope, id: str) -> None:
    """A port's MAC; behind a port linked to a router, that of the router's interface."""
    port = to.get(Port, id)
    assert port is not None
    face = to.one(facts.face(port.network)) if port.network is not None else None
    end = to.peer(id) if port.kind == "router" else port
    if face is None or end is None or not end.mac:
        return
    to.zone(to.device(port))
    to.row("fdb", FdbKey(network=face.number, mac=parse_mac(end.mac)), port.key)
