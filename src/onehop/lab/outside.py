"""The world beyond the uplinks: a router, machines behind it, and the cloud's own side of it.

    LAB-isp          a router, with `uplink0` ... to the gateways and `lan0`, a bridge, to the machines
    LAB.internet-1   a machine outside, with `eth0`

The router outside has a route to the external network by every uplink that is announced, and splits
connections among them by their ports, as a router does that has heard of the network by BGP. The cloud's
side is the project `provider`: its router with the uplinks' ports, and the network `internet`, which is
granted to every project as external.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from onehop.lab.fabric import Fabric
from onehop.lab.spec import ISP, LabError, Spec, Uplink
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

Json = dict[str, Any]
PROJECT, ROUTER, NETWORK = "provider", "provider", "internet"
LAN, NIC = "lan0", "eth0"
GATEWAYS = ("198.51.100.1", "2001:db8:100::1")  # of the machines outside
LENGTHS = (24, 64)
DEFAULTS = ("0.0.0.0/0", "::/0")
SETTINGS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    # By addresses and ports, so that the connections of one machine are split, too.
    "net.ipv4.fib_multipath_hash_policy": 1,
    "net.ipv6.fib_multipath_hash_policy": 1,
    # What comes back by another uplink than it left by is no forgery.
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    # Addresses are used at once, not after seconds of asking whether somebody else has them.
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    # Every traceroute is answered.
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}


def document(spec: Spec) -> Json:
    """The provider's side: what makes the uplinks, the external network, and the routes between them."""
    return {
        "stack": "outside",
        "project": PROJECT,
        "networks": {
            NETWORK: {
                "mtu": 1500,
                "grants": [{"allow": "external"}],
                "subnets": {
                    f"v{_version(cidr)}": {"cidr": cidr, "dhcp": False, "ipv6_mode": "none"}
                    for cidr in spec.outside.subnets
                },
            }
        },
        "routers": {
            ROUTER: {
                "attach": [NETWORK],
                "ports": {uplink.name: _port(uplink) for uplink in spec.uplinks},
                "routes": {
                    f"v{_version(destination)}": {
                        "destination": destination,
                        "next_hops": [
                            {"ip": uplink.there[i], "port": f"{ROUTER}/{uplink.name}"}
                            for uplink in spec.uplinks
                        ],
                    }
                    for i, destination in enumerate(DEFAULTS)
                },
            }
        },
    }


def _version(prefix: str) -> int:
    return ipaddress.ip_network(prefix).version


def _port(uplink: Uplink) -> Json:
    return {
        "addresses": [{"ip": uplink.here[0], "prefix": 30}, {"ip": uplink.here[1], "prefix": 64}],
        "bindings": {"wire": {"host": uplink.host, "interface": uplink.interface}},
    }


# --- wires ----------------------------------------------------------------------------------------------


def build(fabric: Fabric, spec: Spec) -> None:
    """The router outside, its machines and the uplinks' wires. The hosts are there."""
    isp = fabric.make(fabric.node(ISP))
    for name, value in SETTINGS.items():
        isp.sysctl(name, value)
    isp.run("ip", "link", "add", LAN, "type", "bridge", "mcast_snooping", "0")
    isp.run("ip", "link", "set", LAN, "up")
    with Links(isp) as links:
        for address, length in zip(GATEWAYS, LENGTHS, strict=True):
            links.address(LAN, f"{address}/{length}")
    for number, machine in enumerate(spec.outside.machines):
        _machine(fabric.make(fabric.machine(machine)), isp, f"lan0-{number}", spec.outside.addresses(machine))
    for uplink in spec.uplinks:
        _wire(isp, fabric.node(uplink.host), uplink)
    announce(fabric, spec)


def _machine(machine: Namespace, isp: Namespace, interface: str, addresses: Iterable[str]) -> None:
    with Links(isp) as links:
        links.veth(interface, machine, NIC)
    isp.run("ip", "link", "set", interface, "master", LAN)
    with Links(machine) as links:
        for address, length, gateway, default in zip(addresses, LENGTHS, GATEWAYS, DEFAULTS, strict=True):
            links.address(NIC, f"{address}/{length}")
            links.route(default, via=gateway, interface=NIC)


def _wire(isp: Namespace, host: Namespace, uplink: Uplink) -> None:
    with Links(isp) as links:
        links.veth(uplink.interface, host, uplink.interface)
        for address, length in zip(uplink.there, (30, 64), strict=True):
            links.address(uplink.interface, f"{address}/{length}")


# --- routes ---------------------------------------------------------------------------------------------


def announced(fabric: Fabric, spec: Spec) -> list[Uplink]:
    """The uplinks by which the router outside has routes."""
    withdrawn = fabric.ledger.facts.get("withdrawn", ())
    return [uplink for uplink in spec.uplinks if uplink.name not in withdrawn]


def set_announced(fabric: Fabric, spec: Spec, uplinks: Iterable[str], on: bool) -> None:
    """Give the router outside its routes by these uplinks, or take them away, as BGP would."""
    withdrawn = set(fabric.ledger.facts.get("withdrawn", ()))
    for name in uplinks:
        if all(uplink.name != name for uplink in spec.uplinks):
            there = ", ".join(uplink.name for uplink in spec.uplinks) or "none"
            raise LabError(f"there is no uplink {name!r}; there are {there}")
        (withdrawn.discard if on else withdrawn.add)(name)
    fabric.ledger.facts["withdrawn"] = sorted(withdrawn)
    fabric.ledger.save()
    announce(fabric, spec)


def announce(fabric: Fabric, spec: Spec) -> None:
    """Make the routes of the router outside what they should be."""
    uplinks = announced(fabric, spec)
    for prefix in (*spec.outside.subnets, *fabric.ledger.facts.get("routed", ())):
        argv = ["ip", f"-{_version(prefix)}", "route", "replace"]
        ways = list(_ways(prefix, uplinks))
        if not ways:
            argv.append("unreachable")
        fabric.node(ISP).run(*argv, prefix, *ways)


def _ways(prefix: str, uplinks: Iterable[Uplink]) -> Iterator[str]:
    index = int(_version(prefix) == 6)
    for uplink in uplinks:
        yield from ("nexthop", "via", uplink.here[index], "dev", uplink.interface)


def route(fabric: Fabric, spec: Spec, prefix: str) -> None:
    """Lead a prefix more to the cloud."""
    fabric.ledger.facts.setdefault("routed", []).append(prefix)
    fabric.ledger.save()
    announce(fabric, spec)
