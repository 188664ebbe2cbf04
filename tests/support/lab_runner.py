"""Runs what machines do in a scenario, with real machines in a lab.

Of a scenario's steps, these are taken: machines that ping, connect, ask, trace; changes, moves, interfaces
that go and come. Steps that send single packets are the simulation's and the kernel programs' to show.
"""

from __future__ import annotations

from functools import singledispatchmethod
from typing import Any

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from tests.support import scenario
from tests.support.lab_cloud import Tenant, table, until
from tests.support.real_traffic import SILENCE, Pair, connect, hops, ping, tcp, udp, unanswered
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
        isinstance(step, TAKEN) for step in case.steps
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
        with self.tenant:
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
        source, target = self.tenant.machine(src), self.tenant.machine(dst)
        address = self.tenant.address(dst, self.version)
        if step.fails is None:
            talk = {"ping": ping, "tcp": tcp, "udp": udp}[step.protocol]
            arguments = (source, address) if step.protocol == "ping" else (source, target, address, port)
            assert talk(*arguments), f"does not get through; dropped: {self.tenant.all_drops()}"  # type: ignore[operator]
            return
        before = self._drops((step.fails,), src, dst)
        if step.protocol == "ping":
            assert unanswered(source, address), "gets through"
        elif step.protocol == "tcp":
            assert not tcp(source, target, address, port, seconds=SILENCE), "gets through"
        else:
            assert not udp(source, target, address, port, seconds=SILENCE), "gets through"
        self._wait_for_drops((step.fails,), src, dst, before)

    @step.register
    def _(self, step: Open) -> None:
        client, _, server = step.open.removeprefix("tcp ").partition(" > ")
        (src, sport), (dst, dport) = (end.rsplit(":", 1) for end in (client, server))
        src, dst = self._path(src), self._path(dst)
        pair = connect(
            self.tenant.machine(src),
            self.tenant.machine(dst),
            self.tenant.address(dst, self.version),
            int(dport),
            int(sport),
        )
        assert pair is not None, f"does not open; dropped: {self.tenant.all_drops()}"
        self.open[step.as_] = (src, dst, pair)

    @step.register
    def _(self, step: scenario.Talk) -> None:
        src, dst, pair = self.open[step.talk]
        if step.fails is None:
            assert pair.talk(), f"says nothing; dropped: {self.tenant.all_drops()}"
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
        target = self.tenant.address(dst, self.version)
        wanted = [target if hop == dst.partition("/")[2] else hop for hop in step.hops]
        assert hops(self.tenant.machine(src), target) == wanted

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
        for port, host in step.move.items():
            self.tenant.move(self._path(port), self.hosts[host])

    @step.register
    def _(self, step: Interface) -> None:
        for name, state in step.interface.items():
            path = self._path(name)
            with Links(self.lab.fabric.node(self.tenant.places[path])) as links:
                getattr(links, state)(self.tenant.interface(path))
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

    def _drops(self, reasons: tuple[str, ...], *paths: str) -> int:
        return sum(self.tenant.drops(path, reason) for path in paths for reason in reasons)

    def _wait_for_drops(self, reasons: tuple[str, ...], src: str, dst: str, before: int) -> None:
        what = f"a drop for {' or '.join(reasons)}; there were {self.tenant.all_drops()}"
        until(what, lambda: self._drops(reasons, src, dst) > before, seconds=5)

    def _ends(self, text: str) -> tuple[str, str, int]:
        src, _, dst = text.partition(" > ")
        name, _, port = dst.partition(":")
        return self._path(src), self._path(name), int(port or 0)

    def _path(self, name: str) -> str:
        return path_of(self.document, name)

    def _host_of(self, path: str) -> str:
        network, _, name = path.partition("/")
        (binding,) = self.document["networks"][network]["ports"][name]["bindings"].values()
        return self.hosts[binding["host"]]


def _for_lab(document: Json) -> Json:
    """The document without hosts and bindings: those are the lab's."""
    document = {key: value for key, value in document.items() if key not in ("hosts", "underlays")}
    networks = {
        name: {
            **network,
            "ports": {
                port: {key: value for key, value in body.items() if key != "bindings"}
                for port, body in network.get("ports", {}).items()
            },
        }
        for name, network in document.get("networks", {}).items()
    }
    return {**document, "networks": networks}
