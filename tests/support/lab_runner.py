"""Runs what machines do in a scenario, with real machines in a lab.

Of a scenario's steps, these are taken: machines that ping, connect, ask, trace; changes, moves, interfaces
that go and come. Steps that send single packets are the simulation's and the kernel programs' to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatchmethod
from typing import Any

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.support import scenario
from tests.support.lab_cloud import Tenant, table, until
from tests.support.lab_outside import World
from tests.support.real_traffic import (
    PATIENCE,
    SILENCE,
    Pair,
    Server,
    connect_to,
    hops,
    ping,
    udp_to,
    unanswered,
)
from tests.support.scenario import (
    Case,
    Change,
    Exchange,
    Forget,
    Interface,
    Move,
    Open,
    Send,
    Step,
    Traceroute,
    machines,
    merge,
    path_of,
)

Json = dict[str, Any]
TALKING = (Exchange, Open, scenario.Talk, Traceroute)
TAKEN = (*TALKING, Change, Move, Interface, Forget, Send)


def suits(case: Case) -> bool:
    """Whether machines talk in it, and nothing needs single packets to be understood."""
    return any(isinstance(step, TALKING) for step in case.steps) and all(
        isinstance(step, TAKEN) and "hosts" not in (step.change if isinstance(step, Change) else {})
        for step in case.steps
    )


class LabRunner:
    """One case, in a project of its own."""

    def __init__(self, case: Case, lab: Lab) -> None:
        self.case, self.lab = case, lab
        self.document = case.document
        names = sorted(case.hosts)
        self.hosts = {name: lab.spec.hosts[i % len(lab.spec.hosts)] for i, name in enumerate(names)}
        self.open: dict[str, tuple[str, str, Pair]] = {}
        self.version = 4 if case.family == "v4" else 6
        places = {path: self._host_of(path) for path in machines(self.document)}
        self.tenant = Tenant(lab, _for_lab(self.document), places)

    def run(self) -> None:
        uplinks = {path: self._host_of(path) for path in self.case.outside.neighbours}
        with self.tenant, World(self.tenant, self.case.outside, uplinks, self.version) as self.world:
            try:
                for number, step in enumerate(self.case.steps, 1):
                    try:
                        self.step(step)
                    except AssertionError as error:
                        raise AssertionError(f"{self.case.id}, step {number}: {step}\n  {error}") from error
            finally:
                for _, _, pair in self.open.values():
                    pair.close()

    @singledispatchmethod
    def step(self, step: Step) -> None:
        """Single packets are shown elsewhere."""

    # --- machines that talk -------------------------------------------------------------------------

    @step.register
    def _(self, step: Exchange) -> None:
        src, dst, port = self._ends(step.text)
        with self.world.via(step.via):
            if step.fails is None:
                assert self._talks(step.protocol, src, dst, port, PATIENCE), self._lost()
                return
            before = self._drops((step.fails,), src, dst)
            assert not self._talks(step.protocol, src, dst, port, SILENCE), "gets through"
            self._wait_for_drops((step.fails,), src, dst, before)

    def _talks(self, protocol: str, src: str, dst: str, port: int, seconds: float) -> bool:
        source, address = self._machine(src), self._address(dst)
        if protocol == "ping":
            return ping(source, address) if seconds > SILENCE else not unanswered(source, address)
        if protocol == "udp":
            return udp_to(source, (address, port), self._servers(dst, port), seconds)
        pair = connect_to(source, (address, port), self._servers(dst, port), seconds=seconds)
        if pair is None:
            return False
        with pair:
            return pair.talk()

    @step.register
    def _(self, step: Open) -> None:
        client, _, server = step.open.removeprefix("tcp ").partition(" > ")
        (src, sport), (dst, dport) = (end.rsplit(":", 1) for end in (client, server))
        dst = dst.strip("[]")
        with self.world.via(step.via):
            pair = connect_to(
                self._machine(src),
                (self._address(dst), int(dport)),
                self._servers(dst, int(dport)),
                int(sport),
            )
        assert pair is not None, self._lost()
        self.open[step.as_] = (src, dst, pair)

    @step.register
    def _(self, step: scenario.Talk) -> None:
        src, dst, pair = self.open[step.talk]
        with self.world.via(step.via):
            self._goes_on(step, src, dst, pair)

    def _goes_on(self, step: scenario.Talk, src: str, dst: str, pair: Pair) -> None:
        if step.fails is None:
            assert pair.talk(), self._lost()
            return
        for one, other, data in ((pair.client, pair.server, b"?"), (pair.server, pair.client, b"!")):
            # What may be a reply is sent on to ask for its record, and dropped where there is none.
            reasons = (step.fails, "unsolicited")
            before = self._drops(reasons, src, dst)
            assert not pair.carries(one, other, data, patience=SILENCE), "gets through"
            self._wait_for_drops(reasons, src, dst, before)

    @step.register
    def _(self, step: Traceroute) -> None:
        src, dst, _ = self._ends(step.traceroute)
        target = self._address(dst)
        wanted = [target if hop == dst.rpartition("/")[2] else hop for hop in step.hops]
        # In the simulation, the machines outside are right behind the uplinks.
        routers = self.case.outside.neighbours.values()
        assert [hop for hop in hops(self._machine(src), target) if hop not in routers] == wanted

    # --- changes ------------------------------------------------------------------------------------

    @step.register
    def _(self, step: Change) -> None:
        before = set(machines(self.document))
        self.document = merge(self.document, step.change)
        after = set(machines(self.document))
        for path in before - after:
            self.tenant.unplug(path)
        self.tenant.apply(_for_lab(self.document))
        for path in after & self.tenant.places.keys():
            self._readdress(path)
        for path in after - before:
            self.tenant.plug(path, self.hosts[self.case.hosts[0]])
        if after - before:
            self.tenant.settle()

    def _readdress(self, path: str) -> None:
        """A machine uses the addresses that its port has now, as DHCP would have it."""
        now = self.tenant.api.get("ports", path)
        if now["addresses"] != self.tenant.ports[path]["addresses"]:
            host = self.tenant.places[path]
            self.tenant.unplug(path)
            self.tenant.plug(path, host)
            self.tenant.settle()

    @step.register
    def _(self, step: Move) -> None:
        for name, host in step.move.items():
            path = self._path(name)
            if path in self.case.outside.neighbours:
                self.world.unplug(path)
                self.world.plug(path, self.hosts[host])
                self.world.settle()
            else:
                self.tenant.move(path, self.hosts[host])

    @step.register
    def _(self, step: Interface) -> None:
        for name, state in step.interface.items():
            path = self._path(name)
            if path in self.case.outside.neighbours:
                place, interface = self.world.wire(path)
            else:
                place, interface = self.lab.fabric.node(self.tenant.places[path]), self.tenant.interface(path)
            with Links(place) as links:
                getattr(links, state)(interface)
            wanted = {"up": "active", "down": "down"}[state]
            until(f"{path} is {wanted}", lambda path=path, wanted=wanted: self._state(path) == wanted)  # type: ignore[misc]

    @step.register
    def _(self, step: Forget) -> None:
        for host in self.lab.spec.hosts:
            for name in ("hints", "flows"):
                if name in step.forget:
                    with table(self.lab, host, name) as entries:
                        entries.clear()

    # --- names --------------------------------------------------------------------------------------

    def _state(self, path: str) -> str:
        return str((self.tenant.api.get("ports", path)["status"] or {}).get("state"))

    def _lost(self) -> str:
        return f"does not get through; dropped: {self.tenant.all_drops()}"

    def _drops(self, reasons: tuple[str, ...], *names: str) -> int:
        """Of these machines' ports. Where one is not a machine of the tenant's, of all its ports."""
        if all(name in self.own for name in names):
            paths = [self._path(name) for name in names]
            return sum(self.tenant.drops(path, reason) for path in paths for reason in reasons)
        keys = {port["key"] for port in self.tenant.api.list("ports")}
        found = self.tenant.all_drops().items()
        return sum(count for (key, name), count in found if key in keys and name in reasons)

    def _wait_for_drops(self, reasons: tuple[str, ...], src: str, dst: str, before: int) -> None:
        what = f"a drop for {' or '.join(reasons)}; there were {self.tenant.all_drops()}"
        until(what, lambda: self._drops(reasons, src, dst) > before, seconds=5)

    def _ends(self, text: str) -> tuple[str, str, int]:
        """`a > c:80`: who begins, the name or address that it speaks to, and the port."""
        src, _, dst = text.partition(" > ")
        if dst.startswith("["):
            name, _, port = dst[1:].partition("]:")
        else:
            name, _, port = dst.partition(":") if dst.count(":") <= 1 else (dst, "", "")
        return src, name, int(port or 0)

    @property
    def own(self) -> set[str]:
        """The names of the tenant's machines."""
        paths = machines(self.document)
        return {*paths, *(path.partition("/")[2] for path in paths)}

    def _machine(self, name: str) -> Namespace:
        outside = self.world.machines.get(name)
        return outside if outside is not None else self.tenant.machine(self._path(name))

    def _address(self, name: str) -> str:
        """Of a machine, or the address that is written."""
        if name in self.case.outside.machines:
            return self.case.outside.machines[name]
        return self.tenant.address(self._path(name), self.version) if name in self.own else name

    def _servers(self, name: str, port: int) -> list[Server]:
        """Whoever may be meant, at whichever port: who is reached by an address is seen where it arrives."""
        if name in self.own or name in self.case.outside.machines:
            return [(self._machine(name), (self._address(name), port))]
        everybody = [*self.world.machines, *machines(self.document)]
        wildcard = "0.0.0.0" if self.version == 4 else "::"
        return [
            (self._machine(one), (wildcard, at))
            for one in everybody
            for at in sorted({port, *self._forwards(port)})
        ]

    def _forwards(self, port: int) -> Iterator[int]:
        """The ports inside that a port outside may stand for."""
        for router in self.document.get("routers", {}).values():
            for end in router.get("ports", {}).values():
                for rule in end.get("nat_rules", {}).values():
                    if rule is not None and rule.get("to_port") is not None:
                        first, _, last = str(rule["ports"]).partition("-")
                        if int(first) <= port <= int(last or first):
                            yield rule["to_port"] + port - int(first)

    def _path(self, name: str) -> str:
        return path_of(self.document, name)

    def _host_of(self, path: str) -> str:
        device, _, name = path.partition("/")
        section = "networks" if device in self.document.get("networks", {}) else "routers"
        (binding,) = self.document[section][device]["ports"][name]["bindings"].values()
        return self.hosts[binding["host"]]


def _for_lab(document: Json) -> Json:
    """The document without hosts and bindings: those are the lab's."""
    document = {key: value for key, value in document.items() if key not in ("hosts", "underlays")}
    for section in ("networks", "routers"):
        devices = document.get(section, {})
        document[section] = {name: _unbound(device) for name, device in devices.items() if device is not None}
    return document


def _unbound(device: Json) -> Json:
    ports = {
        name: {key: value for key, value in body.items() if key != "bindings"}
        for name, body in (device.get("ports") or {}).items()
        if body is not None
    }
    return {**device, "ports": ports}
