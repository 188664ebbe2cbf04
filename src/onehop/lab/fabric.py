"""The lab's cables: namespaces for hosts, controllers and machines, and the switch between the hosts.

    LAB-wire      a Linux bridge, the switched underlay
    LAB-h1 ...    hosts, each with `underlay0` on the switch
    LAB-c1 ...    controllers and etcd members, likewise
    LAB.web-1 ... machines, each with `eth0`, whose other end lies in its host

No interface is ever made outside of these namespaces.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from onehop.lab.ledger import Ledger, Process, start_time
from onehop.lab.spec import LabError, Underlay
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

UPLINK = "underlay0"
BRIDGE = "br0"


class Fabric:
    """Makes and removes what a ledger tells of."""

    def __init__(self, ledger: Ledger, underlay: Underlay) -> None:
        self.ledger = ledger
        self.underlay = underlay

    def node(self, name: str) -> Namespace:
        """The namespace of a host, controller or the switch."""
        return Namespace(f"{self.ledger.name}-{name}")

    def machine(self, vm: str) -> Namespace:
        return Namespace(f"{self.ledger.name}.{vm}")

    def make(self, namespace: Namespace) -> Namespace:
        """A fresh namespace with its loopback up."""
        if namespace.exists:
            raise LabError(
                f"a network namespace {namespace.name} exists already and is not this lab's; "
                "remove it, or give the lab another name"
            )
        self.ledger.namespaces.append(namespace.name)
        self.ledger.save()
        namespace.create()
        with Links(namespace) as links:
            links.up("lo")
        return namespace

    def make_switch(self) -> None:
        wire = self.make(self.node("wire"))
        # Its own traffic is none: no address on the bridge, and no multicast of its own to confuse a trace.
        wire.run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
        wire.run("ip", "link", "set", BRIDGE, "mtu", str(self.underlay.mtu), "up")

    def make_node(self, name: str, *addresses: str) -> Namespace:
        """A namespace on the switch, with these underlay addresses."""
        node = self.make(self.node(name))
        wire = self.node("wire")
        with Links(wire) as links:
            links.veth(f"to-{name}"[:15], node, UPLINK, mtu=self.underlay.mtu)
        wire.run("ip", "link", "set", f"to-{name}"[:15], "master", BRIDGE)
        with Links(node) as links:
            for address in addresses:
                links.address(UPLINK, f"{address}/{self.underlay.prefix_length}")
        return node

    def start(
        self, name: str, argv: list[str], namespace: Namespace, pass_fds: Sequence[int] = ()
    ) -> Process:
        """Start a program of the lab; what it says goes to its log."""
        log = self.log(name)
        with log.open("ab") as out:
            child = namespace.popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        started = start_time(child.pid)
        if started is None:
            raise LabError(f"{name} ended at once:\n{tail(log)}")
        process = Process(name, child.pid, started, tuple(argv), namespace.name)
        self.ledger.processes[name] = process
        self.ledger.save()
        return process

    def log(self, name: str) -> Path:
        return self.ledger.sub("logs") / f"{name}.log"


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
