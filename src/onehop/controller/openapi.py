"""The OpenAPI 3.1 document: what can be called, with the schemas of `schemas`.

Paths of the kinds come from the register. A module of other routes declares its own beside its handlers:
`PATHS` (path to method to operation, see `operation`) and `TYPES` (what its requests are decoded as).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onehop
from onehop.controller.listing import reference_filters
from onehop.controller.schemas import Schema, an_object, components, ref
from onehop.model import KINDS, Kind, Scope

Paths = dict[str, dict[str, Any]]

DESCRIPTION = """Networks for clouds. A reference in a path or a body is an id, a name, `parent/name`, or
`project:name`; in a path its slashes are written `%2F` or as they are. Send `Authorization: Bearer TOKEN`."""


def document(modules: Iterable[Any]) -> Schema:
    paths: Paths = {}
    types: list[type] = []
    for kind in sorted(KINDS.values(), key=lambda kind: kind.plural):
        paths |= kind_paths(kind)
    for module in modules:
        paths |= getattr(module, "PATHS", {})
        types.extend(getattr(module, "TYPES", ()))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Onehop", "version": onehop.__version__, "description": DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components(types),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


# --- the building blocks ------------------------------------------------------------------------------


def parameter(name: str, doc: str, schema: Schema | None = None, where: str = "query") -> Schema:
    told = {"name": name, "in": where, "description": doc, "schema": schema or {"type": "string"}}
    return told | ({"required": True} if where == "path" else {})


def content(schema: Schema, media_type: str = "application/json") -> Schema:
    return {"content": {media_type: {"schema": schema}}}


def operation(
    summary: str,
    reply: Schema | None,
    *,
    status: str = "200",
    tag: str = "controller",
    parameters: Iterable[Schema] = (),
    body: Schema | None = None,
    body_type: str = "application/json",
    reply_type: str = "application/json",
    public: bool = False,
) -> Schema:
    """One call: what it takes and what it answers. `reply` None stands for text that has no schema."""
    error = {"description": "Refused; the body says why."} | content(ref("Error"))
    told = {"schema": reply} if reply is not None else {}
    success = {"description": "Done.", "content": {reply_type: told}}
    call: Schema = {
        "summary": summary,
        "tags": [tag],
        "responses": {status: success, "4XX": error, "503": error},
    }
    if parameters := list(parameters):
        call["parameters"] = parameters
    if body is not None:
        call["requestBody"] = {"required": True} | content(body, body_type)
    if public:
        call["security"] = []
    return call


PROJECT = parameter("project", "The current project: where names are looked up, and where new objects go.")
WAIT = parameter(
    "wait",
    "Answer when every host concerned has applied the change, or after so many seconds.",
    {"type": "number", "minimum": 0, "maximum": 300},
)
KEY = parameter(
    "Idempotency-Key",
    "Sent again with the same key, a request is answered as the first time, and done once.",
    {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    "header",
)
ETAG = {"type": "string", "pattern": '^"[0-9]{1,18}"$'}
IF_MATCH = parameter("If-Match", "The ETag that the object must still have.", ETAG, "header")
IF_NONE_MATCH = parameter("If-None-Match", "The ETags that the caller has already.", where="header")
REF = parameter(
    "ref", "An id, a name, `parent/name` or `project:name`.", {"type": "string", "minLength": 1}, "path"
)
LIMIT = parameter(
    "limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)
CURSOR = parameter("cursor", "`next` of the page before.")


# --- the kinds ----------------------------------------------------------------------------------------


def kind_paths(kind: Kind) -> Paths:
    name, tag = kind.type.__name__, kind.plural
    one = f"{'an' if kind.name[0] in 'aeiou' else 'a'} {kind.name}"
    of_list, of_one = f"/v1/{kind.plural}", f"/v1/{kind.plural}/{{ref}}"
    reply, spec = ref(name), ref(f"{name}Spec")
    writes = [PROJECT, WAIT, KEY]
    changes = [*writes, IF_MATCH]
    read = operation(f"Show {one}", reply, tag=tag, parameters=[PROJECT, IF_NONE_MATCH])
    read["responses"]["304"] = {"description": "The caller has it already."}
    replace = operation(
        f"Replace {one}; make it, if it is named by an id that there is not",
        reply,
        tag=tag,
        parameters=changes,
        body=ref(f"{name}Replace"),
    )
    replace["responses"]["201"] = {"description": "Made."} | content(reply)
    patch = operation(
        f"Change {one}",
        reply,
        tag=tag,
        parameters=changes,
        body=ref(f"{name}Patch"),
        body_type="application/merge-patch+json",
    )
    listing = operation(f"List {kind.plural}", ref(f"{name}List"), tag=tag, parameters=_filters(kind))
    create = operation(f"Make {one}", reply, status="201", tag=tag, parameters=writes, body=spec)
    delete = operation(f"Delete {one}", reply, tag=tag, parameters=changes)
    return {
        of_list: {"get": listing, "post": create},
        of_one: {"parameters": [REF], "get": read, "put": replace, "patch": patch, "delete": delete},
    }


def _filters(kind: Kind) -> list[Schema]:
    labels = parameter("label", "`key=value`, or `key`; several have to hold all.")
    labels["schema"] = {"type": "array", "items": {"type": "string"}}
    project = "Only this project's." if kind.scope is Scope.PROJECT else "Where names are looked up."
    found = [parameter("project", project), parameter("name", "Only with this name."), labels]
    targets = (
        parameter(name, f"Only those that refer to this {leaf.trait.ref}.")
        for name, leaf in reference_filters(kind).items()
    )
    return [*found, *targets, LIMIT, CURSOR]


def bulk_reply(names: Iterable[str]) -> Schema:
    """Several objects written at one revision."""
    return an_object(
        {
            "revision": {"type": "integer"},
            "results": {"type": "array", "items": {"anyOf": [ref(name) for name in names]}},
            "convergence": {"type": "object"},
        },
        required=("revision", "results"),
    )
