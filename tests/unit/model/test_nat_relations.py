"""One row per rule about translation: an object that breaks it, the field told, words of the sentence.

The cloud: router `edge` joins network `web` (10.0.1.0/24, fd00:1::/64) to `street`, which another project
grants as external (203.0.113.0/24, 2001:db8::/64, both with their first address as gateway). Its port `out`
has 203.0.113.10 and 2001:db8::10 there, masquerades IPv4 from 10.0.9.0/24, shares 203.0.113.20-21, forwards
203.0.113.20:80 (tcp) and all of 203.0.113.22, and has 203.0.113.32/28 stand for 10.0.1.32/28. Machine `vm` on
`web` has 10.0.1.5; `lone` is on network `db`, which no router joins to anything.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from onehop.model import (
    FloatingIp,
    Grant,
    Link,
    NatRule,
    Network,
    Object,
    Pool,
    Port,
    PortAddress,
    Project,
    Router,
    Subnet,
)
from onehop.model.claims import claims, claims_of
from onehop.model.relations import check, guarded_sets, sets_of_deletion
from onehop.model.view import Topology


def uid(n: int) -> str:
    return str(UUID(int=n))


MINE, THEIRS = uid(1), uid(2)
WEB, DB, STREET, OWN = (uid(n) for n in range(10, 14))
WEB4, WEB6, STREET4, STREET6, OWN4, DB4 = (uid(n) for n in range(20, 26))
EDGE = uid(30)
OUT, STREET_EDGE, IN, WEB_EDGE, VM, LONE, UNLINKED = (uid(n) for n in range(40, 47))
LINK, POOLED, MASQUERADING, FLOATING, NEW = uid(50), uid(60), uid(61), uid(70), uid(99)
MAC = "02:00:00:00:00:01"


def mine(type: type[Object], id: str, name: str, project: str | None = MINE, **fields: Any) -> Any:
    return type(id=id, name=name, project=project, **fields)


def new(type: type[Object], project: str | None = MINE, **fields: Any) -> Any:
    return type(id=NEW, name="new", project=project, **fields)


def end(id: str, name: str, *addresses: tuple[str, str], **fields: Any) -> Any:
    at = tuple(PortAddress(subnet=subnet, ip=ip) for subnet, ip in addresses)
    return mine(Port, id, name, mac=MAC, addresses=at, **fields)


def named(n: int, name: str, action: str, **fields: Any) -> Any:
    return mine(NatRule, uid(n), name, port=OUT, action=action, **fields)


def cloud() -> Topology:
    return Topology(
        [
            mine(Project, MINE, "mine", None),
            mine(Project, THEIRS, "theirs", None),
            mine(Network, WEB, "web"),
            mine(Network, DB, "db"),
            mine(Network, OWN, "own"),
            mine(Network, STREET, "street", THEIRS, grants=(Grant(allow="external"),)),
            mine(Subnet, WEB4, "v4", network=WEB, cidr="10.0.1.0/24", gateway="10.0.1.1"),
            mine(Subnet, WEB6, "v6", network=WEB, cidr="fd00:1::/64", gateway="fd00:1::1"),
            mine(Subnet, DB4, "v4", network=DB, cidr="10.0.2.0/24"),
            mine(Subnet, OWN4, "v4", network=OWN, cidr="10.0.3.0/24"),
            mine(Subnet, STREET4, "v4", THEIRS, network=STREET, cidr="203.0.113.0/24", gateway="203.0.113.1"),
            mine(Subnet, STREET6, "v6", THEIRS, network=STREET, cidr="2001:db8::/64", gateway="2001:db8::1"),
            mine(Router, EDGE, "edge"),
            end(OUT, "out", (STREET4, "203.0.113.10"), (STREET6, "2001:db8::10"), router=EDGE, kind="router"),
            end(IN, "web", (WEB4, "10.0.1.1"), (WEB6, "fd00:1::1"), router=EDGE, kind="router"),
            end(UNLINKED, "free", router=EDGE, kind="router"),
            end(STREET_EDGE, "edge", network=STREET, kind="router"),
            end(WEB_EDGE, "edge", network=WEB, kind="router"),
            end(VM, "vm", (WEB4, "10.0.1.5"), network=WEB),
            end(LONE, "lone", (DB4, "10.0.2.5"), network=DB),
            mine(Link, LINK, "edge-street", a=OUT, b=STREET_EDGE),
            mine(Link, uid(51), "edge-web", a=IN, b=WEB_EDGE),
            mine(
                *(NatRule, POOLED, "pooled"),
                port=OUT,
                action="snat",
                pools=(Pool(first="203.0.113.20", last="203.0.113.21"),),
            ),
            named(61, "masquerading", "masquerade", family="ipv4", source="10.0.9.0/24"),
            named(
                *(62, "forward", "dnat"),
                external="203.0.113.20/32",
                internal="10.0.1.5/32",
                protocol="tcp",
                ports="80",
            ),
            named(63, "whole", "dnat", external="203.0.113.22/32", internal="10.0.1.6/32"),
            named(64, "static", "static", external="203.0.113.32/28", internal="10.0.1.32/28"),
            mine(
                *(FloatingIp, FLOATING, "taken"),
                subnet=STREET4,
                ip="203.0.113.99",
                port=VM,
                port_ip="10.0.1.5",
            ),
        ]
    )


CLOUD = cloud()


def told(obj: Object, before: Object | None = None) -> list[tuple[str, str]]:
    return [(p.field, p.message) for p in check(obj, before, CLOUD)]


def rule(action: str, **fields: Any) -> Any:
    return new(NatRule, **{"port": OUT, "action": action, **fields})


def pools(*ranges: str, **fields: Any) -> Any:
    made = tuple(
        Pool(first=first, last=last or first) for first, _, last in (r.partition("-") for r in ranges)
    )
    return rule("snat", pools=made, **fields)


def dnat(external: str | None = "203.0.113.50/32", internal: str = "10.0.1.5/32", **fields: Any) -> Any:
    return rule("dnat", external=external, internal=internal, **fields)


def forward(ports: str = "8080", external: str | None = "203.0.113.50/32", **fields: Any) -> Any:
    return dnat(external, **{"protocol": "tcp", "ports": ports, **fields})


def static(external: str, internal: str) -> Any:
    return rule("static", external=external, internal=internal)


def floating(ip: str | None = "203.0.113.60", subnet: str = STREET4, **fields: Any) -> Any:
    return new(FloatingIp, subnet=subnet, ip=ip, **fields)


def changed(id: str, **fields: Any) -> Any:
    return msgspec.structs.replace(CLOUD.find(id), **fields)  # type: ignore[type-var]


Row = tuple[str, Any, str, str]
RULES: list[Row] = [
    ("a pool of masquerade", rule("masquerade", pools=(Pool(first="1.1.1.1", last="1.1.1.2"),)),
     "pools", "goes with snat"),
    ("snat without a pool", rule("snat"), "pools", "needed"),
    ("dnat to nowhere", rule("dnat"), "internal", "needed"),
    ("static of nothing", rule("static", internal="10.0.1.5/32"), "external", "needed"),
    ("a source of the other family", rule("masquerade", family="ipv6", source="10.0.0.0/8"),
     "source", "not IPv6"),
    ("pools of both families", pools("203.0.113.50", "2001:db8::50"), "pools", "both families"),
    ("a pool of both families", pools("203.0.113.50-2001:db8::50"), "pools", "both families"),
    ("a pool backwards", pools("203.0.113.50-203.0.113.40"), "pools[0]", "before the first"),
    ("pools that overlap", pools("203.0.113.50-203.0.113.52", "203.0.113.52"), "pools[1]", "pools[0]"),
    ("257 addresses", pools("198.51.100.0-198.51.101.0"), "pools", "256 at most"),
    ("a pool with multicast", pools("224.0.0.1"), "pools[0]", "not an address"),
    ("a pool's source of the other family", pools("203.0.113.50", source="fd00::/8"),
     "source", "other family"),
    ("a pool with the port's address", pools("203.0.113.9-203.0.113.11"), "pools", "masquerade"),
    ("a pool with the gateway", pools("203.0.113.1-203.0.113.2"), "pools", "gateway"),
    ("a pool with the broadcast address", pools("203.0.113.255"), "pools", "broadcast"),
    ("another rule's pool", pools("203.0.113.21-203.0.113.23"), "pools", "rule pooled"),
    ("a static rule's addresses as a pool", pools("203.0.113.40"), "pools", "rule static"),
    ("a forward without a protocol", forward(protocol=None), "protocol", "tcp or udp"),
    ("a protocol without ports", dnat(protocol="tcp"), "ports", "whole address"),
    ("an inside port without ports", dnat(to_port=80), "ports", "whole address"),
    ("port 0", forward("0-4"), "ports", "nobody's"),
    ("1025 ports", forward("1000-2024"), "ports", "1024 at most"),
    ("ports beyond the last", forward("8000-8010", to_port=65530), "to_port", "65535"),
    ("dnat of a prefix", dnat("203.0.113.48/29"), "external", "static"),
    ("dnat into a prefix", dnat(internal="10.0.1.0/24"), "internal", "static"),
    ("dnat to the other family", dnat(internal="fd00:1::5/128"), "internal", "other family"),
    ("a family beside an address", dnat(family="ipv4"), "family", "external"),
    ("a family that does not fit", dnat(None, family="ipv6"), "internal", "not IPv6"),
    ("a port without an address", dnat(None, port=UNLINKED), "external", "no IPv4 address"),
    ("the same port twice", forward("79-81", "203.0.113.20/32"), "ports", "rule forward"),
    ("a whole address that is shared", dnat("203.0.113.21/32"), "external", "rule pooled"),
    ("a whole own address that is shared", dnat("203.0.113.10/32"), "external", "rule masquerading"),
    ("a whole address twice", dnat("203.0.113.22/32"), "external", "rule whole"),
    ("a forward of another port's pool", forward("90", "203.0.113.20/32", port=UNLINKED),
     "external", "rule pooled of port out"),
    ("static prefixes of two lengths", static("203.0.113.48/28", "10.0.1.0/24"), "internal", "as long as"),
    ("static prefixes of two families", static("203.0.113.48/28", "fd00::/28"), "internal", "other family"),
    ("the same prefix twice", static("203.0.113.48/28", "203.0.113.48/28"), "internal", "nothing"),
    ("a static prefix that is taken", static("203.0.113.32/28", "10.0.1.64/28"), "external", "rule static"),
    ("a wide prefix among neighbours", static("203.0.112.0/23", "10.8.0.0/23"), "external", "routed to"),
    ("a rule at a network's port", rule("masquerade", port=WEB_EDGE), "port", "router's port"),
    ("a rule at a machine's port", rule("masquerade", port=VM), "port", "router's port"),
]  # fmt: skip
FLOATING_IPS: list[Row] = [
    ("a network that is not external", floating("10.0.3.9", OWN4), "subnet", "not external"),
    ("another subnet's address", floating("203.0.112.9"), "ip", "not in subnet"),
    ("the network's address", floating("203.0.113.0"), "ip", "network itself"),
    ("the gateway", floating("203.0.113.1"), "ip", "gateway"),
    ("an inside address without a port", floating(port_ip="10.0.1.5"), "port_ip", "goes with"),
    ("a router's port", floating(port=IN, port_ip="10.0.1.1"), "port", "machine's port"),
    ("a port without an address of the family", floating("2001:db8::9", STREET6, port=VM), "port", "no IPv6"),
    ("an inside address of the other family", floating("2001:db8::9", STREET6, port=VM, port_ip="10.0.1.5"),
     "port_ip", "other family"),
    ("an address that the port has not", floating(port=VM, port_ip="10.0.1.6"), "port_ip", "no address of"),
    ("a machine that no router joins", floating(port=LONE, port_ip="10.0.2.5"),
     "port", "no router joins network db of port lone to network street"),
    ("a machine's address taken away", changed(VM, addresses=()), "addresses", "floating IP taken"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [pytest.param(*row[1:], id=row[0].replace(" ", "-")) for row in (*RULES, *FLOATING_IPS)],
)
def test_is_refused(obj: Object, field: str, words: str) -> None:
    problems = told(obj, CLOUD.find(obj.id))
    assert [f for f, _ in problems] == [field]
    assert words in problems[0][1]


ACCEPTED: list[tuple[str, Any]] = [
    ("masquerade of everything", rule("masquerade")),
    ("masquerade for another source", rule("masquerade", family="ipv4", source="10.0.8.0/24")),
    ("pools in order", pools("203.0.113.60-203.0.113.63", "203.0.113.50", source="10.0.1.0/24")),
    ("256 addresses that are routed here", pools("198.51.100.0-198.51.100.255")),
    ("a pool of IPv6", pools("2001:db8::100-2001:db8::1ff")),
    ("a forward of a shared address", forward("443", "203.0.113.20/32")),
    ("the same port of the other protocol", forward("80", "203.0.113.20/32", protocol="udp")),
    ("a forward of the port's own address", forward(external=None, to_port=80)),
    ("a forward of the port's own address, named", forward(external="203.0.113.10/32")),
    ("a forward of the port's own IPv6 address", forward(external=None, internal="fd00:1::5/128")),
    ("1024 ports", forward("1000-2023", to_port=1)),
    ("a forward out of a whole address", forward(external="203.0.113.22/32")),
    ("a static address in a static prefix", static("203.0.113.33/32", "10.0.1.99/32")),
    ("a wide prefix that is routed here", static("198.51.0.0/16", "10.8.0.0/16")),
    ("a rule at a port that is not linked yet", rule("masquerade", port=UNLINKED)),
    ("a floating IP for nobody", floating()),
    ("a floating IP for a machine", floating(port=VM, port_ip="10.0.1.5")),
    ("a machine with one more address",
     changed(VM, addresses=tuple(PortAddress(subnet=WEB4, ip=ip) for ip in ("10.0.1.5", "10.0.1.7")))),
]  # fmt: skip


@pytest.mark.parametrize("obj", [pytest.param(o, id=name.replace(" ", "-")) for name, o in ACCEPTED])
def test_is_accepted(obj: Object) -> None:
    assert told(obj, CLOUD.find(obj.id)) == []


def test_a_floating_ip_of_a_network_that_is_not_granted_is_of_no_subnet() -> None:
    view = cloud()
    view.put(mine(Network, STREET, "street", THEIRS, grants=(Grant(allow="use"),)))
    (problem,) = check(floating(), None, view)
    assert problem.field == "subnet"
    assert "not granted" in problem.message


def test_a_machine_of_the_network_granted_for_itself_has_no_floating_ip_of_it() -> None:
    view = cloud()
    view.put(mine(Network, DB, "db", grants=(Grant(allow="external"),)))
    made = new(FloatingIp, subnet=DB4, ip="10.0.2.9", port=LONE, port_ip="10.0.2.5")
    assert [problem.field for problem in check(made, None, view)] == ["port"]


def test_a_port_claims_the_addresses_of_its_rules_on_the_network_it_is_linked_to() -> None:
    port = CLOUD.find(OUT)
    assert port is not None
    on_street = {claim.value for claim in claims(port, CLOUD) if claim.scope == f"ip/{STREET}"}
    assert on_street == {
        *("203.0.113.10", "2001:db8::10", "203.0.113.20", "203.0.113.21", "203.0.113.22"),
        *(f"203.0.113.{n}" for n in range(32, 48)),
    }


def test_without_its_link_a_port_claims_nothing_for_its_rules() -> None:
    view = cloud()
    view.remove(LINK)
    made = claims_of([OUT], view)[OUT]
    assert {claim.value for claim in made if claim.scope.startswith("ip/")} == {
        "203.0.113.10",
        "2001:db8::10",
    }


def test_prefixes_that_are_routed_are_not_claimed_address_by_address() -> None:
    view = cloud()
    before = claims_of([OUT], view)
    view.put(static("198.51.0.0/16", "10.8.0.0/16"))
    assert claims_of([OUT], view) == before


def test_a_floating_ip_claims_its_address_and_the_one_it_stands_for() -> None:
    found = CLOUD.find(FLOATING)
    assert found is not None
    assert {(c.scope, c.value) for c in claims(found, CLOUD)} >= {
        (f"ip/{STREET}", "203.0.113.99"),
        (f"floating/{VM}", "10.0.1.5"),
    }


@pytest.mark.parametrize(
    ("obj", "before", "sets"),
    [
        (rule("masquerade"), None, {f"router/{EDGE}"}),
        (changed(POOLED, title="x"), CLOUD.find(POOLED), {f"router/{EDGE}"}),
        (floating(), None, set()),
        (floating(port=VM, port_ip="10.0.1.5"), None, {f"port/{VM}"}),
        (floating(port=VM, port_ip="10.0.1.5"), floating(), {f"port/{VM}"}),
        (changed(VM, addresses=()), CLOUD.find(VM), {f"port/{VM}"}),
        (changed(VM, title="x"), CLOUD.find(VM), set()),
    ],
)
def test_rules_about_sets_guard_them(obj: Object, before: Object | None, sets: set[str]) -> None:
    assert set(guarded_sets(obj, before, CLOUD)) == sets


@pytest.mark.parametrize("id", [POOLED, LINK])
def test_what_a_port_claims_by_is_guarded_when_it_goes(id: str) -> None:
    gone = CLOUD.find(id)
    assert gone is not None
    assert sets_of_deletion(gone, CLOUD) == [f"router/{EDGE}"]
