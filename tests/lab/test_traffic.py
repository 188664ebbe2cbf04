"""What machines can do with their networks, on one host and across hosts, by IPv4 and IPv6."""

from __future__ import annotations

import random
import select
import socket
import subprocess
from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from tests.support.lab_cloud import Tenant, until
from tests.support.real_traffic import PATIENCE, Pair, connect, hops, ping, socket_in, tcp, unanswered

LARGE = 8 << 20
OPEN = {"security_groups": ["open"]}
# a and b share a host, c is on the second, d on the third; a, b and c share a network.
PLACES = {"web/a": "h1", "web/b": "h1", "web/c": "h2", "db/d": "h3", "db/e": "h1"}
DOCUMENT = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {
                name: {**OPEN, "addresses": [{"ip": f"10.0.1.{n}"}, {"ip": f"fd00:1::{n}"}]}
                for name, n in (("a", 11), ("b", 12), ("c", 13))
            },
        },
        "db": {
            "mtu": 1400,
            "subnets": {"v4": {"cidr": "10.0.2.0/24"}, "v6": {"cidr": "fd00:2::/64"}},
            "ports": {
                name: {**OPEN, "addresses": [{"ip": f"10.0.2.{n}"}, {"ip": f"fd00:2::{n}"}]}
                for name, n in (("d", 21), ("e", 22))
            },
        },
    },
    "routers": {"edge": {"attach": ["web", "db"]}},
    "security_groups": {"open": {"rules": {"all": {"direction": "ingress"}}}},
}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
TARGETS = pytest.mark.parametrize("target", ["web/b", "web/c", "db/d", "db/e"])


@pytest.fixture(scope="module")
def tenant(lab: Lab) -> Iterator[Tenant]:
    with Tenant(lab, DOCUMENT, PLACES) as tenant:
        yield tenant


def connected(tenant: Tenant, source: str, target: str, version: int, port: int = 5000) -> Pair:
    address = tenant.address(target, version)
    pair = connect(tenant.machine(source), tenant.machine(target), address, port)
    assert pair is not None, f"{source} does not reach {target}; dropped: {tenant.all_drops()}"
    return pair


@TARGETS
@VERSIONS
def test_large_transfers_arrive_byte_for_byte(tenant: Tenant, target: str, version: int) -> None:
    data = random.Random(version).randbytes(LARGE)
    with connected(tenant, "web/a", target, version) as pair:
        assert pair.carries(pair.client, pair.server, data, patience=60)
        assert pair.carries(pair.server, pair.client, data, patience=60)


@TARGETS
@VERSIONS
def test_pings_in_fragments_are_answered(tenant: Tenant, target: str, version: int) -> None:
    assert ping(tenant.machine("web/a"), tenant.address(target, version), "-s", "4000")


@VERSIONS
def test_a_packet_that_is_too_big_is_answered_with_the_mtu(tenant: Tenant, version: int) -> None:
    machine, address = tenant.machine("web/a"), tenant.address("db/d", version)
    ping(machine, address, "-M", "do", "-s", "1440")
    argv = ["ip", "-o", f"-{version}", "route", "get", address]
    assert "mtu 1400" in machine.run(*argv)


@TARGETS
@VERSIONS
def test_traceroute_shows_each_virtual_hop(tenant: Tenant, target: str, version: int) -> None:
    address = tenant.address(target, version)
    gateway = {4: "10.0.1.1", 6: "fd00:1::1"}[version]
    way = [gateway, address] if target.startswith("db") else [address]
    assert hops(tenant.machine("web/a"), address) == way


def test_a_broadcast_reaches_each_member_of_the_network_once(tenant: Tenant) -> None:
    members = [tenant.machine(path) for path in ("web/b", "web/c")]
    sender = socket_in(tenant.machine("web/a"), "10.0.1.11", socket.SOCK_DGRAM)
    listeners = [socket_in(machine, "10.0.1.11", socket.SOCK_DGRAM) for machine in members]
    try:
        for listener in listeners:
            listener.bind(("", 6000))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for text in (b"one", b"two"):
            sender.sendto(text, ("10.0.1.255", 6000))
        assert [[heard(one), heard(one)] for one in listeners] == [[b"one", b"two"]] * 2
    finally:
        for one in (sender, *listeners):
            one.close()


