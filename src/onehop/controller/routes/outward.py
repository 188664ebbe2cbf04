"""`POST /v1/routers` with `external`: a router with a way out, in one transaction with all that this takes.

    {"name": "edge", "external": "public", "attach": ["web"]}

The router gets a port on the external network, with addresses, default routes and masquerade (see
`model.outward`), and is attached to networks: those that are named, or, if none are, all of the project that
no router has yet. One of these that has no subnets is given some, and so are addresses to its machines.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from litestar import Response

from onehop.controller.answers import answer
from onehop.controller.calls import WriteCall, replayed
from onehop.controller.conditions import etag
from onehop.controller.decode import convert
from onehop.controller.engine import Operation
from onehop.controller.refusals import NotFound, Unprocessable
from onehop.model import KINDS, Invalid, Network, Problem
from onehop.model.assign import default_gateway
from onehop.model.document import Entry, lead_outside
from onehop.model.document import attach as attach_entries
from onehop.model.names import Unresolved
from onehop.model.outward import external_network, free_ranges
from onehop.model.zones import beside

MOST_NETWORKS = 32
MOST_PORTS = 64  # machines of a network that are given addresses with its subnets
Gateways = list[tuple[str, str]]  # of subnets: reference and gateway


class Sugar(msgspec.Struct):
    """What stands for more than a router."""

    external: str | None = None
    attach: Annotated[list[str], msgspec.Meta(max_length=MOST_NETWORKS)] | None = None


def is_sugared(body: dict[str, Any]) -> bool:
    return "external" in body or "attach" in body


async def create_router(call: WriteCall, body: dict[str, Any]) -> Response[bytes]:
    asked = dict(body)
    sugar = convert({name: body.pop(name) for name in ("external", "attach") if name in body}, Sugar)
    operations = list(_Making(call, body).operations(sugar))
    done = await call.here.engine.commit(operations, call.actor, call.key, request=["router", asked])
    first, *rest = done.results
    told = call.show(first.object, first.revision)
    told |= {"made": [call.show(r.object, r.revision) for r in rest]} | await call.converged(done)
    headers = {"ETag": etag(first.revision), "Location": f"/v1/routers/{first.object.id}", **replayed(done)}
    return answer(told, 201, headers)


class _Making:
    def __init__(self, call: WriteCall, body: dict[str, Any]) -> None:
        self._call = call
        self._view = call.view
        self._body = body
        self._id = str(uuid.uuid4())
        self._name = body["name"] if isinstance(body.get("name"), str) else f"router-{self._id[:8]}"
        try:
            project = call.access.project_of_new(KINDS["router"], body, call.current)
        except Invalid as error:
            raise Unprocessable("the router is refused", error.problems) from None
        assert project is not None
        self._project = project

    def operations(self, sugar: Sugar) -> Iterator[Operation]:
        yield self._operation("create", "router", self._body | {"name": self._name}, trusted={"id": self._id})
        external = self._network("external", sugar.external) if sugar.external is not None else None
        if external is not None:
            yield from self._entries(lead_outside, external, self._gateways(external))
        if sugar.attach is not None:
            chosen = [self._network(f"attach[{i}]", text) for i, text in enumerate(sugar.attach)]
        else:
            chosen = self._unattached(external) if external is not None else []
        ranges = free_ranges(self._project, self._view, self._taken(external, chosen))
        for network in chosen:
            gateways = self._gateways(network)
            if not self._view.subnets(network.id) and network.project == self._project:
                given = dict(zip(("v4", "v6"), next(ranges), strict=True))
                yield from self._give_ranges(network, given)
                gateways = [(f"{network.id}/{name}", default_gateway(cidr)) for name, cidr in given.items()]
            yield from self._entries(attach_entries, network, gateways)

    def _operation(self, op: Any, kind: str, body: dict[str, Any], **more: Any) -> Operation:
        return Operation(op, kind, body=body, project=self._project, **more)

    def _network(self, field: str, text: str) -> Network:
        try:
            ref = external_network(text, self._view, self._project) if field == "external" else text
            found = self._call.access.readable(KINDS["network"], ref, self._project)
        except (NotFound, Unresolved) as error:
            raise Unprocessable(f"the router is refused: {error}", [Problem(field, str(error))]) from None
        assert isinstance(found, Network)
        if field == "external" and not self._view.is_external(found):
            sentence = f"network {found.name} is not external: no grant says so"
            raise Unprocessable(f"the router is refused: {sentence}", [Problem(field, sentence)])
        return found

    def _unattached(self, external: Network) -> list[Network]:
        """The project's networks that no router has."""
        owned = (self._view.get(Network, id) for id in sorted(self._view.referrers(self._project, "network")))
        return [
            network
            for network in owned
            if network is not None
            and network.project == self._project
            and network.id != external.id
            and not self._view.is_external(network)
            and not any(True for _ in beside(self._view, network.id))
        ]

    def _gateways(self, network: Network) -> Gateways:
        found = sorted(self._view.subnets(network.id), key=lambda subnet: subnet.name)
        return [(subnet.id, subnet.gateway) for subnet in found if subnet.gateway is not None]

    def _taken(self, external: Network | None, chosen: list[Network]) -> list[str]:
        networks = [*chosen, *([external] if external is not None else [])]
        return [subnet.cidr for network in networks for subnet in self._view.subnets(network.id)]

    def _give_ranges(self, network: Network, given: dict[str, str]) -> Iterator[Operation]:
        """Subnets for a network that has none, and addresses on them for its machines."""
        for name, cidr in given.items():
            yield self._operation("create", "subnet", {"name": name, "network": network.id, "cidr": cidr})
        machines = [port for port in self._view.ports(network.id) if port.kind == "vm" and not port.addresses]
        addresses = [{"subnet": f"{network.id}/{name}"} for name in given]
        for port in machines[:MOST_PORTS]:
            yield self._operation("patch", "port", {"addresses": addresses}, ref=port.id)

    def _entries(self, make: Any, network: Network, gateways: Gateways) -> Iterator[Operation]:
        """Names are what the new objects are called; ids say what they belong to, in whichever project."""
        entries: list[Entry] = make(self._name, network.name, gateways, "")
        inside, outside, link = entries[:3]
        at = f"{self._id}/{inside.name}"
        yield self._operation("create", "port", {**inside.fields(), "router": self._id})
        yield self._operation("create", "port", {**outside.fields(), "network": network.id})
        yield self._operation(
            "create", "link", {**link.fields(), "a": at, "b": f"{network.id}/{outside.name}"}
        )
        for entry in entries[3:]:
            fields = entry.fields()
            if entry.kind.name == "route":
                hops = [{**hop, "port": at} for hop in fields["next_hops"]]
                fields |= {"router": self._id, "next_hops": hops}
            else:
                fields["port"] = at
            yield self._operation("create", entry.kind.name, fields)
