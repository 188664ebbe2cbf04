"""What machines behind NAT can do with the world outside, and it with them, by IPv4 and IPv6."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.support.lab_cloud import Tenant, a_lab, until
from tests.support.nat_cloud import FORWARDED, INSIDE, LAB, OUTSIDE, PLACES, Addresses, document
from tests.support.real_traffic import Pair, connect, hops, ping, tcp, udp

LARGE = 8 << 20
OURS, THEIRS = Addresses(1), Addresses(2)
VERSIONS = pytest.mark.parametrize("version", [4, 6])
SHARING = pytest.mark.parametrize("path", ["web/a", "web/b", "web/c", "web/d"])
FLOATING = pytest.mark.parametrize("path", ["web/f", "web/g"])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with a_lab(f"n{os.getpid()}", **LAB) as lab:
        yield lab


@pytest.fixture(scope="module")
def tenant(lab: Lab) -> Iterator[Tenant]:
    with Tenant(lab, document(1), PLACES) as tenant:
        yield tenant


@pytest.fixture(scope="module")
def other(lab: Lab) -> Iterator[Tenant]:
    """Another tenant, of the same addresses."""
    with Tenant(lab, document(2), {"web/a": "h2", "web/f": "h2"}) as tenant:
        yield tenant


@pytest.fixture(scope="module")
def outside(lab: Lab) -> Namespace:
    return lab.place("internet-1")


def floating(path: str, version: int, of: Addresses = OURS) -> str:
    ip: str = getattr(of, path[-1])[version]
    return ip


def outward(tenant: Tenant, path: str, version: int, port: int = 5000) -> Pair:
    """A connection from a machine to the machine outside."""
    outside = tenant.lab.place("internet-1")
    pair = connect(tenant.machine(path), outside, OUTSIDE[version], port)
    assert pair is not None, f"{path} does not reach the outside; dropped: {tenant.all_drops()}"
    return pair


def inward(tenant: Tenant, path: str, version: int, port: int = 5000) -> Pair:
    """A connection from the machine outside to a machine's floating IP."""
    at = (tenant.address(path, version), port)
    outside, target = tenant.lab.place("internet-1"), floating(path, version)
    pair = connect(outside, tenant.machine(path), target, port, at=at)
    assert pair is not None, f"{target} is not reached from outside; dropped: {tenant.all_drops()}"
    return pair


# --- masquerade -----------------------------------------------------------------------------------------


@SHARING
@VERSIONS
def test_machines_share_the_routers_address(tenant: Tenant, path: str, version: int) -> None:
    with outward(tenant, path, version) as pair:
        assert pair.talk()
        assert pair.server.getpeername()[0] == OURS.router[version]


@SHARING
@VERSIONS
def test_a_shared_address_carries_datagrams_and_pings(
    tenant: Tenant, outside: Namespace, path: str, version: int
) -> None:
    assert udp(tenant.machine(path), outside, OUTSIDE[version], 5000), tenant.all_drops()
    assert ping(tenant.machine(path), OUTSIDE[version]), tenant.all_drops()


@VERSIONS
def test_connections_go_and_come_by_both_gateways(tenant: Tenant, version: int) -> None:
    isp = tenant.lab.place("isp")
    with Links(isp) as links:

        def packets() -> list[int]:
            found = [links.statistics(name) for name in ("uplink0", "uplink1")]
            return [one[way] for one in found for way in ("rx_packets", "tx_packets")]

        before = packets()
        pairs = [outward(tenant, "web/a", version, 5000 + i) for i in range(32)]
        try:
            assert all(pair.talk() for pair in pairs)
            # Of 32 connections with at least three packets each, some went by either gateway.
            assert all(now >= then + 3 for now, then in zip(packets(), before, strict=True))
        finally:
            for pair in pairs:
                pair.close()


@VERSIONS
def test_more_connections_to_one_server_than_a_block_has_ports(tenant: Tenant, version: int) -> None:
    pairs: list[Pair] = []
    try:
        pairs.extend(outward(tenant, "web/b", version, 5001) for _ in range(300))
        assert len({pair.server.getpeername()[1] for pair in pairs}) == 300
        assert all(pair.talk() for pair in pairs)
    finally:
        for pair in pairs:
            pair.close()


# --- floating IPs ---------------------------------------------------------------------------------------


