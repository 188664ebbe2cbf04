"""Load on the REST API: many connections that are kept open, requests one after the other on each."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit


class Wire:
    """One connection, with no more of HTTP than is needed to ask a controller."""

    def __init__(self, url: str, token: str, ca: str | None) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"

    async def open(self) -> Wire:
        host, port = self._address
        self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self._tls)
        return self

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(content)}\r\n"
        if content:
            head += "Content-Type: application/json\r\n"
        self._writer.write(head.encode() + b"\r\n" + content)
        reply = await self._reader.readuntil(b"\r\n\r\n")
        status = int(reply[9:12])
        lines = reply.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return status, await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


Request = tuple[str, str, Any]


async def rate(
    make: Callable[[], Wire], request: Callable[[int], Request], *, connections: int, seconds: float
) -> float:
    """Requests per second, all of which have to succeed. Bounded by the time given."""
    wires = await asyncio.gather(*(make().open() for _ in range(connections)))
    count = 0
    end = time.monotonic() + seconds

    async def one(wire: Wire) -> None:
        nonlocal count
        while time.monotonic() < end:
            count += 1
            status, reply = await wire.ask(*request(count))
            if status >= 300:
                raise RuntimeError(f"{status}: {reply[:300]!r}")

    started = time.monotonic()
    await asyncio.gather(*map(one, wires))
    taken = time.monotonic() - started
    for wire in wires:
        wire.close()
    return count / taken
