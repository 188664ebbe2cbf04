"""The claims that an object makes: what no two objects may have at once.

A claim is a value in a scope. The store keeps each as the key `claim/<scope>/<value>` that holds the owner's
id, written in the owner's transaction under the guard that nobody has it. So a name, an address or a key is
never handed out twice, whoever races.

The outside addresses of NAT rules are their port's, who may use one of them by several rules: a port claims
them for its rules, on the network that it is linked to. So the claims of a port change with its rules and
its link; `claimants` tells whose claims change with an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from onehop.model.external import neighbourly, outside
from onehop.model.firewall import AddressGroupEntry
from onehop.model.hosts import Host
from onehop.model.identity import Role
from onehop.model.kinds import Object, kind_of
from onehop.model.nat import FloatingIp, NatRule, SnatBlock
from onehop.model.routing import Link, Route
from onehop.model.switching import Binding, Network, Port, Subnet
from onehop.model.view import View, name_key

KEY_SCOPE = "key"


class Claim(NamedTuple):
    scope: str
    value: str


def name_claim(kind: str, scope: str | None, name: str) -> Claim:
    """Names are unique in their parent or project; `scope` is None in the cloud."""
    return Claim(f"name/{kind}/{scope or '-'}", name)


def mac_claim(device: str, mac: str) -> Claim:
    return Claim(f"mac/{device}", mac)


def ip_claim(network: str, ip: str) -> Claim:
    return Claim(f"ip/{network}", ip)


def block_claim(within: str, ip: str, first: int) -> Claim:
    """`within` is the network or router whose address it is."""
    return Claim(f"block/{within}/{ip}", str(first))


def key_claim(key: int) -> Claim:
    return Claim(KEY_SCOPE, str(key))


def claims(obj: Object, view: View) -> list[Claim]:
    """Everything that an object claims. The view has to hold what the object refers to."""
    made = [name_claim(*name_key(obj))]
    more = _MORE.get(kind_of(obj).name)
    if more is not None:
        made.extend(dict.fromkeys(more(obj, view)))
    return made


def claimants(obj: Object) -> tuple[str, ...]:
    """The ids of the objects whose claims may change with this one."""
    if isinstance(obj, NatRule):
        return (obj.id, obj.port)
    return (obj.id, obj.a, obj.b) if isinstance(obj, Link) else (obj.id,)


def claims_of(ids: Iterable[str], view: View) -> dict[str, list[Claim]]:
    """What some objects claim, by their ids; nothing for those that are not there."""
    found = ((id, view.find(id)) for id in dict.fromkeys(ids))
    return {id: claims(obj, view) for id, obj in found if obj is not None}


def _network(network: Network, view: View) -> list[Claim]:
    return [key_claim(network.key)] if network.key else []


def _port(port: Port, view: View) -> list[Claim]:
    made = [mac_claim(view.device(port), port.mac)]
    if port.key:
        made.append(key_claim(port.key))
    for address in port.addresses:
        if address.ip is not None and address.subnet is not None:
            subnet = view.get(Subnet, address.subnet)
            if subnet is not None:
                made.append(ip_claim(subnet.network, address.ip))
    if port.router is not None and (network := outside(port, view)) is not None:
        made.extend(ip_claim(network.id, ip) for ip in neighbourly(port, view))
    return made


def _floating_ip(floating: FloatingIp, view: View) -> list[Claim]:
    made = []
    subnet = view.get(Subnet, floating.subnet)
    if subnet is not None and floating.ip is not None:
        made.append(ip_claim(subnet.network, floating.ip))
    if floating.port is not None and floating.port_ip is not None:
        made.append(Claim(f"floating/{floating.port}", floating.port_ip))
    return made


def _block(block: SnatBlock, view: View) -> list[Claim]:
    return [block_claim(block.within, block.ip, block.first)]


def _binding(binding: Binding, view: View) -> list[Claim]:
    made = [Claim(f"binding/{binding.port}", binding.host)]
    if binding.state == "active":
        made.append(Claim("active", binding.port))
    vlan = str(binding.vlan or 0)
    if binding.trunk is not None:
        made.append(Claim(f"trunk/{binding.trunk}/{binding.host}", vlan))
    elif binding.interface is not None:
        made.append(Claim(f"interface/{binding.host}/{binding.interface}", vlan))
    return made


def _link(link: Link, view: View) -> list[Claim]:
    return [Claim("link", link.a), Claim("link", link.b)]


def _route(route: Route, view: View) -> list[Claim]:
    return [Claim(f"route/{route.router}", f"{route.destination}/{route.source or '-'}")]


def _entry(entry: AddressGroupEntry, view: View) -> list[Claim]:
    return [Claim(f"entry/{entry.address_group}", entry.cidr)]


def _host(host: Host, view: View) -> list[Claim]:
    return [Claim(f"underlay/{address.underlay}", address.ip) for address in host.addresses]


def _role(role: Role, view: View) -> list[Claim]:
    return [Claim(f"role/{role.token}", role.project or "-")]


_MORE: dict[str, Callable[[Any, View], list[Claim]]] = {
    "network": _network,
    "port": _port,
    "binding": _binding,
    "link": _link,
    "route": _route,
    "address-group-entry": _entry,
    "host": _host,
    "role": _role,
    "floating-ip": _floating_ip,
    "snat-block": _block,
}

_WORDS = {
    "mac": "MAC address",
    "ip": "address",
    "key": "key",
    "binding": "binding to host",
    "active": "active binding of port",
    "trunk": "VLAN of the trunk",
    "interface": "interface",
    "link": "end",
    "route": "route",
    "entry": "prefix",
    "underlay": "underlay address",
    "role": "role in project",
    "floating": "floating IP of",
    "block": "block of ports from",
}
_FIELDS = {
    "name": "name",
    "mac": "mac",
    "ip": "addresses",
    "binding": "host",
    "active": "state",
    "trunk": "vlan",
    "interface": "interface",
    "route": "destination",
    "entry": "cidr",
    "underlay": "addresses",
    "role": "project",
    "floating": "port",
}


def claim_field(claim: Claim, obj: Object) -> str:
    """The field of an object by which it makes a claim."""
    what = claim.scope.partition("/")[0]
    if what == "link" and isinstance(obj, Link):
        return "a" if claim.value == obj.a else "b"
    if what == "ip" and not isinstance(obj, Port):
        return {"floating-ip": "ip", "link": "a"}.get(kind_of(obj).name) or _outside_field(obj)
    return _FIELDS.get(what, "")


def _outside_field(obj: Object) -> str:
    return "pools" if isinstance(obj, NatRule) and obj.pools else "external"


def claim_words(claim: Claim) -> str:
    """What is claimed, for a sentence: `name 'web'`, `address 10.0.0.5`."""
    what, _, where = claim.scope.partition("/")
    if what == "name":
        return f"name {claim.value!r}"
    if what == "interface":
        interface = where.partition("/")[2]
        return f"interface {interface}" + (f" with VLAN {claim.value}" if claim.value != "0" else "")
    if what in ("link", "active"):
        return "this end of a link" if what == "link" else "active binding of the port"
    return f"{_WORDS.get(what, what)} {claim.value.removesuffix('/-')}"
