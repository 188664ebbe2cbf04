"""Hosts that follow for real but do nothing with it: `python -m bench.control.hosts CONTROLLER.json`.

One process plays many hosts, each with its own connection and credential, and keeps nothing of what it is
told but when. It says `ready` when all are up to date; from then on it writes a line per change that a host
was told: revision, time (ns, monotonic).

The WebSocket client here is the least code that is one: a library's would take more of the machine than the
controller that is being measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import uvloop

from onehop.feed.codec import decode_down, encode
from onehop.feed.messages import VERSION, Alive, Applied, Delta, Goodbye, Hello, Up

BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA
AT_ONCE = 32  # hosts that connect at the same time
ALIVE = 4.0  # seconds between signs of life


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    rest: int  # where the next frame begins


def read_frame(buffer: bytearray) -> Frame | None:
    """The first frame in a buffer, when it is whole. Servers send frames unmasked."""
    if len(buffer) < 2:
        return None
    opcode, size, start = buffer[0] & 0x0F, buffer[1] & 0x7F, 2
    if not buffer[0] & 0x80:
        raise ValueError("a message in several frames, which controllers do not send")
    if size == 126:
        start = 4
    elif size == 127:
        start = 10
    if len(buffer) < start:
        return None
    if size >= 126:
        (size,) = struct.unpack_from("!H" if size == 126 else "!Q", buffer, 2)
    if len(buffer) < start + size:
        return None
    return Frame(opcode, bytes(buffer[start : start + size]), start + size)


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A client's frame. The mask is zero, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


class LightHost(asyncio.Protocol):
    """handshake -> following"""

    def __init__(self, url: SplitResult, id: str, token: str) -> None:
        self.ready = asyncio.Event()
        self._url = url
        self.id = id
        self._token = token
        self._buffer = bytearray()
        self._shaken = False
        self._told = False  # something, since the last whole change
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by inheritance
        lines = (
            f"GET {self._url.path} HTTP/1.1",
            f"Host: {self._url.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Authorization: Bearer {self._token}",
            "\r\n",
        )
        self._transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._buffer += data
        if not self._shaken and not self._shake():
            return
        while (frame := read_frame(self._buffer)) is not None:
            del self._buffer[: frame.rest]
            self._take(frame, now)

    def connection_lost(self, exc: Exception | None) -> None:
        print(f"host {self.id} lost its controller: {exc}", file=sys.stderr)
        self._transport = None

    def say(self, message: Up) -> None:
        if self._shaken:
            self._write(frame_of(BINARY, encode(message)))

    def _shake(self) -> bool:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            raise ValueError(f"the controller does not let {self.id} in: {head[:100]!r}")
        self._shaken = True
        self._buffer = bytearray(rest)
        self.say(Hello(VERSION, self.id, "bench", "", (), ()))
        return True

    def _take(self, frame: Frame, now: int) -> None:
        if frame.opcode == PING:
            self._write(frame_of(PONG, frame.payload))
        if frame.opcode != BINARY:
            return
        match decode_down(frame.payload):
            case Delta() as delta:
                self._change(delta, now)
            case Goodbye() as goodbye:
                print(f"host {self.id} was sent away: {goodbye.reason}", file=sys.stderr)

    def _change(self, delta: Delta, now: int) -> None:
        self._told |= bool(delta.puts or delta.removes)
        if self.ready.is_set():
            self.hear(delta, now)
        if not delta.last:
            return
        self._told = False
        self.ready.set()
        self.say(Applied(delta.revision))

    def hear(self, delta: Delta, now: int) -> None:
        """Part of a change; the last part ends it."""
        if delta.last and self._told:
            print(f"{delta.revision} {now}")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def connect(
    url: SplitResult, ca: str, credentials: list[dict[str, str]], kind: type[LightHost]
) -> list[LightHost]:
    """Connect all, some at a time, each until it has all that there is."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=ca)
    hosts = [kind(url, one["id"], one["token"]) for one in credentials]
    room = asyncio.Semaphore(AT_ONCE)

    async def one(host: LightHost) -> None:
        async with room:
            await loop.create_connection(lambda: host, url.hostname, url.port, ssl=context)
            await host.ready.wait()

    alive = asyncio.create_task(stay(hosts))
    try:
        await asyncio.gather(*map(one, hosts))
    finally:
        alive.cancel()
    return hosts


async def stay(hosts: list[LightHost]) -> None:
    while True:
        await asyncio.sleep(ALIVE)
        for host in hosts:
            host.say(Alive())


async def play(told: dict[str, object], kind: type[LightHost]) -> None:
    url = urlsplit(str(told["url"]))
    hosts = await connect(url, str(told["ca"]), cast(list[dict[str, str]], told["hosts"]), kind)
    print("ready", flush=True)
    staying = asyncio.create_task(stay(hosts))
    while not staying.done():
        sys.stdout.flush()
        await asyncio.sleep(0.005)


def main(kind: type[LightHost] = LightHost) -> None:
    sys.stdout.reconfigure(line_buffering=False)  # type: ignore[union-attr]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(json.loads(Path(sys.argv[1]).read_text()), kind))


if __name__ == "__main__":
    main()
