"""A small cloud of slots, each of which can hold one of several objects or none: for random topologies.

Not all that comes out is a valid topology: ports without their network, links without ends, routes without a
way. A host sees such things for as long as it takes to follow them, and has to end up right.
"""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

import msgspec

from onehop.compiler.compile import Local
from onehop.compiler.facts import Interface
from onehop.model import (
    Acl,
    AclRule,
    AddressGroup,
    AddressGroupEntry,
    AddressPair,
    Binding,
    FloatingIp,
    Grant,
    Host,
    HostAddress,
    Link,
    Match,
    NatRule,
    Network,
    NextHop,
    Object,
    Port,
    PortAddress,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    SnatBlock,
    Subnet,
    Underlay,
)
from onehop.model.switching import Pool

KINDS = (
    *("network", "router", "port", "link", "binding", "group", "rule", "acl", "addresses", "entry"),
    *("host", "subnet", "route", "underlay", "translation", "floating", "block"),
)
HERE = 0  # the host that is compiled for

ObjectT = TypeVar("ObjectT", bound=Object)


def uid(kind: str, n: int) -> str:
    return str(UUID(int=(KINDS.index(kind) + 1 << 64) + n))


def made(type: type[ObjectT], what: str, n: int, **fields: Any) -> ObjectT:
    return type(id=uid(what, n), name=f"{what}{n}", **fields)


def variants(obj: ObjectT, *changes: dict[str, Any]) -> list[Object]:
    return [obj, *(msgspec.structs.replace(obj, **change) for change in changes)]


def _networks() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(4):
        network = made(Network, "network", n, key=10 + n)
        slots.append(
            variants(
                network,
                {"mtu": 1400, "unknown_unicast": "flood", "learning": True},
                {"grants": (Grant(allow="external"),)},
                {"acls_in": (uid("acl", n % 3),), "acls_out": (uid("acl", 0), uid("acl", 1))},
            )
        )
        v4 = made(Subnet, "subnet", n, network=network.id, cidr=f"10.0.{n}.0/24")
        v6 = made(Subnet, "subnet", 4 + n, network=network.id, cidr=f"fd00:{n + 1}::/64")
        slots.append(variants(v4, {"dhcp": False}, {"cidr": f"10.0.{n}.0/26"}))
        slots.append(variants(v6, {"ipv6_mode": "dhcpv6"}))
    return slots


def _address(n: int, ip: int) -> tuple[PortAddress, ...]:
    return (
        PortAddress(subnet=uid("subnet", n), ip=f"10.0.{n}.{ip}"),
        PortAddress(subnet=uid("subnet", 4 + n), ip=f"fd00:{n + 1}::{ip}"),
    )


def _port(n: int, **fields: Any) -> Port:
    return made(Port, "port", n, key=100 + n, mac=f"02:00:00:00:00:{n:02x}", **fields)


def _machines() -> list[list[Object]]:
    """Ports 0 to 6, on networks 0 to 3."""
    slots = []
    for n in range(7):
        port = _port(n, network=uid("network", n % 4), addresses=_address(n % 4, 10 + n))
        pairs = (
            AddressPair(cidr="10.9.0.0/16", mac="02:99:00:00:00:01"),
            AddressPair(cidr="::/0"),
        )
        slots.append(
            variants(
                port,
                {"security_groups": (uid("group", n % 3),), "addresses": _address(n % 4, 10)},
                {"security_groups": (uid("group", 0), uid("group", 2)), "acls_in": (uid("acl", 1),)},
                {"port_security": False, "allowed_address_pairs": pairs},
                {"allowed_address_pairs": pairs, "admin_up": False, "mac": "02:00:00:00:00:aa"},
                {"kind": "service"},
            )
        )
    return slots


