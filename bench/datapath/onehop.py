"""Onehop's path: what an agent does at its start, without a controller, for each host of a topology.

Compiler, tables, programs and attachments are the agent's own (`onehop.agent.host`); only the feed is
missing, since the topology is there from the beginning and does not change.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File

from bench.datapath import paths
from bench.datapath.cloud import ADDRESSES, HOSTS, topology
from onehop.agent import devices
from onehop.agent.attachments import Attachments
from onehop.agent.host import Host, Surroundings
from onehop.datapath.attach import Direction
from onehop.datapath.pinned import PinnedDatapath
from onehop.datapath.pins import mount_bpffs, unmount_bpffs
from onehop.linux.monitor import Monitor
from onehop.linux.namespaces import Namespace
from onehop.model import Host as HostObject
from onehop.model.view import Topology

LEARNED = ("records", "translated", "hints", "openers", "flows")
OWN = frozenset({devices.INJECT, devices.INJECT_PEER, devices.VXLAN})


@dataclass(frozen=True, slots=True)
class Running:
    """A path by Onehop, and the datapaths of its hosts."""

    path: paths.Path
    datapaths: tuple[PinnedDatapath, ...]

    def forget(self) -> None:
        """No connection has been seen, no flow decided."""
        for datapath in self.datapaths:
            for table in (datapath.maps[name] for name in LEARNED):
                table.delete_many([key for key, _ in table.items()])
            datapath.maps["uses"].update(0, 0)


@contextlib.contextmanager
def onehop(name: str, *, local: bool) -> Iterator[Running]:
    view = topology(local=local)
    with contextlib.ExitStack() as stack:
        machines, hosts = stack.enter_context(paths.namespaces(name, 1 if local else 2))
        paths.plug(machines, hosts)
        paths.route_machines(machines)
        if local:
            paths.address(hosts[0], "lo", "192.168.100.1/32")
        ids = {host.name: host.id for host in view.all(HostObject)}
        datapaths = tuple(
            stack.enter_context(host(namespace, view, ids[host_name]))
            for namespace, host_name in zip(hosts, HOSTS, strict=False)
        )
        yield Running(paths.Path(name, machines, hosts, ADDRESSES[1]), datapaths)


@contextlib.contextmanager
def host(namespace: Namespace, view: Topology, id: str) -> Iterator[PinnedDatapath]:
    """What an agent makes of a namespace."""
    with contextlib.ExitStack() as stack:
        pins = File(stack.enter_context(tempfile.TemporaryDirectory(prefix="onehop-bench-"))) / "bpf"
        mount_bpffs(pins)
        stack.callback(unmount_bpffs, pins)
        with namespace.entered():
            datapath = _start(view, id, pins)
        stack.callback(datapath.close)
        yield datapath


def _start(view: Topology, id: str, pins: File) -> PinnedDatapath:
    inject = devices.inject_device()
    datapath = PinnedDatapath.open(pins, {"inject_ifindex": inject})
    attachments = Attachments(pins)
    attachments.put(inject, Direction.EGRESS, datapath.programs["inject"])
    devices.vxlan_device(4789)
    monitor = Monitor()
    around = Surroundings(dict(monitor.links), frozenset(monitor.addresses), OWN)
    monitor.close()
    host = Host(id, view, datapath, attachments, None, lambda numbers: None, {}, devices.prepare)
    wrong = [said.reason for said in host.start(around) if said.state != "active"]
    attachments.close()
    if wrong or host.problems:
        raise RuntimeError(f"Onehop's path does not work: {wrong or host.problems}")
    return datapath
