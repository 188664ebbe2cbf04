"""The ways between machines and a machine outside that are compared, each in network namespaces of its own.

    a ═ host a ─ und0 ═══ und0 ─ host b ═ outside     between hosts; host b is the gateway
    a ═ host a ═ outside                              on one host (local)

`═` is a veth with one queue. With Onehop, all tenants' machines are on the same host. With nft, hosts forward
by their routing table, without a tunnel and without a filter, and the gateway does masquerade with conntrack.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.datapath.cloud import HOSTS, UNDERLAY, UNDERLAY_MTU
from bench.datapath.onehop import Running, host
from bench.datapath.paths import HOST_SETTINGS, MACHINE_SETTINGS, NIC, WIRE, Path, veth
from bench.nat.cloud import (
    FLOATING,
    OUTSIDE,
    TENANTS,
    UPLINK,
    UPLINK_INTERFACE,
    address,
    gateway,
    mac,
    topology,
)
from onehop.agent.slowpath.neighbours import coarse_now
from onehop.datapath.structs import LearnedNeighbour, NeighbourKey
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from onehop.model import Host, Port
from onehop.model.formats import parse_ip, parse_mac
from onehop.model.view import Topology

# No socket lingers after its end. Before each measurement Onehop forgets its connections, and so would give
# ports away again that the machine outside still remembers, which may refuse them for a second.
SETTINGS = {**MACHINE_SETTINGS, "net.ipv4.tcp_max_tw_buckets": "0"}
MASQUERADE = f"""table ip nat {{
  chain postrouting {{
    type nat hook postrouting priority 100;
    oifname "{UPLINK_INTERFACE}" masquerade
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Places:
    machines: Mapping[str, Namespace]
    hosts: tuple[Namespace, ...]
    outside: Namespace

    @property
    def gateway(self) -> Namespace:
        return self.hosts[-1]


@contextlib.contextmanager
def places(way: str, tenants: tuple[str, ...], *, local: bool) -> Iterator[Places]:
    """Machines, hosts and the machine outside, wired."""
    with contextlib.ExitStack() as stack:

        def make(kind: str, settings: Mapping[str, str]) -> Namespace:
            made = stack.enter_context(Namespace(f"bench-{os.getpid()}-{way}-{kind}").create())
            made.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            made.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
            for setting, value in settings.items():
                made.sysctl(setting, value)
            return made

        machines = {tenant: make(tenant, SETTINGS) for tenant in tenants}
        hosts = tuple(make(f"host-{name}", HOST_SETTINGS) for name in HOSTS[: 1 if local else 2])
        made = Places(machines, hosts, make("outside", SETTINGS))
        _wire(made)
        yield made


def _wire(made: Places) -> None:
    for tenant, machine in made.machines.items():
        veth(made.hosts[0], f"p-{tenant}", machine, NIC, macs=(f"{mac(tenant)[:-2]}fe", mac(tenant)))
        _connect(machine, f"{address(tenant)}/24", gateway(tenant))
    if len(made.hosts) > 1:
        veth(made.hosts[0], WIRE, made.hosts[1], WIRE, mtu=UNDERLAY_MTU)
        for namespace, ip in zip(made.hosts, UNDERLAY, strict=True):
            with Links(namespace) as links:
                links.address(WIRE, f"{ip}/24")
    else:
        with Links(made.hosts[0]) as links:
            links.address("lo", f"{UNDERLAY[0]}/32")
    veth(made.gateway, UPLINK_INTERFACE, made.outside, NIC)
    _connect(made.outside, f"{OUTSIDE}/30", UPLINK)


def _connect(machine: Namespace, cidr: str, gateway: str) -> None:
    with Links(machine) as links:
        links.address(NIC, cidr)
        links.route("0.0.0.0/0", via=gateway, interface=NIC)


@dataclass(frozen=True, slots=True)
class Gatewayed(Running):
    """Onehop's hosts, of which the last is the gateway."""

    outside: Namespace
    uplink: Port

    def forget(self) -> None:
        super(Gatewayed, self).forget()
        self.meet()

    def meet(self) -> None:
        """The gateway and the machine outside know each other; the agent, which would ask, is not here."""
        with Links(self.outside) as links:
            mac = parse_mac(links.mac(NIC))
            links.neighbour(NIC, UPLINK, self.uplink.mac)
        address = bytes(10) + b"\xff\xff" + parse_ip(OUTSIDE).packed
        known = LearnedNeighbour(mac, coarse_now())
        self.datapaths[-1].maps["learned_neighbours"].update(NeighbourKey(self.uplink.key, address), known)


@contextlib.contextmanager
def onehop(prefix: str, *, local: bool) -> Iterator[tuple[Running, dict[str, Path]]]:
    """The hosts, and a path for each figure."""
    view = topology(local=local)
    ids = {one.name: one.id for one in view.all(Host)}
    with places(f"{prefix}onehop", TENANTS, local=local) as made, contextlib.ExitStack() as stack:
        datapaths = tuple(
            stack.enter_context(host(namespace, view, ids[name]))
            for namespace, name in zip(made.hosts, HOSTS, strict=False)
        )
        paths = {}
        for name, tenant in (("routed", "plain"), ("masquerade", "shared"), ("fip", "own")):
            paths[name] = Path(name, (made.machines[tenant], made.outside), made.hosts, OUTSIDE)
        for name, tenant, target in (("routed_in", "plain", address("plain")), ("fip_in", "own", FLOATING)):
            paths[name] = Path(name, (made.outside, made.machines[tenant]), made.hosts, target)
        running = Gatewayed(paths["routed"], datapaths, made.outside, _uplink(view))
        running.meet()
        yield running, {prefix + name: path for name, path in paths.items()}


def _uplink(view: Topology) -> Port:
    return next(port for port in view.all(Port) if port.name == "uplink")


@contextlib.contextmanager
def nft(name: str, *, local: bool) -> Iterator[Path]:
    """The kernel forwards by its routing table, and the gateway's nftables do the masquerading."""
    with places(name, ("shared",), local=local) as made:
        for namespace in made.hosts:
            namespace.sysctl("net.ipv4.ip_forward", 1)
        with Links(made.hosts[0]) as links:
            links.address("p-shared", f"{gateway('shared')}/24")
            if not local:
                links.route("0.0.0.0/0", via=UNDERLAY[1], interface=WIRE)
        with Links(made.gateway) as links:
            links.address(UPLINK_INTERFACE, f"{UPLINK}/30")
            if not local:
                links.route(f"{address('shared')}/32", via=UNDERLAY[0], interface=WIRE)
        made.gateway.run("nft", MASQUERADE)
        # Connections that have ended are forgotten, as Onehop's are before each measurement.
        made.gateway.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait", 1)
        yield Path(name, (made.machines["shared"], made.outside), made.hosts, OUTSIDE)
