"""A small cloud of slots, each of which can hold one of several objects or none: for random histories."""

from __future__ import annotations

from uuid import UUID

import msgspec

from onehop.feed.needs import END
from onehop.model import (
    Acl,
    AclRule,
    AddressGroup,
    AddressGroupEntry,
    Binding,
    FloatingIp,
    Grant,
    Host,
    HostAddress,
    Link,
    Match,
    NatRule,
    Network,
    Object,
    Port,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    SnatBlock,
    Subnet,
    Underlay,
)


def uid(kind: int, n: int) -> str:
    return str(UUID(int=(kind << 64) + n))


def network(n: int) -> str:
    return uid(1, n)


def router(n: int) -> str:
    return uid(2, n)


def port(n: int) -> str:
    return uid(3, n)


def group(n: int) -> str:
    return uid(6, n)


def acl(n: int) -> str:
    return uid(8, n)


def addresses(n: int) -> str:
    return uid(9, n)


def host(n: int) -> str:
    return uid(11, n)


HOSTS = [host(n) for n in range(3)]
TARGETS = [
    host(1),
    host(2),
    network(0),
    network(2),
    router(1),
    port(0),
    port(7),
    port(12),
    END + port(1),
    END + port(7),
]


def _networks() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(4):
        plain = Network(id=network(n), name=f"n{n}")
        walled = Network(id=network(n), name=f"n{n}", acls_in=(acl(n % 3),))
        granted = Network(id=network(n), name=f"n{n}", grants=(Grant(allow="external"),))
        slots.append([plain, walled, granted])
        slots.append([Subnet(id=uid(12, n), name="s", network=network(n), cidr=f"10.0.{n}.0/24")])
    return slots


def _routers() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(4):
        slots.append(
            [
                Router(id=router(n), name=f"r{n}"),
                Router(id=router(n), name=f"r{n}", acls_out=(acl(0), acl(1))),
            ]
        )
        slots.append([Route(id=uid(13, n), name="d", router=router(n), destination="0.0.0.0/0")])
    return slots


def _ports() -> list[list[Object]]:
    """0-5 are machines' on networks, 6-9 networks' ends of links, 10-17 routers' ports."""
    slots: list[list[Object]] = []
    for n in range(6):
        plain = Port(id=port(n), name=f"p{n}", network=network(n % 4))
        member = Port(id=port(n), name=f"p{n}", network=network(n % 4), security_groups=(group(n % 3),))
        both = Port(
            id=port(n),
            name=f"p{n}",
            network=network(n % 4),
            security_groups=(group(0), group(2)),
            acls_in=(acl(1),),
        )
        slots.append([plain, member, both])
    switched = [
        Port(id=port(n), name=f"p{n}", network=network(n - 6), kind="router", acls_in=(acl(2),))
        for n in range(6, 10)
    ]
    routed = [
        Port(id=port(n), name=f"p{n}", router=router((n - 10) // 2), kind="router") for n in range(10, 18)
    ]
    return slots + [[end] for end in (*switched, *routed)]


def _joins() -> list[list[Object]]:
    ends = [(10, 6), (11, 7), (12, 7), (12, 8), (13, 14), (15, 8), (16, 9), (17, 6), (11, 16), (13, 9)]
    return [[Link(id=uid(4, n), name=f"l{n}", a=port(a), b=port(b))] for n, (a, b) in enumerate(ends)]


def _bindings() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n, bound in enumerate((0, 1, 2, 3, 4, 5, 10, 12, 14, 16, 17)):
        slots.append(
            [
                Binding(id=uid(5, n), name=f"b{n}", port=port(bound), host=host(h), interface="t")
                for h in range(3)
            ]
        )
    return slots


def _filters() -> list[list[Object]]:
    slots: list[list[Object]] = []
    for n in range(3):
        slots.append([SecurityGroup(id=group(n), name=f"g{n}")])
        rule = SecurityGroupRule(id=uid(7, n), name="r", security_group=group(n), direction="ingress")
        slots.append(
            [
                rule,
                _with(rule, remote_group=group((n + 1) % 3)),
                _with(rule, remote_group=group(n)),
                _with(rule, remote_address_group=addresses(n % 2)),
            ]
        )
        jump = AclRule(id="j", action="jump", jump=acl(n + 1)) if n < 2 else AclRule(id="j", action="drop")
        match = AclRule(id="m", action="drop", match=Match(src_group=addresses(0), in_port=port(n)))
        slots.append(
            [
                Acl(id=acl(n), name=f"a{n}"),
                Acl(id=acl(n), name=f"a{n}", rules=(jump,)),
                Acl(id=acl(n), name=f"a{n}", rules=(match, jump)),
            ]
        )
    for n in range(2):
        slots.append([AddressGroup(id=addresses(n), name=f"ag{n}")])
        slots.append(
            [AddressGroupEntry(id=uid(10, n), name="e", address_group=addresses(n), cidr="10.0.0.0/8")]
        )
    return slots


def _translations() -> list[list[Object]]:
    """Rules at routers' ports, floating IPs of external networks and of others, blocks of machines' ports."""
    slots: list[list[Object]] = []
    for n, at in enumerate((10, 12, 13, 15, 16)):
        slots.append(
            [
                NatRule(id=uid(15, n), name=f"m{n}", port=port(at), action="masquerade"),
                NatRule(id=uid(15, n), name=f"m{n}", port=port(at), action="masquerade", family="ipv6"),
            ]
        )
    for n in range(4):
        ip = f"10.0.{n}.9"
        slots.append(
            [
                FloatingIp(id=uid(16, n), name=f"f{n}", subnet=uid(12, n), ip=ip),
                FloatingIp(id=uid(16, n), name=f"f{n}", subnet=uid(12, n), ip=ip, port=port(n)),
                FloatingIp(id=uid(16, n), name=f"f{n}", subnet=uid(12, n), ip=ip, port=port((n + 1) % 6)),
            ]
        )
        slots.append(
            [SnatBlock(id=uid(17, n), name=f"b{n}", port=port(n), rule=uid(15, n), ip="10.0.0.9", first=1024)]
        )
    return slots


def _with(rule: SecurityGroupRule, **fields: str) -> SecurityGroupRule:
    return msgspec.structs.replace(rule, **fields)


def _host(n: int, underlay: int) -> Host:
    address = HostAddress(underlay=uid(14, underlay), ip=f"192.0.2.{n}")
    return Host(id=host(n), name=f"h{n}", addresses=(address,))


def _machines() -> list[list[Object]]:
    underlays: list[list[Object]] = [
        [Underlay(id=uid(14, n), name=f"u{n}"), Underlay(id=uid(14, n), name=f"u{n}", mtu=9000)]
        for n in range(2)
    ]
    hosts: list[list[Object]] = [[_host(n, underlay) for underlay in range(2)] for n in range(3)]
    return underlays + hosts


SLOTS: list[list[Object]] = [
    *_networks(),
    *_routers(),
    *_ports(),
    *_joins(),
    *_bindings(),
    *_filters(),
    *_translations(),
    *_machines(),
]
