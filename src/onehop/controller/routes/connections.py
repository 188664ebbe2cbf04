"""`/v1/ports/<ref>/connections`: the connections of a port, live from its host.

    GET      /v1/ports/<ref>/connections?limit=&cursor=     a page of them, by their ids
    GET      /v1/ports/<ref>/connections/<id>
    DELETE   /v1/ports/<ref>/connections/<id>
    DELETE   /v1/ports/<ref>/connections                    all of them

They are no objects: hosts keep them, and no controller remembers any. Who may read the port may list them,
who may write it may delete them. A connection is deleted at both ends. Its next packets find no connection:
what the rules allow opens a new one, and what was allowed as a reply alone is dropped.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from litestar import Response

from onehop.controller.answers import answer
from onehop.controller.calls import Call
from onehop.controller.decode import only_parameters, parameter, whole_number
from onehop.controller.openapi import CURSOR, LIMIT, PROJECT, REF, operation
from onehop.controller.openapi import parameter as declared
from onehop.controller.refusals import Busy, Conflict, Forbidden, NotFound
from onehop.controller.representation import Shown
from onehop.controller.schemas import an_object, nullable
from onehop.feed.messages import (
    MAX_CONNECTIONS,
    Ask,
    Connection,
    Connections,
    ForgetConnections,
    Forgotten,
    ListConnections,
    Said,
    Tuple,
    Unable,
)
from onehop.model import KINDS, Kind, Port
from onehop.model.claims import key_claim

DEFAULT_LIMIT = 100
ID = r"[0-9a-f]{16}"
_PLACE = re.compile(r"(.+)/connections(?:/([^/]*))?")
_ID = re.compile(ID)
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}

S = TypeVar("S", bound=Said)


class Place(NamedTuple):
    """Whose connections a path is about, and which of them."""

    port: str
    id: str | None


class Bound(NamedTuple):
    """A port, and the host that it is on."""

    port: Port
    host: str


def place(kind: Kind, ref: str) -> Place | None:
    """The connections that a reference in a path stands for, if it does."""
    found = _PLACE.fullmatch(ref) if kind.name == "port" else None
    return Place(found[1], found[2]) if found else None


async def read(call: Call, at: Place) -> Response[bytes]:
    only_parameters(call.request, ("project",) if at.id else ("project", "limit", "cursor"))
    bound = _bound(call, at)
    if at.id is not None:
        return answer(_shown(call, await _one(call, bound, at.id)))
    limit = parameter(call.request, "limit", whole_number(1, MAX_CONNECTIONS)) or DEFAULT_LIMIT
    after = parameter(call.request, "cursor", _cursor) or ""
    page = await _ask(call, bound.host, ListConnections(bound.port.id, after, limit), Connections)
    following = page.found[-1].id if page.more else None
    return answer({"items": [_shown(call, one) for one in page.found], "next": following})


async def remove(call: Call, at: Place) -> Response[bytes]:
    only_parameters(call.request, ("project",))
    bound = _bound(call, at)
    if not call.actor.may_write(bound.port.project):
        raise Forbidden(f"you may read port {bound.port.name!r}, but not delete its connections")
    if at.id is not None:
        one = await _one(call, bound, at.id)
        return answer({"deleted": await _delete(call, bound, [one])})
    count, after, more = 0, "", True
    while more:
        page = await _ask(call, bound.host, ListConnections(bound.port.id, after), Connections)
        if page.found:
            count += await _delete(call, bound, page.found)
            after = page.found[-1].id
        more = page.more
    return answer({"deleted": count})


def _cursor(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("is not a cursor; give back `next` of the page before as it was")
    return text


def _bound(call: Call, at: Place) -> Bound:
    port = call.readable(KINDS["port"], at.port)
    assert isinstance(port, Port)
    binding = call.view.active_binding(port.id)
    if binding is None:
        raise Conflict(f"port {port.name!r} is on no host, and so has no connections; bind it first")
    return Bound(port, binding.host)


# --- asking hosts -----------------------------------------------------------------------------------------


async def _one(call: Call, bound: Bound, id: str) -> Connection:
    if _ID.fullmatch(id):
        only = ListConnections(bound.port.id, limit=1, only=id)
        found = await _ask(call, bound.host, only, Connections)
        if found.found:
            return found.found[0]
    raise NotFound(f"port {bound.port.name!r} has no connection {id[:64]!r}; it may have ended")


async def _delete(call: Call, bound: Bound, connections: Sequence[Connection]) -> int:
    """A connection is there as long as its owner's host has the record, so that comes first. What the other
    end remembers only leads replies there; a host that cannot be asked keeps it until it idles out."""
    for host, ids in _elsewhere(call, bound, connections, owned=True):
        await _ask(call, host, ForgetConnections(bound.port.key, ids), Forgotten)
    here = ForgetConnections(bound.port.key, tuple(one.id for one in connections))
    count = (await _ask(call, bound.host, here, Forgotten)).count
    for host, ids in _elsewhere(call, bound, connections, owned=False):
        with contextlib.suppress(Busy, Conflict):
            await _ask(call, host, ForgetConnections(bound.port.key, ids), Forgotten)
    return count


def _elsewhere(
    call: Call, bound: Bound, connections: Sequence[Connection], *, owned: bool
) -> list[tuple[str, tuple[str, ...]]]:
    """The other hosts at which connections end, and which: those that are owned there, or all others."""
    found: dict[str, list[str]] = {}
    for one in connections:
        binding = call.view.active_binding(_owner(call, one) or "")
        if (one.near is None) == owned and binding is not None and binding.host != bound.host:
            found.setdefault(binding.host, []).append(one.id)
    return [(host, tuple(ids)) for host, ids in sorted(found.items())]


async def _ask(call: Call, host: str, ask: Ask, wanted: type[S]) -> S:
    said = await call.here.feed.errands.ask(host, ask)
    if isinstance(said, Unable):
        why = f"the port's host cannot be asked: {said.reason}"
        raise Conflict(why) if said.absent else Busy(why)
    if not isinstance(said, wanted):
        raise Busy("the port's host gave an answer that does not fit; is its agent of this version?")
    return said


# --- as replies show them ---------------------------------------------------------------------------------


def _owner(call: Call, one: Connection) -> str | None:
    return call.here.cache.holders.owner(key_claim(one.other))


def _shown(call: Call, one: Connection) -> Shown:
    other = call.view.get(Port, _owner(call, one) or "")
    return {
        "id": one.id,
        "direction": one.direction,
        "protocol": PROTOCOLS.get(one.protocol, str(one.protocol)),
        "near": None if one.near is None else _tuple(one.near),
        "far": _tuple(one.far),
        "other_port": other.id if other is not None and call.access.sees(other) else None,
        "life": one.life,
        "idle": one.idle,
    }


def _tuple(ends: Tuple) -> Shown:
    return {"src": ends.src, "src_port": ends.src_port, "dst": ends.dst, "dst_port": ends.dst_port}


_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_ENDS = an_object({"src": _TEXT, "src_port": _NUMBER, "dst": _TEXT, "dst_port": _NUMBER})
_CONNECTION = an_object(
    {
        "id": _TEXT,
        "direction": {"enum": ["out", "in"], "description": "Whether the port opened it."},
        "protocol": _TEXT | {"description": "A name, or the number of a protocol without one."},
        "near": nullable(
            _ENDS | {"description": "At its owner: the opener, or who is reached from outside."}
        ),
        "far": _ENDS | {"description": "At the other end."},
        "other_port": nullable(_TEXT | {"description": "The port at the other end, if you may see it."}),
        "life": nullable({"enum": ["opening", "open", "closing"]}),
        "idle": _NUMBER | {"description": "Seconds since it was last seen to be used."},
    }
)
_CONNECTION_ID = declared("id", "The connection's id.", _TEXT | {"pattern": f"^{ID}$"}, "path")
_DELETED = an_object({"deleted": _NUMBER})

PATHS = {
    "/v1/ports/{ref}/connections": {
        "parameters": [REF],
        "get": operation(
            "List the connections of a port, live from its host",
            an_object({"items": {"type": "array", "items": _CONNECTION}, "next": nullable(_TEXT)}),
            tag="ports",
            parameters=[PROJECT, LIMIT, CURSOR],
        ),
        "delete": operation("Delete all connections of a port", _DELETED, tag="ports", parameters=[PROJECT]),
    },
    "/v1/ports/{ref}/connections/{id}": {
        "parameters": [REF, _CONNECTION_ID],
        "get": operation("Show a connection of a port", _CONNECTION, tag="ports", parameters=[PROJECT]),
        "delete": operation("Delete a connection of a port", _DELETED, tag="ports", parameters=[PROJECT]),
    },
}
HANDLERS: list[Any] = []  # `objects` has the paths of references
