"""Ports, where they are plugged in, and what they may send from."""

from __future__ import annotations

import msgspec

from onehop.compiler.compile import Local
from onehop.compiler.facts import Interface
from onehop.datapath.layouts import show_ip6
from onehop.datapath.structs import InterfaceKey, Port
from onehop.datapath.tables import SOURCE_BITS, THIS_HOST
from onehop.datapath.words import PortFlag, PortKind, SourceFlag
from onehop.model import Binding, Host
from onehop.model import Port as ModelPort
from tests.unit.compiler.small import LOCAL, Small

ONE = """
networks:
  web:
    mtu: 1400
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64", ipv6_mode: dhcpv6}}
    ports:
      a:
        mac: "02:00:00:00:00:0a"
        addresses: [{ip: 10.0.1.5}, {ip: "fd00:1::5"}]
        bindings: {b: {host: h1, interface: t2%s}}
"""
TRUNK = """
networks:
  web:
    ports:
      a: {bindings: {b: {host: h1, interface: t1}}}
      tagged: {bindings: {b: {host: h1, trunk: web/a, vlan: 7}}}
"""


def test_a_bound_port_says_all_that_a_packet_needs() -> None:
    small = Small(ONE % "")
    assert small.port("web/a") == Port(
        device=small.key("web"),
        kind=PortKind.VM,
        mac=bytes.fromhex("02000000000a"),
        flags=PortFlag.UP | PortFlag.SECURITY | PortFlag.REDIRECT_PEER,
        zone=small.table("networks")[small.key("web")].zone,
        host=THIS_HOST,
        ifindex=22,
        mtu=1400,
    )
    assert small.table("interfaces") == {InterfaceKey(22): small.key("web/a")}


def test_a_vlan_shares_an_interface() -> None:
    small = Small(ONE % ", vlan: 5")
    assert small.port("web/a").vlan == 5
    assert small.table("interfaces") == {InterfaceKey(22, 5): small.key("web/a")}


def test_a_trunk_lends_its_interface() -> None:
    small = Small(TRUNK)
    tagged, trunk = small.key("web/tagged"), small.key("web/a")
    assert small.table("interfaces") == {InterfaceKey(21): trunk, InterfaceKey(21, 7): tagged}


def test_a_trunk_on_a_vlan_shows_in_the_status_of_the_port() -> None:
    small = Small(TRUNK.replace("interface: t1", "interface: t1, vlan: 3"))
    assert small.port("web/tagged").ifindex == 0
    assert small.problems(ModelPort, "web/tagged") == (
        "unsupported: the port that is its trunk is itself on a VLAN",
    )


def test_an_absent_interface_shows_in_the_status_until_it_appears() -> None:
    without = Local({}, LOCAL.addresses)
    small = Small(ONE % "", without)
    a = small.id(ModelPort, "web/a")
    assert small.port("web/a").ifindex == 0
    assert small.desired.problems == {a: ("interface t2 is absent",)}
    difference = small.compiler.update([], LOCAL)
    assert difference.problems == {a: ()}
    assert difference.puts["interfaces"] == {InterfaceKey(22): small.key("web/a")}
    assert small.compiler.update([], without).removes == {"interfaces": (InterfaceKey(22),)}


def test_an_interface_that_is_made_anew_is_found_under_its_new_number() -> None:
    small = Small(ONE % "")
    difference = small.compiler.update([], Local({"t2": Interface(99)}, LOCAL.addresses))
    assert difference.puts["interfaces"] == {InterfaceKey(99): small.key("web/a")}
    assert difference.removes == {"interfaces": (InterfaceKey(22),)}
    assert difference.zones == {small.port("web/a").zone}


def test_a_standby_binding_takes_no_packets() -> None:
    small = Small(ONE % ", state: standby")
    assert small.port("web/a").host == 0
    assert small.table("interfaces") == {}


def test_a_port_that_moves_away_leaves_its_interface() -> None:
    small = Small(ONE % "")
    binding = small.view.all(Binding)[0]
    difference = small.update(msgspec.structs.replace(binding, host=small.id(Host, "h2")))
    assert difference.removes["interfaces"] == (InterfaceKey(22),)
    assert small.port("web/a").host == small.number("hosts", small.id(Host, "h2"))


def test_a_port_sends_from_its_addresses_and_from_the_link_local_one_of_its_mac() -> None:
    small = Small(ONE % "")
    flag = SourceFlag.ADDRESS
    assert sources(small, "web/a") == {
        ("02000000000a", 4, 0, "::"): 0,
        ("02000000000a", 6, 0, "::"): 0,
        ("02000000000a", 4, 128, "10.0.1.5"): flag,
        ("02000000000a", 6, 128, "fd00:1::5"): flag,
        ("02000000000a", 6, 128, "fe80::ff:fe00:a"): flag,
    }


PAIRS = """
        allowed_address_pairs:
        - {cidr: 10.9.0.0/16}
        - {cidr: "::/0", mac: "02:99:00:00:00:01"}
"""


def test_pairs_name_prefixes_and_other_macs() -> None:
    small = Small(ONE % "" + PAIRS)
    found = sources(small, "web/a")
    flag, paired = SourceFlag.ADDRESS, SourceFlag.PAIRED
    assert found["02000000000a", 4, 96 + 16, "10.9.0.0"] == flag
    assert {key: row for key, row in found.items() if key[0] == "029900000001"} == {
        ("029900000001", 4, 0, "::"): paired,
        ("029900000001", 6, 0, "::"): paired | flag,
        ("029900000001", 6, 128, "fe80::99:ff:fe00:1"): paired | flag,
    }


def test_without_port_security_only_the_macs_of_pairs_are_known() -> None:
    small = Small(ONE % "" + PAIRS + "        port_security: false")
    assert {mac for mac, *_ in sources(small, "web/a")} == {"029900000001"}
    assert PortFlag.SECURITY not in small.port("web/a").flags


def sources(small: Small, port: str) -> dict[tuple[str, int, int, str], int]:
    """MAC, version, bits of the address, address."""
    return {
        (key.mac.hex(), key.version, key.prefix - SOURCE_BITS, show_ip6(key.address)): row
        for key, row in small.table("sources").items()
        if key.port == small.key(port)
    }
