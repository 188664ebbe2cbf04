"""Stage NEIGHBOURS: which MAC has an address.

**Answering.** ARP requests and neighbour solicitations for an address that the model gives to a port of the
network, or to the router interface linked to one, are answered on the spot, for a port that is switched on. A
router's interface also has its *external addresses* (see `nat`). On an uplink, the router answers for that
port. IPv6 link-local addresses made from such a port's MAC count, too. Whoever announces or probes its own
address (sender and target the same, or the asker's own) is not answered; such frames, and questions for
addresses that nobody is known to have, go to all members.

**Asking.** A router finds the MAC of the next hop in the model: the port of the network, or the router at the
other end of a link. Else it takes what it has learned, and else the slow path asks, while the packet waits.
Beyond an uplink only the gateway knows who is there: the MAC stays zero until the packet is at its port.

**Learning.** A router learns from ARP and from neighbour messages that reach one of its interfaces, for
addresses in that interface's subnets that the model does not know. The model always wins, and what a machine
may claim has been checked at its own port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NoReturn

from onehop.model import Port
from onehop.model.formats import parse_ip
from onehop.model.translation import external_addresses
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.model.zones import is_uplink
from onehop.simulation.addresses import ALL_NODES, addresses_of, is_subnet_broadcast, link_local, prefixes_of
from onehop.simulation.context import Finished, Walk
from onehop.simulation.icmp_errors import Error, tell
from onehop.simulation.packet import Arp, Frame, Icmp, Ip, Ipv6, multicast_mac
from onehop.simulation.state import NEIGHBOUR_LIFE, LearnNeighbour, Neighbour
from onehop.simulation.verdict import Ask

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
SOLICITATION, ADVERTISEMENT, REDIRECT = 135, 136, 137
_SOURCE_MAC, _TARGET_MAC = 1, 2  # options
NO_MAC = "00:00:00:00:00:00"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A neighbour solicitation or advertisement."""

    type: int
    target: IPv6Address
    source_mac: str | None
    target_mac: str | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has an address on a network."""

    port: Port  # the port of the network
    mac: str
    is_router: bool
    is_up: bool


def discovery_of(ip: Ipv6) -> Discovery | None:
    """The message in a solicitation or advertisement; None if it is not as RFC 4861 (7.1) wants it."""
    icmp = ip.payload
    if not isinstance(icmp, Icmp) or ip.ttl != 255 or icmp.code != 0 or len(icmp.data) < 16:
        return None
    target = IPv6Address(icmp.data[:16])
    if target.is_multicast:
        return None
    macs: dict[int, str] = {}
    at = 16
    while at < len(icmp.data):
        size = icmp.data[at + 1] * 8 if at + 1 < len(icmp.data) else 0
        if size == 0 or at + size > len(icmp.data):
            return None
        if icmp.data[at] in (_SOURCE_MAC, _TARGET_MAC):
            macs[icmp.data[at]] = icmp.data[at + 2 : at + 8].hex(":")
        at += size
    return Discovery(icmp.type, target, macs.get(_SOURCE_MAC), macs.get(_TARGET_MAC))


# --- who has an address -----------------------------------------------------------------------------------


def owner_of(view: View, network: str, ip: Ip) -> Owner | None:
    """The port of a network that the model gives an address to."""
    known = next((owner for owner in owners(view, network) if ip in _of(view, owner)), None)
    if known is not None:
        return known
    routers = (owner for owner in owners(view, network) if owner.is_router)
    return next((owner for owner in routers if ip in _external(view, owner)), None)


def owners(view: View, network: str) -> Iterator[Owner]:
    for port in view.ports(network):
        end = view.peer(port.id) if port.kind == "router" else port
        if end is not None and end.mac:
            yield Owner(port, end.mac, port.kind == "router", port.admin_up and end.admin_up)


def _of(view: View, owner: Owner) -> list[Ip]:
    end = view.peer(owner.port.id) if owner.is_router else owner.port
    return [*addresses_of(end), link_local(owner.mac)] if end is not None else []


def _external(view: View, owner: Owner) -> list[Ip]:
    end = view.peer(owner.port.id)
    return external_addresses(view, end.id) if end is not None else []


# --- answering --------------------------------------------------------------------------------------------


def answer(walk: Walk) -> None:
    """Answer a question for a known address; anything else goes on."""
    payload = walk.frame.payload
    if isinstance(payload, Arp) and payload.operation == 1:
        _answer_arp(walk, payload)
    elif isinstance(payload, Ipv6) and walk.flow.is_icmp and walk.flow.icmp == (SOLICITATION, 0):
        _answer_solicitation(walk, payload)


def _answer_arp(walk: Walk, arp: Arp) -> None:
    if arp.sender_ip == arp.target_ip:
        return
    owner = _asked_for(walk, arp.target_ip)
    if owner is None:
        return
    walk.step(Stage.NEIGHBOURS, owner.port.id, f"answered: {arp.target_ip} is at {owner.mac}")
    reply = Arp(2, owner.mac, arp.target_ip, arp.sender_mac, arp.sender_ip)
    walk.answer(Frame(dst=walk.frame.src, src=owner.mac, payload=reply))
    raise Finished


def _answer_solicitation(walk: Walk, ip: Ipv6) -> None:
    message = discovery_of(ip)
    if message is None:
        walk.drop(Stage.NEIGHBOURS, walk.device.id, Drop.MALFORMED, "not a proper neighbour solicitation")
    owner = _asked_for(walk, message.target) if ip.src != message.target else None
    if owner is None:
        return
    walk.step(Stage.NEIGHBOURS, owner.port.id, f"answered: {message.target} is at {owner.mac}")
    walk.answer(advertisement(owner, message.target, ip.src, walk.frame.src))
    raise Finished


def _asked_for(walk: Walk, ip: Ip) -> Owner | None:
    """Who answers for an address: another port of the network, or the uplink that the question came in by."""
    port = walk.in_port
    if port.network is not None:
        owner = owner_of(walk.view, port.network, ip)
        return owner if owner is not None and owner.is_up and owner.port.id != port.id else None
    own = (*addresses_of(port), link_local(port.mac), *external_addresses(walk.view, port.id))
    return Owner(port, port.mac, True, True) if is_uplink(walk.view, port) and ip in own else None


def advertisement(owner: Owner, target: IPv6Address, to: IPv6Address, mac: str) -> Frame:
    """The answer to a solicitation; to one without a source address, for all (RFC 4861 7.2.4)."""
    solicited = not to.is_unspecified
    flags = 0x80 * owner.is_router | 0x40 * solicited | 0x20
    data = target.packed + bytes((_TARGET_MAC, 1)) + bytes.fromhex(owner.mac.replace(":", ""))
    icmp = Icmp(ADVERTISEMENT, rest=bytes((flags, 0, 0, 0)), data=data)
    dst, dst_mac = (to, mac) if solicited else (ALL_NODES, multicast_mac(ALL_NODES))
    return Frame(dst_mac, owner.mac, Ipv6(target, dst, icmp, ttl=255))


# --- what a router hears ----------------------------------------------------------------------------------


def heard(walk: Walk, interface: Port) -> None:
    """Learn from a message that has reached a router's interface."""
    claim = _claim(walk)
    if claim is None:
        return
    ip, mac = claim
    if not any(ip in prefix and ip != own for own, prefix in prefixes_of(walk.view, interface)):
        return
    peer = walk.view.peer(interface.id)
    if peer is not None and (peer.network is None or owner_of(walk.view, peer.network, ip) is not None):
        return
    walk.step(Stage.NEIGHBOURS, interface.id, f"learned: {ip} is at {mac}")
    walk.effects.append(LearnNeighbour(interface.id, ip, Neighbour(mac, walk.state.now)))


