"""The cloud that the bench describes: tenants of very different sizes, on many hosts. Pure.

A tenant is one network with two subnets, a security group, and ports, each bound on one of the tenant's
hosts. Sizes are drawn so that a change in a tenant concerns 8 hosts in the median and 200 at most.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

MEDIAN_HOSTS, MOST_HOSTS = 8, 200


@dataclass(frozen=True)
class Tenant:
    name: str
    hosts: tuple[int, ...]  # where its ports are, one entry per port


def tenants(ports: int, hosts: int, name: str) -> list[Tenant]:
    """Tenants with so many ports in all; the same every time."""
    draw = random.Random(name)
    made: list[Tenant] = []
    left = ports
    while left > 0:
        reach = min(MOST_HOSTS, hosts, max(1, round(math.exp(draw.gauss(math.log(MEDIAN_HOSTS), 1.0)))))
        chosen = draw.sample(range(hosts), reach)
        count = min(left, 4 * reach)
        made.append(Tenant(f"{name}-{len(made)}", tuple(chosen[i % reach] for i in range(count))))
        left -= count
    return made


def even(name: str, ports: int, hosts: int) -> Tenant:
    """A tenant of a fixed size, on the first hosts."""
    return Tenant(name, tuple(i % hosts for i in range(ports)))


Fields = dict[str, object]


def objects(tenant: Tenant) -> Iterator[tuple[str, Fields]]:
    """What a tenant consists of, in the order of making: kind and fields. The project is another matter."""
    yield "security-group", {"name": "web"}
    rule = {"security_group": "web", "direction": "ingress", "protocol": "tcp", "ports": "80"}
    yield "security-group-rule", {"name": "http", **rule}
    yield "network", {"name": "web"}
    yield "subnet", {"name": "v4", "network": "web", "cidr": "10.0.0.0/16"}
    yield "subnet", {"name": "v6", "network": "web", "cidr": "fd00::/64"}
    for i in range(len(tenant.hosts)):
        yield "port", {"name": f"p{i}", "network": "web", "security_groups": ["web"]}


def bindings(tenant: Tenant) -> Iterator[tuple[str, Fields]]:
    for i, host in enumerate(tenant.hosts):
        interface = f"{tenant.name[:2]}{tenant.name.rpartition('-')[2][-5:]}.{i}"
        yield "binding", {"port": f"{tenant.name}:web/p{i}", "host": host_name(host), "interface": interface}


def host_name(number: int) -> str:
    return f"host-{number}"


def document(ports: int, per_network: int = 250) -> Fields:
    """The same as one document, for `apply`."""
    networks: Fields = {}
    for n in range(-(-ports // per_network)):
        here = range(n * per_network, min(ports, (n + 1) * per_network))
        networks[f"net-{n}"] = {
            "subnets": {"v4": {"cidr": "10.0.0.0/16"}, "v6": {"cidr": "fd00::/64"}},
            "ports": {f"p{i}": {"security_groups": ["web"]} for i in here},
        }
    rule = {"direction": "ingress", "protocol": "tcp", "ports": "80"}
    return {"stack": "bench", "networks": networks, "security_groups": {"web": {"rules": {"http": rule}}}}
