"""Tenants behind NAT, in a lab with a world outside."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
OUTSIDE = {4: "198.51.100.10", 6: "2001:db8:100::10"}
HOSTS = ["h1", "h2", "gw-1", "gw-2"]
LAB: Json = {
    "hosts": HOSTS,
    "uplinks": {"up-1": "gw-1", "up-2": "gw-2"},
    "outside": {"machines": ["internet-1"]},
}
# a, b, c and d share the router's address, c and d on the gateways themselves; f and g have floating IPs.
PLACES = {"web/a": "h1", "web/b": "h2", "web/c": "gw-1", "web/d": "gw-2", "web/f": "h1", "web/g": "h2"}
FORWARDED, INSIDE = 8080, 80
_OPEN = {"security_groups": ["open"]}


class Addresses:
    """What a tenant is known by outside. Tenants are numbered from 1."""

    def __init__(self, number: int) -> None:
        self.router = {4: f"203.0.113.{number * 10}", 6: f"2001:db8:113::{number}:0"}
        self.f = {4: f"203.0.113.{number * 10 + 1}", 6: f"2001:db8:113::{number}:f"}
        self.g = {4: f"203.0.113.{number * 10 + 2}", 6: f"2001:db8:113::{number}:9"}


def document(number: int, **more: Json) -> Json:
    """A network of machines that share an address, some with floating IPs, and a port that is forwarded."""
    names = [path.partition("/")[2] for path in PLACES]
    addresses = Addresses(number)
    return {
        "networks": {
            "web": {
                "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
                "ports": {
                    name: {**_OPEN, "addresses": [{"ip": f"10.0.1.{n}"}, {"ip": f"fd00:1::{n}"}]}
                    for n, name in enumerate(names, 11)
                },
            }
        },
        "routers": {"edge": _router(addresses)},
        "ports": {f"edge-{number}": {"network": "provider:internet", "kind": "router"}},
        "links": {"outside": {"a": "edge/outside", "b": f"edge-{number}"}},
        "floating_ips": {
            f"{name}-v{version}": {
                "subnet": f"provider:internet/v{version}",
                "ip": getattr(addresses, name)[version],
                "port": f"web/{name}",
            }
            for name in "fg"
            for version in (4, 6)
        },
        "security_groups": {"open": {"rules": {"all": {"direction": "ingress"}}}},
        **more,
    }


def _router(addresses: Addresses) -> Json:
    forwards = {
        f"{protocol}{version}": {
            "action": "dnat",
            "family": f"ipv{version}",
            "protocol": protocol,
            "ports": str(FORWARDED),
            "internal": {4: "10.0.1.12/32", 6: "fd00:1::12/128"}[version],
            "to_port": INSIDE,
        }
        for protocol in ("tcp", "udp")
        for version in (4, 6)
    }
    outside = {
        "addresses": [
            {"subnet": f"provider:internet/v{version}", "ip": ip} for version, ip in addresses.router.items()
        ],
        "nat_rules": {"all": {"action": "masquerade"}, **forwards},
    }
    hops = {"v4": ("0.0.0.0/0", "203.0.113.1"), "v6": ("::/0", "2001:db8:113::1")}
    routes = {
        name: {"destination": destination, "next_hops": [{"ip": ip, "port": "edge/outside"}]}
        for name, (destination, ip) in hops.items()
    }
    return {"attach": ["web"], "ports": {"outside": outside}, "routes": routes}
