"""What may pass: security groups on ports; ACLs on ports, networks and routers; shared sets of addresses."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from onehop.model.fields import field
from onehop.model.formats import Format
from onehop.model.kinds import Family, Object, Struct, kind

Protocol = Annotated[str, field("A protocol by name or number.", format=Format.PROTOCOL)]
Ports = Annotated[str, field("A port or a range: `80`, `8000-8099`.", format=Format.PORTS)]


@kind("security-group")
class SecurityGroup(Object, frozen=True, kw_only=True):
    """Ports that are allowed the same things. A packet passes when any group of its port allows it."""

    egress: Annotated[
        Literal["allow", "rules"],
        field("What members may send: everything, or what egress rules allow."),
    ] = "allow"


@kind("security-group-rule")
class SecurityGroupRule(Object, frozen=True, kw_only=True):
    """Allows something to or from the members of a group. Replies need no rule."""

    security_group: Annotated[str, field("The group.", ref="security-group", parent=True)]
    direction: Annotated[Literal["ingress", "egress"], field("To the members, or from them.")]
    family: Annotated[Family | None, field("Only IPv4 or only IPv6.")] = None
    protocol: Annotated[str | None, field("Only this protocol.", format=Format.PROTOCOL)] = None
    ports: Annotated[
        str | None,
        field("Only these destination ports (tcp, udp, sctp): `80`, `8000-8099`.", format=Format.PORTS),
    ] = None
    icmp_type: Annotated[Annotated[int, msgspec.Meta(ge=0, le=255)] | None, field("Only this ICMP type.")] = (
        None
    )
    icmp_code: Annotated[Annotated[int, msgspec.Meta(ge=0, le=255)] | None, field("Only this ICMP code.")] = (
        None
    )
    remote_cidr: Annotated[str | None, field("Only from or to these addresses.", format=Format.CIDR)] = None
    remote_group: Annotated[
        str | None, field("Only from or to addresses of members of this group.", ref="security-group")
    ] = None
    remote_address_group: Annotated[
        str | None, field("Only from or to addresses in this group.", ref="address-group")
    ] = None


@kind("address-group")
class AddressGroup(Object, frozen=True, kw_only=True):
    """A set of prefixes that many rules share."""


@kind("address-group-entry", plural="address-group-entries")
class AddressGroupEntry(Object, frozen=True, kw_only=True):
    """One prefix of an address group."""

    address_group: Annotated[str, field("The group.", ref="address-group", parent=True)]
    cidr: Annotated[str, field("The prefix.", format=Format.CIDR, immutable=True)]


ConnectionState = Literal["new", "established", "related", "untracked"]
MatchField = Literal[
    "in_port",
    "out_port",
    "src_mac",
    "dst_mac",
    "ethertype",
    "vlan",
    "src",
    "dst",
    "src_group",
    "dst_group",
    "protocol",
    "src_ports",
    "dst_ports",
    "icmp_type",
    "icmp_code",
    "dscp",
    "fragment",
    "state",
]


class Match(Struct, frozen=True, kw_only=True):
    """What a rule of an ACL applies to. Everything given must hold; what `invert` names must not."""

    in_port: Annotated[str | None, field("The port it entered the device by.", ref="port")] = None
    out_port: Annotated[str | None, field("The port it leaves the device by.", ref="port")] = None
    src_mac: Annotated[str | None, field("Source MAC, with a mask if need be.", format=Format.MAC_MASK)] = (
        None
    )
    dst_mac: Annotated[
        str | None, field("Destination MAC, with a mask if need be.", format=Format.MAC_MASK)
    ] = None
    ethertype: Annotated[
        Annotated[int, msgspec.Meta(ge=0x600, le=0xFFFF)] | None, field("The ethertype, behind any VLAN tag.")
    ] = None
    vlan: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=4094)] | None,
        field("The VLAN of the tag; 0 for frames without one."),
    ] = None
    src: Annotated[str | None, field("Source addresses.", format=Format.CIDR)] = None
    dst: Annotated[str | None, field("Destination addresses.", format=Format.CIDR)] = None
    src_group: Annotated[str | None, field("Source addresses, as a group.", ref="address-group")] = None
    dst_group: Annotated[str | None, field("Destination addresses, as a group.", ref="address-group")] = None
    protocol: Annotated[str | None, field("The IP protocol.", format=Format.PROTOCOL)] = None
    src_ports: Annotated[str | None, field("Source ports.", format=Format.PORTS)] = None
    dst_ports: Annotated[str | None, field("Destination ports.", format=Format.PORTS)] = None
    icmp_type: Annotated[Annotated[int, msgspec.Meta(ge=0, le=255)] | None, field("ICMP type.")] = None
    icmp_code: Annotated[Annotated[int, msgspec.Meta(ge=0, le=255)] | None, field("ICMP code.")] = None
    dscp: Annotated[Annotated[int, msgspec.Meta(ge=0, le=63)] | None, field("DSCP.")] = None
    fragment: Annotated[
        Literal["any", "first", "later"] | None, field("Fragments: any, the first, or those after it.")
    ] = None
    state: Annotated[
        tuple[ConnectionState, ...],
        msgspec.Meta(max_length=4),
        field("What the packet is to its connection; only in stateful ACLs."),
    ] = ()
    invert: Annotated[
        tuple[MatchField, ...], msgspec.Meta(max_length=18), field("The fields above that must not match.")
    ] = ()


class AclRule(Struct, frozen=True, kw_only=True):
    """One rule of an ACL."""

    id: Annotated[
        str,
        field("Names the rule in traces and counters; unique in its ACL.", format=Format.NAME, max_length=63),
    ]
    action: Annotated[
        Literal["allow", "drop", "reject", "return", "jump"],
        field(
            "`allow` ends all ACLs here, `drop` and `reject` the packet; `return` ends this ACL, `jump` goes "
            "through another and comes back."
        ),
    ]
    match: Annotated[Match, field("What it applies to; everything, if left out.")] = Match()
    jump: Annotated[str | None, field("The ACL to go through.", ref="acl")] = None
    log: Annotated[bool, field("Log the packets that it matches.")] = False


@kind("acl")
class Acl(Object, frozen=True, kw_only=True):
    """An ordered list of rules. What no rule decides goes on."""

    stateful: Annotated[
        bool,
        field("Judge the packet that opens a connection; replies and what follows pass with it."),
    ] = False
    rules: Annotated[tuple[AclRule, ...], msgspec.Meta(max_length=1024), field("The rules, in order.")] = ()
