"""How a tenant's network comes to have a way out: what `external` of a router stands for, and ranges to use.

A router with `external: NET` has a port on that network, with a free address of each of its subnets, default
routes to the subnets' gateways, and there masquerades what leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from onehop.model.formats import Prefix, is_id, parse_cidr, parse_ip
from onehop.model.identity import Project
from onehop.model.kinds import KINDS
from onehop.model.names import Unresolved, resolve
from onehop.model.relations.references import granted_network
from onehop.model.switching import Network, Subnet
from onehop.model.view import View

MASQUERADE = "masquerade"
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def external_network(text: str, view: View, project: str | None) -> str:
    """How an external network is referred to: as it is written, if that means one; else by its project too,
    where another project grants one of that name. Raises Unresolved."""
    if is_id(text):
        return text
    try:
        resolve(text, KINDS["network"], view, project)
    except Unresolved:
        if ":" in text:
            raise
        found = [
            network
            for network in view.all(Network)
            if network.name == text and "external" in granted_network(network, project)
        ]
        owners = [view.get(Project, network.project) for network in found]
        names = sorted(f"{owner.name}:{text}" for owner in owners if owner is not None)
        if len(names) > 1:
            raise Unresolved(
                f"more than one external network is called {text!r}: {', '.join(names)}"
            ) from None
        if not names:
            raise
        return names[0]
    return text


def default_routes(gateways: Iterable[tuple[str, str]], port: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The names and fields of the default routes by way of a router's port: one of each family.

    `gateways` are pairs of a subnet's reference and its gateway.
    """
    seen: set[int] = set()
    for _, gateway in gateways:
        version = parse_ip(gateway).version
        if version not in seen:
            seen.add(version)
            hop = {"ip": gateway, "port": port}
            yield f"default-v{version}", {"destination": EVERYWHERE[version], "next_hops": [hop]}


# --- ranges for networks that have none ---------------------------------------------------------------


def free_ranges(project: str, view: View, taken: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of an IPv4 and an IPv6 range, each free of what is `taken` and of the project's subnets."""
    own = (view.get(Subnet, id) for id in view.referrers(project, "subnet"))
    used = [parse_cidr(cidr) for cidr in (*taken, *(subnet.cidr for subnet in own if subnet is not None))]
    v6 = unique_local(project).subnets(new_prefix=64)
    next(v6)  # 0 looks like the prefix itself
    yield from zip(_free(_tens(), used), _free(v6, used), strict=False)


def _tens() -> Iterator[IPv4Network]:
    first = int(IPv4Address("10.0.0.0"))
    return (IPv4Network((first + (n << 8), 24)) for n in range(1, 1 << 16))


def _free(ranges: Iterable[Prefix], used: list[Prefix]) -> Iterator[str]:
    for prefix in ranges:
        if not any(prefix.version == other.version and prefix.overlaps(other) for other in used):
            yield str(prefix)


def unique_local(project: str) -> IPv6Network:
    """A project's own /48 of the addresses that nobody routes (RFC 4193). The same each time."""
    digest = hashlib.sha256(project.encode()).digest()
    return IPv6Network((int.from_bytes(b"\xfd" + digest[:5] + bytes(10), "big"), 48))
