"""Projects in a lab, with real machines: what facts with real sockets are stated on.

A *tenant* is one project with its machines. Many of them live in one lab, side by side; that they have equal
addresses and never meet is part of what is shown.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from onehop.datapath.layouts import per_cpu
from onehop.datapath.libbpf import possible_cpus
from onehop.datapath.maps import PER_CPU, Map, open_map
from onehop.datapath.tables import TABLES, key_codec, value_codec
from onehop.lab.lab import Lab
from onehop.lab.spec import Vm, read
from onehop.linux.namespaces import Namespace
from onehop.model.vocabulary import Drop

Json = dict[str, Any]
_numbers = itertools.count(1)


def until(what: str, holds: Callable[[], bool], seconds: float = 20) -> None:
    """Return when a condition holds; fail when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


@contextmanager
def a_lab(name: str, **fields: Any) -> Iterator[Lab]:
    """A lab that is gone at the end, however that comes."""
    lab = Lab.up(read({"name": name, **fields}), lambda _: None)
    try:
        yield lab
    finally:
        lab.down(lambda _: None)


class Tenant:
    """A project of its own, made so by a document, with machines on the lab's hosts."""

    def __init__(self, lab: Lab, document: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """`places` tells the host of each machine by its port's path, `web/a`."""
        self.lab = lab
        self.name = f"p{next(_numbers)}"
        self.places: dict[str, str] = {}
        self.ports: dict[str, Json] = {}
        self._changes = itertools.count(1)
        with lab.client() as api:
            api.create("projects", {"name": self.name})
        self.api = lab.client(self.name)
        self.apply(document)
        for path, host in places.items():
            self.plug(path, host)
        self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(self.places):
            self.unplug(path)
        self.apply({})
        self.api.close()

    # --- the topology -------------------------------------------------------------------------------

    def apply(self, document: Mapping[str, Any]) -> None:
        """Make it so, and return when every host has it."""
        body = {**document, "project": self.name, "stack": self.name}
        *_, done = self.api.apply(body, wait=20)
        assert not done["convergence"]["waiting"], f"hosts that did not follow: {done}"

    def converge(self) -> None:
        """Every live host has what was changed up to now: it has come to a later change, of itself."""
        title = f"change {next(self._changes)} of {self.name}"
        with self.lab.client() as api:
            for host in self.lab.spec.hosts:
                waiting = api.update("hosts", host, {"title": title}, wait=20)["convergence"]["waiting"]
                assert not waiting, f"hosts that did not follow: {waiting}"

    def plug(self, path: str, host: str) -> None:
        self.lab.add_vm(Vm(self.vm(path), f"{self.name}:{path}", host))
        self.places[path] = host
        self.ports[path] = self.api.get("ports", path)

    def unplug(self, path: str) -> None:
        self.lab.remove_vm(self.vm(path))
        del self.places[path]

    def settle(self) -> None:
        for path in self.places:
            self.lab.wait_for_vm(self.api, self.vm(path))
        self.converge()

    def move(self, path: str, host: str) -> None:
        self.lab.move_vm(self.vm(path), host)
        self.places[path] = host
        self.settle()

    # --- what there is ------------------------------------------------------------------------------

    def vm(self, path: str) -> str:
        return f"{self.name}-{path.replace('/', '-')}"

    def machine(self, path: str) -> Namespace:
        return self.lab.fabric.machine(self.vm(path))

    def address(self, path: str, version: int = 4) -> str:
        found = [a["ip"] for a in self.ports[path]["addresses"] if (":" in a["ip"]) == (version == 6)]
        return str(found[0])

    def interface(self, path: str) -> str:
        return str(self.lab.vms[self.vm(path)]["interface"])

    def drops(self, path: str, reason: str) -> int:
        """How many packets of a port were dropped for a reason, on all hosts."""
        key = self.ports[path]["key"]
        return sum(count for (port, name), count in self.all_drops().items() if (port, name) == (key, reason))

    def all_drops(self) -> dict[tuple[int, str], int]:
        total: dict[tuple[int, str], int] = {}
        for host in self.lab.spec.hosts:
            with table(self.lab, host, "counters") as counters:
                for key, values in counters.items():
                    at = (key.port, Drop(key.drop).name.lower())
                    total[at] = total.get(at, 0) + sum(value.packets for value in values)
        return total


@contextmanager
def table(lab: Lab, host: str, name: str) -> Iterator[Map[Any, Any]]:
    """One of the tables that a host's programs use."""
    (folder,) = (lab.fabric.ledger.folder / "hosts" / host / "bpf").glob("tables-*")
    raw: Map[Any, Any] = open_map(folder / name)
    try:
        found = next(table for table in TABLES if table.name == name)
        value: Any = value_codec(found)
        raw = raw.typed(key_codec(found), per_cpu(value, possible_cpus()) if found.kind in PER_CPU else value)
        yield raw
    finally:
        raw.close()
