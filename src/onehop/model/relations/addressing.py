"""What the rules about addresses have in common, and the rules of subnets.

A router has to be able to tell where an address is. So no two prefixes that it is linked to overlap: the
subnets of the networks it is linked to, and the prefixes of its links to other routers and to the outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface
from typing import NamedTuple

from onehop.model.errors import Problem
from onehop.model.formats import Ip, Prefix, parse_cidr, parse_ip
from onehop.model.routing import Router
from onehop.model.switching import Network, Port, PortAddress, Subnet
from onehop.model.view import View


class Reached(NamedTuple):
    """A prefix that a router reaches by one of its ports."""

    prefix: Prefix
    port: str
    words: str  # what has this prefix, for a sentence


def reached(router: str, view: View) -> Iterator[Reached]:
    """Every prefix that a router reaches without a route."""
    for port in view.ports(router):
        yield from reached_by(port, view)


def reached_by(port: Port, view: View) -> Iterator[Reached]:
    for address in port.addresses:
        prefix = transit(address)
        if prefix is not None:
            yield Reached(prefix, port.id, f"port {port.name}")
    peer = view.peer(port.id)
    if peer is not None and peer.network is not None:
        for subnet in view.subnets(peer.network):
            yield Reached(parse_cidr(subnet.cidr), port.id, f"subnet {subnet.name}")


def transit(address: PortAddress) -> Prefix | None:
    """The prefix of an address that is in no subnet."""
    if address.ip is None or address.prefix is None or address.subnet is not None:
        return None
    try:
        return ip_interface(f"{address.ip}/{address.prefix}").network
    except ValueError:
        return None  # a prefix length beyond the family's; told where the port is checked


def overlapping(prefix: Prefix, others: Iterator[Reached], besides: str | None = None) -> Reached | None:
    """The first of the others that overlaps a prefix, those of the port `besides` not counted."""
    return next((o for o in others if o.port != besides and overlap(prefix, o.prefix)), None)


def overlap(a: Prefix, b: Prefix) -> bool:
    return a.version == b.version and a.overlaps(b)


def linked_routers(network: str, view: View) -> list[Port]:
    """The routers' ports that are linked to a network."""
    peers = (view.peer(port.id) for port in _router_side(network, view))
    return [peer for peer in peers if peer is not None and peer.router is not None]


def _router_side(network: str, view: View) -> list[Port]:
    """The ports of a network that links may have; among thousands of others, so not by way of `ports`."""
    found = (view.get(Port, id) for id in view.referrers(network, "port"))
    ends = [port for port in found if port is not None and port.kind == "router" and port.network == network]
    return sorted(ends, key=lambda port: port.id)


def unusable(ip: Ip, prefix: Prefix) -> str | None:
    """Why a machine cannot have an address of a prefix; None if it can."""
    if prefix.num_addresses <= 2:
        return None
    if ip == prefix.network_address:
        return f"{ip} stands for {'the network itself' if ip.version == 4 else 'any router'} in {prefix}"
    if ip.version == 4 and ip == prefix.broadcast_address:
        return f"{ip} is the broadcast address of {prefix}"
    return None


def unusual(ip: Ip) -> str | None:
    """Why an address is nobody's; None if it may be somebody's."""
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback or str(ip) == "255.255.255.255":
        return f"{ip} is not an address that a machine may have"
    return None


# --- subnets ------------------------------------------------------------------------------------------


def subnet(subnet: Subnet, before: Subnet | None, view: View) -> list[Problem]:
    prefix = parse_cidr(subnet.cidr)
    problems = list(_range(prefix))
    if not problems:
        problems += _gateway(subnet, prefix)
        problems += _pools(subnet, prefix)
        problems += _told(subnet, prefix)
    if not problems and before is None:
        problems += _overlaps(subnet, prefix, view)
    return problems


