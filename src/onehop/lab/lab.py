"""A data centre on this machine: real programs in network namespaces.

`up` writes down each thing before it makes it, `down` removes what is written down. Nothing outside of the
lab's own namespaces and folder is touched, but for listening sockets on this machine's loopback.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onehop.client import Client, ClientError
from onehop.lab import machines, outside, power, programs
from onehop.lab.fabric import Fabric
from onehop.lab.ledger import Ledger, names
from onehop.lab.spec import ISP, LabError, Spec, Underlay, Vm, read
from onehop.lab.teardown import down
from onehop.linux.namespaces import Namespace

Say = Callable[[str], None]
Json = dict[str, Any]


def require_root() -> None:
    """Raises LabError for anybody else."""
    if os.geteuid() != 0:
        raise LabError("a lab makes network namespaces and loads eBPF programs, which takes root: use sudo")


class Lab:
    """A lab that is up."""

    def __init__(self, spec: Spec, fabric: Fabric) -> None:
        self.spec = spec
        self.fabric = fabric

    @classmethod
    def open(cls, name: str | None = None) -> Lab:
        """A lab by name; without one, the only lab there is."""
        if name is None:
            there = list(names())
            if len(there) != 1:
                raise LabError(
                    "there is no lab; start one with `onehop lab up FILE`"
                    if not there
                    else f"there are several labs: {', '.join(there)}; choose one with --lab"
                )
            name = there[0]
        ledger = Ledger.open(name)
        spec = _spec(ledger)
        return cls(spec, Fabric(ledger, spec.underlay))

    @classmethod
    def up(cls, spec: Spec, say: Say) -> Lab:
        """Build a lab. What was built is taken down again if a step fails."""
        ledger = Ledger.create(spec.name)
        ledger.facts["spec"] = asdict(spec)
        ledger.save()
        lab = cls(spec, Fabric(ledger, spec.underlay))
        try:
            lab._build(say)
        except BaseException:
            down(ledger, lambda _: None)
            raise
        return lab

    def _build(self, say: Say) -> None:
        say("laying the underlay")
        self.fabric.make_switch()
        if self.spec.etcd:
            say(f"starting etcd ({self.spec.etcd})")
            programs.start_etcd(self.fabric, self.spec)
        for number in range(self.spec.controllers):
            say(f"starting controller c{number + 1}")
            programs.start_controller(self.fabric, self.spec, number)
        with self.client() as api:
            self._make_hosts(api, say)
        if self.spec.uplinks:
            say("building the world outside")
            outside.build(self.fabric, self.spec)
            self._apply(outside.document(self.spec))
        if self.spec.topology:
            say("applying the topology")
            self._apply(self.spec.topology)
        for vm in self.spec.vms:
            say(f"starting machine {vm.name} on {vm.host}")
            self.add_vm(vm)
        self._settle(say)

    def _make_hosts(self, api: Client, say: Say) -> None:
        underlay = api.create("underlays", {"name": "lab", "mtu": self.spec.underlay.mtu})
        for host in self.spec.hosts:
            say(f"starting host {host}")
            address = self.spec.host_address(host)
            self.fabric.make_node(host, address)
            api.create("hosts", {"name": host, "addresses": [{"underlay": underlay["id"], "ip": address}]})
            token = api.call("POST", f"/v1/hosts/{host}/join-token", {})["token"]
            programs.start_agent(self.fabric, self.spec, host, token)

    def _apply(self, document: Any) -> None:
        project = document.get("project")
        with self.client() as api:
            if project and not any(p["name"] == project for p in api.list("projects")):
                api.create("projects", {"name": project})
        with self.client(project) as api:
            for event in api.apply({"stack": self.spec.name, **document}):
                if event.get("event") == "failed":
                    raise LabError(f"the topology was not applied: {event}")

    def _settle(self, say: Say) -> None:
        """Wait until every host has reported, and every machine's port forwards."""
        say("waiting until every host is there, and every port forwards")
        with self.client() as api:
            for host in self.spec.hosts:
                self._wait_for_host(api, host)
            for uplink in self.spec.uplinks:
                self._wait_for_port(api, f"{outside.PROJECT}:{outside.ROUTER}/{uplink.name}", uplink.host)
            for name in self.vms:
                self.wait_for_vm(api, name)

    def _wait_for_host(self, api: Client, host: str) -> None:
        self._wait_for(f"{host} has joined", lambda: machines.has_reported(api, host), host)

    def wait_for_vm(self, api: Client, name: str) -> None:
        """Wait until a machine's port forwards."""
        self._wait_for_port(api, self.vms[name]["port"], self.vms[name]["host"], name)

    def _wait_for_port(self, api: Client, port: str, host: str, name: str = "") -> None:
        what = f"the port of {name or port} forwards on {host}"
        self._wait_for(what, lambda: machines.is_active(api, port), host)

    def _wait_for(self, what: str, holds: Callable[[], bool], host: str) -> None:
        program = f"agent-{host}"
        process, log = self.fabric.ledger.processes[program], self.fabric.log(program)
        programs.wait_until(what, holds, process, log)

    # --- what it is made of -------------------------------------------------------------------------------

    @property
    def project(self) -> str | None:
        return (self.spec.topology or {}).get("project")

    @property
    def vms(self) -> Json:
        vms: Json = self.fabric.ledger.facts.get("vms", {})
        return vms

    def client(self, project: str | None = None) -> Client:
        return programs.client(self.fabric, project=project)

    def place(self, name: str) -> Namespace:
        """The namespace of a machine, host or controller."""
        if name in self.vms or name in self.spec.outside.machines:
            return self.fabric.machine(name)
        node = self.fabric.node(name)
        if node.name in self.fabric.ledger.namespaces:
            return node
        beyond = [*self.spec.outside.machines, ISP] if self.spec.uplinks else []
        doors = self.fabric.ledger.facts.get("doors", {})
        here = [*self.vms, *self.spec.hosts, *beyond, *doors, "wire"]
        raise LabError(f"there is no {name!r} in lab {self.spec.name}; there are {', '.join(here)}")

    def command(self, where: str, argv: Sequence[str]) -> list[str]:
        """What runs a command in a machine, host or controller."""
        return self.place(where).command(*argv)

    def environment(self) -> dict[str, str]:
        """What points the CLI at this lab."""
        return {
            "ONEHOP_CONFIG": str(self.contexts()),
            **({"ONEHOP_PROJECT": self.project} if self.project else {}),
        }

    def contexts(self) -> Path:
        """A contexts file for the lab's controllers, by way of this machine's loopback."""
        state = programs.state_of(self.fabric)
        doors: dict[str, int] = self.fabric.ledger.facts.get("doors", {})
        contexts = {
            name: {
                "url": f"https://127.0.0.1:{port}",
                "ca_file": str(state / "ca.pem"),
                "token_file": str(state / "admin-token"),
            }
            for name, port in doors.items()
        }
        path = self.fabric.ledger.folder / "contexts.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"current": next(iter(contexts), None), "contexts": contexts}, indent=1))
        return path

    # --- changes ------------------------------------------------------------------------------------------

    def add_vm(self, vm: Vm) -> None:
        if vm.name in self.vms or vm.name in self.spec.outside.machines:
            raise LabError(f"there is a machine {vm.name!r} already")
        with self.client(self.project) as api:
            machines.plug(self.fabric, api, vm)

    def remove_vm(self, name: str) -> None:
        """Pull a machine's plug and throw it away. Its port stays, bound to no host."""
        self._check_vm(name)
        with self.client() as api:
            machines.remove(self.fabric, api, name)

    def _check_vm(self, name: str) -> None:
        if name not in self.vms:
            raise LabError(f"there is no machine {name!r}; there are {', '.join(self.vms) or 'none'}")

    def move_vm(self, name: str, host: str) -> None:
        """Plug a machine into another host; it keeps its port, its addresses and its sockets."""
        self._check_vm(name)
        if host not in self.spec.hosts:
            raise LabError(f"{host!r} is no host of this lab; there are {', '.join(self.spec.hosts)}")
        was = dict(self.vms[name])
        if was["host"] == host:
            return
        with self.client(self.project) as api:
            machines.plug(self.fabric, api, Vm(name, was["port"], host))
        machines.unplug(self.fabric, was["host"], was["interface"])

    def restart(self, name: str) -> None:
        """Start a program again that was stopped or killed: `c1`, `agent-h1`."""
        process = self.fabric.ledger.processes.get(name)
        if process is not None:
            process.stop()
        if name.startswith("agent-"):
            programs.start_agent(self.fabric, self.spec, name.removeprefix("agent-"))
        elif name in self.fabric.ledger.facts.get("doors", {}):
            programs.start_controller(self.fabric, self.spec, int(name[1:]) - 1)
        else:
            raise LabError(f"{name!r} is no program that can be started again")

    def stop_host(self, host: str) -> None:
        """Take a host's power away; the router outside takes its routes by it away."""
        power.stop(self.fabric, self.spec, host)

    def start_host(self, host: str) -> None:
        power.start(self.fabric, self.spec, host)

    def announce(self, uplink: str, on: bool = True) -> None:
        """Give the router outside its routes by an uplink, or take them away."""
        outside.set_announced(self.fabric, self.spec, [uplink], on)

    def down(self, say: Say) -> None:
        down(self.fabric.ledger, say)

    # --- status -------------------------------------------------------------------------------------------

    def status(self) -> Json:
        processes = self.fabric.ledger.processes.values()
        return {
            "name": self.spec.name,
            "controllers": {
                name: f"https://127.0.0.1:{port}"
                for name, port in self.fabric.ledger.facts.get("doors", {}).items()
            },
            "hosts": {host: self.spec.host_address(host) for host in self.spec.hosts},
            "uplinks": self._uplinks(),
            "outside": {name: self.spec.outside.addresses(name) for name in self.spec.outside.machines},
            "programs": {p.name: {"pid": p.pid, "running": p.is_running} for p in processes},
            "vms": {name: {**vm, "status": self._port_status(vm["port"])} for name, vm in self.vms.items()},
            "folder": str(self.fabric.ledger.folder),
        }

    def _uplinks(self) -> Json:
        announced = outside.announced(self.fabric, self.spec)
        return {
            uplink.name: {
                "host": uplink.host,
                "interface": uplink.interface,
                "addresses": uplink.here,
                "announced": uplink in announced,
            }
            for uplink in self.spec.uplinks
        }

    def _port_status(self, port: str) -> Json | None:
        try:
            with self.client(self.project) as api:
                status: Json | None = api.get("ports", port).get("status")
                return status
        except ClientError:
            return None


def _spec(ledger: Ledger) -> Spec:
    """The lab as it was asked for, from the ledger."""
    facts = ledger.facts.get("spec")
    if not isinstance(facts, dict):
        return Spec(ledger.name)  # its start was cut short before anything was made
    store: Any = {"etcd": facts["etcd"]} if facts["etcd"] else "sqlite"
    vms = {vm["name"]: {"port": vm["port"], "host": vm["host"]} for vm in facts["vms"]}
    data = {key: facts[key] for key in ("name", "controllers", "topology")}
    underlay = asdict(Underlay(**facts["underlay"]))
    uplinks = {uplink["name"]: uplink["host"] for uplink in facts.get("uplinks", ())}
    beyond = {"outside": facts["outside"], "uplinks": uplinks} if uplinks else {}
    return read(
        {**data, "hosts": list(facts["hosts"]), "store": store, "underlay": underlay, "vms": vms, **beyond}
    )
