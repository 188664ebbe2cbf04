"""How long a change takes from the request to the last host that it concerns.

    python -m bench.feed_latency [--store URL] [--hosts 1000] [--tenants 1000] [--changes 200]

Fills an empty store with tenants of 50 ports (nine in ten on 8 hosts, the others on up to 200) behind one
provider router with two gateways, starts a controller on it, connects every host from two processes, and
changes ports over REST, one at a time. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from onehop.controller.auth import new_secret
from onehop.controller.keys import object_key
from onehop.model import (
    Binding,
    Host,
    HostAddress,
    Link,
    Network,
    Object,
    Port,
    PortAddress,
    Role,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Token,
    Underlay,
    kind_of,
)
from onehop.store import Put, open_store

PORTS = 50  # of a tenant
GATEWAYS = 2
PROCESSES = 2
CONNECT = 120.0  # seconds for all hosts to become current
SPREADS = (8,) * 18 + (50, 200)  # over how many hosts tenants stretch


class Cloud:
    """The objects of a cloud, in order of dependence."""

    def __init__(self, hosts: int, tenants: int, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self.objects: list[Object] = []
        self.secrets: dict[str, str] = {}
        self.ports: dict[str, list[str]] = {}  # port -> the hosts that a change of it concerns
        self.admin = self._administrator()
        underlay = self._add(Underlay(id=self._id(), name="u"))
        self.hosts = [self._host(n, underlay.id) for n in range(hosts)]
        self._edge = self._add(Router(id=self._id(), name="edge"))
        for n, host in enumerate(self.hosts[:GATEWAYS]):
            uplink = self._add(Port(id=self._id(), name=f"up{n}", router=self._edge.id, kind="router"))
            self._bind(uplink.id, host)
        for n, spread in zip(range(tenants), itertools.cycle(SPREADS), strict=False):
            self._tenant(n, min(spread, hosts - GATEWAYS))

    def _id(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def _add(self, obj: Object) -> Any:
        self.objects.append(obj)
        return obj

    def _host(self, n: int, underlay: str) -> str:
        address = HostAddress(underlay=underlay, ip=f"192.0.{n >> 8}.{n & 255}")
        host = self._add(Host(id=self._id(), name=f"h{n}", addresses=(address,)))
        id = self._id()
        secret = new_secret(id)
        self.secrets[host.id] = secret.text
        self._add(Token(id=id, name=f"t{n}", host=host.id, hash=secret.hash))
        self._add(Role(id=self._id(), name="r", token=id, role="host"))
        return str(host.id)

    def _administrator(self) -> str:
        id = self._id()
        secret = new_secret(id)
        self._add(Token(id=id, name="bench", hash=secret.hash))
        self._add(Role(id=self._id(), name="r", token=id, role="admin"))
        return secret.text

    def _bind(self, port: str, host: str) -> None:
        self._add(Binding(id=self._id(), name="at", port=port, host=host, interface=f"i{port[:8]}"))

    def _tenant(self, n: int, spread: int) -> None:
        add, id = self._add, self._id
        group = add(SecurityGroup(id=id(), name=f"g{n}"))
        add(
            SecurityGroupRule(
                id=id(), name="r", security_group=group.id, direction="ingress", remote_group=group.id
            )
        )
        network = add(Network(id=id(), name=f"n{n}"))
        subnet = add(Subnet(id=id(), name="v4", network=network.id, cidr="10.0.0.0/22", gateway="10.0.0.1"))
        router = add(Router(id=id(), name=f"r{n}"))
        inside = add(Port(id=id(), name="in", router=router.id, kind="router", mac=self._mac()))
        switched = add(Port(id=id(), name="r", network=network.id, kind="router", mac=self._mac()))
        outside = add(Port(id=id(), name="out", router=router.id, kind="router", mac=self._mac()))
        beyond = add(Port(id=id(), name=f"t{n}", router=self._edge.id, kind="router", mac=self._mac()))
        add(Link(id=id(), name="in", a=inside.id, b=switched.id))
        add(Link(id=id(), name="out", a=beyond.id, b=outside.id))
        add(Route(id=id(), name="d", router=router.id, destination="0.0.0.0/0"))
        hosts = self._chance.sample(self.hosts[GATEWAYS:], spread)
        for i in range(max(PORTS, spread)):
            address = PortAddress(subnet=subnet.id, ip=f"10.0.{(i + 10) >> 8}.{(i + 10) & 255}")
            port = add(
                Port(
                    id=id(),
                    name=f"p{i}",
                    network=network.id,
                    mac=self._mac(),
                    addresses=(address,),
                    security_groups=(group.id,),
                )
            )
            self._bind(port.id, hosts[i % spread])
            self.ports[port.id] = [*hosts, *self.hosts[:GATEWAYS]]

    def _mac(self) -> str:
        return "02:" + ":".join(f"{self._chance.randrange(256):02x}" for _ in range(5))


async def fill(url: str, cloud: Cloud) -> None:
    store = await open_store(url)
    writes = [Put(object_key(kind_of(obj).name, obj.id), msgspec.json.encode(obj)) for obj in cloud.objects]
    for start in range(0, len(writes), 100):
        await store.transact([], writes[start : start + 100])
    await store.close()


class Controller:
    def __init__(self, store: str, directory: Path) -> None:
        command = [sys.executable, "-m", "onehop.controller.main", "--store", store]
        command += ["--state", str(directory), "--listen", "127.0.0.1:0", "--insecure-http"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def rss(self) -> int:
        """In MiB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4 >> 10


