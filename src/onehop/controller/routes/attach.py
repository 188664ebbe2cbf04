"""`POST /v1/routers/<ref>/attach {"network": ref}`: a port on each side and the link, in one transaction."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response

from onehop.controller.answers import answer
from onehop.controller.calls import WriteCall, replayed
from onehop.controller.decode import body, convert
from onehop.controller.engine import Operation
from onehop.controller.openapi import KEY, PROJECT, REF, WAIT, bulk_reply, operation
from onehop.controller.schemas import ref as schema
from onehop.model import KINDS
from onehop.model.document import attach as entries_of


class Attach(msgspec.Struct, forbid_unknown_fields=True):
    """What to join the router to."""

    network: str


async def attach(call: WriteCall, ref: str) -> Response[bytes]:
    wanted = convert(await body(call.request), Attach)
    router = call.readable(KINDS["router"], ref)
    network = call.readable(KINDS["network"], wanted.network)
    found = sorted(call.view.subnets(network.id), key=lambda subnet: subnet.name)
    subnets = [(subnet.id, subnet.gateway) for subnet in found if subnet.gateway]
    inside, outside, link = entries_of(router.name, network.name, subnets, "")
    # Names are what the new objects are called; ids say what they belong to, in whichever project.
    bodies = (
        {**inside.fields(), "router": router.id},
        {**outside.fields(), "network": network.id},
        {**link.fields(), "a": f"{router.id}/{inside.name}", "b": f"{network.id}/{outside.name}"},
    )
    operations = [
        Operation("create", entry.kind.name, body=fields, project=router.project)
        for entry, fields in zip((inside, outside, link), bodies, strict=True)
    ]
    done = await call.commit(operations)
    results = [call.show(r.object, r.revision) for r in done.results]
    told = {"revision": done.revision, "results": results} | await call.converged(done)
    return answer(told, 201, replayed(done))


PATHS = {
    "/v1/routers/{ref}/attach": {
        "parameters": [REF],
        "post": operation(
            "Join a router to a network, with the gateway addresses of its subnets",
            bulk_reply(("Port", "Link")),
            status="201",
            tag="routers",
            parameters=[PROJECT, WAIT, KEY],
            body=schema("Attach"),
        ),
    }
}
TYPES = (Attach,)
HANDLERS: list[Any] = []  # it is one of the actions of `objects`
