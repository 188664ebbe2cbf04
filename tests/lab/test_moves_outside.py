"""Connections to the outside live through a move of the machine that opened them, whichever address they have
there; the outside keeps silent until the machine has moved."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from onehop.lab.lab import Lab
from tests.lab.test_moves import hears
from tests.support.lab_cloud import Tenant, a_lab
from tests.support.real_traffic import PATIENCE, Pair, connect, socket_in

# Both let nothing in but replies. `shared` has the router's address outside, `own` one of its own.
DOCUMENT: dict[str, Any] = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {
                name: {
                    "security_groups": ["closed"],
                    "addresses": [{"ip": f"10.0.1.{n}"}, {"ip": f"fd00:1::{n}"}],
                }
                for name, n in (("shared", 11), ("own", 12))
            },
        }
    },
    "security_groups": {"closed": {}},
    "routers": {
        "edge": {
            "attach": ["web"],
            "ports": {
                "outside": {
                    "addresses": [
                        {"ip": "203.0.113.10", "subnet": "provider:internet/v4"},
                        {"ip": "2001:db8:113::10", "subnet": "provider:internet/v6"},
                    ],
                    "nat_rules": {"all": {"action": "masquerade"}},
                }
            },
            "routes": {
                "v4": {
                    "destination": "0.0.0.0/0",
                    "next_hops": [{"ip": "203.0.113.1", "port": "edge/outside"}],
                },
                "v6": {
                    "destination": "::/0",
                    "next_hops": [{"ip": "2001:db8:113::1", "port": "edge/outside"}],
                },
            },
        }
    },
    "ports": {"edge-outside": {"network": "provider:internet", "kind": "router"}},
    "links": {"edge-internet": {"a": "edge/outside", "b": "edge-outside"}},
    "floating_ips": {"own": {"subnet": "provider:internet/v4", "ip": "203.0.113.20", "port": "web/own"}},
}
PLACES = {"web/shared": "h1", "web/own": "h1"}


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    fields = {"hosts": ["gw", "h1", "h2"], "uplinks": {"up": "gw"}, "outside": {"machines": ["internet-1"]}}
    with a_lab(f"v{os.getpid()}", **fields) as lab, Tenant(lab, DOCUMENT, PLACES) as tenant:
        yield tenant


def connected(tenant: Tenant, path: str, version: int) -> Pair:
    lab: Lab = tenant.lab
    address = lab.spec.outside.addresses("internet-1")[0 if version == 4 else 1]
    pair = connect(tenant.machine(path), lab.place("internet-1"), address, 5000)
    assert pair is not None, tenant.all_drops()
    return pair


@pytest.mark.parametrize(("path", "version"), [("web/shared", 4), ("web/shared", 6), ("web/own", 4)])
def test_a_machine_hears_from_outside_after_it_has_moved(tenant: Tenant, path: str, version: int) -> None:
    with connected(tenant, path, version) as pair:
        assert pair.talk()
        known = pair.server.getpeername()[0]
        for host in ("h2", "gw", "h1"):
            tenant.move(path, host)
            pair.server.send(b"still there?")
            assert hears(pair.client, b"still there?"), (host, known, tenant.all_drops())
            assert pair.talk()


@pytest.mark.parametrize(
    ("path", "version", "outside"),
    [
        ("web/shared", 4, "203.0.113.10"),
        ("web/shared", 6, "2001:db8:113::10"),
        ("web/own", 4, "203.0.113.20"),
    ],
)
def test_a_translated_connection_is_listed_with_both_its_tuples(
    tenant: Tenant, path: str, version: int, outside: str
) -> None:
    with connected(tenant, path, version) as pair:
        assert pair.talk()
        source = pair.client.getsockname()
        rows = tenant.api.connections(path)["items"]
        (row,) = [row for row in rows if row["near"]["src_port"] == source[1]]
        assert (row["near"]["src"], row["direction"]) == (source[0], "out")
        seen = pair.server.getpeername()
        assert (row["far"]["src"], row["far"]["src_port"]) == (outside, seen[1]) == seen[:2]


def test_a_connection_from_outside_is_listed_as_such(tenant: Tenant) -> None:
    outside, own = tenant.lab.place("internet-1"), tenant.machine("web/own")
    group = tenant.api.create(
        "security-group-rules", {"security_group": "closed", "direction": "ingress"}, wait=20
    )
    listener = socket_in(own, "10.0.1.12", socket.SOCK_STREAM)
    client = socket_in(outside, "203.0.113.20", socket.SOCK_STREAM)
    try:
        with listener, client:
            listener.bind(("10.0.1.12", 80))
            listener.listen()
            client.connect_ex(("203.0.113.20", 80))
            assert select.select([], [client], [], PATIENCE)[1]
            port = client.getsockname()[1]
            rows = tenant.api.connections("web/own")["items"]
            (row,) = [row for row in rows if row["far"]["src_port"] == port]
            assert (row["direction"], row["protocol"]) == ("in", "tcp")
            assert (row["near"]["dst"], row["far"]["dst"]) == ("10.0.1.12", "203.0.113.20")
            assert tenant.api.delete_connections("web/own", row["id"]) == {"deleted": 1}
    finally:
        tenant.api.delete("security-group-rules", group["id"], wait=20)
