"""Connections as hosts have them, listed and deleted: of real machines, on one host and across hosts."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onehop.client import ApiError
from onehop.lab.lab import Lab
from tests.support.lab_cloud import Tenant, until
from tests.support.real_traffic import PATIENCE, SILENCE, Pair, connect, socket_in

Json = dict[str, Any]
# Nothing may come in but by `server`: what a and b get from c are replies, or nothing.
DOCUMENT = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {
                name: {
                    "security_groups": groups,
                    "addresses": [{"ip": f"10.0.1.{n}"}, {"ip": f"fd00:1::{n}"}],
                }
                for name, n, groups in (
                    ("a", 11, ["closed"]),
                    ("b", 12, ["closed", "server"]),
                    ("c", 13, ["server"]),
                )
            },
        },
    },
    "security_groups": {
        "closed": {},
        "server": {
            "rules": {
                "tcp": {"direction": "ingress", "protocol": "tcp", "ports": "5000-5999"},
                "udp": {"direction": "ingress", "protocol": "udp", "ports": "5000-5999"},
            }
        },
    },
}
PLACES = {"web/a": "h1", "web/b": "h1", "web/c": "h2"}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
SERVERS = pytest.mark.parametrize("server", ["web/b", "web/c"])


@pytest.fixture(scope="module")
def tenant(lab: Lab) -> Iterator[Tenant]:
    with Tenant(lab, DOCUMENT, PLACES) as tenant:
        yield tenant


@pytest.fixture(autouse=True)
def nothing_before(tenant: Tenant) -> None:
    """What a test finds is what it made itself."""
    for path in PLACES:
        tenant.api.delete_connections(path)


def connected(tenant: Tenant, server: str, version: int) -> Pair:
    pair = connect(tenant.machine("web/a"), tenant.machine(server), tenant.address(server, version), 5000)
    assert pair is not None, tenant.all_drops()
    return pair


def listed(tenant: Tenant, path: str, pair: Pair) -> list[Json]:
    """The rows about a connection, by its client's port."""
    port = pair.client.getsockname()[1]
    return [c for c in tenant.api.connections(path)["items"] if c["far"]["src_port"] == port]


@SERVERS
@VERSIONS
def test_a_connection_is_listed_at_both_its_ports(tenant: Tenant, server: str, version: int) -> None:
    with connected(tenant, server, version) as pair:
        assert pair.talk()
        (out,), (into,) = listed(tenant, "web/a", pair), listed(tenant, server, pair)
        client, other = pair.client.getsockname(), tenant.address(server, version)
        ends = {"src": client[0], "src_port": client[1], "dst": other, "dst_port": 5000}
        assert (out["near"], out["far"], into["far"]) == (ends, ends, ends)
        assert (out["protocol"], out["direction"], into["direction"]) == ("tcp", "out", "in")
        assert (out["other_port"], into["other_port"]) == (
            tenant.ports[server]["id"],
            tenant.ports["web/a"]["id"],
        )
        assert (out["id"], out["life"]) == (into["id"], "open")
        assert tenant.api.connection("web/a", out["id"])["far"] == ends


@SERVERS
@VERSIONS
def test_replies_of_a_deleted_connection_no_longer_pass(tenant: Tenant, server: str, version: int) -> None:
    with connected(tenant, server, version) as pair:
        assert pair.talk()
        (out,) = listed(tenant, "web/a", pair)
        assert tenant.api.delete_connections("web/a", out["id"]) == {"deleted": 1}
        assert (listed(tenant, "web/a", pair), listed(tenant, server, pair)) == ([], [])
        pair.server.send(b"are you there?")
        assert not select.select([pair.client], [], [], SILENCE)[0]
        assert listed(tenant, "web/a", pair) == []
        assert pair.carries(pair.client, pair.server, b"here"), "what its opener sends opens it again"
        assert select.select([pair.client], [], [], PATIENCE)[0], "and what had been sent comes again"
        assert pair.client.recv(64) == b"are you there?"


@SERVERS
def test_a_connection_may_be_deleted_from_its_far_end(tenant: Tenant, server: str) -> None:
    with connected(tenant, server, 4) as pair:
        assert pair.talk()
        (into,) = listed(tenant, server, pair)
        assert tenant.api.delete_connections(server, into["id"]) == {"deleted": 1}
        assert listed(tenant, "web/a", pair) == []
        pair.server.send(b"are you there?")
        assert not select.select([pair.client], [], [], SILENCE)[0]


def test_all_connections_of_a_port_are_deleted_and_no_others(tenant: Tenant) -> None:
    def of_b() -> list[Json]:
        return list(tenant.api.connections("web/b")["items"])

    asker = socket_in(tenant.machine("web/b"), "10.0.1.12", socket.SOCK_DGRAM)
    with asker, connected(tenant, "web/b", 4) as one, connected(tenant, "web/c", 4) as other:
        assert one.talk() and other.talk()
        asker.sendto(b"?", ("10.0.1.13", 5001))
        until("it has both", lambda: {"in", "out"} == {c["direction"] for c in of_b()})
        before = {c["id"] for c in of_b()}
        assert tenant.api.delete_connections("web/b")["deleted"] >= 2
        assert not before & {c["id"] for c in of_b()}
        assert len(listed(tenant, "web/a", other)) == 1
        assert other.talk()


def test_the_command_line_lists_shows_and_deletes(tenant: Tenant) -> None:
    def onehop(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("onehop")), "connection", *words, "--port", "web/a"]
        environment = {**os.environ, **tenant.lab.environment(), "ONEHOP_PROJECT": tenant.name}
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )

    with connected(tenant, "web/c", 4) as pair:
        assert pair.talk()
        client = "{}:{}".format(*pair.client.getsockname())
        (row,) = [line for line in onehop("list").stdout.splitlines() if client in line]
        id, *cells = row.split()
        ends = [client, ">", "10.0.1.13:5000"]
        assert cells[:-2] == ["out", "tcp", *ends, *ends, "c", "open"]
        assert json.loads(onehop("show", id, "-o", "json").stdout) == tenant.api.connection("web/a", id)
        refused = onehop("delete", id)
        assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
        assert onehop("delete", id, "--yes").stdout == "deleted 1 connection of port web/a\n"
        assert id not in onehop("list", "-o", "json").stdout
        assert "deleted" in json.loads(onehop("delete", "--all", "--yes", "-o", "json").stdout)
        gone = onehop("show", id)
        assert (gone.returncode, "no connection" in gone.stderr) == (1, True)


def test_a_connection_that_is_not_there_cannot_be_deleted(tenant: Tenant) -> None:
    with pytest.raises(ApiError, match="no connection"):
        tenant.api.delete_connections("web/a", "0" * 16)
