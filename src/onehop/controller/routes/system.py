"""About the controller itself. Health, the OpenAPI document and its page are open: they hold no data."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

from litestar import Response, get

import onehop
from onehop.controller.answers import AnyRequest, Unauthorized, answer
from onehop.controller.auth import authenticate, require_reader
from onehop.controller.calls import Call
from onehop.controller.openapi import operation
from onehop.controller.parts import parts
from onehop.controller.schemas import an_object, nullable
from onehop.model import Project
from onehop.store import StoreError

STORE_PATIENCE = 2.0
# The page is one file of ours: it loads nothing, and nothing may be put into it.
DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'"


@get("/v1/whoami")
async def whoami(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request)
    actor = call.actor
    projects = [
        {"id": id, "name": project.name, "role": role}
        for id, role in sorted(actor.projects.items())
        if (project := call.view.get(Project, id)) is not None
    ]
    return answer(
        {"token": actor.token, "name": actor.name, "role": actor.cloud, "projects": projects}
        | {"host": actor.host, "project": actor.only_project}
    )


@get("/v1/health")
async def health(request: AnyRequest) -> Response[bytes]:
    here = parts(request)
    told = {"version": onehop.__version__, "revision": here.cache.revision}
    try:
        async with asyncio.timeout(STORE_PATIENCE):
            await here.store.revision()
    except (StoreError, TimeoutError) as error:
        return _unavailable(request, told, "does not answer", str(error))
    if here.cache.trouble is not None:
        return _unavailable(request, told, "cannot be read", here.cache.trouble)
    return answer(told | {"status": "ok", "store": "ok"})


def _unavailable(request: AnyRequest, told: dict[str, Any], what: str, why: str) -> Response[bytes]:
    """Where the store is, and what is in it, is told to those who see the cloud; all others hear that it is
    not well."""
    try:
        sees = authenticate(request, parts(request).cache.view).may_read(None)
    except Unauthorized:
        sees = False
    return answer(told | {"status": "unavailable", "store": (why if sees else "") or what}, 503)


@get("/metrics")
async def metrics(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request, "text/plain")
    require_reader(call.actor, "the controller's metrics")
    return Response(call.here.metrics.text(), media_type="text/plain; version=0.0.4")


@get("/v1/openapi.json")
async def openapi(request: AnyRequest) -> Response[bytes]:
    return Response(request.app.state["openapi"], media_type="application/json")


@get("/v1/docs")
async def docs(request: AnyRequest) -> Response[bytes]:
    return _asset("docs.html", "text/html")


@get("/v1/docs.js")
async def docs_script(request: AnyRequest) -> Response[bytes]:
    return _asset("docs.js", "text/javascript")


def _asset(name: str, media_type: str) -> Response[bytes]:
    content = files("onehop.controller").joinpath("assets", name).read_bytes()
    headers = {"Content-Security-Policy": DOCS_POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


_TEXT = {"type": "string"}
_PROJECT = an_object({"id": _TEXT, "name": _TEXT, "role": _TEXT})
_WHOAMI = an_object(
    {
        "token": _TEXT,
        "name": _TEXT,
        "role": nullable(_TEXT),
        "projects": {"type": "array", "items": _PROJECT},
        "host": nullable(_TEXT),
        "project": nullable(_TEXT),
    }
)
_HEALTH = an_object({"version": _TEXT, "revision": {"type": "integer"}, "status": _TEXT, "store": _TEXT})

PATHS = {
    "/v1/whoami": {"get": operation("Who the token says is calling", _WHOAMI)},
    "/v1/health": {"get": operation("Whether the controller and its store are well", _HEALTH, public=True)},
    "/v1/openapi.json": {"get": operation("This document", {"type": "object"}, public=True)},
    "/metrics": {"get": operation("Metrics for Prometheus", None, reply_type="text/plain")},
}
PATHS["/v1/health"]["get"]["responses"]["503"] = {
    "description": "The store does not answer, or holds what this version cannot read."
}
HANDLERS = [whoami, health, metrics, openapi, docs, docs_script]