@FLOATING
@VERSIONS
def test_a_floating_ip_stands_for_its_machine_outward(tenant: Tenant, path: str, version: int) -> None:
    with outward(tenant, path, version) as pair:
        assert pair.talk()
        assert pair.server.getpeername()[0] == floating(path, version)


@FLOATING
@VERSIONS
def test_a_floating_ip_is_reached_from_outside(
    tenant: Tenant, outside: Namespace, path: str, version: int
) -> None:
    with inward(tenant, path, version) as pair:
        assert pair.talk()
        assert pair.server.getpeername()[0] == OUTSIDE[version]
    target, at = floating(path, version), (tenant.address(path, version), 5000)
    assert udp(outside, tenant.machine(path), target, 5000, at=at), tenant.all_drops()
    assert ping(outside, target), tenant.all_drops()


@VERSIONS
def test_a_floating_ip_moves_to_another_machine_while_in_use(
    tenant: Tenant, outside: Namespace, version: int
) -> None:
    target, name = floating("web/f", version), f"f-v{version}"
    with inward(tenant, "web/f", version) as pair:
        assert pair.talk()
        tenant.api.update("floating-ips", name, {"port": "web/a", "port_ip": None})
        tenant.converge()
        try:
            assert not pair.carries(pair.client, pair.server, b"?", patience=1.0), (
                "it goes to the old machine"
            )
            at = (tenant.address("web/a", version), 5000)
            assert tcp(outside, tenant.machine("web/a"), target, 5000, at=at), tenant.all_drops()
            with outward(tenant, "web/a", version) as fresh:
                assert fresh.server.getpeername()[0] == target
        finally:
            tenant.api.update("floating-ips", name, {"port": "web/f", "port_ip": None})
            tenant.converge()
    with inward(tenant, "web/f", version) as pair:
        assert pair.talk()


@VERSIONS
def test_a_machine_that_moves_keeps_its_connections_with_the_outside(tenant: Tenant, version: int) -> None:
    with (
        outward(tenant, "web/a", version) as shared,
        outward(tenant, "web/g", version, 5001) as own,
        inward(tenant, "web/g", version, 5002) as served,
    ):
        pairs = (shared, own, served)
        assert all(pair.talk() for pair in pairs)
        for path in ("web/a", "web/g"):
            tenant.move(path, "gw-1")
        try:
            assert [pair.talk() for pair in pairs] == [True] * 3, tenant.all_drops()
        finally:
            tenant.move("web/a", "h1")
            tenant.move("web/g", "h2")
        assert [pair.talk() for pair in pairs] == [True] * 3, tenant.all_drops()


# --- port forwards, hairpins, other tenants -------------------------------------------------------------


@VERSIONS
def test_a_forwarded_port_is_reached_from_outside(tenant: Tenant, outside: Namespace, version: int) -> None:
    target, at = OURS.router[version], (tenant.address("web/b", version), INSIDE)
    for talk in (tcp, udp):
        assert talk(outside, tenant.machine("web/b"), target, FORWARDED, at=at), tenant.all_drops()


@pytest.mark.parametrize("source", ["web/a", "web/f"])
@VERSIONS
def test_machines_reach_each_other_by_their_outside_addresses(
    tenant: Tenant, source: str, version: int
) -> None:
    machine = tenant.machine(source)
    at = (tenant.address("web/g", version), 5000)
    target = floating("web/g", version)
    assert tcp(machine, tenant.machine("web/g"), target, 5000, at=at), tenant.all_drops()
    assert ping(machine, target), tenant.all_drops()
    at = (tenant.address("web/b", version), INSIDE)
    target = OURS.router[version]
    assert tcp(machine, tenant.machine("web/b"), target, FORWARDED, at=at), tenant.all_drops()


@pytest.mark.parametrize("source", ["web/a", "web/f"])
@VERSIONS
def test_tenants_of_equal_addresses_reach_each_other_by_floating_ips(
    tenant: Tenant, other: Tenant, source: str, version: int
) -> None:
    target, at = floating("web/f", version, THEIRS), (other.address("web/f", version), 5000)
    known = OURS.router[version] if source == "web/a" else floating(source, version)
    pair = connect(tenant.machine(source), other.machine("web/f"), target, 5000, at=at)
    assert pair is not None, (tenant.all_drops(), other.all_drops())
    with pair:
        assert pair.talk()
        assert pair.server.getpeername()[0] == known