def _claim(walk: Walk) -> tuple[Ip, str] | None:
    """Which address a message says to be at which MAC."""
    payload = walk.frame.payload
    if isinstance(payload, Arp):
        return None if payload.sender_ip.is_unspecified else (payload.sender_ip, payload.sender_mac)
    if not isinstance(payload, Ipv6) or not isinstance(payload.payload, Icmp):
        return None
    message = discovery_of(payload) if payload.payload.type in (SOLICITATION, ADVERTISEMENT) else None
    if message is None:
        return None
    if message.type == SOLICITATION:
        known = message.source_mac is not None and not payload.src.is_unspecified
        return (payload.src, message.source_mac) if known and message.source_mac else None
    return (message.target, message.target_mac) if message.target_mac else None


def ends_here(walk: Walk) -> None:
    """ARP and neighbour messages for a router are heard, on an uplink also answered, and go no further."""
    payload = walk.frame.payload
    is_arp = isinstance(payload, Arp)
    if is_arp or walk.flow.is_discovery:
        heard(walk, walk.in_port)
        if is_uplink(walk.view, walk.in_port):
            answer(walk)
        raise Finished


# --- the next hop -----------------------------------------------------------------------------------------


def resolve(walk: Walk) -> None:
    """Find the MAC of the next hop, and write it and the router's own on the frame."""
    assert walk.next_hop is not None
    port = walk.out_port
    target = _target(walk)
    if any(is_subnet_broadcast(target, prefix) for _, prefix in prefixes_of(walk.view, port)):
        walk.drop(Stage.NEIGHBOURS, port.id, Drop.BAD_ADDRESS, f"{target} means a whole subnet")
    mac = _model_mac(walk, port, target) or _learned_mac(walk, port, target)
    if mac is None:
        ask_for(walk, port, target)
    walk.step(Stage.NEIGHBOURS, port.id, f"next hop {target} is at {mac}")
    walk.set_macs(port.mac, mac)
    walk.leave_by(port)


