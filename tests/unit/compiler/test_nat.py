"""What external addresses stand for, what becomes of sources, and who has which ports of shared addresses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from onehop.compiler.compile import Local
from onehop.compiler.facts import Interface
from onehop.datapath.layouts import show_ip6
from onehop.datapath.structs import (
    Block,
    NatBindingKey,
    NatBlockKey,
    NatDestination,
    NatForward,
    NatForwardKey,
    NatSource,
    NeighbourKey,
    RouterAddressKey,
)
from onehop.datapath.words import NatAction, NatDestinationFlag, NeighbourFlag, PortFlag, RouterFlag
from onehop.model import Binding, FloatingIp, Host, Link, NatRule, Network, Object, Port, SnatBlock
from onehop.model.switching import Pool
from tests.unit.compiler.small import LOCAL, Small, ip, prefixes

STATIC, ADDRESS = NatDestinationFlag.STATIC, NatDestinationFlag.ADDRESS
FORWARDS, BLOCKS = NatDestinationFlag.FORWARDS, NatDestinationFlag.BLOCKS
NOWHERE = bytes(16)

CLOUD = """
networks:
  web:
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64"}}
    ports:
      a: {addresses: [{ip: 10.0.1.5}, {ip: "fd00:1::5"}], bindings: {b: {host: h1, interface: t1}}}
      b: {addresses: [{ip: 10.0.1.6}], bindings: {b: {host: h2, interface: t1}}}
  out:
    subnets: {v4: {cidr: 198.51.100.0/24}}
    grants: [{allow: external}]
    ports: {gate: {kind: router}}
links: {go: {a: gate/out, b: out/gate}}
routers:
  edge:
    attach: [web, out]
  gate:
    ports:
      out: {addresses: [{ip: 198.51.100.2, subnet: out/v4}]}
      up:
        addresses: [{ip: 192.0.2.130, prefix: 25}, {ip: "2001:db8:1::2", prefix: 64}]
        bindings: {b: {host: h2, interface: ext0}}
    routes: {all: {destination: 0.0.0.0/0, next_hops: [{ip: 192.0.2.129}]}}
"""


class Nat(Small):
    """The cloud, and what is made at its routers' ports."""

    def __init__(self, text: str = CLOUD, local: Local = LOCAL) -> None:
        super().__init__(text, local)
        self.count = 0

    def make(self, type: type[Object], **fields: Any) -> str:
        self.count += 1
        id = f"00000000-0000-4000-8000-{self.count:012}"
        self.update(type(id=id, name=f"made-{self.count}", project=self.project, **fields))
        return id

    def rule(self, port: str, **fields: Any) -> str:
        return self.make(NatRule, port=self.id(Port, port), **fields)

    def floating(self, address: str, port: str, **fields: Any) -> str:
        (subnet,) = self.view.subnets(self.id(Network, "out"))
        return self.make(FloatingIp, subnet=subnet.id, ip=address, port=self.id(Port, port), **fields)

    def block(self, port: str, rule: str, address: str, first: int) -> str:
        return self.make(SnatBlock, port=self.id(Port, port), rule=rule, ip=address, first=first)

    def destinations(self, router: str) -> dict[str, NatDestination]:
        return prefixes(self.table("nat_destinations"), self.router(router))

    def sources(self, port: str) -> dict[str, NatSource]:
        return prefixes(self.table("nat_sources"), self.key(port))

    def answers(self, network: str) -> dict[str, int]:
        """Who is the neighbour of which address: ports of the network."""
        found = self.table("neighbours").items()
        return {show_ip6(k.address): v.port for k, v in found if k.segment == self.key(network)}

    def zone_of(self, router: str) -> int:
        zone: int = self.table("routers")[self.router(router)].zone
        return zone


@pytest.fixture
def cloud() -> Nat:
    return Nat()


# --- one to one ---------------------------------------------------------------------------------------------


def test_a_floating_ip_is_where_its_zone_leads_to_its_network(cloud: Nat) -> None:
    cloud.floating("198.51.100.50", "web/a")
    assert cloud.destinations("edge") == {"198.51.100.50/32": NatDestination(ip("10.0.1.5"), STATIC, 128)}
    assert cloud.destinations("gate") == {}
    assert cloud.sources("edge/out") == {"10.0.1.5/32": NatSource(ip("198.51.100.50"), NatAction.STATIC, 128)}
    assert cloud.answers("out")["198.51.100.50"] == cloud.key("out/edge")
    assert cloud.port("edge/out").flags & PortFlag.NAT
    assert cloud.table("routers")[cloud.router("edge")].flags == RouterFlag.UP | RouterFlag.NAT