# --- what goes along ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["web/a", "web/c", "web/f"])
@VERSIONS
def test_large_transfers_arrive_byte_for_byte(tenant: Tenant, path: str, version: int) -> None:
    data = random.Random(version).randbytes(LARGE)
    with outward(tenant, path, version) as pair:
        assert pair.carries(pair.client, pair.server, data, patience=60)
        assert pair.carries(pair.server, pair.client, data, patience=60)


@VERSIONS
def test_large_transfers_to_a_floating_ip_arrive_byte_for_byte(tenant: Tenant, version: int) -> None:
    data = random.Random(version).randbytes(LARGE)
    with inward(tenant, "web/g", version) as pair:
        assert pair.carries(pair.client, pair.server, data, patience=60)
        assert pair.carries(pair.server, pair.client, data, patience=60)


@pytest.mark.parametrize("path", ["web/a", "web/f"])
@VERSIONS
def test_pings_in_fragments_are_answered(tenant: Tenant, outside: Namespace, path: str, version: int) -> None:
    assert ping(tenant.machine(path), OUTSIDE[version], "-s", "4000"), tenant.all_drops()
    if path == "web/f":
        assert ping(outside, floating(path, version), "-s", "4000"), tenant.all_drops()


@pytest.mark.parametrize("path", ["web/a", "web/f"])
@VERSIONS
def test_traceroute_shows_each_hop_to_the_outside(tenant: Tenant, path: str, version: int) -> None:
    found = hops(tenant.machine(path), OUTSIDE[version])
    uplinks = {uplink.there[version == 6] for uplink in tenant.lab.spec.uplinks}
    first = {4: ["10.0.1.1", "203.0.113.1"], 6: ["fd00:1::1", "2001:db8:113::1"]}[version]
    assert (found[:2], found[3:]) == (first, [OUTSIDE[version]])
    assert found[2] in uplinks


@pytest.mark.parametrize("path", ["web/a", "web/f"])
@VERSIONS
def test_a_machine_learns_of_a_narrow_way_outside(tenant: Tenant, path: str, version: int) -> None:
    isp, machine = tenant.lab.place("isp"), tenant.machine(path)
    isp.run("ip", "route", "replace", f"{OUTSIDE[4]}/32", "dev", "lan0", "mtu", "lock", "1300")
    isp.run("ip", "route", "replace", f"{OUTSIDE[6]}/128", "dev", "lan0", "mtu", "lock", "1300")
    try:
        argv = ["ip", "-o", f"-{version}", "route", "get", OUTSIDE[version]]
        ping(machine, OUTSIDE[version], "-M", "do", "-s", "1350")
        assert "mtu 1300" in machine.run(*argv), tenant.all_drops()
        with outward(tenant, path, version) as pair:
            assert pair.carries(pair.client, pair.server, bytes(1 << 20))
    finally:
        isp.run("ip", "route", "del", f"{OUTSIDE[4]}/32")
        isp.run("ip", "route", "del", f"{OUTSIDE[6]}/128")
        machine.run("ip", f"-{version}", "route", "flush", "cache")


@VERSIONS
def test_the_outside_learns_how_large_packets_may_be(
    tenant: Tenant, outside: Namespace, version: int
) -> None:
    target = floating("web/f", version)
    ping(outside, target, "-M", "do", "-s", "1440")
    assert "mtu 1450" in outside.run("ip", "-o", f"-{version}", "route", "get", target), tenant.all_drops()
    outside.run("ip", f"-{version}", "route", "flush", "cache")


# --- gateways -------------------------------------------------------------------------------------------


@VERSIONS
def test_connections_outlive_a_withdrawn_uplink(tenant: Tenant, version: int) -> None:
    lab = tenant.lab
    pairs = [outward(tenant, "web/a", version, 5000 + i) for i in range(8)]
    pairs += [inward(tenant, "web/f", version, 5100 + i) for i in range(8)]
    try:
        for uplink in ("up-1", "up-2"):
            lab.announce(uplink, False)
            try:
                assert all(pair.talk() for pair in pairs), tenant.all_drops()
            finally:
                lab.announce(uplink)
    finally:
        for pair in pairs:
            pair.close()


def test_a_gateway_that_comes_back_is_used_again(tenant: Tenant, outside: Namespace) -> None:
    lab = tenant.lab
    lab.stop_host("gw-1")
    lab.start_host("gw-1")
    lab.announce("up-2", False)
    try:
        until("the outside is reached by gw-1", lambda: ping(outside, OURS.f[4]))
    finally:
        lab.announce("up-2")
