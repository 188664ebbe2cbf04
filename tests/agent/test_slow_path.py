"""What the programs leave to the agent: next hops that the model does not know."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

import pytest

from onehop.lab.lab import Lab
from onehop.lab.spec import Vm
from onehop.linux.links import Links
from onehop.simulation.packet import BROADCAST, Arp, Frame, Icmp, Ipv6, build, multicast_mac
from tests.agent.cloud import a_lab, pings, until

EXTRA = ("10.0.1.100", "fd00:1::100")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """web-2 answers for addresses that the model does not give it, but allows."""
    with a_lab("slow") as lab:
        with lab.client("demo") as api:
            network = api.get("networks", "db")["id"]
            body = {"network": network, "name": "db-2", "security_groups": ["open"]}
            api.create("ports", {**body, "addresses": [{"ip": "10.0.2.12"}, {"ip": "fd00:2::12"}]})
            pairs = [{"cidr": f"{ip}"} for ip in ("10.0.1.100/32", "fd00:1::100/128")]
            api.update("ports", "web/web-2", {"allowed_address_pairs": pairs})
            api.update("ports", "web/spare", {"allowed_address_pairs": pairs})
        lab.add_vm(Vm("db-2", "db/db-2", "h1"))
        lab.add_vm(Vm("web-3", "web/spare", "h2"))
        lab._settle(lambda _: None)
        with Links(lab.place("web-2")) as links:
            links.address("eth0", f"{EXTRA[0]}/24")
            links.address("eth0", f"{EXTRA[1]}/64")
        yield lab


def announce(lab: Lab, machine: str, address: str) -> None:
    """Say to all who has an address, as whatever moves addresses does."""
    place = lab.place(machine)
    with Links(place) as links:
        mac = links.mac("eth0")
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        everyone = IPv6Address("ff02::1")
        option = b"\2\1" + bytes.fromhex(mac.replace(":", ""))
        said = Icmp(136, rest=bytes((0x20, 0, 0, 0)), data=ip.packed + option)
        frame = Frame(multicast_mac(everyone), mac, Ipv6(ip, everyone, said, ttl=255))
    else:
        frame = Frame(BROADCAST, mac, Arp(1, mac, ip, "00:00:00:00:00:00", ip))
    with place.entered():
        speaking = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with speaking:
        speaking.bind(("eth0", 0))
        speaking.send(build(frame))


@pytest.mark.parametrize("address", EXTRA)
def test_a_router_asks_for_a_next_hop_on_its_own_host(lab: Lab, address: str) -> None:
    assert pings(lab.place("db-2"), address)


@pytest.mark.parametrize("address", EXTRA)
def test_a_router_asks_for_a_next_hop_on_another_host(lab: Lab, address: str) -> None:
    assert pings(lab.place("db-1"), address)


@pytest.mark.parametrize("address", EXTRA)
def test_an_address_that_moves_to_a_machine_on_another_host_is_found_there(lab: Lab, address: str) -> None:
    bits = 64 if ":" in address else 24
    assert pings(lab.place("db-1"), address)
    assert pings(lab.place("db-2"), address)
    lab.place("web-2").run("ip", "address", "del", f"{address}/{bits}", "dev", "eth0")
    with Links(lab.place("web-3")) as links:
        links.address("eth0", f"{address}/{bits}")
    announce(lab, "web-3", address)
    until("db-1 finds it", lambda: pings(lab.place("db-1"), address))
    until("db-2 finds it", lambda: pings(lab.place("db-2"), address))
