"""Stage ROUTER: where a packet goes from a virtual router.

In this order; what a step does not decide goes on to the next.

1. A router that is switched off drops everything.
2. ARP and neighbour messages are heard (see `neighbours`) and go no further.
3. Only frames for the MAC of the interface, and only IP. Multicast, broadcast and link-local addresses
   are not routed.
4. *Here load balancing will stand.* The **destination's** translation (see `nat`).
5. `acls_in`.
6. The router's **own addresses**, those of all its interfaces, and those of which its rules use single
   ports: an echo request is answered, anything else is told that no such port is there.
7. **The way**: the longest destination prefix, then the longest source prefix. The subnets of the router's
   interfaces are routes by themselves; a route object for the same destination goes before. A next hop whose
   port, or the far end of its link, is off does not count, nor does one by an uplink that is not usable; a
   route without any does not either. `blackhole`
   drops, `reject` and a missing route also tell the sender. Of several next hops the connection's hash takes
   one, by weight (see `hashing`), so that a connection keeps to its way.
8. **TTL**: a packet that would leave with 0 is dropped and its sender told.
9. `acls_forward`.
10. The **source's** translation (see `nat`).
11. **Size**: what is larger than the MTU of the network that it leaves for is answered with an ICMP error.
12. The **next hop's MAC** (see `neighbours`); the frame gets it, and that of the interface it leaves by.
13. `acls_out`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onehop.model import Network, NextHop, Port
from onehop.model.formats import Prefix, parse_cidr, parse_ip
from onehop.model.translation import is_usable_uplink, port_by_port, rules
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.model.zones import is_uplink
from onehop.simulation.addresses import LIMITED_BROADCAST, addresses_of, link_local, prefixes_of
from onehop.simulation.context import Finished, Walk
from onehop.simulation.flow import ECHO_REPLY
from onehop.simulation.hashing import choose, connection_hash
from onehop.simulation.icmp_errors import Error, tell
from onehop.simulation.packet import Frame, Icmp, Ip, IpPacket, Ipv4, Ipv6, build_ip, update, with_ttl
from onehop.simulation.state import Tuple


def is_up(walk: Walk) -> None:
    if not walk.router.admin_up:
        walk.drop(Stage.ROUTER, walk.router.id, Drop.ROUTER_DOWN, "the router is switched off")


def is_for_me(walk: Walk) -> None:
    router, frame = walk.router, walk.frame
    if frame.dst != walk.in_port.mac:
        text = f"{frame.dst} is not the MAC of interface {walk.in_port.name}"
        walk.drop(Stage.ROUTER, router.id, Drop.NOT_FOR_ROUTER, text)
    ip = frame.payload
    if not isinstance(ip, Ipv4 | Ipv6):
        walk.drop(Stage.ROUTER, router.id, Drop.NOT_IP, "a router forwards IP only")
    mine = _is_own(walk, ip.dst)
    local = isinstance(ip, Ipv6) and (ip.src.is_link_local or ip.dst.is_link_local) and not mine
    if ip.dst.is_multicast or ip.dst == LIMITED_BROADCAST or ip.src.is_unspecified or local:
        text = f"{ip.src} > {ip.dst} stays on its network"
        walk.drop(Stage.ROUTER, router.id, Drop.BAD_ADDRESS, text)


# --- the router's own addresses ---------------------------------------------------------------------------


def own_address(walk: Walk) -> None:
    ip = walk.ip
    if not _is_own(walk, ip.dst) and not _is_used_by_rules(walk, ip.dst):
        return
    if walk.flow.is_echo_request and ip.fragment is None and not walk.probe:
        walk.step(Stage.ROUTER, walk.router.id, f"answered: {ip.dst} is the router's own")
        walk.answer(_echo_reply(walk))
        raise Finished
    if not walk.flow.is_icmp:
        tell(walk, Error.NO_SUCH_PORT)
    text = f"the router serves nothing there at {ip.dst}"
    walk.drop(Stage.ROUTER, walk.router.id, Drop.NO_SUCH_SERVICE, text)


def _is_own(walk: Walk, ip: Ip) -> bool:
    if ip == link_local(walk.in_port.mac):
        return True
    return any(ip in addresses_of(port) for port in walk.view.ports(walk.router.id))


def _is_used_by_rules(walk: Walk, ip: Ip) -> bool:
    found = (rule for port in walk.view.ports(walk.router.id) for rule in rules(walk.view, port.id))
    return any(ip in port_by_port(walk.view, rule) for rule in found)


def _echo_reply(walk: Walk) -> Frame:
    """The request as it was sent, turned around: addresses changed over, the type changed, TTL 64."""
    ip = walk.original.payload
    assert isinstance(ip, Ipv4 | Ipv6) and isinstance(ip.payload, Icmp) and ip.payload.checksum is not None
    before, after = ip.payload.type, ECHO_REPLY[ip.protocol]
    checksum = update(ip.payload.checksum, before << 8, after << 8)
    icmp = replace(ip.payload, type=after, checksum=checksum)
    back: Ipv4 | Ipv6
    if isinstance(ip, Ipv4):
        back = with_ttl(replace(ip, src=ip.dst, dst=ip.src, payload=icmp), 64)
    else:
        back = replace(ip, src=ip.dst, dst=ip.src, payload=icmp, ttl=64)
    return replace(walk.original, dst=walk.original.src, src=walk.original.dst, payload=back)


# --- the way ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """A route that a packet could take."""

    destination: Prefix
    source: Prefix | None
    route: str | None  # None for the subnet of an interface
    action: str
    hops: tuple[tuple[NextHop, Port], ...]

    @property
    def rank(self) -> tuple[int, int, bool, str]:
        """The lowest goes first."""
        source = self.source.prefixlen + 1 if self.source is not None else 0
        first = self.route or self.hops[0][1].id
        return (-self.destination.prefixlen, -source, self.route is None, first)


def choose_way(walk: Walk) -> None:
    router, ip = walk.router, walk.ip
    way = best_way(walk.view, router.id, ip)
    if way is None:
        tell(walk, Error.NO_ROUTE)
        walk.drop(Stage.ROUTER, router.id, Drop.NO_ROUTE, f"no route to {ip.dst}")
    if way.action == "blackhole":
        text = f"the route to {way.destination} is a blackhole"
        walk.drop(Stage.ROUTER, router.id, Drop.BLACKHOLE, text, way.route)
    if way.action == "reject":
        tell(walk, Error.NO_ROUTE)
        text = f"the route to {way.destination} rejects"
        walk.drop(Stage.ROUTER, router.id, Drop.REJECT_ROUTE, text, way.route)
    walk.next_hop, port = way.hops[_pick(walk, way)]
    walk.connected = way.route is None
    walk.leave_by(port)
    of = "its own subnet" if way.route is None else "the route to"
    walk.step(Stage.ROUTER, router.id, f"by {of} {way.destination}, out of {port.name}", way.route)


def best_way(view: View, router: str, ip: IpPacket) -> Way | None:
    """The route that a packet takes."""
    fitting = [
        way
        for way in ways(view, router)
        if ip.dst in way.destination and (way.source is None or ip.src in way.source)
    ]
    return min(fitting, key=lambda way: way.rank, default=None)


def _pick(walk: Walk, way: Way) -> int:
    if len(way.hops) == 1:
        return 0
    ip = walk.ip
    tuple = walk.flow.tuple or Tuple(ip.protocol, ip.src, ip.dst)
    return choose(connection_hash(tuple, len(walk.visits)), [hop.weight for hop, _ in way.hops])


def ways(view: View, router: str) -> list[Way]:
    """The routes of a router that lead somewhere by now."""
    ports = [p for p in view.ports(router) if _is_usable(view, p)]
    connected = [(p, prefix) for p in ports for _, prefix in prefixes_of(view, p)]
    found = [Way(prefix, None, None, "forward", ((NextHop(port=p.id), p),)) for p, prefix in connected]
    for route in view.routes(router):
        hops = tuple(
            (hop, port) for hop in route.next_hops if (port := _port_of(hop, ports, connected)) is not None
        )
        if hops or route.action != "forward":
            source = parse_cidr(route.source) if route.source is not None else None
            found.append(Way(parse_cidr(route.destination), source, route.id, route.action, hops))
    return found


def _is_usable(view: View, port: Port) -> bool:
    peer = view.peer(port.id)
    if is_uplink(view, port):
        return is_usable_uplink(view, port)
    return port.admin_up and (peer is None or peer.admin_up)


def _port_of(hop: NextHop, ports: list[Port], connected: list[tuple[Port, Prefix]]) -> Port | None:
    """The port that a next hop is reached by: the one given, or the one whose subnet holds the address."""
    if hop.port is not None:
        return next((p for p in ports if p.id == hop.port), None)
    if hop.ip is None:
        return None
    fitting = [(p, prefix) for p, prefix in connected if parse_ip(hop.ip) in prefix]
    return max(fitting, key=lambda pair: pair[1].prefixlen)[0] if fitting else None


# --- TTL and size -----------------------------------------------------------------------------------------


def lower_ttl(walk: Walk) -> None:
    ip = walk.ip
    if ip.ttl <= 1:
        tell(walk, Error.TTL_EXPIRED)
        walk.drop(Stage.ROUTER, walk.router.id, Drop.TTL_EXPIRED, "its time to live ends here")
    walk.set_ip(with_ttl(ip, ip.ttl - 1))


def fits(walk: Walk) -> None:
    peer = walk.view.peer(walk.out_port.id)
    network = walk.view.get(Network, peer.network) if peer is not None else None
    size = len(build_ip(walk.ip))
    if network is not None and size > network.mtu:
        tell(walk, Error.TOO_BIG, network.mtu)
        text = f"{size} bytes, and {network.name} takes {network.mtu}"
        walk.drop(Stage.ROUTER, walk.router.id, Drop.TOO_BIG, text)
