"""What rules, floating IPs and blocks mean on a set of objects."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from onehop.model import FloatingIp, NatRule, Object, Port, SnatBlock, Subnet
from onehop.model import Host as HostObject
from onehop.model.translation import (
    Place,
    block_at,
    dynamic_rules,
    external_addresses,
    families,
    first_blocks,
    floating_place,
    floating_target,
    is_usable_uplink,
    is_valid,
    shared_addresses,
)
from onehop.model.view import Topology
from onehop.model.zones import is_boundary, uplinks, zone
from tests.support.virtual import topology

# Two tenants behind one provider router; `red` reaches it over a link, `blue` over an external network.
CLOUD = """
project: demo
underlays: {floor: {}}
hosts:
  one: {addresses: [{underlay: floor, ip: 192.0.2.1}]}
  two: {addresses: [{underlay: floor, ip: 192.0.2.2}]}
networks:
  red:
    subnets: {v4: {cidr: 10.1.0.0/24}, v6: {cidr: "fd00:1::/64"}}
    ports:
      r1: {addresses: [{ip: 10.1.0.5}, {ip: 10.1.0.6}, {ip: "fd00:1::5"}]}
      r2: {addresses: [{ip: 10.1.0.7}]}
  blue:
    subnets: {v4: {cidr: 10.2.0.0/24}}
    ports: {b1: {addresses: [{ip: 10.2.0.5}]}}
  outer:
    grants: [{allow: external}]
    subnets: {v4: {cidr: 203.0.113.0/24}}
    ports: {direct: {addresses: [{ip: 203.0.113.50}]}}
routers:
  red-edge:
    attach: [red]
    ports:
      up: {addresses: [{ip: 10.9.0.2, prefix: 30}]}
  blue-edge:
    attach: [blue]
    ports:
      out: {addresses: [{ip: 203.0.113.9}], nat_rules: {share: {action: masquerade}}}
  provider:
    attach: [outer]
    ports:
      red: {addresses: [{ip: 10.9.0.1, prefix: 30}]}
      up1:
        addresses: [{ip: 198.51.100.2, prefix: 24}, {ip: "fd00:9::2", prefix: 64}]
        bindings: {one: {host: one, interface: eth1}}
        nat_rules:
          share: {action: snat, source: 10.1.0.0/16, pools: [{first: 198.51.100.10, last: 198.51.100.12}]}
          web: {action: dnat, internal: 10.1.0.5, protocol: tcp, ports: "80"}
          map: {action: static, external: 198.51.100.64/30, internal: 10.1.0.64/30}
      up2: {bindings: {two: {host: two, interface: eth1, state: standby}}}
links:
  red-up: {a: red-edge/up, b: provider/red}
"""
OUTER_LINK = """
  blue-out: {a: blue-edge/out, b: outer/blue}