def _range(prefix: Prefix) -> Iterator[Problem]:
    first = prefix.network_address
    if prefix.prefixlen == 0 or first.is_multicast or first.is_loopback or first.is_unspecified:
        yield Problem("cidr", f"{prefix} is not a range that machines may have addresses of")
    elif first.version == 6 and first.is_link_local:
        yield Problem("cidr", "link-local addresses need no subnet: every machine makes its own")


def _gateway(subnet: Subnet, prefix: Prefix) -> Iterator[Problem]:
    if subnet.gateway is None:
        return
    ip = parse_ip(subnet.gateway)
    if ip not in prefix:
        yield Problem("gateway", f"{ip} is not in {prefix}")
    elif (why := unusable(ip, prefix)) is not None:
        yield Problem("gateway", why)


def _pools(subnet: Subnet, prefix: Prefix) -> Iterator[Problem]:
    seen: list[tuple[int, int, int]] = []
    for i, pool in enumerate(subnet.pools):
        first, last = parse_ip(pool.first), parse_ip(pool.last)
        outside = [name for name, ip in (("first", first), ("last", last)) if ip not in prefix]
        for name in outside:
            yield Problem(f"pools[{i}].{name}", f"is not in {prefix}")
        if outside:
            continue
        for name, ip in (("first", first), ("last", last)):
            if (why := unusable(ip, prefix)) is not None:
                yield Problem(f"pools[{i}].{name}", why)
        if int(first) > int(last):
            yield Problem(f"pools[{i}]", "the last address comes before the first")
        for low, high, j in seen:
            if int(first) <= high and low <= int(last):
                yield Problem(f"pools[{i}]", f"overlaps pools[{j}]")
        seen.append((int(first), int(last), i))


def _told(subnet: Subnet, prefix: Prefix) -> Iterator[Problem]:
    """What is told to the machines."""
    for i, text in enumerate(subnet.dns_servers):
        if parse_ip(text).version != prefix.version:
            yield Problem(
                f"dns_servers[{i}]", f"is of the other family than {prefix}; tell it on such a subnet"
            )
    for i, route in enumerate(subnet.host_routes):
        if parse_cidr(route.destination).version != prefix.version:
            yield Problem(f"host_routes[{i}].destination", f"is of the other family than {prefix}")
        if parse_ip(route.next_hop) not in prefix:
            yield Problem(f"host_routes[{i}].next_hop", f"is not in {prefix}: machines could not reach it")


def _overlaps(subnet: Subnet, prefix: Prefix, view: View) -> Iterator[Problem]:
    for other in view.subnets(subnet.network):
        if other.id != subnet.id and overlap(prefix, parse_cidr(other.cidr)):
            yield Problem("cidr", f"overlaps subnet {other.name} ({other.cidr}) of the network")
            return
    for port in linked_routers(subnet.network, view):
        assert port.router is not None
        clash = overlapping(prefix, reached(port.router, view), besides=port.id)
        if clash is not None:
            yield Problem("cidr", _clash(clash, view.get(Router, port.router), subnet))
            return


def _clash(clash: Reached, router: Router | None, subnet: Subnet) -> str:
    """What another project's router reaches is not told: a grant to link lets nobody look behind it."""
    if router is None or router.project != subnet.project:
        return "overlaps what a router of another project, which is linked to the network, reaches as well"
    return f"overlaps {clash.words} ({clash.prefix}), which router {router.name} is linked to as well"


def subnet_sets(subnet: Subnet, before: Subnet | None, view: View) -> set[str]:
    if before is not None:
        return set()  # the range never changes
    routers = {f"router/{port.router}" for port in linked_routers(subnet.network, view)}
    return {f"network/{subnet.network}", *routers}


# --- networks -----------------------------------------------------------------------------------------


def network(network: Network, before: Network | None, view: View) -> list[Problem]:
    return [
        Problem(f"grants[{i}]", "is there twice")
        for i, grant in enumerate(network.grants)
        if grant in network.grants[:i]
    ]
