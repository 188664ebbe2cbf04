"""One row per rule: an object that breaks it, the field that is told, and words of the sentence.

The cloud: network `web` (10.0.1.0/24, fd00:1::/64) and network `db` (10.0.2.0/24) of project 1, router
`edge` linked to `web` and, by a transit prefix 172.16.0.0/30, to router `core`; port `free` of `edge` is
linked to nothing. Project 2 owns `shop` (10.0.1.0/24 too), `street` (granted to all as external) and
`market` (granted for use).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from onehop.model import (
    Acl,
    AclRule,
    AddressGroup,
    AddressPair,
    Binding,
    Grant,
    Host,
    HostAddress,
    HostRoute,
    Link,
    Match,
    Network,
    NextHop,
    Object,
    Pool,
    Port,
    PortAddress,
    Project,
    Role,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Token,
    Underlay,
)
from onehop.model.relations import check, guarded_sets
from onehop.model.view import Topology


def uid(n: int) -> str:
    return str(UUID(int=n))


MINE, THEIRS = uid(1), uid(2)
MAC = "02:00:00:00:00:01"
WEB, DB, SHOP, STREET, MARKET = (uid(n) for n in range(10, 15))
WEB4, WEB6, DB4, SHOP4, STREET4, MARKET4 = (uid(n) for n in range(20, 26))
EDGE, CORE = uid(30), uid(31)
WEB_EDGE, EDGE_WEB, EDGE_CORE, CORE_EDGE, EDGE_FREE, DB_FREE, VM, TAGGED, BOUND, VIP = (
    uid(n) for n in range(40, 50)
)
GROUP, SET, HOST, UNDERLAY, TOKEN, STATELESS, SECOND = (uid(n) for n in range(60, 67))
EDGE_OTHER, NEW = uid(98), uid(99)


def mine(type: type[Object], id: str, name: str, project: str | None = MINE, **fields: Any) -> Any:
    return type(id=id, name=name, project=project, **fields)


def new(type: type[Object], project: str | None = MINE, **fields: Any) -> Any:
    return type(id=NEW, name="new", project=project, **fields)


def cloud() -> Topology:
    at = PortAddress
    return Topology(
        [
            mine(Project, MINE, "mine", None),
            mine(Project, THEIRS, "theirs", None),
            mine(Network, WEB, "web"),
            mine(Network, DB, "db"),
            mine(Network, SHOP, "shop", THEIRS),
            mine(Network, STREET, "street", THEIRS, grants=(Grant(allow="external"),)),
            mine(Network, MARKET, "market", THEIRS, grants=(Grant(allow="use", project=MINE),)),
            mine(Subnet, WEB4, "v4", network=WEB, cidr="10.0.1.0/24"),
            mine(Subnet, WEB6, "v6", network=WEB, cidr="fd00:1::/64"),
            mine(Subnet, DB4, "v4", network=DB, cidr="10.0.2.0/24"),
            mine(Subnet, SHOP4, "v4", THEIRS, network=SHOP, cidr="10.0.1.0/24"),
            mine(Subnet, STREET4, "v4", THEIRS, network=STREET, cidr="203.0.113.0/24"),
            mine(Subnet, MARKET4, "v4", THEIRS, network=MARKET, cidr="10.0.9.0/24"),
            mine(Router, EDGE, "edge"),
            mine(Router, CORE, "core"),
            mine(Port, WEB_EDGE, "edge", network=WEB, kind="router", mac=MAC),
            mine(
                *(Port, EDGE_WEB, "web"),
                router=EDGE,
                kind="router",
                mac=MAC,
                addresses=(at(subnet=WEB4, ip="10.0.1.1"), at(subnet=WEB6, ip="fd00:1::1")),
            ),
            mine(
                *(Port, EDGE_CORE, "core"),
                router=EDGE,
                kind="router",
                mac=MAC,
                addresses=(at(ip="172.16.0.1", prefix=30),),
            ),
            mine(
                *(Port, CORE_EDGE, "edge"),
                router=CORE,
                kind="router",
                mac=MAC,
                addresses=(at(ip="172.16.0.2", prefix=30),),
            ),
            mine(Port, EDGE_FREE, "free", router=EDGE, kind="router", mac=MAC),
            mine(Port, EDGE_OTHER, "other", router=EDGE, kind="router", mac=MAC),
            mine(Port, DB_FREE, "free", network=DB, kind="router", mac=MAC),
            mine(Port, VM, "vm", network=WEB, mac=MAC, addresses=(at(subnet=WEB4, ip="10.0.1.5"),)),
            mine(Port, TAGGED, "tagged", network=WEB, mac="02:00:00:00:00:02"),
            mine(Port, BOUND, "bound", router=EDGE, kind="router", mac="02:00:00:00:00:03"),
            mine(Port, VIP, "vip", network=WEB, kind="vip", mac="02:00:00:00:00:04"),
            mine(Link, uid(50), "edge-web", a=EDGE_WEB, b=WEB_EDGE),
            mine(Link, uid(51), "edge-core", a=EDGE_CORE, b=CORE_EDGE),
            mine(SecurityGroup, GROUP, "group"),
            mine(AddressGroup, SET, "set"),
            mine(Underlay, UNDERLAY, "underlay", None),
            mine(Host, HOST, "h1", None),
            mine(Token, TOKEN, "token", None),
            mine(Binding, uid(70), "b", None, port=TAGGED, host=HOST, trunk=VM, vlan=5),
            mine(Binding, uid(71), "b", None, port=BOUND, host=HOST, interface="eth1"),
            mine(Acl, STATELESS, "first", rules=(AclRule(id="on", action="jump", jump=SECOND),)),
            mine(Acl, SECOND, "second", rules=()),
        ]
    )


CLOUD = cloud()


def told(obj: Object, before: Object | None = None, *, anywhere: bool = False) -> list[tuple[str, str]]:
    return [(p.field, p.message) for p in check(obj, before, CLOUD, anywhere=anywhere)]


def subnet(**fields: Any) -> Any:
    return new(Subnet, **{"network": DB, "cidr": "10.7.0.0/24", **fields})


def port(**fields: Any) -> Any:
    return new(Port, **{"mac": MAC, **fields})


def inner(*addresses: PortAddress, **fields: Any) -> Any:
    return port(network=WEB, addresses=addresses, **fields)


def outer(*addresses: PortAddress, **fields: Any) -> Any:
    return port(**{"router": EDGE, "kind": "router", "addresses": addresses, **fields})


def at(ip: str | None, subnet: str | None = None, prefix: int | None = None) -> PortAddress:
    return PortAddress(subnet=subnet, ip=ip, prefix=prefix)


def changed(id: str, **fields: Any) -> Any:
    return msgspec.structs.replace(CLOUD.find(id), **fields)  # type: ignore[type-var]


def route(*hops: NextHop, **fields: Any) -> Any:
    return new(Route, **{"router": EDGE, "destination": "10.9.0.0/16", "next_hops": hops, **fields})


def group_rule(**fields: Any) -> Any:
    return new(SecurityGroupRule, security_group=GROUP, direction="ingress", **fields)


def acl(*rules: AclRule, stateful: bool = False) -> Any:
    return new(Acl, rules=rules, stateful=stateful)


def matching(*, stateful: bool = False, **fields: Any) -> Any:
    return acl(AclRule(id="r", action="drop", match=Match(**fields)), stateful=stateful)


def binding(port: str, **fields: Any) -> Any:
    return new(Binding, None, port=port, host=HOST, **fields)


Row = tuple[str, Any, str, str]

SUBNETS: list[Row] = [
    ("a gateway outside", subnet(gateway="10.8.0.1"), "gateway", "not in 10.7.0.0/24"),
    ("a gateway of the other family", subnet(gateway="fd00::1"), "gateway", "not in"),
    ("a gateway that is the broadcast address", subnet(gateway="10.7.0.255"), "gateway", "broadcast"),
    ("a pool outside", subnet(pools=(Pool(first="10.7.0.9", last="10.8.0.1"),)), "pools[0].last", "not in"),
    ("a pool backwards", subnet(pools=(Pool(first="10.7.0.9", last="10.7.0.3"),)), "pools[0]", "before"),
    ("a pool with the network's address",
     subnet(pools=(Pool(first="10.7.0.0", last="10.7.0.3"),)), "pools[0].first", "network itself"),
    ("pools that overlap",
     subnet(pools=(Pool(first="10.7.0.2", last="10.7.0.9"), Pool(first="10.7.0.9", last="10.7.0.11"))),
     "pools[1]", "overlaps pools[0]"),
    ("a name server of the other family", subnet(dns_servers=("fd00::1",)), "dns_servers[0]", "other family"),
    ("a host route through elsewhere",
     subnet(host_routes=(HostRoute(destination="0.0.0.0/0", next_hop="10.8.0.1"),)),
     "host_routes[0].next_hop", "could not reach"),
    ("a host route of the other family",
     subnet(host_routes=(HostRoute(destination="::/0", next_hop="10.7.0.1"),)),
     "host_routes[0].destination", "other family"),
    ("multicast", subnet(cidr="224.0.1.0/24"), "cidr", "not a range"),
    ("everything", subnet(cidr="0.0.0.0/0"), "cidr", "not a range"),
    ("link-local", subnet(cidr="fe80::/64"), "cidr", "link-local"),
    ("an overlap in the network", subnet(cidr="10.0.0.0/16"), "cidr", "overlaps subnet v4"),
    ("an overlap with a transit prefix of a linked router",
     subnet(network=WEB, cidr="172.16.0.0/24"), "cidr", "router edge"),
]  # fmt: skip
PORTS: list[Row] = [
    ("neither network nor router", port(), "network", "give one of the two"),
    ("both network and router", port(network=WEB, router=EDGE), "network", "give one of the two"),
    ("a machine's port on a router", port(router=EDGE), "kind", "kind `router`"),
    ("addresses on the network's end of a link", inner(at("10.0.1.9", WEB4), kind="router"),
     "addresses", "router's port"),
    ("groups on a router's port", outer(security_groups=(GROUP,)), "security_groups", "ACL"),
    ("a group twice", inner(security_groups=(GROUP, GROUP)), "security_groups[1]", "twice"),
    ("groups without port security", inner(security_groups=(GROUP,), port_security=False),
     "security_groups", "port_security"),
    ("a group MAC", inner(mac="03:00:00:00:00:01"), "mac", "group address"),
    ("no MAC at all", inner(mac="00:00:00:00:00:00"), "mac", "zeros"),
    ("a pair with a group MAC",
     inner(allowed_address_pairs=(AddressPair(cidr="10.0.0.0/8", mac="ff:ff:ff:ff:ff:ff"),)),
     "allowed_address_pairs[0].mac", "group address"),
    ("a pair twice", inner(allowed_address_pairs=(AddressPair(cidr="10.0.0.0/8"),) * 2),
     "allowed_address_pairs[1]", "twice"),
    ("a pair of multicast", inner(allowed_address_pairs=(AddressPair(cidr="ff00::/8"),)),
     "allowed_address_pairs[0].cidr", "multicast"),
    ("an address outside its subnet", inner(at("10.0.2.9", WEB4)), "addresses[0].ip", "not in subnet v4"),
    ("the network's address", inner(at("10.0.1.0", WEB4)), "addresses[0].ip", "network itself"),
    ("the broadcast address", inner(at("10.0.1.255", WEB4)), "addresses[0].ip", "broadcast"),
    ("the any-router address", inner(at("fd00:1::", WEB6)), "addresses[0].ip", "any router"),
    ("an address twice", inner(at("10.0.1.9", WEB4), at("10.0.1.9", WEB4)), "addresses[1].ip", "twice"),
    ("a subnet of another network", inner(at("10.0.2.9", DB4)), "addresses[0].subnet", "another network"),
    ("an address in no subnet", inner(at("10.4.4.4")), "addresses[0].ip", "in no subnet"),
    ("an address of nothing", inner(at(None)), "addresses[0]", "needs an `ip`"),
    ("a prefix beside a subnet", inner(at("10.0.1.9", WEB4, 24)), "addresses[0].prefix", "subnet tells"),
    ("no prefix length on a router", outer(at("172.16.9.1")), "addresses[0].prefix", "is needed"),
    ("a v4 prefix of 64 bits", outer(at("172.16.9.1", None, 64)), "addresses[0].prefix", "at most 32"),
    ("multicast on a router", outer(at("224.0.0.5", None, 24)), "addresses[0].ip", "not an address"),
    ("a transit prefix that overlaps a linked subnet", outer(at("10.0.1.201", None, 30)),
     "addresses[0]", "overlaps subnet v4"),
    ("a linked port's address in another network",
     changed(EDGE_WEB, addresses=(at("10.0.2.1", DB4),)), "addresses[0]", "in no subnet of the network"),
    ("a subnet on a link between routers",
     changed(EDGE_CORE, addresses=(at("10.0.2.1", DB4),)), "addresses[0]", "no subnet"),
    ("the address of the other end",
     changed(EDGE_CORE, addresses=(at("172.16.0.2", None, 30),)), "addresses[0]", "other end"),
]  # fmt: skip
LINKS: list[Row] = [
    ("a network's port first", new(Link, a=DB_FREE, b=EDGE_FREE), "a", "router's port"),
    ("a machine's port", new(Link, a=EDGE_FREE, b=VM), "b", "kind `vm`"),
    ("a port that is linked", new(Link, a=EDGE_FREE, b=WEB_EDGE), "b", "edge-web already"),
    ("a port that is bound", new(Link, a=BOUND, b=DB_FREE), "a", "bound"),
    ("a device with itself", new(Link, a=EDGE_FREE, b=EDGE_OTHER), "b", "same device"),
]  # fmt: skip
ROUTES: list[Row] = [
    ("a source of another family", route(NextHop(ip="10.0.1.9"), source="fd00::/8"), "source", "family"),
    ("a multicast destination", route(NextHop(ip="10.0.1.9"), destination="224.0.0.0/4"),
     "destination", "multicast"),
    ("forward without a next hop", route(), "next_hops", "at least one"),
    ("a black hole with a next hop", route(NextHop(ip="10.0.1.9"), action="blackhole"), "next_hops", "none"),
    ("a next hop of nothing", route(NextHop()), "next_hops[0]", "needs an `ip`"),
    ("a next hop twice", route(NextHop(ip="10.0.1.9"), NextHop(ip="10.0.1.9", weight=2)),
     "next_hops[1]", "twice"),
    ("a next hop of the other family", route(NextHop(ip="fd00:1::9")), "next_hops[0].ip", "other family"),
    ("a next hop that is nowhere", route(NextHop(ip="10.55.0.1")), "next_hops[0].ip", "no network"),
    ("the router itself", route(NextHop(ip="10.0.1.1")), "next_hops[0].ip", "own address"),
    ("a port of another router", route(NextHop(port=CORE_EDGE)), "next_hops[0].port", "not a port"),
    ("an address beyond the port", route(NextHop(ip="10.0.1.9", port=EDGE_CORE)),
     "next_hops[0].ip", "not reached by port core"),
    ("a link-local next hop by no port", route(NextHop(ip="fe80::1"), destination="::/0"),
     "next_hops[0].ip", "say by which"),
]  # fmt: skip
FILTERS: list[Row] = [
    ("ports without a protocol", group_rule(ports="80"), "ports", "need a `protocol`"),
    ("ports of ICMP", group_rule(ports="80", protocol="icmp"), "ports", "need a `protocol`"),
    ("an ICMP type of TCP", group_rule(icmp_type=8, protocol="tcp"), "icmp_type", "icmp or icmpv6"),
    ("an ICMP code alone", group_rule(icmp_code=0, protocol="icmp"), "icmp_code", "icmp_type"),
    ("two remotes", group_rule(remote_cidr="10.0.0.0/8", remote_group=GROUP), "remote_group", "not both"),
    ("ICMP over IPv6", group_rule(protocol="icmp", family="ipv6"), "protocol", "nothing would match"),
    ("a remote of the other family", group_rule(remote_cidr="10.0.0.0/8", protocol="icmpv6"),
     "remote_cidr", "nothing would match"),
    ("a rule id twice", acl(AclRule(id="r", action="drop"), AclRule(id="r", action="drop")),
     "rules[1].id", "another rule"),
    ("a jump to nowhere", acl(AclRule(id="r", action="jump")), "rules[0].jump", "is needed"),
    ("a target but no jump", acl(AclRule(id="r", action="drop", jump=SECOND)), "rules[0].jump", "only for"),
    ("a state in a stateless ACL", matching(state=("new",)), "rules[0].match.state", "stateful"),
    ("an inversion of nothing", matching(invert=("src",)), "rules[0].match.invert[0]", "not given"),
    ("an inversion twice", matching(src="10.0.0.0/8", invert=("src", "src")),
     "rules[0].match.invert[1]", "twice"),
    ("a port range of no protocol", matching(dst_ports="1-9"), "rules[0].match.dst_ports", "protocol"),
    ("ports of anything but TCP", matching(dst_ports="1-9", protocol="tcp", invert=("protocol",)),
     "rules[0].match.dst_ports", "protocol"),
    ("addresses of two families", matching(src="10.0.0.0/8", dst="fd00::/8"),
     "rules[0].match.dst", "nothing would match"),
    ("IP in ARP", matching(ethertype=0x0806, protocol="tcp"), "rules[0].match.ethertype", "not IP"),
    ("a jump to itself", changed(SECOND, rules=(AclRule(id="r", action="jump", jump=SECOND),)),
     "rules[0].jump", "second > second"),
    ("a circle of jumps", changed(SECOND, rules=(AclRule(id="r", action="jump", jump=STATELESS),)),
     "rules[0].jump", "second > first > second"),
]  # fmt: skip
PLACES: list[Row] = [
    ("neither interface nor trunk", binding(VM), "interface", "one of the two"),
    ("interface and trunk", binding(VM, interface="t", trunk=BOUND, vlan=1), "interface", "one of the two"),
    ("a trunk without a VLAN", binding(VM, trunk=BOUND), "vlan", "is needed"),
    ("a port as its own trunk", binding(VM, trunk=VM, vlan=1), "trunk", "not its own"),
    ("a trunk in a trunk", binding(BOUND, trunk=TAGGED, vlan=1), "trunk", "itself bound to a trunk"),
    ("a trunk put on a trunk", binding(VM, trunk=BOUND, vlan=1), "trunk", "have this one"),
    ("a load balancer's address", binding(VIP, interface="t"), "port", "load balancer"),
    ("an end of a link", binding(EDGE_WEB, interface="t"), "port", "end of a link"),
    ("a host at multicast", new(Host, None, addresses=(HostAddress(underlay=UNDERLAY, ip="224.0.0.1"),)),
     "addresses[0].ip", "not an address"),
    ("an address twice", new(Host, None, addresses=(HostAddress(underlay=UNDERLAY, ip="192.0.2.1"),) * 2),
     "addresses[1]", "twice"),
    ("an interface with a blank", new(Host, None, physical_networks={"lan": "a b"}),
     "physical_networks.lan", "interface name"),
    ("a member of the cloud", new(Role, None, token=TOKEN, role="member"), "project", "is needed"),
    ("a host of a project", new(Role, MINE, token=TOKEN, role="host"), "project", "belong to the cloud"),
    ("a label in capitals", new(Network, labels={"No": "x"}), "labels.No", "label key"),
    ("a grant twice", new(Network, grants=(Grant(allow="use"),) * 2), "grants[1]", "twice"),
]  # fmt: skip
REFERENCES: list[Row] = [
    ("something that is not there", port(network=uid(96)), "network", "there is no network"),
    ("something of another kind", port(network=EDGE), "network", "there is no network"),
    ("another project's", port(network=SHOP), "network", "there is no network"),
    ("another's in a list", inner(at("10.0.1.7", SHOP4)), "addresses[0].subnet", "there is no subnet"),
    ("a machine on what is granted as external", port(network=STREET), "network", "it is for: external"),
    ("a link to what is granted for use", port(network=MARKET, kind="router"), "network", "it is for: use"),
    ("a subnet in a granted network", subnet(network=MARKET), "network", "not granted"),
]  # fmt: skip


def refusals() -> list[Any]:
    rows = [*SUBNETS, *PORTS, *LINKS, *ROUTES, *FILTERS, *PLACES, *REFERENCES]
    return [pytest.param(*row[1:], id=row[0].replace(" ", "-")) for row in rows]


@pytest.mark.parametrize(("obj", "field", "words"), refusals())
def test_is_refused(obj: Object, field: str, words: str) -> None:
    before = CLOUD.find(obj.id)
    problems = told(obj, before)
    assert [f for f, _ in problems] == [field]
    assert words in problems[0][1]


ACCEPTED: list[tuple[str, Any]] = [
    ("a subnet with everything",
     subnet(gateway="10.7.0.1", pools=(Pool(first="10.7.0.2", last="10.7.0.9"),), dns_servers=("9.9.9.9",),
            host_routes=(HostRoute(destination="0.0.0.0/0", next_hop="10.7.0.3"),))),
    ("the same range on networks that no router joins", new(Subnet, network=DB, cidr="10.0.1.0/24")),
    ("both addresses of a /31", outer(at("172.16.9.0", None, 31))),
    ("a /32 on a router", outer(at("172.16.9.9", None, 32))),
    ("the first address of a /127", outer(at("fd00:9::", None, 127))),
    ("two addresses in one prefix", outer(at("172.16.9.1", None, 29), at("172.16.9.2", None, 29))),
    ("a router's port with a subnet, to be linked", outer(at("10.0.2.1", DB4))),
    ("a machine on a network granted for use", port(network=MARKET, addresses=(at("10.0.9.7", MARKET4),))),
    ("a router's end on an external network", port(network=STREET, kind="router")),
    ("a link to a network", new(Link, a=EDGE_FREE, b=DB_FREE)),
    ("a next hop on a linked network", route(NextHop(ip="10.0.1.77"))),
    ("a next hop over a transit prefix", route(NextHop(ip="172.16.0.2", port=EDGE_CORE))),
    ("a next hop that is a port alone", route(NextHop(port=EDGE_CORE))),
    ("a link-local next hop by a port", route(NextHop(ip="fe80::1", port=EDGE_CORE), destination="::/0")),
    ("a default route", route(NextHop(ip="10.0.1.77"), destination="0.0.0.0/0")),
    ("a black hole", route(action="blackhole")),
    ("ports with a protocol", group_rule(protocol="tcp", ports="80-90", remote_group=GROUP)),
    ("an echo request", group_rule(protocol="icmpv6", icmp_type=128, icmp_code=0, family="ipv6")),
    ("an inverted source of the other family", matching(src="10.0.0.0/8", dst="fd00::/8", invert=("src",))),
    ("a jump along another's way", acl(AclRule(id="r", action="jump", jump=STATELESS))),
    ("a state in a stateful ACL", matching(state=("new",), stateful=True)),
    ("an interface with a VLAN", binding(EDGE_FREE, interface="eth0", vlan=7)),
    ("a second port on a trunk", binding(EDGE_OTHER, trunk=VM, vlan=6)),
]  # fmt: skip


@pytest.mark.parametrize("obj", [pytest.param(o, id=name.replace(" ", "-")) for name, o in ACCEPTED])
def test_is_accepted(obj: Object) -> None:
    assert told(obj) == []


def test_administrators_of_the_cloud_refer_to_what_any_project_owns() -> None:
    assert told(port(network=SHOP), anywhere=True) == []


def test_what_an_object_referred_to_before_stays_allowed() -> None:
    before = port(network=SHOP)
    assert told(msgspec.structs.replace(before, title="x"), before) == []


def test_a_link_must_not_join_overlapping_prefixes() -> None:
    view = cloud()
    view.put(new(Subnet, network=DB, cidr="10.0.1.128/25"))
    problems = check(mine(Link, uid(97), "l", a=EDGE_FREE, b=DB_FREE), None, view)
    assert [p.field for p in problems] == ["b"]
    assert "overlaps subnet v4 (10.0.1.0/24)" in problems[0].message


@pytest.mark.parametrize(
    ("obj", "before", "sets"),
    [
        (subnet(), None, {f"network/{DB}"}),
        (subnet(network=WEB), None, {f"network/{WEB}", f"router/{EDGE}"}),
        (subnet(), subnet(title="x"), set()),
        (inner(at("10.0.1.7", WEB4)), None, set()),
        (outer(at("172.16.9.1", None, 30)), None, {f"router/{EDGE}"}),
        (changed(EDGE_CORE, addresses=()), CLOUD.find(EDGE_CORE), {f"router/{EDGE}", f"router/{CORE}"}),
        (
            new(Link, a=EDGE_FREE, b=DB_FREE),
            None,
            {f"router/{EDGE}", f"network/{DB}", f"port/{EDGE_FREE}", f"port/{DB_FREE}"},
        ),
        (CLOUD.find(STATELESS), None, {f"acl/{MINE}"}),
        (CLOUD.find(SECOND), None, set()),
        (binding(VM, interface="t"), None, set()),
        (binding(EDGE_FREE, interface="t"), None, {f"port/{EDGE_FREE}"}),
    ],
)
def test_rules_tell_the_sets_that_they_are_about(obj: Object, before: Object | None, sets: set[str]) -> None:
    assert set(guarded_sets(obj, before, CLOUD)) == sets


def test_what_an_object_referred_to_by_another_field_is_checked_all_the_same() -> None:
    before = port(network=WEB, security_groups=(GROUP,))
    after = msgspec.structs.replace(before, acls_in=(GROUP,))
    assert [field for field, _ in told(after, before)] == ["acls_in[0]"]
