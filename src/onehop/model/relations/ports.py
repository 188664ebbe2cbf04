"""Rules of ports and of the links between them."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.errors import Problem
from onehop.model.formats import parse_cidr, parse_ip, parse_mac
from onehop.model.kinds import Object
from onehop.model.relations.addressing import overlap, overlapping, reached, transit, unusable, unusual
from onehop.model.relations.floating import kept_addresses
from onehop.model.routing import Link
from onehop.model.switching import Port, PortAddress, Subnet
from onehop.model.view import View


def port(port: Port, before: Port | None, view: View) -> list[Problem]:
    if (port.network is None) == (port.router is None):
        return [Problem("network", "a port belongs to a network or to a router: give one of the two")]
    problems = [*_kind(port), *_mac(port), *_pairs(port), *_groups(port)]
    # Most changes of a port leave its addresses as they were.
    if port.addresses and (before is None or before.addresses != port.addresses):
        problems += _addresses(port, view)
        if port.router is not None and not problems:
            problems += _of_router(port, view)
    problems += kept_addresses(port, before, view)
    return problems


def _kind(port: Port) -> Iterator[Problem]:
    if port.router is not None and port.kind != "router":
        yield Problem("kind", f"a port of a router is of kind `router`, not `{port.kind}`")
    if port.kind != "router":
        return
    if port.network is not None and port.addresses:
        yield Problem(
            "addresses", "the addresses of a link belong to the router's port, not to the network's"
        )
    if port.security_groups:
        yield Problem("security_groups", "are for machines' ports; put an ACL on a router")
    if port.allowed_address_pairs:
        yield Problem("allowed_address_pairs", "are for machines' ports; routers forward for any address")


def reserved(obj: Object, before: Object | None) -> Iterator[Problem]:
    """What only administrators of the cloud may make."""
    if isinstance(obj, Port) and obj.kind == "service" and before is None:
        yield Problem("kind", "ports of Onehop's own services are made by administrators of the cloud")


def _mac(port: Port) -> Iterator[Problem]:
    for path, text in [
        ("mac", port.mac),
        *((f"allowed_address_pairs[{i}].mac", pair.mac) for i, pair in enumerate(port.allowed_address_pairs)),
    ]:
        if text is None:
            continue
        raw = parse_mac(text)
        if raw[0] & 1:
            yield Problem(path, f"{text} is a group address; a machine's first byte is even")
        elif not any(raw):
            yield Problem(path, "is all zeros; leave it out to get one")


def _pairs(port: Port) -> Iterator[Problem]:
    for i, pair in enumerate(port.allowed_address_pairs):
        if pair in port.allowed_address_pairs[:i]:
            yield Problem(f"allowed_address_pairs[{i}]", "is there twice")
        if parse_cidr(pair.cidr).is_multicast:
            yield Problem(f"allowed_address_pairs[{i}].cidr", "nobody sends from multicast addresses")


def _groups(port: Port) -> Iterator[Problem]:
    if port.security_groups and not port.port_security:
        yield Problem("security_groups", "do nothing while `port_security` is off: leave out one of the two")
    for i, group in enumerate(port.security_groups):
        if group in port.security_groups[:i]:
            yield Problem(f"security_groups[{i}]", "is there twice")


def _addresses(port: Port, view: View) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, address in enumerate(port.addresses):
        path = f"addresses[{i}]"
        if address.ip is None:
            yield Problem(path, "needs an `ip`, a `subnet`, or both")
            continue
        if address.ip in seen:
            yield Problem(f"{path}.ip", f"{address.ip} is there twice")
        seen.add(address.ip)
        problem = _subnet_address(port, address, view) if address.subnet else _transit_address(port, address)
        if problem is not None:
            yield problem.within(path)


def _subnet_address(port: Port, address: PortAddress, view: View) -> Problem | None:
    subnet = view.get(Subnet, address.subnet)
    assert subnet is not None and address.ip is not None  # references are checked before
    if address.prefix is not None:
        return Problem("prefix", "is for links between routers; the subnet tells it here")
    if port.network is not None and subnet.network != port.network:
        return Problem("subnet", f"subnet {subnet.name} is of another network")
    ip, prefix = parse_ip(address.ip), parse_cidr(subnet.cidr)
    if ip not in prefix:
        return Problem("ip", f"{ip} is not in subnet {subnet.name} ({subnet.cidr})")
    why = unusable(ip, prefix)
    return Problem("ip", why) if why is not None else None


def _transit_address(port: Port, address: PortAddress) -> Problem | None:
    assert address.ip is not None
    ip = parse_ip(address.ip)
    if port.router is None:
        return Problem("ip", f"{ip} is in no subnet of the network")
    if address.prefix is None:
        return Problem("prefix", "is needed for an address that is in no subnet: its prefix length")
    prefix = transit(address)
    if prefix is None:
        return Problem("prefix", f"is at most {ip.max_prefixlen} for {ip}")
    why = unusual(ip) or unusable(ip, prefix)
    return Problem("ip", why) if why is not None else None


def _of_router(port: Port, view: View) -> Iterator[Problem]:
    """What the addresses of a router's port must be to the rest of the router and to the other end."""
    assert port.router is not None
    for i, address in enumerate(port.addresses):
        prefix = transit(address)
        if prefix is None:
            continue
        clash = overlapping(prefix, reached(port.router, view), besides=port.id)
        if clash is not None:
            yield Problem(
                f"addresses[{i}]", f"{prefix} overlaps {clash.words} ({clash.prefix}) of the router"
            )
    peer = view.peer(port.id)
    if peer is not None:
        yield from (Problem(f"addresses[{i}]", why) for i, why in _ends(port, peer, view))


