"""What Onehop has to do in this bench: three tenants on one host, one gateway, one machine outside.

    plain   its addresses are known outside: routed, never translated
    shared  masquerade behind its router's address
    own     a floating IP

Everything else is the same for all three: a network, a router, the external network, the provider's router,
and a security group of 20 rules each way, as in the datapath's bench.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import structs

from bench.datapath.cloud import HOSTS, PORT_RULES, UNDERLAY, UNDERLAY_MTU
from onehop.model import NatRule, Port, SecurityGroupRule, SnatBlock, offline
from onehop.model.document import parse
from onehop.model.nat import BLOCK, FIRST_SHARED
from onehop.model.view import Topology

TENANTS = ("plain", "shared", "own")
EXTERNAL = "203.0.113"
FLOATING = f"{EXTERNAL}.100"
OUTSIDE, UPLINK = "192.0.2.1", "192.0.2.2"
UPLINK_INTERFACE = "uplink0"


def address(tenant: str) -> str:
    return f"10.0.{1 + TENANTS.index(tenant)}.2"


def gateway(tenant: str) -> str:
    return f"10.0.{1 + TENANTS.index(tenant)}.1"


def mac(tenant: str) -> str:
    return f"02:00:00:00:{1 + TENANTS.index(tenant):02x}:02"


def router_address(tenant: str) -> str:
    return f"{EXTERNAL}.{10 + TENANTS.index(tenant)}"


def topology(*, local: bool) -> Topology:
    """Machines on host `a`, the uplink on host `b`; with `local`, on host `a` as well."""
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
                "networks": {"internet": _internet()} | {tenant: _network(tenant) for tenant in TENANTS},
                "routers": {"provider": _provider(HOSTS[0 if local else 1])}
                | {f"{tenant}-edge": _edge(tenant) for tenant in TENANTS},
                "links": {
                    f"{tenant}-out": {"a": f"{tenant}-edge/out", "b": f"internet/{tenant}"}
                    for tenant in TENANTS
                },
                "floating_ips": {"own": {"subnet": "internet/v4", "ip": FLOATING, "port": "own/vm"}},
            }
        )
    )
    for rule in list(view.all(SecurityGroupRule)):  # rules count in the order of their ids
        view.remove(rule.id)
        view.put(structs.replace(rule, id=str(UUID(int=_number(rule)))))
    for block in _blocks(view):
        view.put(block)
    return view


def _internet() -> dict[str, Any]:
    return {
        "mtu": 1500,
        "grants": [{"allow": "external"}],
        "subnets": {"v4": {"cidr": f"{EXTERNAL}.0/24", "gateway": f"{EXTERNAL}.1"}},
        "ports": {tenant: {"kind": "router"} for tenant in TENANTS},
    }


def _network(tenant: str) -> dict[str, Any]:
    port = {
        "mac": mac(tenant),
        "addresses": [{"ip": address(tenant)}],
        "security_groups": ["filter"],
        "bindings": {"here": {"host": HOSTS[0], "interface": f"p-{tenant}"}},
    }
    subnet = {"cidr": f"{gateway(tenant).rpartition('.')[0]}.0/24", "gateway": gateway(tenant)}
    # The MTU of all paths that are compared; the underlay has room for the tunnel's header.
    return {"mtu": 1500, "subnets": {"v4": subnet}, "ports": {"vm": port}}


def _edge(tenant: str) -> dict[str, Any]:
    rules = {"nat_rules": {"all": {"action": "masquerade"}}} if tenant == "shared" else {}
    default = {
        "destination": "0.0.0.0/0",
        "next_hops": [{"ip": f"{EXTERNAL}.1", "port": f"{tenant}-edge/out"}],
    }
    return {
        "attach": [tenant],
        "ports": {"out": {"addresses": [{"subnet": "internet/v4", "ip": router_address(tenant)}], **rules}},
        "routes": {"default": default},
    }


def _provider(host: str) -> dict[str, Any]:
    back = {
        "destination": f"{address('plain')}/32",
        "next_hops": [{"ip": router_address("plain"), "port": "provider/internet"}],
    }
    default = {"destination": "0.0.0.0/0", "next_hops": [{"ip": OUTSIDE, "port": "provider/uplink"}]}
    uplink = {
        "addresses": [{"ip": UPLINK, "prefix": 30}],
        "bindings": {"here": {"host": host, "interface": UPLINK_INTERFACE}},
    }
    return {"attach": ["internet"], "ports": {"uplink": uplink}, "routes": {"back": back, "default": default}}


def _rules() -> dict[str, Any]:
    return {
        f"{direction}-{n}": {"direction": direction, "protocol": protocol, "ports": str(port)}
        for direction in ("ingress", "egress")
        for n, (protocol, port) in enumerate(PORT_RULES)
    }


def _number(rule: SecurityGroupRule) -> int:
    return 1 + int(rule.name.rpartition("-")[2]) + (100 if rule.direction == "egress" else 0)


def _blocks(view: Topology) -> list[SnatBlock]:
    """All blocks of the shared address, as controllers would give them to a machine that keeps asking."""
    (rule,) = view.all(NatRule)
    port = next(port for port in view.all(Port) if port.mac == mac("shared"))
    return [
        SnatBlock(
            id=str(UUID(int=first)),
            name=f"block-{first}",
            project=port.project,
            port=port.id,
            rule=rule.id,
            ip=router_address("shared"),
            first=first,
        )
        for first in range(FIRST_SHARED, 1 << 16, BLOCK)
    ]
