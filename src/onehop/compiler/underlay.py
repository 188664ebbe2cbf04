"""Stage UNDERLAY: other hosts, and the way there."""

from __future__ import annotations

from typing import NamedTuple

from onehop.compiler import facts
from onehop.compiler.addresses import packed
from onehop.compiler.unit import Scope
from onehop.datapath import structs
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.words import HostFlag
from onehop.model import Host, HostAddress, Port, Underlay
from onehop.model.formats import parse_ip

# What comes in front of the inner IP packet: outer IP, UDP, VXLAN, and the inner frame's header.
OVERHEAD = {4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14}


def host_id(to: Scope, host: str) -> int:
    """This host's number for another one."""
    return to.number("hosts", host)


class Path(NamedTuple):
    """Two addresses on one underlay."""

    ours: HostAddress
    theirs: HostAddress
    interface: facts.Interface


def host(to: Scope, id: str) -> None:
    host = to.get(Host, id)
    assert host is not None
    to.whole_host()
    number = THIS_HOST if id == to.host else host_id(to, id)
    addresses = [packed(parse_ip(address.ip)) for address in host.addresses]
    for address in addresses:
        to.row("peers", address, number)
    if id == to.host:
        if addresses:
            to.row("hosts", number, structs.Host(address=addresses[0], local=addresses[0], ifindex=0))
        return
    path = _path(to, host)
    if path is None:
        return
    underlay = to.get(Underlay, path.theirs.underlay)
    theirs = parse_ip(path.theirs.ip)
    row = structs.Host(
        address=packed(theirs),
        local=packed(parse_ip(path.ours.ip)),
        ifindex=path.interface.ifindex,
        flags=HostFlag.FENCED if host.fenced else HostFlag(0),
        mtu=underlay.mtu - OVERHEAD[theirs.version] if underlay is not None else 0,
    )
    to.row("hosts", number, row)


def moved(to: Scope, id: str) -> None:
    """Who else may send for a port: the host where it was until lately, or one where it is on standby."""
    port, move = to.get(Port, id), to.one(facts.moved(id))
    standby = sorted(b.host for b in to.bindings(id) if b.state == "standby" and b.host != to.host)
    if port is None or (move is None and not standby):
        return
    others = [move.former, *standby] if move is not None and move.former != to.host else standby
    also = host_id(to, others[0]) if others else 0
    to.row("moved", port.key, structs.Moved(also, host_id(to, move.to) if move and move.to else 0))


def _path(to: Scope, host: Host) -> Path | None:
    """By the first of its addresses that we have one beside: on the same underlay, of the same family."""
    this = to.get(Host, to.host)
    beside = [
        (ours, theirs)
        for theirs in host.addresses
        for ours in (this.addresses if this is not None else ())
        if ours.underlay == theirs.underlay and parse_ip(ours.ip).version == parse_ip(theirs.ip).version
    ]
    for ours, theirs in beside:
        interface = to.one(facts.own_address(ours.ip))
        if interface is not None:
            return Path(ours, theirs, interface)
    if beside:
        missing = ", ".join(dict.fromkeys(ours.ip for ours, _ in beside))
        to.problem(host.id, f"cannot be reached: no interface here has our underlay address {missing}")
    else:
        to.problem(host.id, "cannot be reached: it has no underlay and address family in common with us")
    return None
