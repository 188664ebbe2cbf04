"""`/v1/feed`: the WebSocket over which a host with its own credential is fed. See `feed/messages.py`."""

from __future__ import annotations

from typing import cast

from litestar import asgi
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from onehop.controller import feed_socket
from onehop.controller.answers import Unauthorized, encode
from onehop.controller.auth import caller
from onehop.controller.parts import Parts
from onehop.model.view import View


def host_of(authorization: str | None, view: View) -> str | None:
    """The host whose credential came with a connection, if it is one: its role says so."""
    try:
        actor = caller(authorization, view)
    except Unauthorized:
        return None
    return actor.host if actor.cloud == "host" else None


@asgi("/v1/feed", copy_scope=False)
async def feed(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != ScopeType.WEBSOCKET:
        await _refuse(send)
        return
    here: Parts = scope["litestar_app"].state["parts"]
    host = host_of(Headers.from_scope(scope).get("authorization"), here.cache.view)
    await here.feed.serve_socket(host, cast(feed_socket.Receive, receive), cast(feed_socket.Send, send))


async def _refuse(send: Send) -> None:
    error = {"code": "upgrade_required", "message": "the feed is a WebSocket, for agents", "problems": []}
    headers = [(b"content-type", b"application/json"), (b"upgrade", b"websocket")]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": encode({"error": error}), "more_body": False})


HANDLERS = [feed]
