"""Networks, routers, floods, neighbours, hosts."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from onehop.compiler.compile import Local
from onehop.compiler.facts import Interface, Move
from onehop.datapath.layouts import show_ip6
from onehop.datapath.structs import (
    FdbKey,
    Host,
    MemberKey,
    Moved,
    Neighbour,
    NeighbourKey,
    Network,
    PortAddressKey,
    Router,
    RouterAddressKey,
)
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.words import HostFlag, NeighbourFlag, NetworkFlag, RouterFlag
from onehop.model import Host as ModelHost
from onehop.model import Network as ModelNetwork
from onehop.model import Port as ModelPort
from onehop.model import Router as ModelRouter
from tests.unit.compiler.small import LOCAL, Small, ip

ROUTED = """
networks:
  web:
    unknown_unicast: flood
    learning: true
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64"}}
    ports:
      a: {mac: "02:00:00:00:00:0a", addresses: [{ip: 10.0.1.5}], bindings: {b: {host: h1, interface: t1}}}
      c: {mac: "02:00:00:00:00:0c", addresses: [{ip: 10.0.1.6}], bindings: {b: {host: h2, interface: t1}}}
      d: {mac: "02:00:00:00:00:0d", addresses: [{ip: 10.0.1.7}], bindings: {b: {host: h2, interface: t2}}}
      lost: {mac: "02:00:00:00:00:0e", addresses: []}
routers: {edge: {attach: [web]}}
"""
A, C, D = (bytes.fromhex(f"02000000000{n}") for n in "acd")


def test_a_network_counts_who_hears_its_floods() -> None:
    small = Small(ROUTED)
    web = small.key("web")
    zone = small.table("networks")[web].zone
    flags = NetworkFlag.FLOOD_UNKNOWN | NetworkFlag.LEARNING | NetworkFlag.DHCP4 | NetworkFlag.ADVERTISES6
    assert small.table("networks") == {web: Network(zone, flags, members=1, remotes=1, mtu=1450)}
    assert small.table("members") == {MemberKey(web, 0): small.key("web/a")}
    other = small.number("hosts", small.id(ModelHost, "h2"))
    assert small.table("remotes") == {MemberKey(web, 0): other}


def test_macs_lead_to_ports_and_those_of_routers_to_where_they_are_linked() -> None:
    small = Small(ROUTED)
    web, router = small.key("web"), small.get(ModelPort, "edge/web").mac
    found = {key.mac: port for key, port in small.table("fdb").items()}
    assert found == {
        A: small.key("web/a"),
        C: small.key("web/c"),
        D: small.key("web/d"),
        bytes.fromhex("02000000000e"): small.key("web/lost"),
        bytes.fromhex(router.replace(":", "")): small.key("web/edge"),
    }
    assert all(isinstance(key, FdbKey) and key.network == web for key in small.table("fdb"))


def test_routers_answer_as_such_and_ports_that_are_off_are_marked() -> None:
    small = Small(
        ROUTED.replace("addresses: [{ip: 10.0.1.6}]", "addresses: [{ip: 10.0.1.6}], admin_up: false")
    )
    found = {
        show_ip6(k.address): v for k, v in small.table("neighbours").items() if k.segment == small.key("web")
    }
    assert found["10.0.1.5"] == Neighbour(A, NeighbourFlag(0), small.key("web/a"))
    assert found["10.0.1.6"] == Neighbour(C, NeighbourFlag.DOWN, small.key("web/c"))
    assert found["fe80::ff:fe00:a"] == found["10.0.1.5"]
    assert found["fd00:1::1"].flags == NeighbourFlag.ROUTER
    assert found["fd00:1::1"].port == small.key("web/edge")


def test_the_ends_of_an_interfaces_subnet_are_nobodys() -> None:
    small = Small(ROUTED)
    segment = small.key("edge/web")
    nobody = Neighbour(bytes(6), NeighbourFlag.SUBNET)
    assert {k: v for k, v in small.table("neighbours").items() if k.segment == segment} == {
        NeighbourKey(segment, ip("10.0.1.0")): nobody,
        NeighbourKey(segment, ip("10.0.1.255")): nobody,
    }


def test_a_router_knows_its_addresses_and_its_ports_speak_by_their_first() -> None:
    small = Small(ROUTED)
    edge, port = small.router("edge"), small.key("edge/web")
    zone = small.table("networks")[small.key("web")].zone
    assert small.table("routers") == {edge: Router(zone, RouterFlag.UP)}
    assert small.table("router_addresses") == {
        RouterAddressKey(edge, ip("10.0.1.1")): port,
        RouterAddressKey(edge, ip("fd00:1::1")): port,
    }
    assert small.table("port_addresses") == {
        PortAddressKey(port, 4): ip("10.0.1.1"),
        PortAddressKey(port, 6): ip("fd00:1::1"),
    }


LINKED = """
routers:
  one: {ports: {up: {mac: "02:00:00:00:00:0a", addresses: [{ip: 172.16.0.1, prefix: 30}]}}}
  two: {ports: {up: {mac: "02:00:00:00:00:0c", addresses: [{ip: 172.16.0.2, prefix: 30}]}}}