def test_a_floating_ip_stands_for_the_address_that_is_told(cloud: Nat) -> None:
    port = cloud.get(Port, "web/a")
    second = msgspec.structs.replace(port.addresses[0], ip="10.0.1.77")
    cloud.update(msgspec.structs.replace(port, addresses=(*port.addresses, second)))
    cloud.floating("198.51.100.50", "web/a", port_ip="10.0.1.77")
    assert cloud.destinations("edge")["198.51.100.50/32"].to == ip("10.0.1.77")
    cloud.update(port)
    assert cloud.destinations("edge") == {}


def test_a_floating_ip_that_moves_leaves_nothing_behind(cloud: Nat) -> None:
    id = cloud.floating("198.51.100.50", "web/a")
    floating = cloud.view.find(id)
    assert isinstance(floating, FloatingIp)
    difference = cloud.update(msgspec.structs.replace(floating, port=cloud.id(Port, "web/b")))
    assert cloud.sources("edge/out").keys() == {"10.0.1.6/32"}
    assert cloud.zone_of("edge") in difference.zones
    cloud.update(msgspec.structs.replace(floating, port=None))
    assert not cloud.table("nat_destinations")
    assert not cloud.table("nat_sources")
    assert "198.51.100.50" not in cloud.answers("out")
    assert not cloud.port("edge/out").flags & PortFlag.NAT
    assert cloud.table("routers")[cloud.router("edge")].flags == RouterFlag.UP


def test_a_floating_ip_that_nothing_leads_to_says_so_where_its_port_is(cloud: Nat) -> None:
    here, there = cloud.floating("198.51.100.50", "web/a"), cloud.floating("198.51.100.51", "web/b")
    (link,) = [link for link in cloud.view.all(Link) if cloud.id(Port, "edge/out") in (link.a, link.b)]
    cloud.remove(link.id)
    assert not cloud.table("nat_destinations")
    assert cloud.desired.problems[here] == (
        "does nothing: no router near port a is linked to the address's network",
    )
    assert there not in cloud.desired.problems


def test_a_static_prefix_keeps_the_bits_behind_it(cloud: Nat) -> None:
    cloud.rule("edge/out", action="static", external="198.51.100.64/28", internal="10.0.1.16/28")
    assert cloud.destinations("edge") == {
        "198.51.100.64/28": NatDestination(ip("10.0.1.16"), STATIC, 96 + 28)
    }
    assert cloud.sources("edge/out") == {
        "10.0.1.16/28": NatSource(ip("198.51.100.64"), NatAction.STATIC, 96 + 28)
    }
    mine = {address for address, port in cloud.answers("out").items() if port == cloud.key("out/edge")}
    assert {f"198.51.100.{64 + n}" for n in range(16)} <= mine


def test_a_port_answers_for_no_prefix_of_more_than_256_addresses(cloud: Nat) -> None:
    before = cloud.answers("out")
    cloud.rule("edge/out", action="static", external="203.0.112.0/23", internal="10.9.0.0/23")
    assert cloud.answers("out") == before
    cloud.rule("edge/out", action="static", external="203.0.114.0/24", internal="10.8.0.0/24")
    assert len(cloud.answers("out")) == len(before) + 256


# --- who goes first -----------------------------------------------------------------------------------------


POOL = (Pool(first="198.51.100.30", last="198.51.100.31"),)


def test_a_source_goes_by_floating_ips_then_static_then_snat_then_masquerade(cloud: Nat) -> None:
    source = "10.0.1.5/32"
    masquerade = cloud.rule("edge/out", action="masquerade", source=source)
    snat = cloud.rule("edge/out", action="snat", source=source, pools=POOL)
    static = cloud.rule("edge/out", action="static", external="198.51.100.40/32", internal=source)
    floating = cloud.floating("198.51.100.50", "web/a")
    first = cloud.rule("edge/out", action="masquerade", source=source)

    def decides() -> NatSource:
        row: NatSource = cloud.sources("edge/out")[source]
        return row

    assert decides().to == ip("198.51.100.50")
    cloud.remove(floating)
    assert decides().to == ip("198.51.100.40")
    cloud.remove(static)
    edge = cloud.router("edge")
    assert decides() == NatSource(
        NOWHERE, NatAction.DYNAMIC, rule=cloud.number("shared_rules", f"{snat}/4"), router=edge
    )
    cloud.remove(snat)
    assert decides().rule == cloud.number("shared_rules", f"{masquerade}/4")
    cloud.remove(masquerade)
    assert decides().rule == cloud.number("shared_rules", f"{first}/4")


