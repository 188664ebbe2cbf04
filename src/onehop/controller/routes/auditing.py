"""`GET /v1/audit`: who did what, oldest first, for administrators."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Response, get

from onehop.controller import audit
from onehop.controller.answers import AnyRequest, answer
from onehop.controller.auth import require_reader
from onehop.controller.calls import Call
from onehop.controller.decode import only_parameters, parameter, whole_number
from onehop.controller.keys import AUDIT
from onehop.controller.listing import DEFAULT_LIMIT, MAX_LIMIT
from onehop.controller.openapi import CURSOR, LIMIT, operation
from onehop.controller.openapi import parameter as parameter_
from onehop.controller.schemas import an_object, nullable
from onehop.model.formats import Format, canonical, parse_time

PARAMETERS = ("since", "kind", "id", "actor", "project", "limit", "cursor")
_CURSOR = re.compile(r"[0-9a-f-]{1,64}", re.ASCII)


@get("/v1/audit")
async def read_audit(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request)
    require_reader(call.actor, "the audit log")
    only_parameters(request, PARAMETERS)
    limit = parameter(request, "limit", whole_number(1, MAX_LIMIT)) or DEFAULT_LIMIT
    wanted = {name: parameter(request, name, str) for name in ("kind", "id", "actor")}
    wanted["project"] = call.named_project()
    cursor = parameter(request, "cursor", _cursor)
    since = parameter(request, "since", _since) or ""
    items: list[dict[str, Any]] = []
    start: str | None = AUDIT + (f"{cursor}\x00" if cursor else since)
    while start is not None:
        page = await call.here.store.list(AUDIT, start=start, limit=MAX_LIMIT)
        for entry in page.entries:
            told = audit.decode(entry.value)
            if _passes(told, wanted):
                if len(items) == limit:
                    return answer({"items": items, "next": items[-1]["id"]})
                items.append({"id": entry.key.removeprefix(AUDIT), **msgspec.to_builtins(told)})
        start = page.next
    return answer({"items": items, "next": None})


def _passes(entry: audit.Entry, wanted: dict[str, str | None]) -> bool:
    if wanted["actor"] not in (None, entry.actor, entry.token):
        return False
    return any(
        all(wanted[name] in (None, getattr(change, name)) for name in ("kind", "id", "project"))
        for change in entry.changes
    )


def _cursor(text: str) -> str:
    if not _CURSOR.fullmatch(text):
        raise ValueError("is not a cursor; give back `next` of the page before as it was")
    return text


def _since(text: str) -> str:
    moment = parse_time(canonical(text, Format.TIME))
    return f"{max(0, int(moment.timestamp() * 1000)):013d}"


_TEXT = {"type": "string"}
_CHANGE = an_object(
    {"kind": _TEXT, "id": _TEXT, "name": _TEXT, "project": nullable(_TEXT)}
    | {"before": {"type": "object"}, "after": {"type": "object"}},
    required=("kind", "id", "name", "project"),
)
_ENTRY = an_object(
    {"id": _TEXT, "time": {"type": "number"}, "token": _TEXT, "actor": _TEXT}
    | {"changes": {"type": "array", "items": _CHANGE}}
)
_FILTERS = {
    "since": "Only from this time on, such as 2030-01-31T12:00:00Z.",
    "kind": "Only changes of this kind.",
    "id": "Only changes of this object.",
    "actor": "Only by this token, by name or id.",
    "project": "Only changes in this project.",
}

PATHS = {
    "/v1/audit": {
        "get": operation(
            "Who did what, oldest first",
            an_object({"items": {"type": "array", "items": _ENTRY}, "next": nullable(_TEXT)}),
            parameters=[*(parameter_(name, doc) for name, doc in _FILTERS.items()), LIMIT, CURSOR],
        )
    }
}
HANDLERS = [read_audit]