def _ends() -> list[list[Object]]:
    """Ports 10 to 13 are networks' ends of links, 14 to 21 routers' ports."""
    slots = []
    for n in range(4):
        end = _port(10 + n, network=uid("network", n), kind="router")
        slots.append(variants(end, {"admin_up": False}, {"acls_out": (uid("acl", 2),)}))
    for n in range(8):
        port = _port(14 + n, router=uid("router", n // 2), kind="router")
        transit = (PortAddress(ip=f"172.16.{n // 2}.{n % 2 + 1}", prefix=30),)
        slots.append(
            variants(
                port,
                {"addresses": _address(n % 4, 1)},
                {"addresses": transit},
                {"addresses": transit, "admin_up": False},
            )
        )
    return slots


def _joins() -> list[list[Object]]:
    ends = [(14, 10), (15, 11), (16, 11), (17, 12), (18, 15), (19, 16), (20, 13), (21, 10), (18, 12)]
    return [[made(Link, "link", n, a=uid("port", a), b=uid("port", b))] for n, (a, b) in enumerate(ends)]


def _routers() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(4):
        router = made(Router, "router", n)
        acls = {"acls_forward": (uid("acl", 0),), "acls_out": (uid("acl", 0), uid("acl", 1))}
        slots.append(variants(router, {"admin_up": False}, acls))
    destinations = ["0.0.0.0/0", "10.0.0.0/8", "10.0.1.0/24", "::/0", "fd00:2::/64", "10.0.0.0/8"]
    for n, destination in enumerate(destinations):
        route = made(Route, "route", n, router=uid("router", 0), destination=destination)
        by_port = (NextHop(port=uid("port", 14)), NextHop(port=uid("port", 15), weight=3))
        by_ip = (NextHop(ip="10.0.1.7"), NextHop(ip="172.16.0.2", port=uid("port", 15)))
        source = "10.0.0.0/16" if "." in destination else "fd00::/16"
        slots.append(
            variants(
                route,
                {"next_hops": by_port},
                {"next_hops": by_ip, "source": source},
                {"action": "blackhole", "source": source.replace("/16", "/24")},
                {"action": "reject"},
            )
        )
    return slots


def _bindings() -> list[list[Object]]:
    slots = []
    for n, bound in enumerate((0, 1, 2, 3, 4, 5, 15, 17)):
        binding = made(Binding, "binding", n, port=uid("port", bound), host=uid("host", HERE))
        slots.append(
            variants(
                msgspec.structs.replace(binding, interface=f"t{n % 4}"),
                {"host": uid("host", 1), "interface": "t0"},
                {"interface": None, "trunk": uid("port", 0), "vlan": n + 1},
                {"vlan": n + 5},
                {"state": "standby"},
            )
        )
    return slots


def _filters() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(3):
        slots.append(variants(made(SecurityGroup, "group", n), {"egress": "rules"}))
        rule = made(SecurityGroupRule, "rule", n, security_group=uid("group", n), direction="ingress")
        slots.append(
            variants(
                rule,
                {"remote_group": uid("group", (n + 1) % 3), "family": "ipv4"},
                {"remote_address_group": uid("addresses", n % 2), "protocol": "tcp", "ports": "80-90"},
                {"direction": "egress", "remote_cidr": "10.0.0.0/8"},
            )
        )
        jump = AclRule(id="j", action="jump", jump=uid("acl", n + 1))
        by_group = AclRule(id="m", action="drop", match=Match(src_group=uid("addresses", 0), vlan=3))
        by_port = AclRule(id="p", action="allow", match=Match(in_port=uid("port", n), invert=("in_port",)))
        slots.append(
            variants(
                made(Acl, "acl", n),
                {"rules": (jump, by_port)},
                {"rules": (by_group, jump), "stateful": True},
            )
        )
    for n in range(2):
        slots.append([made(AddressGroup, "addresses", n)])
        for m, cidr in enumerate(("10.0.0.0/8", "fd00::/16")):
            group = uid("addresses", n)
            slots.append([made(AddressGroupEntry, "entry", 2 * n + m, address_group=group, cidr=cidr)])
    return slots


def _translations() -> list[list[Object]]:
    """Rules at routers' ports 14 to 19, floating IPs, and blocks of what the rules share."""
    slots: list[list[Object]] = []
    for n in range(6):
        rule = made(NatRule, "translation", n, port=uid("port", 14 + n), action="masquerade")
        outside, inside = f"10.200.{n % 2}.0/30", f"10.0.{n % 4}.8/30"
        forwards = {"protocol": "udp", "ports": "80-82", "to_port": 8080}
        slots.append(
            variants(
                rule,
                {"action": "snat", "pools": (Pool(first="10.200.0.1", last="10.200.0.3"),)},
                {"action": "static", "external": outside, "internal": inside},
                {"action": "dnat", "external": "10.200.0.1/32", "internal": "10.0.1.11/32", **forwards},
                {"action": "dnat", "internal": "fd00:2::b/128"},
                {"action": "snat", "pools": (Pool(first="fd00:ffff::1", last="fd00:ffff::2"),)},
            )
        )
    for n in range(4):
        floating = made(FloatingIp, "floating", n, subnet=uid("subnet", n), ip=f"10.0.{n}.200")
        slots.append(
            variants(
                msgspec.structs.replace(floating, port=uid("port", n)),
                {"port": uid("port", (n + 1) % 4)},
                {"port": uid("port", n), "port_ip": "10.0.3.9"},
                {"port": None},
            )
        )
    for n in range(8):
        rule, first = uid("translation", n % 2), 1024 + 128 * n
        block = made(SnatBlock, "block", n, port=uid("port", n % 3), rule=rule, ip="10.200.0.1", first=first)
        slots.append(
            variants(block, {"ip": "fd00:ffff::1", "first": 2048 + 128 * n}, {"port": uid("port", n % 5)})
        )
    return slots


def _hosts() -> list[list[Object]]:
    slots: list[list[Object]] = [variants(made(Underlay, "underlay", n), {"mtu": 9000}) for n in range(2)]
    for n in range(3):
        v4 = HostAddress(underlay=uid("underlay", 0), ip=f"192.0.2.{n + 1}")
        v6 = HostAddress(underlay=uid("underlay", 1), ip=f"2001:db8::{n + 1}")
        host = made(Host, "host", n, addresses=(v4, v6))
        slots.append(variants(host, {"addresses": (v6,)}, {"fenced": True}))
    return slots


SLOTS: list[list[Object]] = [
    *_networks(),
    *_machines(),
    *_ends(),
    *_joins(),
    *_routers(),
    *_bindings(),
    *_filters(),
    *_hosts(),
    *_translations(),
]

LOCALS = [
    Local(),
    Local({f"t{n}": Interface(20 + n) for n in range(4)}, {"192.0.2.1": Interface(2)}),
    Local(
        {"t0": Interface(20, address="192.0.2.9"), "t1": Interface(31, True)}, {"2001:db8::1": Interface(3)}
    ),
]
