"""Tenants that meet on an external network, each on a host of its own that follows nothing of the other."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import kill, start_agent
from tests.support.lab_cloud import Json, Tenant, a_lab, until

PUBLIC: Json = {
    "networks": {
        "public": {
            "grants": [{"allow": "external"}],
            "subnets": {"v4": {"cidr": "203.0.113.0/24"}, "v6": {"cidr": "2001:db8:113::/64"}},
        }
    }
}


def tenant(provider: str, number: int) -> Json:
    """A machine behind a router with a leg on the public network, and a floating IP of either family."""
    v4, v6 = f"{provider}:public/v4", f"{provider}:public/v6"
    return {
        "networks": {
            "in": {
                "subnets": {"v4": {"cidr": "10.0.0.0/24"}, "v6": {"cidr": "fd00::/64"}},
                "ports": {
                    name: {
                        "security_groups": ["open"],
                        "addresses": [{"ip": f"10.0.0.{host}"}, {"ip": f"fd00::{host}"}],
                    }
                    for name, host in (("m", 11), ("shy", 12))
                },
            }
        },
        "routers": {
            "edge": {
                "attach": ["in"],
                "ports": {
                    "out": {
                        "addresses": [
                            {"ip": f"203.0.113.{number}", "subnet": v4},
                            {"ip": f"2001:db8:113::{number}", "subnet": v6},
                        ],
                        "nat_rules": {"share": {"action": "masquerade"}},
                    }
                },
            }
        },
        "ports": {f"leg-{number}": {"network": f"{provider}:public", "kind": "router"}},
        "links": {"out": {"a": "edge/out", "b": f"leg-{number}"}},
        "floating_ips": {
            "f4": {"subnet": v4, "ip": f"203.0.113.1{number}", "port": "in/m"},
            "f6": {"subnet": v6, "ip": f"2001:db8:113::1{number}", "port": "in/m"},
        },
        "security_groups": {"open": {"rules": {"all": {"direction": "ingress"}}}},
    }


RED, BLUE, GREEN = 1, 2, 3


def floating(number: int, version: int) -> str:
    return f"203.0.113.1{number}" if version == 4 else f"2001:db8:113::1{number}"


@dataclass
class World:
    lab: Lab
    tenants: dict[int, Tenant]

    def machine(self, number: int, path: str = "in/m") -> str:
        return self.tenants[number].vm(path)

    def pings(self, number: int, target: str, path: str = "in/m") -> bool:
        """Whether the very first question is answered."""
        command = ["ping", "-c", "1", "-W", "5", target]
        with self.lab.place(self.machine(number, path)).entered():
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def follows(self, host: str, number: int) -> bool:
        """Whether a host has anything of a tenant's network."""
        network = self.tenants[number].ports["in/m"]["network"]
        return network in self._column(host, "SELECT id FROM object")

    def asked(self, host: str) -> set[str]:
        return self._column(host, "SELECT id FROM ask")

    def _column(self, host: str, query: str) -> set[str]:
        path = self.lab.fabric.ledger.folder / "hosts" / host / "topology.db"
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return {value for (value,) in db.execute(query)}
        finally:
            db.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_lab(f"b{os.getpid()}", hosts=["h1", "h2", "h3"]) as lab:
        provider = Tenant(lab, PUBLIC, {})
        tenants = {
            number: Tenant(lab, tenant(provider.name, number), dict.fromkeys(paths, f"h{number}"))
            for number, paths in ((RED, ["in/m", "in/shy"]), (BLUE, ["in/m"]), (GREEN, ["in/m"]))
        }
        yield World(lab, tenants)
        for one in (provider, *tenants.values()):
            one.api.close()


@pytest.mark.parametrize("version", [4, 6])
def test_a_machine_reaches_a_floating_ip_of_a_tenant_that_its_host_does_not_follow(
    world: World, version: int
) -> None:
    assert world.pings(RED, floating(BLUE, version))
    blue, red = (world.tenants[n].ports["in/m"] for n in (BLUE, RED))
    assert world.asked("h1") == {blue["network"]}
    assert world.asked("h2") == {f"e:{red['id']}"}
    assert not world.follows("h2", RED) and not world.follows("h3", RED)


def test_who_shares_an_address_reaches_it_too(world: World) -> None:
    assert world.pings(RED, floating(BLUE, 4), "in/shy")
    assert world.pings(RED, floating(BLUE, 6), "in/shy")


def test_a_connection_between_tenants_carries_data_both_ways(world: World) -> None:
    with world.lab.place(world.machine(BLUE)).entered():
        listening = socket.create_server(("10.0.0.11", 5001))
    with world.lab.place(world.machine(RED, "in/shy")).entered():
        client = socket.socket()
    with listening, client:
        client.settimeout(10)
        client.connect((floating(BLUE, 4), 5001))
        server, (peer, _) = listening.accept()
        with server:
            server.settimeout(10)
            assert peer == "203.0.113.1"
            client.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"


def test_an_agent_that_starts_again_still_has_what_was_asked_for(world: World) -> None:
    assert world.pings(RED, floating(BLUE, 4))
    before = world.asked("h1")
    kill(world.lab, "agent-h1")
    assert world.pings(RED, floating(BLUE, 4))
    start_agent(world.lab, "h1")
    assert world.asked("h1") == before
    assert world.pings(RED, floating(BLUE, 6))


@pytest.mark.parametrize(
    ("target", "router"), [("203.0.113.200", "10.0.0.1"), ("2001:db8:113::200", "fd00::1")]
)
@pytest.mark.parametrize("path", ["in/m", "in/shy"])
def test_of_a_next_hop_that_nobody_has_the_sender_is_told(
    world: World, path: str, target: str, router: str
) -> None:
    """Once the agent has asked, which may still be on its way to a controller."""

    def is_told() -> bool:
        with world.lab.place(world.machine(RED, path)).entered():
            command = ["ping", "-c", "1", "-W", "5", target]
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return f"From {router} icmp_seq=1 Destination" in said and "nreachable" in said

    until("the sender is told", is_told, 30)


def test_without_a_controller_what_was_never_followed_is_dropped_as_such(world: World) -> None:
    """And what is followed goes on, for new connections too."""
    assert world.pings(RED, floating(BLUE, 4))
    red = world.tenants[RED]
    kill(world.lab, "c1")
    assert not world.follows("h1", GREEN)
    before = red.drops("in/m", "not_followed")
    assert not world.pings(RED, floating(GREEN, 4))
    assert world.pings(RED, floating(BLUE, 4)) and world.pings(RED, floating(BLUE, 6))
    until("the drop is counted", lambda: red.drops("in/m", "not_followed") > before)
    world.lab.restart("c1")
    until("a controller is followed again", lambda: world.pings(RED, floating(GREEN, 4)), 60)