def _ends(port: Port, peer: Port, view: View) -> Iterator[tuple[int, str]]:
    """What is wrong with the addresses of a router's port, linked to that other port."""
    theirs = {address.ip for address in peer.addresses}
    for i, address in enumerate(port.addresses):
        subnet = view.get(Subnet, address.subnet)
        if peer.network is not None and (subnet is None or subnet.network != peer.network):
            yield i, f"{address.ip} is in no subnet of the network that the port is linked to"
        elif peer.router is not None and subnet is not None:
            yield i, "on a link between routers an address has a `prefix` and no subnet"
        elif peer.router is not None and address.ip in theirs:
            yield i, f"{address.ip} is at the other end of the link as well"


def port_sets(port: Port, before: Port | None, view: View) -> set[str]:
    """The addresses of a router's port count among what the router reaches; floating IPs stand for those of
    a machine's."""
    if port.addresses == (before.addresses if before else ()):
        return set()
    if port.router is None:
        return {f"port/{port.id}"} if before is not None and _loses(port, before) else set()
    sets = {f"router/{port.router}"}
    peer = view.peer(port.id)
    if peer is not None and peer.router is not None:
        sets.add(f"router/{peer.router}")
    return sets


def _loses(port: Port, before: Port) -> bool:
    return not {a.ip for a in before.addresses} <= {a.ip for a in port.addresses}


# --- links --------------------------------------------------------------------------------------------


def link(link: Link, before: Link | None, view: View) -> list[Problem]:
    if before is not None:
        return []  # the ends never change
    a, b = view.get(Port, link.a), view.get(Port, link.b)
    assert a is not None and b is not None
    problems = [*_end("a", a, view), *_end("b", b, view)]
    if a.router is None:
        problems.append(Problem("a", f"port {a.name} belongs to a network; `a` is the router's port"))
    if a.id == b.id or view.device(a) == view.device(b):
        problems.append(Problem("b", "both ends are at the same device"))
    if not problems:
        problems += [Problem("a", why) for _, why in _ends(a, b, view)]
        if b.router is not None:
            problems += [Problem("b", why) for _, why in _ends(b, a, view)]
        else:
            problems += _linked_overlaps(a, b, view)
    return problems


def _end(field: str, port: Port, view: View) -> Iterator[Problem]:
    if port.kind != "router":
        yield Problem(
            field, f"port {port.name} is of kind `{port.kind}`; the ends of a link are of kind `router`"
        )
    other = view.link(port.id)
    if other is not None:
        yield Problem(field, f"port {port.name} is an end of link {other.name} already")
    if view.bindings(port.id):
        yield Problem(field, f"port {port.name} is bound to a host's interface; it cannot be linked as well")


def _linked_overlaps(a: Port, b: Port, view: View) -> Iterator[Problem]:
    assert a.router is not None and b.network is not None
    known = [r for r in reached(a.router, view) if r.port != a.id]
    for subnet in view.subnets(b.network):
        prefix = parse_cidr(subnet.cidr)
        clash = next((r for r in known if overlap(prefix, r.prefix)), None)
        if clash is not None:
            yield Problem(
                "b",
                f"its subnet {subnet.name} ({prefix}) overlaps {clash.words} ({clash.prefix}) of the router",
            )
            return


def link_sets(link: Link, before: Link | None, view: View) -> set[str]:
    if before is not None:
        return set()
    ends = [end for end in (view.get(Port, link.a), view.get(Port, link.b)) if end is not None]
    devices = {f"router/{e.router}" if e.router is not None else f"network/{e.network}" for e in ends}
    return devices | {f"port/{end.id}" for end in ends}  # a port is linked or bound


def routers_of(link: Link, view: View) -> set[str]:
    ends = (view.get(Port, link.a), view.get(Port, link.b))
    return {f"router/{end.router}" for end in ends if end is not None and end.router is not None}
