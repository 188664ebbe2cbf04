"""Rules of routes: the families agree, and the next hops can be reached."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.errors import Problem
from onehop.model.formats import Ip, parse_cidr, parse_ip
from onehop.model.relations.addressing import reached, reached_by
from onehop.model.routing import NextHop, Route
from onehop.model.switching import Port
from onehop.model.view import View


def route(route: Route, before: Route | None, view: View) -> list[Problem]:
    problems = list(_shape(route))
    if problems:
        return problems
    old = before.next_hops if before is not None else ()
    for i, hop in enumerate(route.next_hops):
        if any((hop.ip, hop.port) == (h.ip, h.port) for h in route.next_hops[:i]):
            problems.append(Problem(f"next_hops[{i}]", "is there twice; give one of them more weight"))
        elif hop not in old:
            problems += [problem.within(f"next_hops[{i}]") for problem in _hop(route, hop, view)]
    return problems


def _shape(route: Route) -> Iterator[Problem]:
    destination = parse_cidr(route.destination)
    if destination.is_multicast:
        yield Problem("destination", "multicast is not routed")
    if route.source is not None and parse_cidr(route.source).version != destination.version:
        yield Problem("source", f"is of the other family than the destination {destination}")
    if route.action == "forward" and not route.next_hops:
        yield Problem("next_hops", "a route that forwards needs at least one; or choose another `action`")
    if route.action != "forward" and route.next_hops:
        yield Problem("next_hops", f"a route with the action `{route.action}` has none")


def _hop(route: Route, hop: NextHop, view: View) -> Iterator[Problem]:
    if hop.ip is None and hop.port is None:
        yield Problem("", "needs an `ip`, a `port`, or both")
        return
    port = view.get(Port, hop.port)
    if port is not None and port.router != route.router:
        yield Problem("port", f"port {port.name} is not a port of the router")
        return
    if hop.ip is None:
        return
    ip = parse_ip(hop.ip)
    if ip.version != parse_cidr(route.destination).version:
        yield Problem("ip", f"{ip} is of the other family than the destination {route.destination}")
    elif (why := _unreachable(route.router, ip, port, view)) is not None:
        yield Problem("ip", why)


def _unreachable(router: str, ip: Ip, port: Port | None, view: View) -> str | None:
    if any(address.ip == str(ip) for own in view.ports(router) for address in own.addresses):
        return f"{ip} is the router's own address"
    if ip.version == 6 and ip.is_link_local:
        return None if port is not None else f"{ip} is link-local: say by which `port`"
    prefixes = list(reached(router, view) if port is None else reached_by(port, view))
    if any(ip in r.prefix for r in prefixes):
        return None
    if port is not None:
        return f"{ip} is not reached by port {port.name}"
    return f"{ip} is on no network that the router is linked to"
