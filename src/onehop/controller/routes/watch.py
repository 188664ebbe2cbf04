"""`GET /v1/watch`: server-sent events of what changes, from now or from a revision on.

    event: ready      once, at the start: {"revision": n}
    event: change     {"revision", "op": "put" | "delete", "kind", "id", "object"}; `id:` is the revision
    event: gone       the revision asked for has been forgotten: list again, then watch from that list

A caller is told of what it may see, which is looked up anew each time: a stream lives longer than a role.
An object that it no longer may see is told as deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

from litestar import get
from litestar.response import Stream

from onehop.controller.access import Access
from onehop.controller.actor import Actor
from onehop.controller.answers import AnyRequest, Gone, encode
from onehop.controller.auth import refreshed
from onehop.controller.cache import Cache, ObjectChange
from onehop.controller.calls import Call
from onehop.controller.changes import Step
from onehop.controller.decode import only_parameters, parameter, whole_number
from onehop.controller.openapi import operation
from onehop.controller.openapi import parameter as parameter_
from onehop.controller.refusals import Malformed
from onehop.controller.representation import shown
from onehop.model import KINDS, Kind, Object, Problem, kind_of

EVENTS = "text/event-stream"
KEEP_ALIVE = 15.0
CATCH_UP = 2.0  # seconds that this controller may lag behind the one that told a revision
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Wanted(NamedTuple):
    """Who watches, and for which changes."""

    call: Call
    actor: Actor
    kinds: frozenset[str]
    project: str | None

    def sees(self, obj: Object | None) -> bool:
        return (
            obj is not None
            and (not self.kinds or kind_of(obj).name in self.kinds)
            and (self.project is None or obj.project == self.project)
            and Access(self.call.view, self.actor).sees(obj)
        )


@get("/v1/watch")
async def watch(request: AnyRequest) -> Stream:
    call = Call.of(request, EVENTS)
    only_parameters(request, ("project", "kind", "revision"))
    kinds = frozenset(_kind(text).name for text in request.query_params.getall("kind", []))
    wanted = Wanted(call, call.actor, kinds, call.named_project())
    revision = _revision(request)
    changes = call.here.changes
    if revision is None:
        revision = changes.newest
    if not await _reached(call.here.cache, revision) or changes.after(revision) is None:
        raise Gone("changes since that revision have been forgotten; list again, and watch from there")
    return Stream(_events(wanted, revision), media_type=EVENTS, headers=HEADERS)


async def _reached(cache: Cache, revision: int) -> bool:
    """Whether the revision is of this history: another controller may have told it a moment before us, but
    one from before a restore would be waited for in silence."""
    try:
        async with asyncio.timeout(CATCH_UP):
            await cache.wait_for(revision)
    except TimeoutError:
        return False
    return True


def _revision(request: AnyRequest) -> int | None:
    read = whole_number(0, (1 << 63) - 1)
    revision = parameter(request, "revision", read)
    last = request.headers.get("last-event-id")
    if last is None:
        return revision
    with suppress(ValueError):
        return read(last)
    raise Malformed("a header of the request is wrong", [Problem("Last-Event-ID", "is not a revision")])


def _kind(text: str) -> Kind:
    if text not in KINDS:
        raise Malformed(
            "a parameter of the query is wrong",
            [Problem("kind", f"is not a kind; there are: {', '.join(KINDS)}")],
        )
    return KINDS[text]


async def _events(wanted: Wanted, revision: int) -> AsyncIterator[bytes]:
    here = wanted.call.here
    yield event("ready", {"revision": revision})
    while not here.stopping.is_set():
        actor = refreshed(wanted.actor, wanted.call.view)
        if actor is None:
            return
        wanted = wanted._replace(actor=actor)
        # The store was restored, if it has not come so far.
        steps = here.changes.after(revision) if revision <= here.cache.revision else None
        if steps is None:
            yield event("gone", {"revision": here.changes.oldest})
            return
        for step in steps:
            for told in _told(wanted, step):
                yield event("change", told, step.revision)
            revision = step.revision
        if not steps:
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await here.changes.news()
            except TimeoutError:
                yield b": still here\n\n"


def _told(wanted: Wanted, step: Step) -> list[dict[str, Any]]:
    told = (_change(wanted, step.revision, change) for change in step.changes)
    return [one for one in told if one is not None]


def _change(wanted: Wanted, revision: int, change: ObjectChange) -> dict[str, Any] | None:
    before, after = change.before, change.after
    either = after if after is not None else before
    if either is None:
        return None
    kind = kind_of(either).name
    told = {"revision": revision, "kind": kind, "id": change.id}
    if after is not None and wanted.sees(after):
        status = wanted.call.here.statuses.of(kind, change.id, wanted.call.view)
        return told | {"op": "put", "object": shown(after, revision, status)}
    if wanted.sees(before):
        return told | {"op": "delete", "object": None}
    return None


def event(name: str, data: Any, id: int | None = None) -> bytes:
    head = b"" if id is None else b"id: %d\n" % id
    return head + b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"


PATHS = {
    "/v1/watch": {
        "get": operation(
            "Server-sent events of what changes",
            None,
            parameters=[
                parameter_("project", "Only this project's."),
                parameter_("kind", "Only these kinds.", {"type": "array", "items": {"enum": list(KINDS)}}),
                parameter_("revision", "Everything after this revision.", {"type": "integer", "minimum": 0}),
            ],
            reply_type=EVENTS,
        )
    }
}
HANDLERS = [watch]
