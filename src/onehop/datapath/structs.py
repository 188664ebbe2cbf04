"""The structs that the compiler fills for the eBPF programs. `tables` says which tables they are of.

Numbers in them:

* **keys** of ports and networks are the model's: cloud-wide, 24 bits, one number space, 0 for none.
* **ids** of routers, rule lists, hop groups, address sets, zones and hosts are this host's own, small,
  dense and kept while the thing exists, since they index arrays. 0 means none.
* addresses are 16 bytes; an IPv4 address is v4-mapped (`layouts.ip6`), so its prefixes begin at bit 96.
* times are nanoseconds of CLOCK_MONOTONIC_COARSE.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from onehop.datapath.layouts import BE16, IP6, MAC, U8, U16, U32, U64, Layout, enumerated, pad
from onehop.datapath.words import (
    Fragment,
    HostFlag,
    MatchField,
    NatAction,
    NatDestinationFlag,
    NeighbourFlag,
    NetworkFlag,
    PortFlag,
    PortKind,
    RouteAction,
    RouteFlag,
    RouterFlag,
    RuleAction,
    RuleFlag,
)  # fmt: skip

# --- who there is -----------------------------------------------------------------------------------------


class InterfaceKey(Layout, frozen=True):
    """An interface of this host, and the VLAN tag of the frames; 0 without one."""

    ifindex: U32
    vlan: U16 = 0
    _1: ClassVar = pad(2)


class Port(Layout, frozen=True):
    """A port that this host follows: its own, and those that packets can reach from there."""

    device: Annotated[U32, "key of its network, or id of its router (flag ON_ROUTER)"]
    kind: Annotated[PortKind, enumerated(PortKind, U8)]
    _1: ClassVar = pad(1)
    mac: MAC
    flags: Annotated[PortFlag, enumerated(PortFlag, U32)] = PortFlag(0)
    peer: Annotated[U32, "key of the port at the other end of its link"] = 0
    zone: Annotated[U32, "of its device"] = 0
    host: Annotated[U32, "with its active binding; 0 if it has none"] = 0
    ifindex: Annotated[U32, "where it is plugged in, if here; 0 while the interface is absent"] = 0
    vlan: Annotated[U16, "the tag of its frames on that interface"] = 0
    mtu: Annotated[U16, "largest IP packet of the network that it is on or faces; 0: no limit"] = 0
    sends: Annotated[U32, "list of security rules for what its machine sends; 0 allows all"] = 0
    receives: Annotated[U32, "list of security rules for what comes to it; 0 allows nothing"] = 0
    acls_in: Annotated[U32, "list for packets from the machine"] = 0
    acls_out: Annotated[U32, "list for packets to the machine"] = 0
    quota: Annotated[U32, "how many connections it may have open; 0: the configured default"] = 0


class Network(Layout, frozen=True):
    """A virtual switch."""

    zone: U32
    flags: Annotated[NetworkFlag, enumerated(NetworkFlag, U32)] = NetworkFlag(0)
    acls_in: U32 = 0
    acls_out: U32 = 0
    members: Annotated[U32, "how many entries it has in `members`"] = 0
    remotes: Annotated[U32, "how many entries it has in `remotes`"] = 0
    mtu: U16 = 0
    _1: ClassVar = pad(2)


class Router(Layout, frozen=True):
    """A virtual router."""

    zone: U32
    flags: Annotated[RouterFlag, enumerated(RouterFlag, U32)] = RouterFlag(0)
    acls_in: U32 = 0
    acls_forward: U32 = 0
    acls_out: U32 = 0


class Host(Layout, frozen=True):
    """Another host, and the way there."""

    address: Annotated[IP6, "its underlay address"]
    local: Annotated[IP6, "ours, to send to it from"]
    ifindex: Annotated[U32, "the underlay interface that leads there"]
    flags: Annotated[HostFlag, enumerated(HostFlag, U8)] = HostFlag(0)
    _1: ClassVar = pad(1)
    mtu: Annotated[U16, "largest IP packet that fits through the tunnel; 0: no limit"] = 0


class Moved(Layout, frozen=True):
    """A port that was on another host until lately, or may soon be."""

    former: Annotated[U32, "that host: it may send for the port as well; 0 for this one"] = 0
    to: Annotated[U32, "the host to forward to, if the port has left this one"] = 0


# --- where things are -------------------------------------------------------------------------------------


class SourceKey(Layout, frozen=True):
    """LPM. What a port may send from: MACs exactly, addresses by prefix."""

    prefix: Annotated[U32, "SOURCE_BITS + the address's prefix length (96 more for IPv4)"]
    port: U32
    mac: MAC
    version: Annotated[BE16, "4 or 6; frames that are not IP ask with 4"]
    address: IP6


class FdbKey(Layout, frozen=True):
    """A MAC on a network."""

    network: U32
    mac: MAC
    _1: ClassVar = pad(2)


class LearnedMac(Layout, frozen=True):
    """Behind which port a MAC was seen that the model does not know."""

    port: U32
    _1: ClassVar = pad(4)
    seen: U64


class NeighbourKey(Layout, frozen=True):
    """An address on a segment: a network, by its key, or what is behind a router's port, by that key."""

    segment: U32
    address: IP6


class Neighbour(Layout, frozen=True):
    """Who has an address, as the model knows."""

    mac: MAC
    flags: Annotated[NeighbourFlag, enumerated(NeighbourFlag, U16)]
    port: Annotated[U32, "of the network, that has the address or leads to it; 0 on a link"] = 0


