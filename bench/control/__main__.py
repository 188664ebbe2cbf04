"""Measure the control plane, on SQLite and on etcd: `python -m bench.control [--quick]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import report
from bench.control import measures
from bench.control.cloud import Tenant, even, tenants
from bench.control.measures import Measured
from tests.support.controller import Controller
from tests.support.etcd import EtcdCluster

HOSTS_FOR_CPU = 50  # that are connected while CPU per change is measured
TURNS = 10  # in which the large cloud and the small one are measured alternately
UNITS = {
    "rest_writes_per_s": "ports made, one per request",
    "rest_reads_per_s": "ports read, one per request",
    "apply_10k_ports_s": "s",
    "controller_rss_mib_100k": "MiB with 100,000 ports",
    "cold_start_100k_s": "s until it answers, 100,000 ports",
    "connect_1000_hosts_s": "s until 1,000 hosts have all that concerns them, 50,000 ports",
    "change_to_host_ms_p50": "ms until the last concerned host knows, 1,000 hosts, 50,000 ports",
    "change_to_host_ms_p99": "ms",
    "work_ratio_100k_vs_1k": "controller CPU per change, 100,000 ports to 1,000",
    "cli_ms": "ms for `onehop network list`",
}


class Scale:
    """How large things are; `--quick` is for trying the bench itself."""

    def __init__(self, quick: bool) -> None:
        by = 20 if quick else 1
        self.apply = 10_000 // by
        self.hosts, self.ports = 1000 // by, 50_000 // by
        self.small, self.large = 1000 // by, 100_000 // by
        self.changes = 200 // (4 if quick else 1)


Stores = Callable[[str], str]  # a name to the URL of a store of its own


def measure(stores: Stores, scale: Scale, say: Callable[[str], None]) -> dict[str, float]:
    figures: dict[str, float] = {}
    with Controller(stores("fresh")) as controller:
        measured = Measured(controller)
        say("REST, CLI")
        figures |= measures.rest(measured)
        figures["cli_ms"] = measures.cli(measured)
        say(f"apply {scale.apply} ports")
        figures["apply_10k_ports_s"] = measures.apply_ports(measured, scale.apply)
    fixed = even("fixed", min(100, scale.small // 2), 8)
    small = [fixed, *tenants(scale.small - len(fixed.hosts), HOSTS_FOR_CPU, "small")]
    spread = [fixed, *tenants(scale.ports - len(fixed.hosts), scale.hosts, "spread")]
    with (
        filled(stores("small"), HOSTS_FOR_CPU, small, say) as little,
        filled(stores("large"), scale.hosts, spread, say) as store,
    ):
        with store.controller() as measured:
            began = time.monotonic()
            with store.hosts(measured) as hosts:
                figures["connect_1000_hosts_s"] = time.monotonic() - began
                say("changes, until hosts know")
                concerned = (spread[1:] * scale.changes)[: scale.changes]
                figures |= measures.latency(measured, hosts, concerned)
        store.fill(0, tenants(scale.large - scale.ports, scale.hosts, "more"))
        began = time.monotonic()
        with store.controller() as measured:
            figures["cold_start_100k_s"] = time.monotonic() - began
            figures["controller_rss_mib_100k"] = measured.rss_mib()
            figures["work_ratio_100k_vs_1k"] = work_ratio((store, measured), little, fixed, scale)
    return figures


def work_ratio(large: tuple[Filled, Measured], little: Filled, tenant: Tenant, scale: Scale) -> float:
    """CPU per change of the controller of a large cloud to that of a small one, turn by turn."""
    store, measured = large
    with (
        store.hosts(measured, HOSTS_FOR_CPU) as hosts,
        little.controller() as small,
        little.hosts(small, HOSTS_FOR_CPU) as few,
    ):
        spent: tuple[list[float], list[float]] = ([], [])
        for _ in range(TURNS):
            for cpu, at, told in zip(spent, (measured, small), (hosts, few), strict=True):
                some = [tenant] * (scale.changes // TURNS)
                cpu.extend(used for _, used in measures.change(at, told, some))
        return median(spent[0]) / median(spent[1])


class Filled:
    """A store with tenants in it, for controllers to be started on, and the credentials of its hosts."""

    def __init__(self, url: str, folder: Path, say: Callable[[str], None]) -> None:
        self._url = url
        self._folder = folder
        self._say = say
        self._credentials: list[dict[str, str]] = []

    def fill(self, hosts: int, plan: list[Tenant]) -> None:
        self._say(f"filling a store: {sum(len(t.hosts) for t in plan)} ports, {hosts} hosts")
        file = self._folder / "plan.json"
        told = [{"name": tenant.name, "hosts": tenant.hosts} for tenant in plan]
        file.write_text(json.dumps({"hosts": hosts, "tenants": told}))
        command = [sys.executable, "-m", "bench.control.seed", self._url, str(file)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=400)
        self._credentials += json.loads(done.stdout)

    @contextmanager
    def controller(self) -> Iterator[Measured]:
        with Controller(self._url, directory=self._folder) as controller:
            yield Measured(controller)

    @contextmanager
    def hosts(
        self, measured: Measured, count: int | None = None, module: str = "bench.control.hosts"
    ) -> Iterator[measures.Hosts]:
        credentials = self._credentials[:count]
        self._say(f"{len(credentials)} hosts connect")
        with measures.following(measured, credentials, self._folder, module=module) as hosts:
            yield hosts


@contextmanager
def filled(url: str, hosts: int, plan: list[Tenant], say: Callable[[str], None]) -> Iterator[Filled]:
    with tempfile.TemporaryDirectory(prefix="onehop-bench-") as folder:
        store = Filled(url, Path(folder), say)
        with store.controller():
            pass  # the first start makes the administrator's token
        store.fill(hosts, plan)
        yield store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size; writes no figures")
    parser.add_argument("--only", choices=("sqlite", "etcd"))
    arguments = parser.parse_args()
    scale = Scale(arguments.quick)
    figures: dict[str, float] = {}
    began = time.monotonic()

    def say(text: str) -> None:
        load = f"load {os.getloadavg()[0]:.1f}"
        print(f"  [{time.monotonic() - began:5.0f} s, {load}] {text}", file=sys.stderr, flush=True)

    print(f"Control plane, on {report.machine()}")
    if arguments.only != "etcd":
        with tempfile.TemporaryDirectory(prefix="onehop-bench-") as folder:
            figures |= measure(lambda name: f"sqlite://{folder}/{name}.db", scale, say)
    if arguments.only != "sqlite":
        with EtcdCluster() as etcd:
            measured = measure(lambda name: etcd.url(f"/{name}/"), scale, say)
        figures |= {f"etcd_{name}": value for name, value in measured.items()}
    report.show(figures, UNITS | {f"etcd_{name}": unit for name, unit in UNITS.items()})
    if not arguments.quick and not arguments.only:
        print(f"written to {report.write('control', figures)}")


if __name__ == "__main__":
    main()
