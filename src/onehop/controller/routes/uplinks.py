"""`POST /v1/networks/<ref>/uplinks`: another way from an external network to the outside, in one transaction.

    {"host": "gw1", "interface": "eth1", "addresses": ["192.0.2.2/30"], "next_hops": ["192.0.2.1"]}

The first makes the provider router: it has the gateway addresses of the network's subnets. Each gives it a
port that is bound to the host's interface, and a next hop more in its default routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Annotated, Any

import msgspec
from litestar import Response

from onehop.controller.answers import answer
from onehop.controller.calls import WriteCall, replayed
from onehop.controller.decode import body, convert
from onehop.controller.engine import Operation
from onehop.controller.openapi import KEY, PROJECT, REF, WAIT, bulk_reply, operation
from onehop.controller.refusals import Forbidden, Stale, Unprocessable
from onehop.controller.schemas import ref as schema
from onehop.model import KINDS, Network, NextHop, Problem, Route, Router
from onehop.model.document import attach
from onehop.model.formats import parse_ip
from onehop.model.outward import EVERYWHERE

TRIES = 5


class Uplink(msgspec.Struct, forbid_unknown_fields=True):
    """An interface of a host that leads outside."""

    host: Annotated[str, msgspec.Meta(description="The host, which becomes a gateway.")]
    interface: Annotated[str, msgspec.Meta(description="Its interface.")]
    addresses: Annotated[
        list[str],
        msgspec.Meta(min_length=1, max_length=8, description="The addresses there, such as 192.0.2.2/30."),
    ]
    next_hops: Annotated[
        list[str],
        msgspec.Meta(max_length=8, description="The routers outside, to which all goes by default."),
    ] = []
    vlan: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=4094)] | None, msgspec.Meta(description="The VLAN tag there.")
    ] = None
    router: Annotated[
        str | None,
        msgspec.Meta(description="What the provider router is called; `provider-NETWORK`, if left out."),
    ] = None


async def add_uplink(call: WriteCall, ref: str) -> Response[bytes]:
    asked = await body(call.request)
    wanted = convert(asked, Uplink)
    if not call.actor.is_admin:
        raise Forbidden("only administrators of the cloud bind routers' ports to hosts")
    network = call.readable(KINDS["network"], ref)
    assert isinstance(network, Network)
    for last in (*[False] * (TRIES - 1), True):
        operations = list(_Adding(call, network, wanted).operations())
        try:
            request = ["uplink", network.id, asked]
            done = await call.here.engine.commit(operations, call.actor, call.key, request=request)
            break
        except Stale:  # another uplink came to the same default route
            if last:
                raise
    results = [call.show(r.object, r.revision) for r in done.results]
    told = {"revision": done.revision, "results": results} | await call.converged(done)
    return answer(told, 201, replayed(done))


class _Adding:
    def __init__(self, call: WriteCall, network: Network, wanted: Uplink) -> None:
        self._view = view = call.view
        self._revision_of = call.here.cache.revision_of
        self._network = network
        self._wanted = wanted
        self._router_name = wanted.router or f"provider-{network.name}"[:63].rstrip("-")
        self._router = view.by_name(Router, network.project, self._router_name)
        if not view.is_external(network):
            sentence = f"network {network.name} is not external: grant it `external` first"
            raise Unprocessable(sentence, [Problem("", sentence)])

    def operations(self) -> Iterator[Operation]:
        if self._router is None:
            yield self._create("router", name=self._router_name)
        if not self._is_joined():
            yield from self._join()
        router = self._router.id if self._router is not None else self._router_name
        port = {"router": router, "name": self._port_name(), "kind": "router", "addresses": self._addresses()}
        yield self._create("port", **port)
        at = f"{router}/{port['name']}"
        interface: dict[str, Any] = {"interface": self._wanted.interface}
        if self._wanted.vlan is not None:
            interface["vlan"] = self._wanted.vlan
        # A binding belongs to no project, so in it a name has to tell its own.
        owned = f"{self._network.project}:{at}"
        yield self._create("binding", port=owned, host=self._wanted.host, **interface)
        yield from self._routes(router, at)

    def _create(self, kind: str, /, **fields: Any) -> Operation:
        return Operation("create", kind, body=fields, project=self._network.project)

    def _is_joined(self) -> bool:
        if self._router is None:
            return False
        peers = (self._view.peer(port.id) for port in self._view.ports(self._router.id))
        return any(peer is not None and peer.network == self._network.id for peer in peers)

    def _join(self) -> Iterator[Operation]:
        """The provider router has the gateways' addresses on the network."""
        found = sorted(self._view.subnets(self._network.id), key=lambda subnet: subnet.name)
        gateways = [(subnet.id, subnet.gateway) for subnet in found if subnet.gateway is not None]
        inside, outside, link = attach(self._router_name, self._network.name, gateways, "")
        yield self._create("port", **{**inside.fields(), "router": self._router_name})
        yield self._create("port", **{**outside.fields(), "network": self._network.id})
        ends = {"a": f"{self._router_name}/{inside.name}", "b": f"{self._network.id}/{outside.name}"}
        yield self._create("link", **{**link.fields(), **ends})

    def _port_name(self) -> str:
        """Such as `gw1-eth1`, or `gw1-eth1-100` with a VLAN; a host is named by its id or its name."""
        found = self._view.find(self._wanted.host)
        host = found.name if found is not None else self._wanted.host
        vlan = f"-{self._wanted.vlan}" if self._wanted.vlan is not None else ""
        text = re.sub(r"[^a-z0-9]+", "-", f"{host}-{self._wanted.interface}{vlan}".lower())
        return text[:63].strip("-")

    def _addresses(self) -> list[dict[str, Any]]:
        made, problems = [], []
        for i, text in enumerate(self._wanted.addresses):
            ip, slash, prefix = text.partition("/")
            if not slash or not _is_interface(text):
                problems.append(Problem(f"addresses[{i}]", f"{text[:64]!r} is not like 192.0.2.2/30"))
            else:
                made.append({"ip": ip, "prefix": int(prefix)})
        if problems:
            raise Unprocessable("the uplink is refused", problems)
        return made

    def _routes(self, router: str, port: str) -> Iterator[Operation]:
        hops: dict[int, list[dict[str, Any]]] = {}
        for i, text in enumerate(self._wanted.next_hops):
            try:
                ip = parse_ip(text)
            except ValueError:
                problem = Problem(f"next_hops[{i}]", f"{text[:64]!r} is not an address")
                raise Unprocessable("the uplink is refused", [problem]) from None
            hops.setdefault(ip.version, []).append({"ip": text, "port": port})
        for version, more in sorted(hops.items()):
            route = self._default_route(version)
            if route is None:
                name, destination = f"default-v{version}", EVERYWHERE[version]
                yield self._create("route", router=router, name=name, destination=destination, next_hops=more)
            else:
                yield self._one_more(route, more)

    def _default_route(self, version: int) -> Route | None:
        routes = self._view.routes(self._router.id) if self._router is not None else []
        return next((r for r in routes if (r.destination, r.source) == (EVERYWHERE[version], None)), None)

    def _one_more(self, route: Route, more: list[dict[str, Any]]) -> Operation:
        before = [_as_given(hop) for hop in route.next_hops]
        return Operation(
            *("patch", "route", route.id),
            body={"action": "forward", "next_hops": before + more},
            if_match=self._revision_of(route.id),
            project=self._network.project,
        )


def _is_interface(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return text.partition("/")[2].isascii() and text.partition("/")[2].isdigit()


def _as_given(hop: NextHop) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.to_builtins(hop)
    return given


PATHS = {
    "/v1/networks/{ref}/uplinks": {
        "parameters": [REF],
        "post": operation(
            "Lead an external network outside by an interface of a host",
            bulk_reply(("Router", "Port", "Link", "Binding", "Route")),
            status="201",
            tag="networks",
            parameters=[PROJECT, WAIT, KEY],
            body=schema("Uplink"),
        ),
    }
}
TYPES = (Uplink,)
HANDLERS: list[Any] = []  # it is one of the actions of `objects`
