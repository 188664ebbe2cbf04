"""Virtual switches and what is plugged into them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import MAX_KEY, Object, Scope, Struct, kind

Acls = Annotated[tuple[Annotated[str, field("An ACL.", ref="acl")], ...], msgspec.Meta(max_length=16)]
Key = Annotated[int, field("Cloud-wide number on the wire.", read_only=True, ge=0, le=MAX_KEY)]
IpText = Annotated[str, field("An address.", format=Format.IP)]


class Grant(Struct, frozen=True, kw_only=True):
    """Lets other projects use a network of this one."""

    allow: Annotated[
        Literal["use", "external", "link"],
        field(
            "`use`: make ports on it. `external`: reach the outside through it. `link`: link routers to it. "
            "Each includes reading it."
        ),
    ]
    project: Annotated[
        str | None, field("The project that is allowed; every project, if left out.", ref="project")
    ] = None


@kind("network")
class Network(Object, frozen=True, kw_only=True):
    """A virtual layer-2 switch, on every host at once."""

    mtu: Annotated[int, field("The largest IP packet, in bytes.", ge=1280, le=9216)] = 1450
    unknown_unicast: Annotated[
        Literal["drop", "flood"], field("What happens to frames for a MAC that nobody is known to have.")
    ] = "drop"
    learning: Annotated[
        bool, field("Learn MACs from traffic, for machines that the model does not know.")
    ] = False
    acls_in: Annotated[Acls, field("ACLs for frames that enter the switch.")] = ()
    acls_out: Annotated[Acls, field("ACLs for frames that leave the switch.")] = ()
    grants: Annotated[tuple[Grant, ...], msgspec.Meta(max_length=256), field("Who else may use it.")] = ()
    key: Key = 0


class Pool(Struct, frozen=True, kw_only=True):
    """A range of addresses to assign from."""

    first: Annotated[str, field("First address.", format=Format.IP)]
    last: Annotated[str, field("Last address.", format=Format.IP)]


class HostRoute(Struct, frozen=True, kw_only=True):
    """A route that DHCP or router advertisements tell the machines on the subnet."""

    destination: Annotated[str, field("Where to.", format=Format.CIDR)]
    next_hop: Annotated[str, field("Through which address.", format=Format.IP)]


@kind("subnet")
class Subnet(Object, frozen=True, kw_only=True):
    """A range of addresses on a network. A network may have several, of both families."""

    network: Annotated[str, field("The network.", ref="network", parent=True)]
    cidr: Annotated[str, field("The range, IPv4 or IPv6.", format=Format.CIDR, immutable=True)]
    gateway: Annotated[
        str | None,
        field(
            "The router's address that machines on the subnet send to. The first address, when left out.",
            format=Format.IP,
            assigned=True,
        ),
    ] = None
    pools: Annotated[
        tuple[Pool, ...],
        msgspec.Meta(max_length=64),
        field("Where addresses are assigned from; the whole range, if left out."),
    ] = ()
    dhcp: Annotated[bool, field("Answer DHCP on this subnet.")] = True
    dns_servers: Annotated[
        tuple[IpText, ...], msgspec.Meta(max_length=8), field("Name servers told to the machines.")
    ] = ()
    host_routes: Annotated[
        tuple[HostRoute, ...], msgspec.Meta(max_length=64), field("Routes told to the machines.")
    ] = ()
    ipv6_mode: Annotated[
        Literal["slaac", "dhcpv6", "none"], field("How machines come by their IPv6 address.")
    ] = "slaac"


class PortAddress(Struct, frozen=True, kw_only=True):
    """One address of a port. On a subnet, either part may be left out and is then chosen."""

    subnet: Annotated[
        str | None,
        field("The subnet; the one that holds the address, if left out.", ref="subnet", assigned=True),
    ] = None
    ip: Annotated[
        str | None, field("The address; a free one, if left out.", format=Format.IP, assigned=True)
    ] = None
    prefix: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=128)] | None,
        field("On a link between routers, and on an uplink, where there is no subnet: the prefix length."),
    ] = None


class AddressPair(Struct, frozen=True, kw_only=True):
    """Something else that a port may send from, besides its own addresses."""

    cidr: Annotated[str, field("Source addresses.", format=Format.CIDR)]
    mac: Annotated[str | None, field("Source MAC; the port's own, if left out.", format=Format.MAC)] = None


@kind("port")
class Port(Object, frozen=True, kw_only=True):
    """A socket of a switch or router, for a machine or for a link."""

    network: Annotated[
        str | None, field("The network that it is a port of (or give `router`).", ref="network", parent=True)
    ] = None
    router: Annotated[
        str | None, field("The router that it is a port of (or give `network`).", ref="router", parent=True)
    ] = None
    kind: Annotated[
        Literal["vm", "router", "vip", "service"],
        field(
            "`vm`: a machine. `router`: one end of a link, or a router's port to the outside. `vip`: an "
            "address of a load balancer. `service`: one of Onehop's own services. `vm` on a network and "
            "`router` on a router, if left out.",
            immutable=True,
            assigned=True,
        ),
    ] = "vm"
    mac: Annotated[str, field("The MAC address.", format=Format.MAC, assigned=True)] = ""
    addresses: Annotated[
        tuple[PortAddress, ...],
        msgspec.Meta(max_length=64),
        field(
            "Its addresses. A `vm` port gets one of each family that its network has, if left out.",
            assigned=True,
        ),
    ] = ()
    allowed_address_pairs: Annotated[
        tuple[AddressPair, ...], msgspec.Meta(max_length=64), field("What else it may send from.")
    ] = ()
    port_security: Annotated[bool, field("Check source addresses, and apply security groups.")] = True
    security_groups: Annotated[
        tuple[Annotated[str, field("A security group.", ref="security-group")], ...],
        msgspec.Meta(max_length=32),
        field("The groups whose rules allow traffic. Without any, all may leave and only replies come in."),
    ] = ()
    acls_in: Annotated[Acls, field("ACLs for packets from the machine.")] = ()
    acls_out: Annotated[Acls, field("ACLs for packets to the machine.")] = ()
    admin_up: Annotated[bool, field("Switched on. A port that is off drops everything.")] = True
    key: Key = 0


@kind("binding", scope=Scope.CLOUD)
class Binding(Object, frozen=True, kw_only=True):
    """Where a port is: which interface of which host."""

    port: Annotated[str, field("The port.", ref="port", parent=True)]
    host: Annotated[str, field("The host.", ref="host", immutable=True)]
    interface: Annotated[
        str | None,
        field("The interface: a tap, a veth or a physical one.", format=Format.INTERFACE),
    ] = None
    vlan: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=4094)] | None,
        field("Only frames with this VLAN tag belong to the port."),
    ] = None
    trunk: Annotated[
        str | None,
        field(
            "The port whose interface is shared, for a VLAN of a machine that tags; instead of `interface`.",
            ref="port",
        ),
    ] = None
    state: Annotated[
        Literal["active", "standby"], field("A port has at most one active binding; that is how it moves.")
    ] = "active"
