"""Connections of machines that move between hosts, where no rule would pick them up again.

The client lets nothing in at all, and what the server sends back is no new connection: a reply passes because
of the record alone, which has to come along.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from onehop.lab.lab import Lab
from tests.support.lab_cloud import Tenant, table, until
from tests.support.real_traffic import PATIENCE, SILENCE, Pair, connect

Json = dict[str, Any]
SERVER = {"direction": "ingress", "protocol": "tcp", "ports": "5000-5999"}
DOCUMENT = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {
                name: {
                    "security_groups": [group],
                    "addresses": [{"ip": f"10.0.1.{n}"}, {"ip": f"fd00:1::{n}"}],
                }
                for name, n, group in (("client", 11, "closed"), ("server", 12, "server"))
            },
        },
    },
    "security_groups": {"closed": {}, "server": {"rules": {"tcp": SERVER}}},
}
PLACES = {"web/client": "h1", "web/server": "h2"}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def tenant(lab: Lab) -> Iterator[Tenant]:
    with Tenant(lab, DOCUMENT, PLACES) as tenant:
        yield tenant


def connected(tenant: Tenant, version: int, port: int = 5000) -> Pair:
    address = tenant.address("web/server", version)
    pair = connect(tenant.machine("web/client"), tenant.machine("web/server"), address, port)
    assert pair is not None, tenant.all_drops()
    return pair


def records(tenant: Tenant, host: str, path: str = "web/client") -> int:
    """How many connections a host keeps that a port has opened."""
    with table(tenant.lab, host, "records") as found:
        return sum(key.port == tenant.ports[path]["key"] for key, _ in found.items())


def hears(one: socket.socket, data: bytes, seconds: float = PATIENCE) -> bool:
    """Whether a machine that says nothing hears this."""
    got, deadline = b"", time.monotonic() + seconds
    while len(got) < len(data) and select.select([one], [], [], max(0, deadline - time.monotonic()))[0]:
        got += one.recv(64)
    return got == data


@VERSIONS
def test_who_only_listens_hears_on_after_it_has_moved(tenant: Tenant, version: int) -> None:
    with connected(tenant, version) as pair:
        assert pair.talk()
        for host in ("h2", "h3", "h1"):
            tenant.move("web/client", host)
            pair.server.send(b"still there?")
            assert hears(pair.client, b"still there?"), tenant.all_drops()


@VERSIONS
def test_who_is_spoken_to_by_a_machine_that_moves_hears_on(tenant: Tenant, version: int) -> None:
    with connected(tenant, version) as pair:
        assert pair.talk()
        for host in ("h1", "h3", "h2"):
            tenant.move("web/server", host)
            pair.server.send(b"here now")
            assert hears(pair.client, b"here now"), tenant.all_drops()


def test_the_bulk_comes_to_a_host_on_standby(tenant: Tenant) -> None:
    port = tenant.ports["web/client"]["id"]
    with tenant.lab.client() as admin, connected(tenant, 4) as pair:
        assert pair.talk()
        body = {"port": port, "host": "h3", "interface": "none", "state": "standby"}
        standby = admin.create("bindings", body)["id"]
        until("the record has come", lambda: records(tenant, "h3") == 1)
        assert pair.talk(), "it is still active where it was"
        admin.delete("bindings", standby)
        tenant.move("web/client", "h3")
        pair.server.send(b"still there?")
        assert hears(pair.client, b"still there?"), tenant.all_drops()


def test_connections_of_a_port_that_has_moved_are_listed_by_its_new_host(tenant: Tenant) -> None:
    with connected(tenant, 4) as pair:
        assert pair.talk()
        (before,) = tenant.api.connections("web/client")["items"]
        tenant.move("web/client", "h3")
        until("it is there", lambda: bool(tenant.api.connections("web/client")["items"]))
        (after,) = tenant.api.connections("web/client")["items"]
        assert (after["id"], after["far"], after["life"]) == (before["id"], before["far"], "open")


def test_a_move_does_not_wait_for_a_host_whose_agent_is_dead(tenant: Tenant) -> None:
    with connected(tenant, 4) as pair:
        assert pair.talk()
        tenant.lab.fabric.ledger.processes["agent-h1"].stop()
        try:
            tenant.lab.move_vm(tenant.vm("web/client"), "h3")
            tenant.places["web/client"] = "h3"
            tenant.lab.wait_for_vm(tenant.api, tenant.vm("web/client"))
            pair.server.send(b"anybody?")
            assert not hears(pair.client, b"anybody?", SILENCE), "the record is lost"
            with connected(tenant, 4, 5001) as another:
                assert another.talk()
        finally:
            tenant.lab.restart("agent-h1")