def test_an_address_stands_for_a_floating_ip_then_static_then_dnat(cloud: Nat) -> None:
    address = "198.51.100.50/32"
    cloud.rule("edge/out", action="dnat", external=address, internal="10.0.1.7/32")
    assert cloud.destinations("edge") == {address: NatDestination(ip("10.0.1.7"), STATIC | ADDRESS, 128)}
    static = cloud.rule("edge/out", action="static", external=address, internal="10.0.1.6/32")
    assert cloud.destinations("edge")[address] == NatDestination(ip("10.0.1.6"), STATIC, 128)
    floating = cloud.floating("198.51.100.50", "web/a")
    assert cloud.destinations("edge")[address] == NatDestination(ip("10.0.1.5"), STATIC, 128)
    cloud.remove(floating, static)
    assert cloud.destinations("edge")[address].flags == STATIC | ADDRESS


def test_an_address_says_what_the_prefix_around_it_stands_for(cloud: Nat) -> None:
    wide = cloud.rule("edge/out", action="static", external="198.51.100.0/26", internal="10.7.1.0/26")
    narrow = cloud.rule("edge/out", action="static", external="198.51.100.16/28", internal="10.8.1.16/28")
    forward = {"action": "dnat", "protocol": "tcp", "ports": "80", "internal": "10.0.1.5/32"}
    cloud.rule("edge/out", external="198.51.100.17/32", **forward)
    cloud.rule("edge/out", action="snat", pools=(Pool(first="198.51.100.40", last="198.51.100.40"),))
    inner, outer = ip("10.8.1.16"), ip("10.7.1.0")
    found = cloud.destinations("edge")
    assert found["198.51.100.17/32"] == NatDestination(inner, STATIC | FORWARDS, 96 + 28)
    assert found["198.51.100.40/32"] == NatDestination(outer, STATIC | BLOCKS, 96 + 26)
    cloud.remove(narrow)
    assert cloud.destinations("edge")["198.51.100.17/32"] == NatDestination(outer, STATIC | FORWARDS, 96 + 26)
    cloud.remove(wide)
    found = cloud.destinations("edge")
    assert found["198.51.100.17/32"] == NatDestination(NOWHERE, FORWARDS, 128)
    assert found["198.51.100.40/32"] == NatDestination(NOWHERE, BLOCKS, 128)


# --- forwards -----------------------------------------------------------------------------------------------


def test_each_port_of_a_range_is_forwarded(cloud: Nat) -> None:
    cloud.rule("gate/up", action="dnat", protocol="udp", ports="80-81", to_port=8080, internal="10.0.1.5/32")
    gate, own, inside = cloud.router("gate"), ip("192.0.2.130"), ip("10.0.1.5")
    assert cloud.table("nat_forwards") == {
        NatForwardKey(gate, own, 80, 17): NatForward(inside, 8080),
        NatForwardKey(gate, own, 81, 17): NatForward(inside, 8081),
    }
    assert cloud.destinations("gate") == {"192.0.2.130/32": NatDestination(NOWHERE, FORWARDS, 128)}
    assert not cloud.port("gate/up").flags & PortFlag.NAT


def test_a_forward_without_an_address_is_of_the_ports_own_of_the_same_family(cloud: Nat) -> None:
    cloud.rule("gate/up", action="dnat", internal="fd00:1::5/128")
    assert cloud.destinations("gate") == {
        "2001:db8:1::2/128": NatDestination(ip("fd00:1::5"), STATIC | ADDRESS, 128)
    }


# --- shared addresses ---------------------------------------------------------------------------------------


def test_masquerading_shares_the_ports_own_addresses_of_both_families(cloud: Nat) -> None:
    rule = cloud.rule("gate/up", action="masquerade")
    gate = cloud.router("gate")
    assert cloud.sources("gate/up") == {
        "0.0.0.0/0": NatSource(
            NOWHERE, NatAction.DYNAMIC, rule=cloud.number("shared_rules", f"{rule}/4"), router=gate
        ),
        "::/0": NatSource(
            NOWHERE, NatAction.DYNAMIC, rule=cloud.number("shared_rules", f"{rule}/6"), router=gate
        ),
    }
    assert cloud.destinations("gate") == {
        "192.0.2.130/32": NatDestination(NOWHERE, BLOCKS, 128),
        "2001:db8:1::2/128": NatDestination(NOWHERE, BLOCKS, 128),
    }


