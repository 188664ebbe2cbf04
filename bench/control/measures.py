"""What is measured, one function per group of figures. Each takes a running controller."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.control.cloud import Tenant, document
from bench.control.load import Request, Wire, rate
from bench.report import quantile
from onehop.client import Client, Context
from tests.support.controller import Controller

CONNECTIONS = 16
SECONDS = 5.0
PATIENCE = 60.0


class Measured:
    """A controller with what clients need to know of it."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.token = (controller.directory / "admin-token").read_text().strip()
        self.ca = str(controller.directory / "ca.pem")

    @property
    def pid(self) -> int:
        assert self.controller.process is not None
        return self.controller.process.pid

    def client(self, project: str | None = None) -> Client:
        context = Context(self.controller.url, ca_file=self.ca, token=self.token, project=project)
        return Client.of(context, timeout=120)

    def wire(self) -> Wire:
        return Wire(self.controller.url, self.token, self.ca)

    def cpu_ns(self) -> int:
        """CPU time of all the controller's threads."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the controller has no VmRSS")


def rest(measured: Measured) -> dict[str, float]:
    """Ports made one per request, and read one per request."""
    with measured.client("default") as api:
        for name in (f"net-{n}" for n in range(CONNECTIONS)):
            api.create("networks", {"name": name})
            api.create("subnets", {"name": "v4", "network": name, "cidr": "10.0.0.0/16"})
        port = api.create("ports", {"name": "read-me", "network": "net-0"})

    def write(number: int) -> Request:
        body = {"name": f"w{number}", "network": f"net-{number % CONNECTIONS}"}
        return "POST", "/v1/ports?project=default", body

    def read(number: int) -> Request:
        return "GET", f"/v1/ports/{port['id']}", None

    return {
        f"rest_{name}_per_s": asyncio.run(rate(measured.wire, make, connections=CONNECTIONS, seconds=SECONDS))
        for name, make in (("writes", write), ("reads", read))
    }


def apply_ports(measured: Measured, ports: int) -> float:
    """Seconds that a document of so many ports takes, from sending it to its end."""
    with measured.client() as api:
        api.create("projects", {"name": "bulk"})
    with measured.client("bulk") as api:
        started = time.monotonic()
        for event in api.apply(document(ports)):
            last = event
        taken = time.monotonic() - started
        made = sum(1 for _ in api.list("ports"))
    if made != ports:
        raise RuntimeError(f"apply made {made} of {ports} ports; it ended with {last}")
    return taken


def cli(measured: Measured, runs: int = 15) -> float:
    """Milliseconds that a simple command takes, all in all."""
    command = [str(Path(sys.executable).parent / "onehop"), "network", "list", "-o", "json"]
    context = measured.controller.directory / "contexts.json"
    environment = {**os.environ, "ONEHOP_CONFIG": str(context), "ONEHOP_PROJECT": "default"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
    times = []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
        times.append((time.monotonic() - started) * 1000)
    return median(times)


# --- how long until hosts know ----------------------------------------------------------------------------


class Hosts:
    """The processes that play hosts, and what they say."""

    def __init__(self, files: list[Path], module: str) -> None:
        command = [sys.executable, "-m", module]
        self._players = [
            subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, text=True) for file in files
        ]
        self._rest = {player.pid: "" for player in self._players}

    def wait_ready(self) -> None:
        for player in self._players:
            assert player.stdout is not None
            if player.stdout.readline() != "ready\n":
                raise RuntimeError("the hosts did not come up")
            os.set_blocking(player.stdout.fileno(), False)

    def heard(self) -> Iterator[tuple[int, int]]:
        """What has been said since: (revision, time)."""
        for line in self.lines():
            revision, at = line.split()
            yield int(revision), int(at)

    def lines(self) -> Iterator[str]:
        for player in self._players:
            assert player.stdout is not None
            try:
                text = os.read(player.stdout.fileno(), 1 << 20).decode()
            except BlockingIOError:
                continue
            *whole, self._rest[player.pid] = (self._rest[player.pid] + text).split("\n")
            yield from whole

    def stop(self) -> None:
        for player in self._players:
            player.kill()
            player.wait()
            assert player.stdout is not None
            player.stdout.close()


@contextmanager
def following(
    measured: Measured,
    credentials: list[dict[str, str]],
    folder: Path,
    players: int = 2,
    module: str = "bench.control.hosts",
) -> Iterator[Hosts]:
    """Hosts that follow the controller, all of them up to date, played by processes of that module."""
    url = measured.controller.url.replace("https", "wss") + "/v1/feed"
    files = []
    for n in range(players):
        file = folder / f"hosts-{n}.json"
        file.write_text(json.dumps({"url": url, "ca": measured.ca, "hosts": credentials[n::players]}))
        files.append(file)
    hosts = Hosts(files, module)
    try:
        hosts.wait_ready()
        yield hosts
    finally:
        hosts.stop()


def change(measured: Measured, hosts: Hosts, tenants: list[Tenant]) -> list[tuple[float, float]]:
    """For a change of a port in each tenant: ms until the last host knows, ms of controller CPU."""
    wire = measured.wire()
    with asyncio.Runner() as runner:
        runner.run(wire.open())
        return [_one_change(runner, wire, measured, hosts, tenant) for tenant in tenants]


def _one_change(
    runner: asyncio.Runner, wire: Wire, measured: Measured, hosts: Hosts, tenant: Tenant
) -> tuple[float, float]:
    expected = len(set(tenant.hosts))
    path = f"/v1/ports/{tenant.name}:web/p0"
    body = {"title": f"changed {time.monotonic_ns()}"}
    cpu = measured.cpu_ns()
    started = time.monotonic_ns()
    status, reply = runner.run(wire.ask("PATCH", path, body))
    if status != 200:
        raise RuntimeError(f"{status}: {reply[:300]!r}")
    heard: list[int] = []
    while len(heard) < expected:
        heard += [at for _, at in hosts.heard()]
        if time.monotonic_ns() - started > PATIENCE * 1e9:
            raise RuntimeError(f"{len(heard)} of {expected} hosts heard of a change in {tenant.name}")
        time.sleep(0.0005)
    return (max(heard) - started) / 1e6, (measured.cpu_ns() - cpu) / 1e6


def latency(measured: Measured, hosts: Hosts, tenants: list[Tenant]) -> dict[str, float]:
    times = [ms for ms, _ in change(measured, hosts, tenants)]
    return {"change_to_host_ms_p50": median(times), "change_to_host_ms_p99": quantile(times, 0.99)}