links: {l: {a: one/up, b: two/up}}
"""


def test_linked_routers_find_each_other() -> None:
    small = Small(LINKED)
    segment = small.key("one/up")
    other = Neighbour(C, NeighbourFlag.ROUTER)
    nobody = Neighbour(bytes(6), NeighbourFlag.SUBNET)
    assert {show_ip6(k.address): v for k, v in small.table("neighbours").items() if k.segment == segment} == {
        "172.16.0.2": other,
        "fe80::ff:fe00:c": other,
        "172.16.0.0": nobody,
        "172.16.0.3": nobody,
    }


def test_two_ports_with_one_mac_go_by_the_first_whoever_came_first() -> None:
    small = Small(ROUTED)
    first, second = sorted((small.get(ModelPort, "web/a"), small.get(ModelPort, "web/c")), key=lambda p: p.id)
    key = FdbKey(small.key("web"), bytes.fromhex(first.mac.replace(":", "")))
    small.update(msgspec.structs.replace(second, mac=first.mac))
    assert small.table("fdb")[key] == first.key
    small.update(msgspec.structs.replace(first, mac="02:77:00:00:00:01"))
    assert small.table("fdb")[key] == second.key


# --- hosts --------------------------------------------------------------------------------------------------


def test_another_host_is_reached_from_our_address_on_its_underlay() -> None:
    small = Small("{}")
    other = small.number("hosts", small.id(ModelHost, "h2"))
    assert small.table("hosts") == {
        THIS_HOST: Host(ip("192.0.2.1"), ip("192.0.2.1"), 0),
        other: Host(ip("192.0.2.2"), ip("192.0.2.1"), ifindex=2, mtu=1450),
    }
    assert small.table("peers") == {ip("192.0.2.1"): THIS_HOST, ip("192.0.2.2"): other}


def test_over_ipv6_there_is_less_room() -> None:
    hosts = """
hosts:
  h1: {addresses: [{underlay: u, ip: "2001:db8::1"}]}
  h2: {addresses: [{underlay: u, ip: 192.0.2.2}, {underlay: u, ip: "2001:db8::2"}]}
"""
    local = Local({}, {"2001:db8::1": Interface(3)})
    small = Small(hosts, local)
    other = small.number("hosts", small.id(ModelHost, "h2"))
    assert small.table("hosts")[other] == Host(ip("2001:db8::2"), ip("2001:db8::1"), ifindex=3, mtu=1430)
    assert small.table("peers")[ip("192.0.2.2")] == other


def test_a_fenced_host_is_marked_and_all_flows_are_judged_anew() -> None:
    small = Small("{}")
    h2 = small.get(ModelHost, "h2")
    difference = small.update(msgspec.structs.replace(h2, fenced=True))
    (row,) = difference.puts["hosts"].values()
    assert (row.flags, difference.zones) == (HostFlag.FENCED, {0})


def test_a_host_without_an_underlay_in_common_shows_so() -> None:
    small = Small("hosts: {h1: {addresses: [{underlay: u, ip: 192.0.2.1}]}, h2: {}}")
    assert small.table("hosts").keys() == {THIS_HOST}
    assert small.problems(ModelHost, "h2") == (
        "cannot be reached: it has no underlay and address family in common with us",
    )


def test_a_host_that_we_lack_the_address_for_shows_so() -> None:
    small = Small("{}", Local())
    assert small.problems(ModelHost, "h2") == (
        "cannot be reached: no interface here has our underlay address 192.0.2.1",
    )


# --- what is not followed -----------------------------------------------------------------------------------


def test_a_port_whose_device_is_not_followed_has_no_rows() -> None:
    small = Small(ROUTED)
    router = small.id(ModelRouter, "edge")
    port = small.key("edge/web")
    small.remove(router)
    assert port not in small.table("ports")
    assert not small.table("routers")
    assert small.port("web/edge").peer == port


def test_of_a_port_without_its_network_only_its_place_is_known() -> None:
    small = Small(ROUTED)
    small.remove(small.id(ModelNetwork, "web"))
    ports = small.table("ports")
    assert [key for key, port in ports.items() if port.device] == [small.key("edge/web")]
    assert all(port.host not in (0, THIS_HOST) for port in ports.values() if not port.device)
    assert not small.table("interfaces")


def test_a_host_on_standby_may_send_for_a_port_as_well() -> None:
    small = Small(
        ROUTED.replace(
            "bindings: {b: {host: h1, interface: t1}}",
            "bindings: {b: {host: h1, interface: t1}, s: {host: h2, interface: t3, state: standby}}",
        )
    )
    other = small.number("hosts", small.id(ModelHost, "h2"))
    assert small.table("moved") == {small.key("web/a"): Moved(former=other)}


def test_what_came_from_a_host_or_went_to_one_lately_is_told_with_its_number() -> None:
    small = Small(ROUTED)
    h1, h2 = (small.id(ModelHost, name) for name in ("h1", "h2"))
    came, left = small.get(ModelPort, "web/a"), small.get(ModelPort, "web/c")
    moves = {came.id: Move(h2, None), left.id: Move(h1, h2), "nobody": Move(h2, None)}
    difference = small.compiler.update((), replace(LOCAL, moves=moves))
    other = small.number("hosts", h2)
    assert difference.puts == {"moved": {came.key: Moved(former=other), left.key: Moved(to=other)}}
    assert not difference.zones, "cached flows of the port are stale by its binding"
    gone = small.compiler.update((), LOCAL)
    assert (gone.puts, {*gone.removes["moved"]}) == ({}, {came.key, left.key})
