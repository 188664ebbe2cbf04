"""Many hosts in one process, each with a real connection to a controller's feed: for benchmarks.

    python -m bench.simulated_hosts ws://127.0.0.1:9595/v1/feed --hosts FILE [--ca FILE]

FILE has a line `ID TOKEN` per host. Each host follows from nothing, applies at once, and keeps nothing but
the time at which each revision arrived whole. Commands on standard input, answers as JSON lines:

    current     {"current": how many have all that there was, "of": how many hosts there are}
    arrivals    {"arrivals": [[revision, host, seconds], ...]} since last asked; the clock is time.monotonic()
    traffic     {"bytes": received so far, "frames": ..., "lost": connections that ended}

A WebSocket client in the least code that is one: a library's would take more of the machine than the
controller that is being measured.
"""

from __future__ import annotations

import argparse
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


class Totals:
    def __init__(self) -> None:
        self.arrivals: list[tuple[int, str, float]] = []
        self.bytes = 0
        self.frames = 0
        self.lost: list[str] = []


class SimulatedHost(asyncio.Protocol):
    """handshake -> following -> over"""

    def __init__(self, url: SplitResult, host: str, token: str, totals: Totals) -> None:
        self.current = asyncio.Event()
        self._url = url
        self._host = host
        self._token = token
        self._totals = totals
        self._buffer = bytearray()
        self._shaken = False
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
        self._totals.bytes += len(data)
        self._buffer += data
        if not self._shaken and not self._shake():
            return
        while (frame := read_frame(self._buffer)) is not None:
            del self._buffer[: frame.rest]
            self._take(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._totals.lost.append(self._host)
        self._transport = None

    def alive(self) -> None:
        self._say(Alive())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _shake(self) -> bool:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            raise ValueError(f"the controller does not let {self._host} in: {head[:100]!r}")
        self._shaken = True
        self._buffer = bytearray(rest)
        self._say(Hello(VERSION, self._host, "simulated", "", (), ()))
        return True

    def _take(self, frame: Frame) -> None:
        if frame.opcode == PING:
            self._write(frame_of(PONG, frame.payload))
        if frame.opcode != BINARY:
            return
        self._totals.frames += 1
        message = decode_down(frame.payload)
        if isinstance(message, Delta) and message.last:
            self._totals.arrivals.append((message.revision, self._host, time.monotonic()))
            self.current.set()
            self._say(Applied(message.revision))
        elif isinstance(message, Goodbye):
            print(f"{self._host} was sent away: {message.reason}", file=sys.stderr)

    def _say(self, message: Up) -> None:
        if self._shaken:
            self._write(frame_of(BINARY, encode(message)))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class Fleet:
    def __init__(self, url: str, hosts: list[tuple[str, str]], ca: str | None) -> None:
        self._url = urlsplit(url)
        self._address = (self._url.hostname or "127.0.0.1", self._url.port or 9595)
        self._context = ssl.create_default_context(cafile=ca) if self._url.scheme == "wss" else None
        self.totals = Totals()
        self.hosts = [SimulatedHost(self._url, host, token, self.totals) for host, token in hosts]

    async def connect(self) -> None:
        """Connect all, some at a time, each until it has all that there is."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(AT_ONCE)

        async def one(host: SimulatedHost) -> None:
            async with room:
                await loop.create_connection(lambda: host, *self._address, ssl=self._context)
                await host.current.wait()

        await asyncio.gather(*(one(host) for host in self.hosts))

    async def stay(self) -> None:
        while True:
            await asyncio.sleep(ALIVE)
            for host in self.hosts:
                host.alive()

    def answer(self, command: str) -> dict[str, object]:
        totals = self.totals
        match command:
            case "current":
                return {"current": sum(h.current.is_set() for h in self.hosts), "of": len(self.hosts)}
            case "arrivals":
                arrivals, totals.arrivals = totals.arrivals, []
                return {"arrivals": arrivals}
            case "traffic":
                return {"bytes": totals.bytes, "frames": totals.frames, "lost": len(totals.lost)}
            case _:
                return {"error": f"no such command: {command}"}


def started() -> Fleet:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--hosts", required=True)
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    lines = Path(arguments.hosts).read_text().splitlines()
    hosts = [(host, token) for host, _, token in (line.partition(" ") for line in lines)]
    return Fleet(arguments.url, hosts, arguments.ca)


async def main() -> None:
    fleet = started()
    tasks = [asyncio.create_task(fleet.connect()), asyncio.create_task(fleet.stay())]
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async for line in commands:
        print(json.dumps(fleet.answer(line.decode().strip())), flush=True)
    for host in fleet.hosts:
        host.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main())
