"""How long it takes until a host has the block of a port that has just been bound to it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from typing import Any

from bench.control.__main__ import filled
from bench.control.load import Wire
from bench.control.measures import Hosts, Measured
from bench.report import quantile

HOSTS = 20
AT_ONCE = 4  # requests
PATIENCE = 60.0
Json = dict[str, Any]


def measure(bindings: int, say: Callable[[str], None]) -> dict[str, float]:
    """Milliseconds from a request to bind a port until the host has been told of its block."""
    with (
        tempfile.TemporaryDirectory(prefix="onehop-bench-") as folder,
        filled(f"sqlite://{folder}/blocks.db", HOSTS, [], say) as store,
        store.controller() as measured,
    ):
        ports = _make(measured, bindings)
        hosts = [host["id"] for host in _list(measured, "hosts")]
        with store.hosts(measured, module="bench.nat.block_hosts") as told:
            say(f"{len(ports)} ports are bound, {AT_ONCE} at a time")
            times = asyncio.run(_bind(measured, told, ports, hosts))
    return {"block_assign_ms_p50": quantile(times, 0.5), "block_assign_ms_p99": quantile(times, 0.99)}


def _list(measured: Measured, plural: str) -> list[Json]:
    with measured.client() as api:
        return list(api.list(plural))


def _make(measured: Measured, count: int) -> list[str]:
    """A tenant behind one shared address, and its ports."""
    with measured.client() as api:
        api.create("projects", {"name": "nat"})
    with measured.client("nat") as api:
        for event in api.apply(_document(count)):
            if event.get("event") == "failed":
                raise RuntimeError(f"the tenant was not made: {event}")
        return [port["id"] for port in api.list("ports") if port["kind"] == "vm"]


def _document(ports: int) -> Json:
    out = {
        "addresses": [{"subnet": "internet/v4", "ip": "203.0.113.10"}],
        "nat_rules": {"all": {"action": "masquerade"}},
    }
    return {
        "stack": "nat",
        "networks": {
            "internet": {
                "grants": [{"allow": "external"}],
                "subnets": {"v4": {"cidr": "203.0.113.0/24"}},
                "ports": {"edge": {"kind": "router"}},
            },
            "web": {
                "subnets": {"v4": {"cidr": "10.0.0.0/16"}},
                "ports": {f"p{number}": {} for number in range(ports)},
            },
        },
        "routers": {"provider": {"attach": ["internet"]}, "edge": {"attach": ["web"], "ports": {"out": out}}},
        "links": {"edge-internet": {"a": "edge/out", "b": "internet/edge"}},
    }


async def _bind(measured: Measured, told: Hosts, ports: list[str], hosts: list[str]) -> list[float]:
    """Bind each port to one host after the other; the time that each took."""
    began: dict[tuple[str, str], int] = {}
    queue = [(port, hosts[number % len(hosts)], f"vm{number}") for number, port in enumerate(ports)]
    wires = await asyncio.gather(*(measured.wire().open() for _ in range(AT_ONCE)))
    listening = asyncio.create_task(_listen(told, began, len(ports)))

    async def work(wire: Wire) -> None:
        while queue:
            port, host, interface = queue.pop()
            began[port, host] = time.monotonic_ns()
            body = {"port": port, "host": host, "interface": interface}
            status, reply = await wire.ask("POST", "/v1/bindings", body)
            if status >= 300:
                raise RuntimeError(f"{status}: {reply[:300]!r}")

    try:
        await asyncio.gather(*map(work, wires))
        return await listening
    finally:
        listening.cancel()
        for wire in wires:
            wire.close()


async def _listen(told: Hosts, began: dict[tuple[str, str], int], count: int) -> list[float]:
    """The time until each host has said that it has been told of its port's first block."""
    taken: dict[tuple[str, str], float] = {}
    last = time.monotonic()
    while len(taken) < count:
        for line in told.lines():
            port, host, at = line.split()
            if (port, host) in began and (port, host) not in taken:
                taken[port, host] = (int(at) - began[port, host]) / 1e6
                last = time.monotonic()
        if time.monotonic() - last > PATIENCE:
            raise RuntimeError(f"of {count} ports, {len(taken)} have a block")
        await asyncio.sleep(0.0005)
    return list(taken.values())
