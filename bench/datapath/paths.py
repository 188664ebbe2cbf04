"""The ways between two machines that are compared, each in network namespaces of its own.

    raw     a ═════════════════════════════════════════ b        one veth
    others  a ═ pa ─ host a ─ und0 ═══ und0 ─ host b ─ pb ═ b    between hosts
    local   a ═ pa ─ host a ─ pb ═ b                             on one host

Machines and hosts are namespaces; `═` is a veth with one queue. Nothing is made outside of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from bench.datapath.cloud import (
    ADDRESSES,
    GATEWAYS,
    HOSTS,
    MACS,
    PORT_RULES,
    UNDERLAY,
    UNDERLAY_MTU,
)
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

NIC, WIRE = "eth0", "und0"
MACHINE_SETTINGS = {
    "net.ipv4.ip_local_port_range": "1024 64000",
    "net.ipv4.tcp_tw_reuse": "1",
}
HOST_SETTINGS = {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}

# The same filter as Onehop's security group, for a bridge: stateful, and every host judges for its machine.
FILTER = """table inet filter {{
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    {rules}
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Path:
    """Machine `a` reaches machine `b` at `target`."""

    name: str
    machines: tuple[Namespace, Namespace]
    hosts: tuple[Namespace, ...]
    target: str


@contextlib.contextmanager
def namespaces(path: str, hosts: int) -> Iterator[tuple[tuple[Namespace, Namespace], tuple[Namespace, ...]]]:
    """Two machines, and hosts for them."""
    prefix = f"bench-{os.getpid()}-{path}"
    with contextlib.ExitStack() as stack:
        made = {}
        for kind in ("vm", "host"):
            for name in HOSTS[: 2 if kind == "vm" else hosts]:
                made[kind, name] = stack.enter_context(Namespace(f"{prefix}-{kind}-{name}").create())
                made[kind, name].sysctl("net.ipv6.conf.all.disable_ipv6", 1)
                made[kind, name].sysctl("net.ipv6.conf.default.disable_ipv6", 1)
                for setting, value in (MACHINE_SETTINGS if kind == "vm" else HOST_SETTINGS).items():
                    made[kind, name].sysctl(setting, value)
        machines = (made["vm", "a"], made["vm", "b"])
        yield machines, tuple(made["host", name] for name in HOSTS[:hosts])


def veth(
    near: Namespace, name: str, far: Namespace, peer: str, *, mtu: int = 1500, macs: tuple[str, ...] = ()
) -> None:
    """`macs`: of the near end, of the far end; the kernel makes them up if there are none."""
    near_mac, far_mac = (["address", mac] for mac in macs) if macs else ([], [])
    near.run(
        *("ip", "link", "add", name, "mtu", str(mtu), *near_mac, "numtxqueues", "1", "numrxqueues", "1"),
        *("type", "veth", "peer", "name", peer, "mtu", str(mtu), *far_mac),
        *("numtxqueues", "1", "numrxqueues", "1", "netns", far.name),
    )
    for namespace, interface in ((near, name), (far, peer)):
        namespace.run("ip", "link", "set", interface, "up")


def plug(machines: tuple[Namespace, Namespace], hosts: tuple[Namespace, ...]) -> None:
    """Machines to hosts, and hosts to each other."""
    for i, machine in enumerate(machines):
        host = hosts[min(i, len(hosts) - 1)]
        veth(host, f"p{HOSTS[i]}", machine, NIC, macs=(gateway_mac(i), MACS[i]))
    if len(hosts) > 1:
        veth(hosts[0], WIRE, hosts[1], WIRE, mtu=UNDERLAY_MTU)
        for host, ip in zip(hosts, UNDERLAY, strict=True):
            address(host, WIRE, f"{ip}/24")


def gateway_mac(i: int) -> str:
    return f"02:00:00:00:0{i + 1}:fe"


def address(namespace: Namespace, interface: str, cidr: str) -> None:
    with Links(namespace) as links:
        links.address(interface, cidr)


def route_machines(machines: tuple[Namespace, Namespace]) -> None:
    """Each on a network of its own, with a router."""
    for machine, ip, gateway in zip(machines, ADDRESSES, GATEWAYS, strict=True):
        with Links(machine) as links:
            links.address(NIC, f"{ip}/24")
            links.route("0.0.0.0/0", via=gateway, interface=NIC)


def join_machines(machines: tuple[Namespace, Namespace]) -> str:
    """Both on one network; the address of the second."""
    for i, machine in enumerate(machines):
        address(machine, NIC, f"10.0.0.{i + 1}/24")
    return "10.0.0.2"


@contextlib.contextmanager
def raw() -> Iterator[Path]:
    with namespaces("raw", 0) as (machines, _):
        veth(machines[0], NIC, machines[1], NIC, macs=MACS)
        yield Path("raw", machines, (), join_machines(machines))


@contextlib.contextmanager
def routed(name: str, *, local: bool) -> Iterator[Path]:
    """The kernel forwards by its routing table; no overlay, no filter."""
    with namespaces(name, 1 if local else 2) as (machines, hosts):
        plug(machines, hosts)
        route_machines(machines)
        for i, gateway in enumerate(GATEWAYS):
            host = hosts[min(i, len(hosts) - 1)]
            address(host, f"p{HOSTS[i]}", f"{gateway}/24")
            host.sysctl("net.ipv4.ip_forward", 1)
            if not local:
                with Links(host) as links:
                    links.route(f"10.0.{2 - i}.0/24", via=UNDERLAY[1 - i])
        yield Path(name, machines, hosts, ADDRESSES[1])


@contextlib.contextmanager
def bridged(name: str, *, local: bool) -> Iterator[Path]:
    """A Linux bridge per host, a VXLAN device between them, nftables with conntrack on both."""
    with namespaces(name, 1 if local else 2) as (machines, hosts):
        plug(machines, hosts)
        rules = "\n    ".join(f"{protocol} dport {port} accept" for protocol, port in PORT_RULES)
        for i, host in enumerate(hosts):
            host.run("ip", "link", "add", "br0", "mtu", "1500", "type", "bridge")
            host.run("ip", "link", "set", "br0", "up")
            if not local:
                host.run(
                    *("ip", "link", "add", "vx0", "mtu", "1500", "type", "vxlan", "id", "77"),
                    *("local", UNDERLAY[i], "remote", UNDERLAY[1 - i], "dstport", "4789", "dev", WIRE),
                )
            for port in ("pa", "pb") if local else (f"p{HOSTS[i]}", "vx0"):
                host.run("ip", "link", "set", port, "master", "br0", "up")
            host.sysctl("net.bridge.bridge-nf-call-iptables", 1)
            host.run("nft", FILTER.format(rules=rules))
        yield Path(name, machines, hosts, join_machines(machines))
