"""Stage ROUTER, translation: what external addresses stand for, and what becomes of sources.

    floating_ip, static_rule, snat_rule, masquerade_rule, forward_rule ──► external

Each rule and floating IP is a unit. What it makes of sources it writes itself: of several that claim one
prefix the earlier step goes first, then the lower id, which is the order of the pipeline. What becomes of a
destination is put together by a unit per external prefix of a router, since one lookup decides: an address
that has forwards or is shared also has to say what a prefix around it stands for.

Ports of shared addresses are in `nat_blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from onehop.compiler import facts
from onehop.compiler.addresses import ANYWHERE, bits, packed, prefix_key, whole
from onehop.compiler.facts import External
from onehop.compiler.unit import Scope
from onehop.datapath.structs import NatDestination, NatForward, NatForwardKey, NatSource, RouterAddressKey
from onehop.datapath.words import NatAction, NatDestinationFlag
from onehop.model import FloatingIp, NatRule, Port, Router, Subnet, translation
from onehop.model.formats import Ip, Prefix, parse_cidr, parse_ip, parse_ports, parse_protocol
from onehop.model.zones import is_uplink

_STATIC = NatDestinationFlag.STATIC
_FLOATING, _RULE, _ADDRESS, _NONE = range(4)  # ranks of what says where a destination goes
SHARED = External(_NONE, "", NatDestinationFlag.BLOCKS, ANYWHERE, 0)


# --- floating IPs -------------------------------------------------------------------------------------------


def exit(to: Scope, id: str) -> None:
    """A router's port that is linked to a network is a way there from the router's zone."""
    port = to.get(Port, id)
    assert port is not None
    peer = to.peer(id) if to.get(Router, port.router) is not None else None
    if port.router is not None and peer is not None and peer.network is not None:
        to.say(facts.exits(to.zone_name(port.router), peer.network), id)


def floating_ip(to: Scope, id: str) -> None:
    """An address at the router's port by which its machine's zone leads to its network."""
    floating = to.get(FloatingIp, id)
    assert floating is not None
    port, subnet = to.get(Port, floating.port), to.get(Subnet, floating.subnet)
    target = translation.floating_target(to, floating)
    if floating.ip is None or port is None or port.network is None or subnet is None or target is None:
        return
    at = to.get(Port, to.one(facts.exits(to.zone_name(port.network), subnet.network)))
    if at is not None:
        _one_to_one(to, at, single(parse_ip(floating.ip)), single(target), _FLOATING, id)
    elif _is_here(to, port):
        to.problem(id, f"does nothing: no router near port {port.name} is linked to the address's network")


def _is_here(to: Scope, port: Port) -> bool:
    binding = to.active_binding(port.id)
    return binding is not None and binding.host == to.host


# --- rules --------------------------------------------------------------------------------------------------


def static_rule(to: Scope, id: str) -> None:
    """A prefix outside and one inside stand for each other."""
    rule, port = _rule(to, id, "static")
    inside = translation.inside(rule) if rule is not None else None
    if rule is not None and port is not None and inside is not None and rule.external is not None:
        for outside in translation.outside(to, rule):
            _one_to_one(to, port, outside, inside, _RULE, id)


def snat_rule(to: Scope, id: str) -> None:
    """What leaves gets an address of pools."""
    _share(to, *_rule(to, id, "snat"))


def masquerade_rule(to: Scope, id: str) -> None:
    """What leaves gets the port's own address."""
    _share(to, *_rule(to, id, "masquerade"))


def forward_rule(to: Scope, id: str) -> None:
    """What comes for an address, or for some of its ports, goes to another."""
    rule, port = _rule(to, id, "dnat")
    inside = translation.inside(rule) if rule is not None else None
    if rule is None or port is None or inside is None:
        return
    face, target = to.one(facts.face(to.device(port))), packed(inside.network_address)
    for outside in translation.outside(to, rule):
        _answer(to, port, outside)
        if face is None:
            continue
        stands = External(_ADDRESS, id, _STATIC | NatDestinationFlag.ADDRESS, target, 128)
        if rule.ports is not None:
            own = RouterAddressKey(face.number, packed(outside.network_address))
            to.row("router_addresses", own, port.key)
            stands = External(_NONE, id, NatDestinationFlag.FORWARDS, ANYWHERE, 0)
            at = NatForwardKey(face.number, packed(outside.network_address), 0, 0)
            for key, row in _forwards(rule, at, target):
                to.row("nat_forwards", key, row)
        stand(to, port, outside, stands)


def _rule(to: Scope, id: str, action: str) -> tuple[NatRule | None, Port | None]:
    """A rule of an action, and the router's port that it is at."""
    rule = to.get(NatRule, id)
    assert rule is not None
    port = to.get(Port, rule.port) if rule.action == action else None
    return (rule, port) if port is not None and port.router is not None else (None, None)


