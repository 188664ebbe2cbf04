"""What comes with what: the parts that a host needs to know of, to know of something.

*Nodes* are objects in a role, *edges* say that one node brings another. Each object gives a fixed set of
edges, which depends on nothing but the object; so a change of one object changes few edges, and they can be
told without looking at anything else.

    network ──► subnet, port, ACLs        port ──► binding ──► host ──► underlay
    router  ──► route,  port, ACLs        port ──► security group ──► rule ──► remote group ──► member
    port ──► link ──► both ends, as peers      rule, ACL ──► address group ──► entry      ACL ──► ACL
    port, peer ──► NAT rule                    port ──► block of shared ports, floating IP ──► its subnet

Invariants: the edges form no cycle (the model refuses cyclic jumps between ACLs), and each edge is given by
one object only. `edges` lists those nearer to a device first, which is what lets `reach` keep counts while
one object is exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from onehop.model import (
    Acl,
    AddressGroupEntry,
    Binding,
    FloatingIp,
    Host,
    Link,
    NatRule,
    Network,
    Object,
    Port,
    Route,
    Router,
    SecurityGroupRule,
    SnatBlock,
    Subnet,
    kind_of,
)
from onehop.model.view import View

Node = str  # the id of an object, which then stands for all of it; or a role, a colon and the id
Edge = tuple[Node, Node]

SHELL = "s:"  # a boundary's device without its ports
PEER = "p:"  # a port at the end of a link: with its ACLs and NAT rules, without what hangs on it
REMOTE = "r:"  # a security group as the remote end of a rule: with its members, without its rules
BARE = "b:"  # an object alone
END = "e:"  # a port as the far end of a connection: where it is, and nothing of what is around it

# The kinds that attach themselves to another object in a role, as `edges` says.
_ATTACHED: dict[str, tuple[str, ...]] = {
    "network": ("subnet", "port"),
    "router": ("route", "port"),
    "port": ("link", "binding", "nat-rule", "floating-ip", "snat-block"),
    "security-group": ("security-group-rule",),
    "address-group": ("address-group-entry",),
    SHELL: ("subnet", "route"),
    PEER: ("nat-rule",),
    REMOTE: ("port",),
    END: ("binding",),
}
_ANYTHING = (
    *("subnet", "port", "route", "link", "binding", "security-group-rule", "address-group-entry"),
    *("nat-rule", "floating-ip", "snat-block"),
)


def object_of(node: Node) -> str:
    """The id of the object that a node is about."""
    return node[2:] if node[1] == ":" else node


def roles(id: str) -> tuple[Node, ...]:
    """All nodes that can be about an object."""
    return (id, SHELL + id, PEER + id, REMOTE + id, BARE + id, END + id)


def edges(obj: Object) -> tuple[Edge, ...]:
    """What an object gives: (node, node that comes with it), those nearer to a device first. May repeat."""
    make = _EDGES.get(type(obj))
    return tuple(make(obj)) if make is not None else ()


def needs(view: View, node: Node) -> set[Node]:
    """The nodes that come with a node, all in all."""
    id = object_of(node)
    obj = view.find(id)
    found = {v for u, v in edges(obj) if u == node} if obj is not None else set()
    for kind in _attached(node, obj):
        for referrer in view.referrers(id, kind):
            other = view.find(referrer)
            if other is not None:
                found.update(v for u, v in edges(other) if u == node)
    return found


def _attached(node: Node, obj: Object | None) -> tuple[str, ...]:
    if node[1] == ":":
        return _ATTACHED.get(node[:2], ())
    # What refers to an object that is not here (yet) is kept apart by `edges` alone.
    return _ANYTHING if obj is None else _ATTACHED.get(kind_of(obj).name, ())


def _network(network: Network) -> Iterator[Edge]:
    for acl in (*network.acls_in, *network.acls_out):
        yield network.id, acl
        yield SHELL + network.id, acl


def _router(router: Router) -> Iterator[Edge]:
    for acl in (*router.acls_in, *router.acls_forward, *router.acls_out):
        yield router.id, acl
        yield SHELL + router.id, acl


def _subnet(subnet: Subnet) -> Iterator[Edge]:
    yield subnet.network, subnet.id
    yield SHELL + subnet.network, subnet.id


def _route(route: Route) -> Iterator[Edge]:
    yield route.router, route.id
    yield SHELL + route.router, route.id


def _port(port: Port) -> Iterator[Edge]:
    device = port.network or port.router
    if device is not None:
        yield device, port.id
    for acl in (*port.acls_in, *port.acls_out):
        yield port.id, acl
        yield PEER + port.id, acl
    for group in port.security_groups:
        yield port.id, group
    for group in port.security_groups:
        yield REMOTE + group, BARE + port.id


def _link(link: Link) -> Iterator[Edge]:
    yield link.a, link.id
    yield link.b, link.id
    yield link.id, PEER + link.a
    yield link.id, PEER + link.b


def _binding(binding: Binding) -> Iterator[Edge]:
    yield binding.port, binding.id
    yield END + binding.port, binding.id
    yield binding.id, binding.host


def _host(host: Host) -> Iterator[Edge]:
    for address in host.addresses:
        yield host.id, address.underlay


def _rule(rule: SecurityGroupRule) -> Iterator[Edge]:
    yield rule.security_group, rule.id
    if rule.remote_group is not None:
        yield rule.id, REMOTE + rule.remote_group
    if rule.remote_address_group is not None:
        yield rule.id, rule.remote_address_group


def _entry(entry: AddressGroupEntry) -> Iterator[Edge]:
    yield entry.address_group, entry.id


def _acl(acl: Acl) -> Iterator[Edge]:
    for rule in acl.rules:
        match = rule.match
        yield from ((acl.id, target) for target in (rule.jump, match.src_group, match.dst_group) if target)
        yield from ((acl.id, BARE + port) for port in (match.in_port, match.out_port) if port)


def _nat_rule(rule: NatRule) -> Iterator[Edge]:
    yield rule.port, rule.id
    yield PEER + rule.port, rule.id


def _floating_ip(floating: FloatingIp) -> Iterator[Edge]:
    if floating.port is not None:
        yield floating.port, floating.id
        yield floating.id, floating.subnet


def _block(block: SnatBlock) -> Iterator[Edge]:
    yield block.port, block.id


_EDGES: dict[type[Object], Callable[[Any], Iterable[Edge]]] = {
    Network: _network,
    Router: _router,
    Subnet: _subnet,
    Route: _route,
    Port: _port,
    Link: _link,
    Binding: _binding,
    Host: _host,
    SecurityGroupRule: _rule,
    AddressGroupEntry: _entry,
    Acl: _acl,
    NatRule: _nat_rule,
    FloatingIp: _floating_ip,
    SnatBlock: _block,
}
