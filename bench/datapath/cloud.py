"""What Onehop has to do in this bench: the full feature path, as a document such as tenants write.

Two networks with a router between. Both machines are in a security group of 20 rules each way, of which the
last two are about this bench's TCP and UDP, so that a new connection is compared with all the others first.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from onehop.model import SecurityGroupRule, offline
from onehop.model.document import parse
from onehop.model.view import Topology

PORT = 5300
OTHER_PORTS = range(6001, 6019)  # each a rule before ours
PORT_RULES = (*(("tcp", port) for port in OTHER_PORTS), ("tcp", PORT), ("udp", PORT))

MACS = ("02:00:00:00:01:02", "02:00:00:00:02:02")
ADDRESSES = ("10.0.1.2", "10.0.2.2")
GATEWAYS = ("10.0.1.1", "10.0.2.1")
UNDERLAY = ("192.168.100.1", "192.168.100.2")
UNDERLAY_MTU = 1600
HOSTS = ("a", "b")


def topology(*, local: bool) -> Topology:
    """Machines `a` and `b` plugged in as `pa` and `pb`, on hosts of the same names or both on host `a`."""
    places = ("a", "a") if local else HOSTS
    view = offline.build(
        parse(
            {
                "project": "bench",
                "underlays": {"wire": {"mtu": UNDERLAY_MTU}},
                "hosts": {
                    name: {"addresses": [{"underlay": "wire", "ip": ip}]}
                    for name, ip in zip(HOSTS, UNDERLAY, strict=True)
                },
                "security_groups": {"filter": {"egress": "rules", "rules": _rules()}},
                "networks": {f"net-{name}": _network(i, name, places[i]) for i, name in enumerate(HOSTS)},
                "routers": {"edge": {"attach": [f"net-{name}" for name in HOSTS]}},
            }
        )
    )
    for rule in list(view.all(SecurityGroupRule)):  # rules count in the order of their ids
        view.remove(rule.id)
        view.put(structs.replace(rule, id=f"00000000-0000-4000-8000-{_number(rule):012}"))
    return view


def _network(i: int, name: str, host: str) -> dict[str, Any]:
    port = {
        "mac": MACS[i],
        "addresses": [{"ip": ADDRESSES[i]}],
        "security_groups": ["filter"],
        "bindings": {"here": {"host": host, "interface": f"p{name}"}},
    }
    return {"subnets": {"v4": {"cidr": f"10.0.{i + 1}.0/24", "gateway": GATEWAYS[i]}}, "ports": {name: port}}


def _number(rule: SecurityGroupRule) -> int:
    return int(rule.name.rpartition("-")[2]) + (100 if rule.direction == "egress" else 0)


def _rules() -> dict[str, Any]:
    return {
        f"{direction}-{n}": {"direction": direction, "protocol": protocol, "ports": str(port)}
        for direction in ("ingress", "egress")
        for n, (protocol, port) in enumerate(PORT_RULES)
    }
