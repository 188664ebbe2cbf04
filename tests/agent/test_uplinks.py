"""A router's port on an interface of a gateway: what keeps it from forwarding, and its neighbours outside."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from tests.agent.cloud import TOPOLOGY, a_lab, kill, pings, start_agent, until

GATEWAY, UPLINK = "h2", "uplink0"
OUTSIDE = ("198.51.100.10", "2001:db8:100::10")
OUTSIDE_ROUTER = "198.51.100.1"
HOSTS_OWN = "198.18.0.1/24"


def topology() -> dict[str, Any]:
    """web-1 has an address of either family outside; others share the router's."""
    external = [
        {"ip": "203.0.113.10", "subnet": "provider:internet/v4"},
        {"ip": "2001:db8:113::10", "subnet": "provider:internet/v6"},
    ]
    routes = {
        "v4": {"destination": "0.0.0.0/0", "next_hops": [{"ip": "203.0.113.1"}]},
        "v6": {"destination": "::/0", "next_hops": [{"ip": "2001:db8:113::1"}]},
    }
    floating = {
        "v4": {"subnet": "provider:internet/v4", "ip": "203.0.113.20", "port": "web/web-1"},
        "v6": {"subnet": "provider:internet/v6", "ip": "2001:db8:113::20", "port": "web/web-1"},
    }
    outside = {"addresses": external, "nat_rules": {"all": {"action": "masquerade"}}}
    edge = {"attach": ["web", "db"], "ports": {"outside": outside}, "routes": routes}
    return {
        **TOPOLOGY,
        "routers": {"edge": edge},
        "ports": {"edge-outside": {"network": "provider:internet", "kind": "router"}},
        "links": {"edge-internet": {"a": "edge/outside", "b": "edge-outside"}},
        "floating_ips": floating,
    }


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    fields = {"uplinks": {"up-1": GATEWAY}, "outside": {"machines": ["internet-1"]}}
    with a_lab("uplink", topology=topology(), **fields) as lab:
        yield lab


def status(lab: Lab) -> tuple[str | None, str | None]:
    with lab.client("provider") as api:
        told = dict(api.get("ports", "provider/up-1").get("status") or {})
    return told.get("state"), told.get("reason")


def forwards(lab: Lab) -> bool:
    return all(pings(lab.place("web-1"), address) for address in OUTSIDE)


@pytest.mark.parametrize("address", OUTSIDE)
def test_the_first_packet_waits_until_the_next_hop_outside_is_known(lab: Lab, address: str) -> None:
    with lab.place("web-1").entered():
        done = subprocess.run(["ping", "-c", "1", "-W", "5", address], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_uplinks_interface_lets_in_what_is_for_the_routers_mac(lab: Lab) -> None:
    assert "PROMISC" in lab.place(GATEWAY).run("ip", "link", "show", UPLINK)


def test_an_uplink_goes_down_and_comes_up_with_its_interface(lab: Lab) -> None:
    host = lab.place(GATEWAY)
    host.run("ip", "link", "set", UPLINK, "down")
    until("it is down", lambda: status(lab) == ("down", f"interface {UPLINK} is switched off"))
    host.run("ip", "link", "set", UPLINK, "up")
    until("it is up again", lambda: status(lab) == ("active", ""))
    until("it forwards", lambda: forwards(lab))


def test_an_interface_that_the_host_uses_itself_is_left_alone(lab: Lab) -> None:
    with Links(lab.place(GATEWAY)) as links:
        links.address(UPLINK, HOSTS_OWN)
    until("it is in error", lambda: status(lab)[0] == "error")
    assert "an address of the host itself, 198.18.0.1" in (status(lab)[1] or "")
    assert not pings(lab.place("web-1"), OUTSIDE[0])
    lab.place(GATEWAY).run("ip", "address", "del", HOSTS_OWN, "dev", UPLINK)
    until("it is active again", lambda: status(lab) == ("active", ""))
    until("it forwards", lambda: forwards(lab))


def test_a_router_outside_that_gets_another_mac_is_found_again(lab: Lab) -> None:
    assert forwards(lab)
    isp = lab.place("isp")
    isp.run("ip", "link", "set", UPLINK, "address", "02:00:5e:00:00:77")
    isp.run("ip", "neighbour", "flush", "dev", UPLINK)  # it has to ask, and says its MAC
    until("its new MAC is known", lambda: forwards(lab))


def test_what_was_learned_outside_outlives_the_agent(lab: Lab) -> None:
    assert forwards(lab)
    kill(lab, f"agent-{GATEWAY}")
    try:
        assert forwards(lab)
    finally:
        start_agent(lab, GATEWAY)
    assert forwards(lab)


# --- shared addresses ---------------------------------------------------------------------------------------


def shared(lab: Lab, address: str) -> int:
    """How many blocks of an address web-2 has."""
    with lab.client("demo") as api:
        port = api.get("ports", "web/web-2")["id"]
        return sum(block["port"] == port and block["ip"] == address for block in api.list("snat-blocks"))


def test_more_ports_are_given_before_those_run_out(lab: Lab) -> None:
    """Nobody has to wait for them: 400 connections at once, from one block to begin with."""
    assert shared(lab, "203.0.113.10") == 1
    with lab.place("isp").entered():
        listening = socket.create_server((OUTSIDE_ROUTER, 7000), backlog=1024)
    with listening, contextlib.ExitStack() as opened:
        with lab.place("web-2").entered():
            connections = [opened.enter_context(socket.socket()) for _ in range(400)]
        for one in connections:
            one.settimeout(5)
            one.connect((OUTSIDE_ROUTER, 7000))
    assert shared(lab, "203.0.113.10") >= 4
    with lab.client("demo") as api:
        assert api.get("ports", "web/web-2")["status"]["state"] == "active"


def test_an_agent_that_is_started_again_finds_translation_as_it_left_it(lab: Lab) -> None:
    kill(lab, "agent-h1")
    start_agent(lab, "h1")
    log = lab.fabric.log("agent-h1").read_text()
    (*_, filled) = (line for line in log.splitlines() if "tables filled" in line)
    assert "removed=0 written=0" in filled
    assert forwards(lab)
