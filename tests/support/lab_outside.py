"""The world outside of a scenario, with real stacks: a router with a wire to each uplink, machines behind it.

Beyond all uplinks is the same router here, with the address of each neighbour on its wire. What is not for a
machine outside it sends by one of the uplinks, or by the one that a step names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from onehop.lab.outside import SETTINGS
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.support.lab_cloud import Tenant, until
from tests.support.scenario import Outside

LAN = {4: "198.18.0.1/32", 6: "2001:db8:18::1/128"}  # of the router, to every machine outside
DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


class World:
    def __init__(self, tenant: Tenant, outside: Outside, places: Mapping[str, str], version: int) -> None:
        """`places`: the host of each uplink."""
        self._tenant, self._outside, self._version = tenant, outside, version
        self._fabric = tenant.lab.fabric
        self._made: list[Namespace] = []
        self._numbers = itertools.count()
        self._wires: dict[str, tuple[str, str]] = {}  # uplink to its host, and the interface there
        self._hops: dict[str, list[str]] = {}  # uplink to the router's way to it
        self.machines: dict[str, Namespace] = {}
        if not places:
            return
        try:
            self.isp = self._make("isp")
            for name, value in SETTINGS.items():
                self.isp.sysctl(name, value)
            for name, ip in outside.machines.items():
                self.machines[name] = self._machine(name, ip)
            for path, host in places.items():
                self.plug(path, host)
            self.settle()
            self._route(self._hops)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(self._wires):
            self.unplug(path)
        for namespace in self._made:
            namespace.delete()
            self._fabric.ledger.namespaces.remove(namespace.name)
        self._fabric.ledger.save()

    def _make(self, name: str) -> Namespace:
        made = self._fabric.make(self._fabric.machine(f"{self._tenant.name}-{name}"))
        self._made.append(made)
        return made

    def _machine(self, name: str, ip: str) -> Namespace:
        machine, wire = self._make(name), f"lan{next(self._numbers)}"
        length = LAN[self._version].partition("/")[2]
        router = LAN[self._version].partition("/")[0]
        with Links(self.isp) as links:
            links.veth(wire, machine, "eth0")
            links.address(wire, LAN[self._version])
            links.route(f"{ip}/{length}", interface=wire)
        with Links(machine) as links:
            links.address("eth0", f"{ip}/{length}")
        route = ("ip", f"-{self._version}", "route", "add")
        machine.run(*route, f"{router}/{length}", "dev", "eth0")
        machine.run(*route, "default", "via", router, "dev", "eth0")
        return machine

    # --- uplinks --------------------------------------------------------------------------------------

    def plug(self, path: str, host: str) -> None:
        """A wire from the router outside to a host, and the uplink's port on it."""
        port = self._tenant.api.get("ports", path)
        wire, far = f"up{port['key']:06x}", f"to{next(self._numbers)}"
        own = next(a for a in port["addresses"] if (":" in a["ip"]) == (self._version == 6))
        node = self._fabric.node(host)
        with Links(node) as links:
            links.veth(wire, self.isp, far)
        with Links(self.isp) as links:
            links.address(far, f"{self._outside.neighbours[path]}/{own['prefix']}")
        self._wires[path] = (host, wire)
        self._hops[path] = ["nexthop", "via", own["ip"], "dev", far]
        with self._tenant.lab.client() as api:
            api.create("bindings", {"port": port["id"], "host": host, "interface": wire})

    def unplug(self, path: str) -> None:
        host, wire = self._wires.pop(path)
        with self._tenant.lab.client() as api:
            for binding in list(api.list("bindings", port=f"{self._tenant.name}:{path}")):
                api.delete("bindings", binding["id"])
        with Links(self._fabric.node(host)) as links:
            links.delete(wire)

    def settle(self) -> None:
        for path in self._wires:
            until(f"the uplink {path} forwards", lambda path=path: self.state(path) == "active")  # type: ignore[misc]

    def state(self, path: str) -> str:
        return str((self._tenant.api.get("ports", path)["status"] or {}).get("state"))

    def wire(self, path: str) -> tuple[Namespace, str]:
        host, wire = self._wires[path]
        return self._fabric.node(host), wire

    @contextmanager
    def via(self, uplink: str | None) -> Iterator[None]:
        """What the outside says comes in by this uplink."""
        if uplink is None:
            yield
            return
        self._route({uplink: self._hops[uplink]})
        try:
            yield
        finally:
            self._route(self._hops)

    def _route(self, hops: Mapping[str, list[str]]) -> None:
        ways: list[Any] = [word for path in hops if path in self._wires for word in hops[path]]
        self.isp.run("ip", f"-{self._version}", "route", "replace", DEFAULT[self._version], *ways)