class Fleet:
    """A process of simulated hosts."""

    def __init__(self, url: str, file: Path, hosts: Sequence[str], secrets: dict[str, str]) -> None:
        file.write_text("\n".join(f"{host} {secrets[host]}" for host in hosts))
        feed = url.replace("http", "ws", 1) + "/v1/feed"
        command = [sys.executable, "-m", "bench.simulated_hosts", feed, "--hosts", str(file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def running(cloud: Cloud, store: str, directory: Path) -> Iterator[tuple[Controller, list[Fleet]]]:
    controller = Controller(store, directory)
    fleets: list[Fleet] = []
    try:
        for n in range(PROCESSES):
            some = cloud.hosts[n::PROCESSES]
            fleets.append(Fleet(controller.url, directory / f"hosts{n}", some, cloud.secrets))
        yield controller, fleets
    finally:
        for process in (*(fleet.process for fleet in fleets), controller.process):
            process.kill()
            process.wait()


def connected(fleets: list[Fleet]) -> float:
    """Wait until every host has all that there is; how many seconds that took."""
    start = time.monotonic()
    while not all(told["current"] == told["of"] for told in (fleet.ask("current") for fleet in fleets)):
        if any(fleet.ask("traffic")["lost"] for fleet in fleets) or time.monotonic() - start > CONNECT:
            raise RuntimeError("hosts lost their connections, or did not become current in time")
        time.sleep(0.2)
    return time.monotonic() - start


def first(arrivals: list[tuple[int, float]], revision: int) -> float:
    """When a host had a revision. Several may have come as one."""
    return min(when for arrived, when in arrivals if arrived >= revision)


def change(cloud: Cloud, controller: Controller, fleets: list[Fleet], changes: int) -> dict[str, Any]:
    for fleet in fleets:
        fleet.ask("arrivals")
    chosen = random.Random(2).sample(sorted(cloud.ports), changes)
    sent: dict[int, tuple[float, float, str]] = {}
    cpu = controller.cpu()
    with httpx.Client(base_url=controller.url, headers={"Authorization": f"Bearer {cloud.admin}"}) as api:
        api.get("/v1/whoami")
        for n, port in enumerate(chosen):
            at = time.monotonic()
            reply = api.patch(f"/v1/ports/{port}", json={"title": f"change {n}"})
            reply.raise_for_status()
            sent[reply.json()["revision"]] = (at, time.monotonic() - at, port)
            time.sleep(0.02)
    time.sleep(1)
    used = controller.cpu() - cpu
    arrived: dict[str, list[tuple[int, float]]] = {}
    for fleet in fleets:
        for revision, host, when in fleet.ask("arrivals")["arrivals"]:
            arrived.setdefault(host, []).append((revision, when))
    last = sorted(
        1000 * (max(first(arrived[host], revision) for host in cloud.ports[port]) - at)
        for revision, (at, _, port) in sent.items()
    )
    others = sum(map(len, arrived.values())) - sum(len(cloud.ports[port]) for port in chosen)
    replied = sorted(took * 1000 for _, took, _ in sent.values())
    return {
        "change_to_host_ms_p50": round(last[len(last) // 2], 2),
        "change_to_host_ms_p99": round(last[int(len(last) * 0.99)], 2),
        "reply_ms_p50": round(replied[len(replied) // 2], 2),
        "controller_cpu_ms_per_change": round(used * 1000 / changes, 2),
        "deltas_beyond_one_per_change_and_host": others,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    arguments = parser.parse_args()
    cloud = Cloud(arguments.hosts, arguments.tenants)
    with tempfile.TemporaryDirectory(prefix="onehop-bench-") as name:
        directory = Path(name)
        store = arguments.store or f"sqlite://{directory}/store.db"
        asyncio.run(fill(store, cloud))
        with running(cloud, store, directory) as (controller, fleets):
            seconds = connected(fleets)
            figures = {
                "ports": len(cloud.ports),
                "hosts": len(cloud.hosts),
                "connect_all_s": round(seconds, 1),
            }
            figures |= change(cloud, controller, fleets, arguments.changes)
            print(json.dumps(figures | {"controller_rss_mib": controller.rss()}, indent=2))


if __name__ == "__main__":
    main()
