"""Two tenants on three hosts: red has ports on 1 and 2, blue on 3; both link to a provider router, whose
uplink is on host 4."""

from __future__ import annotations

from uuid import UUID

import msgspec

from onehop.model import (
    Binding,
    Host,
    HostAddress,
    Link,
    Network,
    Object,
    Port,
    PortAddress,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Underlay,
)


def uid(kind: int, n: int) -> str:
    return str(UUID(int=(kind << 64) + n))


UNDERLAY = Underlay(id=uid(1, 1), name="u")
HOSTS = [
    Host(id=uid(2, n), name=f"h{n}", addresses=(HostAddress(underlay=UNDERLAY.id, ip=f"192.0.2.{n}"),))
    for n in range(5)
]
H1, H2, H3, GATEWAY = (host.id for host in HOSTS[1:])
EDGE = Router(id=uid(3, 1), name="edge")
UPLINK = Port(id=uid(4, 1), name="uplink", router=EDGE.id, kind="router")
UPLINK_AT = Binding(id=uid(5, 1), name="at", port=UPLINK.id, host=GATEWAY, interface="eth1")


def port(tenant: int, n: int, title: str = "") -> Port:
    address = PortAddress(subnet=uid(7, tenant), ip=f"10.0.{tenant}.{n}")
    groups = (uid(8, tenant),)
    id = uid(4, tenant * 10000 + n)
    return Port(
        id=id,
        name=f"p{n}",
        title=title,
        network=uid(6, tenant),
        addresses=(address,),
        security_groups=groups,
        key=tenant * 10000 + n,
    )


def bound(at: Port, host: str) -> Binding:
    return Binding(
        id=uid(5, UUID(at.id).int & 0xFFFFFFFF), name="at", port=at.id, host=host, interface="tap0"
    )


def tenant(n: int, hosts: list[str]) -> list[Object]:
    network = Network(id=uid(6, n), name=f"net{n}", key=n)
    group = SecurityGroup(id=uid(8, n), name=f"g{n}")
    rule = SecurityGroupRule(
        id=uid(9, n), name="r", security_group=group.id, direction="ingress", remote_group=group.id
    )
    router = Router(id=uid(3, n), name=f"r{n}")
    inside = Port(id=uid(4, n * 100), name="in", router=router.id, kind="router")
    outside = Port(id=uid(4, n * 100 + 1), name="out", router=router.id, kind="router")
    switched = Port(id=uid(4, n * 100 + 2), name="r", network=network.id, kind="router")
    beyond = Port(id=uid(4, n * 100 + 3), name=f"t{n}", router=EDGE.id, kind="router")
    objects: list[Object] = [network, group, rule, router, inside, outside, switched, beyond]
    objects += [
        Subnet(id=uid(7, n), name="v4", network=network.id, cidr=f"10.0.{n}.0/24"),
        Link(id=uid(10, n), name="in", a=inside.id, b=switched.id),
        Link(id=uid(11, n), name="out", a=beyond.id, b=outside.id),
    ]
    for number, host in enumerate(hosts, 10):
        objects += [port(n, number), bound(port(n, number), host)]
    return objects


RED, BLUE = 2, 3
TOWN: list[Object] = [
    UNDERLAY,
    *HOSTS[1:],
    EDGE,
    UPLINK,
    UPLINK_AT,
    *tenant(RED, [H1, H2]),
    *tenant(BLUE, [H3]),
]


def retitled(obj: Object, title: str) -> Object:
    return msgspec.structs.replace(obj, title=title)
