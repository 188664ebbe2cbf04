"""Hosts that follow for real but do nothing with it: `python -m bench.control.hosts CONTROLLER.json`.

One process plays many hosts, each with its own connection and credential. It says `ready` when all are up to
date; from then on it writes a line per change that a host was told: revision, time (ns, monotonic).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import uvloop

from onehop.agent.feed_link import Controllers, FeedLink
from onehop.feed.messages import Answer, Delta, Up

AT_ONCE = 50  # connections being made


class LightHost:
    """Holds nothing of what it is told, but that it was told."""

    incarnation = ""

    def __init__(self, id: str, controllers: Controllers) -> None:
        self.revisions: dict[str, int] = {}
        self.asks: set[str] = set()
        self.told: list[str] = []
        self.ready = asyncio.Event()
        self._link = FeedLink(id, "bench", controllers, self)

    async def run(self) -> None:
        await self._link.run()

    async def welcomed(self, incarnation: str, fresh: bool) -> None:
        pass

    async def take(self, delta: Delta) -> int | None:
        if not delta.last:
            return None
        if self.ready.is_set():
            if delta.puts or delta.removes:
                print(f"{delta.revision} {time.monotonic_ns()}")
        else:
            self.ready.set()
        return delta.revision

    def answered(self, answer: Answer) -> None:
        pass

    def backlog(self) -> Iterable[Up]:
        return ()


async def play(told: dict[str, object]) -> None:
    url, ca = str(told["url"]), str(told["ca"])
    gate = asyncio.Semaphore(AT_ONCE)
    tasks = []

    async def start(id: str, token: str) -> None:
        async with gate:
            host = LightHost(id, Controllers((url,), token, ca))
            tasks.append(asyncio.create_task(host.run()))
            await host.ready.wait()

    credentials: list[dict[str, str]] = told["hosts"]  # type: ignore[assignment]
    await asyncio.gather(*(start(one["id"], one["token"]) for one in credentials))
    print("ready", flush=True)
    while True:
        sys.stdout.flush()
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=False)  # type: ignore[union-attr]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(json.loads(Path(sys.argv[1]).read_text())))