def test_a_pool_is_answered_for_on_the_network(cloud: Nat) -> None:
    cloud.rule("edge/out", action="snat", pools=POOL)
    found = cloud.answers("out")
    assert found["198.51.100.30"] == found["198.51.100.31"] == cloud.key("out/edge")
    key = NeighbourKey(cloud.key("out"), ip("198.51.100.30"))
    assert cloud.table("neighbours")[key].flags == NeighbourFlag.ROUTER
    port = cloud.get(Port, "edge/out")
    cloud.update(msgspec.structs.replace(port, admin_up=False))
    assert cloud.table("neighbours")[key].flags == NeighbourFlag.ROUTER | NeighbourFlag.DOWN


def test_masquerading_a_family_that_the_port_lacks_shows_so(cloud: Nat) -> None:
    rule = cloud.rule("edge/out", action="masquerade", family="ipv6")
    assert cloud.desired.problems[rule] == ("drops all that leaves by port out, which has no IPv6 address",)


def test_all_blocks_say_whose_they_are_and_those_of_this_hosts_ports_are_listed(cloud: Nat) -> None:
    rule = cloud.rule("gate/up", action="masquerade")
    cloud.block("web/a", rule, "192.0.2.130", 2048)
    cloud.block("web/a", rule, "192.0.2.130", 1024)
    cloud.block("web/b", rule, "192.0.2.130", 1152)
    cloud.block("web/a", rule, "2001:db8:1::2", 1024)
    gate, four, six = cloud.router("gate"), ip("192.0.2.130"), ip("2001:db8:1::2")
    a, b = cloud.key("web/a"), cloud.key("web/b")
    assert cloud.table("nat_blocks") == {
        NatBlockKey(gate, four, 16): a,
        NatBlockKey(gate, four, 8): a,
        NatBlockKey(gate, four, 9): b,
        NatBlockKey(gate, six, 8): a,
    }
    bindings = cloud.table("nat_bindings")
    numbers = [cloud.number("shared_rules", f"{rule}/{version}") for version in (4, 6)]
    assert bindings.keys() == {NatBindingKey(a, number) for number in numbers}
    lists = cloud.desired.lists["block_lists"]
    assert lists[bindings[NatBindingKey(a, numbers[0])]] == (Block(four, 1024), Block(four, 2048))
    assert lists[bindings[NatBindingKey(a, numbers[1])]] == (Block(six, 1024),)


def test_blocks_go_along_when_a_binding_moves(cloud: Nat) -> None:
    rule = cloud.rule("gate/up", action="masquerade")
    cloud.block("web/b", rule, "192.0.2.130", 1024)
    assert not cloud.table("nat_bindings")
    (binding,) = cloud.view.bindings(cloud.id(Port, "web/b"))
    moved = msgspec.structs.replace(binding, host=cloud.id(Host, "h1"), interface="t2")
    cloud.update(moved)
    assert len(cloud.table("nat_bindings")) == len(cloud.desired.lists["block_lists"]) == 1
    cloud.update(binding)
    assert not cloud.table("nat_bindings")
    assert not cloud.desired.lists["block_lists"]
    assert len(cloud.table("nat_blocks")) == 1


def test_a_block_concerns_the_zones_of_its_rule_and_of_its_port(cloud: Nat) -> None:
    rule = cloud.rule("gate/up", action="masquerade")
    block = cloud.block("web/a", rule, "192.0.2.130", 1024)
    web = cloud.table("networks")[cloud.key("web")].zone
    assert cloud.remove(block).zones == {web, cloud.zone_of("gate")}


# --- uplinks ------------------------------------------------------------------------------------------------


def hops(cloud: Nat) -> list[int]:
    row = prefixes(cloud.table("routes"), cloud.router("gate")).get("0.0.0.0/0")
    return [hop.port for hop in cloud.desired.lists["hop_groups"][row.hops]] if row is not None else []


def test_an_uplink_is_marked_and_leads_out(cloud: Nat) -> None:
    assert cloud.port("gate/up").flags == PortFlag.UP | PortFlag.ON_ROUTER | PortFlag.UPLINK
    assert cloud.port("edge/out").flags == PortFlag.UP | PortFlag.ON_ROUTER
    assert hops(cloud) == [cloud.key("gate/up")]


