"""The feed over an ASGI WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from onehop.controller.feed_server import FeedServer
from onehop.controller.feed_session import Closed

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]


class Socket:
    """A WebSocket that is accepted. Only binary frames are let through."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def receive(self) -> bytes:
        message = await self._receive()
        frame = message.get("bytes")
        if message["type"] != "websocket.receive" or not isinstance(frame, bytes):
            raise Closed
        return frame

    async def send(self, frame: bytes) -> None:
        try:
            await self._send({"type": "websocket.send", "bytes": frame})
        except (OSError, RuntimeError) as error:  # what servers raise when the other side is gone
            raise Closed from error

    async def close(self) -> None:
        try:
            await self._send({"type": "websocket.close", "code": 1000})
        except (OSError, RuntimeError) as error:
            raise Closed from error


async def serve_socket(feed: FeedServer, host: str | None, receive: Receive, send: Send) -> None:
    """Serve a WebSocket that waits to be accepted; `host` is whose credential came with it, if any."""
    if (await receive())["type"] != "websocket.connect":
        return
    if host is None:
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.accept"})
    await feed.serve(Socket(receive, send), host)