def ask_for(walk: Walk, port: Port, target: Ip) -> NoReturn:
    """Let the packet wait, while the slow path asks who has its next hop. One that did so drops it."""
    if walk.gives_up:
        tell(walk, Error.NO_NEIGHBOUR)
        walk.drop(Stage.NEIGHBOURS, port.id, Drop.NO_NEIGHBOUR, f"nobody has answered for {target}")
    walk.step(Stage.NEIGHBOURS, port.id, f"nobody is known to have {target}: the slow path asks")
    walk.request(Ask.RESOLVE, port.id, target)


def _target(walk: Walk) -> Ip:
    assert walk.next_hop is not None
    return walk.ip.dst if walk.next_hop.ip is None else parse_ip(walk.next_hop.ip)


def _model_mac(walk: Walk, port: Port, target: Ip) -> str | None:
    peer = walk.view.peer(port.id)
    if peer is None and walk.view.active_binding(port.id) is None:
        walk.drop(Stage.NEIGHBOURS, port.id, Drop.NO_BINDING, "the port is neither linked nor bound")
    if peer is None:
        return NO_MAC
    if peer.network is not None:
        owner = owner_of(walk.view, peer.network, target)
        return owner.mac if owner is not None else None
    unnumbered = walk.next_hop is not None and walk.next_hop.ip is None and not walk.connected
    known = (*addresses_of(peer), link_local(peer.mac))
    if target not in known and not unnumbered and target not in external_addresses(walk.view, peer.id):
        text = f"{target} is not at the other end of the link"
        walk.drop(Stage.NEIGHBOURS, port.id, Drop.NO_NEIGHBOUR, text)
    return peer.mac


def learned(walk: Walk, port: Port, target: Ip) -> str | None:
    """The MAC that messages have told of an address."""
    known = walk.state.neighbours.get((port.id, target))
    return known.mac if known is not None and walk.state.now - known.seen <= NEIGHBOUR_LIFE else None


def _learned_mac(walk: Walk, port: Port, target: Ip) -> str | None:
    known = learned(walk, port, target)
    if known is not None:
        return known
    return walk.record.far_macs[1] if walk.probe and walk.record is not None else None


def question(view: View, router_port: str, ip: Ip) -> Frame | None:
    """The frame by which a router asks who has an address; None if it has no address to ask from."""
    port = view.get(Port, router_port)
    if port is None:
        return None
    own = [a for a in addresses_of(port) if a.version == ip.version]
    if isinstance(ip, IPv6Address):
        source = own[0] if own else link_local(port.mac)
        assert isinstance(source, IPv6Address)
        group = IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + ip.packed[13:])
        option = bytes((_SOURCE_MAC, 1)) + bytes.fromhex(port.mac.replace(":", ""))
        icmp = Icmp(SOLICITATION, data=ip.packed + option)
        return Frame(multicast_mac(group), port.mac, Ipv6(source, group, icmp, ttl=255))
    if not own or isinstance(own[0], IPv6Address):
        return None
    return Frame("ff:ff:ff:ff:ff:ff", port.mac, Arp(1, port.mac, own[0], "00:00:00:00:00:00", ip))