def _forwards(rule: NatRule, at: NatForwardKey, inside: bytes) -> Iterator[tuple[NatForwardKey, NatForward]]:
    if rule.ports is None or rule.protocol is None:
        return
    first, last = parse_ports(rule.ports)
    shift = (rule.to_port or first) - first
    protocol = parse_protocol(rule.protocol)
    for port in range(first, min(last, 65535 - shift) + 1):
        key = NatForwardKey(at.router, at.address, port, protocol)
        yield key, NatForward(inside, port + shift)


# --- what rules have in common ------------------------------------------------------------------------------


def _one_to_one(to: Scope, port: Port, outside: Prefix, inside: Prefix, rank: int, id: str) -> None:
    _answer(to, port, outside)
    if to.one(facts.face(to.device(port))) is None:
        return
    to.zone(to.device(port))
    stands = External(rank, id, _STATIC, packed(inside.network_address), bits(inside))
    stand(to, port, outside, stands)
    to.say(facts.translates(port.id), True)
    row = NatSource(packed(outside.network_address), NatAction.STATIC, bits(outside))
    to.row("nat_sources", prefix_key(port.key, inside), row)


def _share(to: Scope, rule: NatRule | None, port: Port | None) -> None:
    """Have those who leave share addresses."""
    if rule is None or port is None:
        return
    addresses = translation.shared_addresses(to, rule)
    if rule.action == "snat":
        _answer(to, port, addresses)
    face = to.one(facts.face(to.device(port)))
    if face is None:
        return
    for ip in translation.port_by_port(to, rule):
        to.row("router_addresses", RouterAddressKey(face.number, packed(ip)), port.key)
    for ip in addresses:
        stand(to, port, single(ip), SHARED)
    for version in translation.families(to, rule):
        source = parse_cidr(rule.source) if rule.source is not None else whole(version)
        number = to.number("shared_rules", shared(rule.id, version))
        row = NatSource(ANYWHERE, NatAction.DYNAMIC, rule=number, router=face.number)
        to.zone(to.device(port))
        to.say(facts.translates(port.id), True)
        to.row("nat_sources", prefix_key(port.key, source), row)
        if all(ip.version != version for ip in addresses):
            to.problem(
                rule.id, f"drops all that leaves by port {port.name}, which has no IPv{version} address"
            )


def shared(rule: str, version: int) -> str:
    """What a rule shares of a family, by name."""
    return f"{rule}/{version}"


def stand(to: Scope, port: Port, prefix: Prefix, stands: External) -> None:
    """Say what an external prefix is."""
    router = to.device(port)
    to.zone(router)
    to.say(facts.translates(router), True)
    to.say(facts.externals(router, str(prefix)), stands)
    if stands.flags & _STATIC and prefix.num_addresses > 1:
        to.say(facts.external_prefixes(router), (str(prefix), stands))
    to.demand("external", router, str(prefix))


def _answer(to: Scope, port: Port, addresses: list[Ip] | Prefix) -> None:
    """A router's port is the neighbour of its external addresses. Larger prefixes need a route."""
    if not isinstance(addresses, list) and addresses.num_addresses > translation.MAX_ANSWERED:
        return
    end = to.peer(port.id) or (port if is_uplink(to, port) else None)
    for ip in addresses if end is not None else ():
        assert end is not None
        to.demand("answer", end.id, port.id, str(ip))


def single(ip: Ip) -> Prefix:
    return parse_cidr(f"{ip}/{ip.max_prefixlen}")


# --- destinations -------------------------------------------------------------------------------------------


def external(to: Scope, router: str, text: str) -> None:
    """What becomes of packets for an address or prefix, unless a longer one is there."""
    face = to.one(facts.face(router))
    said = to.all_of(facts.externals(router, text))
    if face is None or not said:
        return
    to.zone(router)
    prefix = parse_cidr(text)
    stands = min((one for one in said if one.flags & _STATIC), default=None)
    if stands is None:
        stands = _around(to, router, prefix)
    flags = NatDestinationFlag(stands.flags if stands is not None else 0)
    for one in said:
        flags |= one.flags & (NatDestinationFlag.FORWARDS | NatDestinationFlag.BLOCKS)
    row = NatDestination(ANYWHERE, flags) if stands is None else NatDestination(stands.to, flags, stands.bits)
    to.row("nat_destinations", prefix_key(face.number, prefix), row)


def _around(to: Scope, router: str, prefix: Prefix) -> External | None:
    """What the longest prefix around an address stands for."""
    held = [
        (-around.prefixlen, stands)
        for text, stands in to.all_of(facts.external_prefixes(router))
        if (around := parse_cidr(text)).version == prefix.version and prefix.subnet_of(around)  # type: ignore[arg-type]
    ]
    return min(held)[1] if held else None