def heard(listener: socket.socket) -> bytes:
    assert select.select([listener], [], [], PATIENCE)[0], "nothing was heard"
    return listener.recv(64)


def test_a_multicast_reaches_each_member_of_the_network_once(tenant: Tenant) -> None:
    members = [tenant.machine(path) for path in ("web/b", "web/c")]
    machine = tenant.machine("web/a")
    sender = socket_in(machine, "ff02::1", socket.SOCK_DGRAM)
    listeners = [socket_in(member, "ff02::1", socket.SOCK_DGRAM) for member in members]
    try:
        for listener in listeners:
            listener.bind(("", 6000))
        with Links(machine) as links:
            index = links.index("eth0")
        sender.bind((tenant.address("web/a", 6), 0))
        for text in (b"one", b"two"):
            sender.sendto(text, ("ff02::1", 6000, 0, index))
        assert [[heard(one), heard(one)] for one in listeners] == [[b"one", b"two"]] * 2
    finally:
        for one in (sender, *listeners):
            one.close()


@VERSIONS
def test_a_spoofed_address_is_dropped_and_counted(tenant: Tenant, version: int) -> None:
    machine, target = tenant.machine("web/a"), tenant.address("web/c", version)
    false = {4: "10.0.1.99/24", 6: "fd00:1::99/64"}[version]
    before = tenant.drops("web/a", "spoofed_ip")
    machine.run("ip", "neigh", "replace", target, "lladdr", tenant.ports["web/c"]["mac"], "dev", "eth0")
    machine.run("ip", "addr", "add", false, "dev", "eth0", *(["nodad"] if version == 6 else []))
    try:
        argv = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "0.5", "-I", false.partition("/")[0], target]
        assert subprocess.run(machine.command(*argv), capture_output=True, check=False).returncode == 1
        until("both are counted", lambda: tenant.drops("web/a", "spoofed_ip") >= before + 2)
    finally:
        machine.run("ip", "addr", "del", false, "dev", "eth0")
        machine.run("ip", "neigh", "del", target, "dev", "eth0", check=False)
    assert ping(machine, target)


@VERSIONS
def test_a_spoofed_mac_is_dropped_and_counted(tenant: Tenant, version: int) -> None:
    machine, target = tenant.machine("web/a"), tenant.address("web/c", version)
    mac = tenant.ports["web/a"]["mac"]
    before = tenant.drops("web/a", "spoofed_mac")
    machine.run("ip", "link", "set", "eth0", "address", "02:00:00:00:66:66")
    try:
        machine.run("ip", "neigh", "replace", target, "lladdr", tenant.ports["web/c"]["mac"], "dev", "eth0")
        assert unanswered(machine, target)
        until("it is counted", lambda: tenant.drops("web/a", "spoofed_mac") > before)
    finally:
        machine.run("ip", "link", "set", "eth0", "address", mac)
        machine.run("ip", "neigh", "flush", "dev", "eth0")
    assert ping(machine, target)


@VERSIONS
def test_a_machine_that_moves_keeps_its_connections(tenant: Tenant, version: int) -> None:
    with (
        connected(tenant, "web/c", "db/d", version, 5001) as outward,
        connected(tenant, "web/b", "web/c", version, 5002) as inward,
    ):
        assert outward.talk() and inward.talk()
        tenant.move("web/c", "h3")
        try:
            assert outward.talk() and inward.talk()
            assert tcp(
                tenant.machine("web/a"), tenant.machine("web/c"), tenant.address("web/c", version), 5003
            )
        finally:
            tenant.move("web/c", "h2")
        assert outward.talk() and inward.talk()
