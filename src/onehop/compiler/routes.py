"""Stage ROUTER, the way: what the longest prefix match has to give.

    connected ──► route ──► destination        one unit per interface, route, router and destination

A `destination` puts together what is said of one prefix: the subnet of an interface, the route for it, and
routes for it that name sources. Where sources are named, a table of sources answers for the destination. It
has to answer for *every* source, so it inherits what shorter destinations would say.
"""

from __future__ import annotations

from onehop.compiler import facts
from onehop.compiler.addresses import ANYWHERE, packed, prefix_key, prefixes_of, whole
from onehop.compiler.egress_port import is_usable
from onehop.compiler.facts import Way
from onehop.compiler.unit import Scope
from onehop.datapath import structs
from onehop.datapath.structs import Hop
from onehop.datapath.words import RouteAction, RouteFlag
from onehop.model import NextHop, Port, Route
from onehop.model.formats import Prefix, parse_cidr, parse_ip

_ACTIONS = {
    "forward": RouteAction.FORWARD,
    "blackhole": RouteAction.BLACKHOLE,
    "reject": RouteAction.REJECT,
}


def connected(to: Scope, id: str) -> None:
    """A router's port that packets can leave by, and the prefixes that are reached there."""
    port = to.get(Port, id)
    assert port is not None
    if port.router is None or not is_usable(to, port):
        return
    to.say(facts.usable(id), port.key)
    for prefix in prefixes_of(to, port):
        text = str(prefix)
        to.say(facts.connected(port.router), (id, text, port.key))
        way = Way(None, None, id, RouteAction.FORWARD, ((ANYWHERE, port.key, 1),))
        to.say(facts.ways(port.router, text), way)
        to.demand("destination", port.router, text)


def route(to: Scope, id: str) -> None:
    """A route object; nothing, if it forwards to no hop that can be reached."""
    route = to.get(Route, id)
    assert route is not None
    hops = tuple(
        (packed(parse_ip(hop.ip)) if hop.ip is not None else ANYWHERE, port, hop.weight)
        for hop in route.next_hops
        if (port := _port(to, route.router, hop)) is not None
    )
    if not hops and route.action == "forward":
        return
    way = Way(route.source, id, "", _ACTIONS[route.action], hops)
    to.say(facts.ways(route.router, route.destination), way)
    to.demand("destination", route.router, route.destination)


def _port(to: Scope, router: str, hop: NextHop) -> int | None:
    """The key of the port to reach a next hop by: the one given, or the one whose prefix it is in."""
    if hop.port is not None:
        given = to.get(Port, hop.port)
        return to.one(facts.usable(hop.port)) if given is not None and given.router == router else None
    if hop.ip is None:
        return None
    ip = parse_ip(hop.ip)
    found = [
        (-prefix.prefixlen, port, key)
        for port, text, key in to.all_of(facts.connected(router))
        if ip in (prefix := parse_cidr(text))
    ]
    return min(found)[2] if found else None


# --- destinations -------------------------------------------------------------------------------------------


def destination(to: Scope, router: str, text: str) -> None:
    face = to.one(facts.face(router))
    own = _ways(to, router, text)
    if face is None or not own:
        return
    to.zone(router)
    prefix = parse_cidr(text)
    sources = _by_source(to, router, prefix)
    if sources.keys() == {whole(prefix.version)}:
        (way,) = sources.values()
        row = _row(to, way)
    else:
        table = to.number("source_tables", f"{router}/{text}")
        for source, way in sources.items():
            to.row("source_routes", prefix_key(table, source), _row(to, way))
        row = structs.Route(action=RouteAction.FORWARD, sources=table)
    to.row("routes", prefix_key(face.number, prefix), row)


def _ways(to: Scope, router: str, destination: str) -> dict[Prefix, Way]:
    """What is said of one destination, by source. Routes go before interfaces, named sources before none."""
    version = parse_cidr(destination).version
    found: dict[Prefix, Way] = {}
    ways = to.all_of(facts.ways(router, destination))
    for way in sorted(ways, key=lambda w: (w.source is None, w.route is None, w.route or w.port)):
        source = parse_cidr(way.source) if way.source is not None else whole(version)
        found.setdefault(source, way)
    return found


def _by_source(to: Scope, router: str, prefix: Prefix) -> dict[Prefix, Way]:
    """What happens to each source: by this destination, and beneath it by those that hold it."""
    anything = whole(prefix.version)
    layers = [_ways(to, router, str(prefix))]
    for length in reversed(range(prefix.prefixlen)):
        if anything in layers[-1]:
            break
        layers.append(_ways(to, router, str(prefix.supernet(new_prefix=length))))
    sources = {source for layer in layers for source in layer}
    return {source: way for source in sorted(sources) if (way := _answer(layers, source)) is not None}


def _answer(layers: list[dict[Prefix, Way]], source: Prefix) -> Way | None:
    """The longest destination that has something for a source says what, by the longest source."""
    for layer in layers:
        held = [s for s in layer if source.subnet_of(s)]  # type: ignore[arg-type]
        if held:
            return layer[max(held, key=lambda s: s.prefixlen)]
    return None


def _row(to: Scope, way: Way) -> structs.Route:
    action = RouteAction(way.action)
    return structs.Route(
        action=action,
        flags=RouteFlag.CONNECTED if way.route is None else RouteFlag(0),
        hops=_hop_group(to, way) if action is RouteAction.FORWARD else 0,
        id=to.number("routes", way.route) if way.route is not None else 0,
    )


# --- hop groups ---------------------------------------------------------------------------------------------


def _hop_group(to: Scope, way: Way) -> int:
    """The list of a way's hops. Groups go by what is in them: many routes share one."""
    hops = [f"{address.hex()} {port} {weight}" for address, port, weight in way.hops]
    to.demand("hop_group", *hops)
    return to.number("hop_groups", ", ".join(hops))


def hop_group(to: Scope, *hops: str) -> None:
    made, upto = [], 0
    for hop in hops:
        address, port, weight = hop.split()
        upto += int(weight)
        made.append(Hop(bytes.fromhex(address), int(port), upto))
    to.row("hop_groups", to.number("hop_groups", ", ".join(hops)), tuple(made))