def test_an_uplink_of_a_fenced_host_leads_nowhere(cloud: Nat) -> None:
    host = cloud.get(Host, "h2")
    difference = cloud.update(msgspec.structs.replace(host, fenced=True))
    assert hops(cloud) == []
    assert cloud.zone_of("gate") in difference.zones
    cloud.update(host)
    assert hops(cloud) == [cloud.key("gate/up")]


@pytest.mark.parametrize("change", [{"state": "standby"}, None])
def test_an_uplink_without_an_active_binding_leads_nowhere(cloud: Nat, change: dict[str, str] | None) -> None:
    (binding,) = cloud.view.bindings(cloud.id(Port, "gate/up"))
    other = Binding(id="other", name="other", port=binding.port, host=binding.host, state="standby")
    cloud.update(other)
    if change is None:
        cloud.remove(binding.id)
    else:
        cloud.update(msgspec.structs.replace(binding, **change))
    assert hops(cloud) == []
    assert cloud.port("gate/up").flags & PortFlag.UPLINK


def test_an_uplink_that_is_switched_off_leads_nowhere(cloud: Nat) -> None:
    cloud.update(msgspec.structs.replace(cloud.get(Port, "gate/up"), admin_up=False))
    assert hops(cloud) == []


def test_an_uplink_takes_no_interface_from_the_host() -> None:
    here = CLOUD.replace("{host: h2, interface: ext0}", "{host: h1, interface: ext0%s}")
    own = Local({"ext0": Interface(30, address="192.0.2.9")}, LOCAL.addresses)
    cloud = Nat(here % "", own)
    assert cloud.port("gate/up").ifindex == 0
    (told,) = cloud.problems(Port, "gate/up")
    assert told.startswith("interface ext0 has an address of the host itself, 192.0.2.9")
    tagged = Nat(here % ", vlan: 5", own)
    assert (tagged.port("gate/up").ifindex, tagged.port("gate/up").vlan) == (30, 5)
    assert tagged.problems(Port, "gate/up") == ()


# --- who answers --------------------------------------------------------------------------------------------


def test_an_uplink_answers_for_its_own_and_its_external_addresses(cloud: Nat) -> None:
    cloud.rule("gate/up", action="snat", pools=(Pool(first="192.0.2.200", last="192.0.2.200"),))
    mac = bytes.fromhex(cloud.get(Port, "gate/up").mac.replace(":", ""))
    found = {
        show_ip6(key.address): (row.mac, row.port)
        for key, row in cloud.table("neighbours").items()
        if key.segment == cloud.key("gate/up") and not row.flags & NeighbourFlag.SUBNET
    }
    assert {"192.0.2.130", "2001:db8:1::2", "192.0.2.200"} < found.keys()
    assert set(found.values()) == {(mac, 0)}


def test_a_router_finds_external_addresses_at_the_other_end_of_a_link() -> None:
    small = Nat(
        """
routers:
  one: {ports: {to: {addresses: [{ip: 172.16.0.1, prefix: 30}]}}}
  two: {ports: {to: {addresses: [{ip: 172.16.0.2, prefix: 30}]}}}
links: {l: {a: one/to, b: two/to}}
"""
    )
    small.rule("two/to", action="static", external="198.51.100.8/31", internal="10.0.0.8/31")
    mac = bytes.fromhex(small.get(Port, "two/to").mac.replace(":", ""))
    for address in ("198.51.100.8", "198.51.100.9"):
        assert small.table("neighbours")[NeighbourKey(small.key("one/to"), ip(address))].mac == mac


def test_a_router_calls_addresses_its_own_of_which_rules_use_single_ports(cloud: Nat) -> None:
    before = set(cloud.table("router_addresses"))
    cloud.rule("edge/out", action="snat", pools=POOL)
    forward = {"action": "dnat", "protocol": "tcp", "ports": "80", "internal": "10.0.1.5/32"}
    cloud.rule("edge/out", external="198.51.100.17/32", **forward)
    cloud.rule("edge/out", action="static", external="198.51.100.18/32", internal="10.0.1.6/32")
    edge = cloud.router("edge")
    assert set(cloud.table("router_addresses")) - before == {
        RouterAddressKey(edge, ip(f"198.51.100.{n}")) for n in (17, 30, 31)
    }


def test_a_ports_own_address_goes_before_anothers_external_one(cloud: Nat) -> None:
    machine = cloud.get(Port, "edge/out")
    own = next(a.ip for a in machine.addresses)
    cloud.rule("gate/out", action="static", external=f"{own}/32", internal="10.0.9.9/32")
    assert cloud.answers("out")[own] == cloud.key("out/edge")