"""


@pytest.fixture
def cloud() -> Topology:
    text = CLOUD.replace("ports: {direct:", "ports: {blue: {kind: router}, direct:")
    return topology(text + OUTER_LINK)


def port(view: Topology, name: str, device: str | None = None) -> Port:
    found = [p for p in view.all(Port) if p.name == name]
    if device is not None:
        found = [p for p in found if getattr(view.find(view.device(p)), "name", "") == device]
    assert len(found) == 1
    return found[0]


def rule(view: Topology, name: str, at: Port) -> NatRule:
    return next(r for r in view.all(NatRule) if r.name == name and r.port == at.id)


def change(view: Topology, obj: Object, **fields: Any) -> None:
    view.put(msgspec.structs.replace(obj, **fields))


def float_on(view: Topology, target: str, **fields: Any) -> FloatingIp:
    subnet = next(s for s in view.all(Subnet) if s.cidr == "203.0.113.0/24")
    told = {"ip": "203.0.113.77", "port": port(view, target).id, **fields}
    made = FloatingIp(id=f"{9:032x}", name="f", subnet=subnet.id, **told)
    view.put(made)
    return made


def test_a_router_with_uplinks_is_a_zone_of_its_own(cloud: Topology) -> None:
    provider, edge = port(cloud, "up1").router, port(cloud, "up", "red-edge").router
    assert provider is not None and edge is not None
    assert is_boundary(cloud, provider) and not is_boundary(cloud, edge)
    assert zone(cloud, edge) == {edge, port(cloud, "r1").network}
    assert {p.name for p in uplinks(cloud, provider)} == {"up1", "up2"}


def test_an_uplink_is_usable_while_it_is_on_and_its_host_is_not_fenced(cloud: Topology) -> None:
    up = port(cloud, "up1")
    assert is_usable_uplink(cloud, up)
    assert not is_usable_uplink(cloud, port(cloud, "up2")), "its binding is a standby"
    host = next(h for h in cloud.all(HostObject) if h.name == "one")
    change(cloud, host, fenced=True)
    assert not is_usable_uplink(cloud, up)
    change(cloud, host, fenced=False)
    change(cloud, up, admin_up=False)
    assert not is_usable_uplink(cloud, port(cloud, "up1"))


def test_a_masquerade_shares_its_ports_addresses_and_a_pool_its_own(cloud: Topology) -> None:
    masquerade = rule(cloud, "share", port(cloud, "out", "blue-edge"))
    assert shared_addresses(cloud, masquerade) == [ip_address("203.0.113.9")]
    pool = rule(cloud, "share", port(cloud, "up1"))
    assert shared_addresses(cloud, pool) == [ip_address(f"198.51.100.{n}") for n in (10, 11, 12)]
    assert families(cloud, masquerade) == families(cloud, pool) == [4]


def test_a_masquerade_shares_addresses_of_the_family_that_it_tells(cloud: Topology) -> None:
    up = port(cloud, "up1")
    both = NatRule(id=f"{7:032x}", name="both", port=up.id, action="masquerade")
    cloud.put(both)
    assert shared_addresses(cloud, both) == [ip_address("198.51.100.2"), ip_address("fd00:9::2")]
    assert families(cloud, both) == [4, 6]
    v6 = msgspec.structs.replace(both, family="ipv6")
    assert shared_addresses(cloud, v6) == [ip_address("fd00:9::2")]


def test_a_port_needs_blocks_of_the_rules_in_its_zone_and_at_the_provider_next_to_it(cloud: Topology) -> None:
    shares = {name: rule(cloud, "share", port(cloud, at)) for name, at in (("red", "up1"), ("blue", "out"))}
    assert dynamic_rules(cloud, port(cloud, "r1")) == [shares["red"]]
    assert dynamic_rules(cloud, port(cloud, "b1")) == [shares["blue"]], "the provider is a network further"
    assert dynamic_rules(cloud, port(cloud, "direct")) == [shares["red"]]


def test_each_machine_gets_a_block_of_its_own_for_each_rule(cloud: Topology) -> None:
    made = cloud.all(SnatBlock)
    assert {cloud.get(Port, b.port).name: b.first for b in made}.keys() == {"r1", "r2", "b1", "direct"}  # type: ignore[union-attr]
    assert len({(b.ip, b.first) for b in made}) == len(made)
    assert all(b.first % 128 == 0 and is_valid(cloud, b) for b in made)
    assert first_blocks(cloud) == [], "nobody lacks one"


def test_first_blocks_pass_over_places_that_are_taken(cloud: Topology) -> None:
    r1, up = port(cloud, "r1"), port(cloud, "up1")
    for block in cloud.all(SnatBlock):
        cloud.remove(block.id)
    assert up.router is not None
    taken = {Place(up.router, "198.51.100.10", first) for first in range(1024, 65536, 128)}
    (made,) = first_blocks(cloud, taken, [r1])
    assert (made.ip, made.first) == ("198.51.100.11", 1024)
    everything = {at._replace(ip=f"198.51.100.{n}") for at in taken for n in (10, 11, 12)}
    assert first_blocks(cloud, everything, [r1]) == []


def test_a_block_is_of_no_use_once_its_address_is_gone(cloud: Topology) -> None:
    pool = rule(cloud, "share", port(cloud, "up1"))
    block = block_at(Place(port(cloud, "up1").router or "", "198.51.100.99", 2048), port(cloud, "r1"), pool)
    assert not is_valid(cloud, block)


def test_a_floating_ip_is_at_the_router_of_its_ports_zone_that_faces_its_network(cloud: Topology) -> None:
    floating = float_on(cloud, "b1")
    assert floating_place(cloud, floating) == port(cloud, "out", "blue-edge")
    assert floating_target(cloud, floating) == ip_address("10.2.0.5")
    assert ip_address("203.0.113.77") in external_addresses(cloud, port(cloud, "out", "blue-edge").id)


def test_a_floating_ip_is_nowhere_where_no_router_leads_to_its_network(cloud: Topology) -> None:
    assert floating_place(cloud, float_on(cloud, "r1")) is None
    assert floating_place(cloud, float_on(cloud, "b1", port=None)) is None


def test_a_floating_ip_stands_for_the_address_that_it_tells(cloud: Topology) -> None:
    assert floating_target(cloud, float_on(cloud, "r1", port_ip="10.1.0.6")) == ip_address("10.1.0.6")
    assert floating_target(cloud, float_on(cloud, "r1", port_ip="10.1.0.99")) is None
    assert floating_target(cloud, float_on(cloud, "r1", ip="fd00:9::77")) == ip_address("fd00:1::5")


def test_a_port_answers_for_pools_and_for_what_leads_inside(cloud: Topology) -> None:
    found = external_addresses(cloud, port(cloud, "up1").id)
    assert set(map(ip_address, ("198.51.100.10", "198.51.100.2", "198.51.100.64", "198.51.100.67"))) <= set(
        found
    )