class LearnedNeighbour(Layout, frozen=True):
    """Who has an address, as somebody said. All zeros in `mac`: asked, and waiting for the answer."""

    mac: MAC
    _1: ClassVar = pad(2)
    seen: U64


class RouterAddressKey(Layout, frozen=True):
    """An address of a router."""

    router: U32
    address: IP6


class PortAddressKey(Layout, frozen=True):
    """Under which address a router's port speaks of ICMP errors, by IP version."""

    port: U32
    version: U32


class MemberKey(Layout, frozen=True):
    """The nth entry of a network's flood list, from 0."""

    network: U32
    index: U32


# --- routes -----------------------------------------------------------------------------------------------


class PrefixKey(Layout, frozen=True):
    """LPM. An address within something: a router's routes, a source table, an address set."""

    prefix: Annotated[U32, "32 + the address's prefix length (96 more for IPv4)"]
    of: Annotated[U32, "the id; OF_IPV6 | the id, for IPv6"]
    address: IP6


class Route(Layout, frozen=True):
    """What happens to a destination; or to a source, within the routes of one destination."""

    action: Annotated[RouteAction, enumerated(RouteAction, U8)]
    flags: Annotated[RouteFlag, enumerated(RouteFlag, U8)] = RouteFlag(0)
    _1: ClassVar = pad(2)
    hops: Annotated[U32, "hop group, to forward"] = 0
    sources: Annotated[U32, "table to ask in `source_routes` instead; no answer there means no route"] = 0
    id: Annotated[U32, "of the route, for traces"] = 0


class Span(Layout, frozen=True):
    """Where a list stands in its array."""

    base: U32
    count: U32


class Hop(Layout, frozen=True):
    """One next hop of a group."""

    address: Annotated[IP6, "the next router; all zeros for the destination itself"]
    port: Annotated[U32, "of the router, to leave by"]
    upto: Annotated[U32, "sum of the weights of this hop and those before it in the group"]


# --- rules ------------------------------------------------------------------------------------------------


class Rule(Layout, frozen=True):
    """One rule of a list. The fields named in `match` must hold, or must not if named in `invert`."""

    match: Annotated[MatchField, enumerated(MatchField, U32)]
    invert: Annotated[MatchField, enumerated(MatchField, U32)]
    action: Annotated[RuleAction, enumerated(RuleAction, U8)]
    flags: Annotated[RuleFlag, enumerated(RuleFlag, U8)] = RuleFlag(0)
    version: Annotated[U8, "4 or 6"] = 0
    protocol: U8 = 0
    src_low: Annotated[U16, "port"] = 0
    src_high: U16 = 0
    dst_low: U16 = 0
    dst_high: U16 = 0
    icmp_type: U8 = 0
    icmp_code: U8 = 0
    dscp: U8 = 0
    fragment: Annotated[Fragment, enumerated(Fragment, U8)] = Fragment.ANY
    ethertype: U16 = 0
    vlan: U16 = 0
    state: Annotated[U32, "bits 1 << ConnectionState"] = 0
    in_port: U32 = 0
    out_port: U32 = 0
    src_set: Annotated[U32, "address set"] = 0
    dst_set: U32 = 0
    jump: Annotated[U32, "list to go through, for JUMP"] = 0
    id: Annotated[U32, "of the rule, for traces, logs and counters"] = 0
    acl: Annotated[U32, "id of the ACL or group that it is a rule of"] = 0
    src: IP6 = bytes(16)
    src_mask: IP6 = bytes(16)
    dst: IP6 = bytes(16)
    dst_mask: IP6 = bytes(16)
    src_mac: MAC = bytes(6)
    src_mac_mask: MAC = bytes(6)
    dst_mac: MAC = bytes(6)
    dst_mac_mask: MAC = bytes(6)


# --- NAT --------------------------------------------------------------------------------------------------


class NatDestination(Layout, frozen=True):
    """What an external address of a router stands for."""

    to: Annotated[IP6, "with STATIC: the address, or the prefix, inside"]
    flags: Annotated[NatDestinationFlag, enumerated(NatDestinationFlag, U8)]
    bits: Annotated[U8, "of `to` that replace those of the destination, 96 more for IPv4"] = 128
    _1: ClassVar = pad(2)


class NatForwardKey(Layout, frozen=True):
    """A port of an external address that is somebody's inside."""

    router: U32
    address: IP6
    port: BE16
    protocol: U8
    _1: ClassVar = pad(1)


class NatForward(Layout, frozen=True):
    to: IP6
    port: BE16
    _1: ClassVar = pad(2)


class NatBlockKey(Layout, frozen=True):
    """A block of ports of a shared address."""

    router: U32
    address: IP6
    block: Annotated[U32, "port / 128"]


class NatSource(Layout, frozen=True):
    """What becomes of a source address when it leaves by a router's port."""

    to: Annotated[IP6, "STATIC: the address, or the prefix, outside"]
    action: Annotated[NatAction, enumerated(NatAction, U8)]
    bits: Annotated[U8, "of `to` that replace those of the source, 96 more for IPv4"] = 128
    _1: ClassVar = pad(2)
    rule: Annotated[U32, "DYNAMIC: the id of the rule; with the origin's key it finds the blocks"] = 0
    router: Annotated[U32, "DYNAMIC: the id of the router, whose forwards are left alone"] = 0


class NatBindingKey(Layout, frozen=True):
    """A machine's port, and a rule that lets it share addresses."""

    port: U32
    rule: U32


class Block(Layout, frozen=True):
    """128 ports of an address."""

    address: IP6
    first: U16
    _1: ClassVar = pad(2)
