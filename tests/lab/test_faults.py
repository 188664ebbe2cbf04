"""Controllers die under traffic, and nothing is lost. On an IPv6 underlay, with etcd and two controllers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from onehop.lab import programs
from onehop.lab.lab import Lab
from onehop.lab.spec import LabError
from onehop.linux.links import Links
from tests.agent.cloud import Flood, kill
from tests.support.lab_cloud import Tenant, a_lab, until
from tests.support.real_traffic import Pair, connect, tcp

OPEN = {"security_groups": ["open"]}
DOCUMENT = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {"a": {**OPEN, "addresses": [{"ip": "10.0.1.11"}, {"ip": "fd00:1::11"}]}},
        },
        "db": {
            "subnets": {"v4": {"cidr": "10.0.2.0/24"}, "v6": {"cidr": "fd00:2::/64"}},
            "ports": {"d": {**OPEN, "addresses": [{"ip": "10.0.2.21"}, {"ip": "fd00:2::21"}]}},
        },
    },
    "routers": {"edge": {"attach": ["web", "db"]}},
    "security_groups": {
        "open": {
            "rules": {
                "ping": {"direction": "ingress", "protocol": "icmp"},
                "tcp": {"direction": "ingress", "protocol": "tcp", "ports": "5000-5099"},
            }
        }
    },
}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def pair_of_controllers() -> Iterator[Lab]:
    fields = {"controllers": 2, "store": "etcd", "underlay": {"family": "ipv6"}}
    with a_lab(f"f{os.getpid()}", **fields) as lab:
        yield lab


@pytest.fixture(scope="module")
def tenant(pair_of_controllers: Lab) -> Iterator[Tenant]:
    with Tenant(pair_of_controllers, DOCUMENT, {"web/a": "h1", "db/d": "h2"}) as tenant:
        yield tenant


def connected(tenant: Tenant, version: int, port: int) -> Pair:
    address = tenant.address("db/d", version)
    pair = connect(tenant.machine("web/a"), tenant.machine("db/d"), address, port)
    assert pair is not None, f"no connection; dropped: {tenant.all_drops()}"
    return pair


@VERSIONS
def test_an_ipv6_underlay_carries_large_transfers(tenant: Tenant, version: int) -> None:
    data = os.urandom(1 << 20) * 4
    with connected(tenant, version, 5000) as pair:
        assert pair.carries(pair.client, pair.server, data, patience=60)
        assert pair.carries(pair.server, pair.client, data, patience=60)


def reaches(tenant: Tenant, port: int) -> bool:
    machines = (tenant.machine("web/a"), tenant.machine("db/d"))
    return tcp(*machines, tenant.address("db/d", 4), port, seconds=0.5)


def wait_for_traffic(tenant: Tenant, packets: int = 300) -> None:
    """Return when a machine has received so many packets more."""
    with Links(tenant.machine("web/a")) as links:
        before = links.statistics("eth0")["rx_packets"]
        until("traffic goes on", lambda: links.statistics("eth0")["rx_packets"] > before + packets)


def test_one_of_two_controllers_dies_and_the_other_goes_on(tenant: Tenant) -> None:
    lab = tenant.lab
    doors = lab.fabric.ledger.facts["doors"]
    rule = {
        "security_group": "open",
        "name": "more",
        "direction": "ingress",
        "protocol": "tcp",
        "ports": "6000",
    }
    with connected(tenant, 4, 5001) as pair, Flood(lab, tenant.vm("web/a"), "10.0.2.21") as flood:
        kill(lab, "c1")
        try:
            with programs.client(lab.fabric, doors["c2"], tenant.name) as api:
                assert not reaches(tenant, 6000)
                made = api.create("security-group-rules", rule)
                until("the hosts have the rule", lambda: reaches(tenant, 6000))
                api.delete("security-group-rules", made["id"])
                until("the rule is gone from the hosts", lambda: not reaches(tenant, 6000))
            wait_for_traffic(tenant)
        finally:
            lab.restart("c1")
        assert pair.talk()
        assert flood.lost() == 0


def test_without_any_controller_all_goes_on_and_new_connections_open(tenant: Tenant) -> None:
    lab = tenant.lab
    with connected(tenant, 6, 5002) as pair, Flood(lab, tenant.vm("web/a"), "10.0.2.21") as flood:
        for name in ("c1", "c2"):
            kill(lab, name)
        try:
            assert pair.talk()
            for version in (4, 6):
                with connected(tenant, version, 5003) as fresh:
                    assert fresh.talk()
            wait_for_traffic(tenant)
            assert flood.lost() == 0
        finally:
            for name in ("c1", "c2"):
                lab.restart(name)
    tenant.converge()


def test_a_lab_of_the_same_name_is_refused(pair_of_controllers: Lab) -> None:
    with pytest.raises(LabError, match="there is a lab"):
        Lab.up(pair_of_controllers.spec, lambda _: None)
    assert all(p["running"] for p in pair_of_controllers.status()["programs"].values())
