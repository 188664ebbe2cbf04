"""An agent that ends, however it ends, leaves the host forwarding; the next one goes on with it."""

from __future__ import annotations

import signal
import subprocess

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import FAR, NEAR, Flood, Stream, kill, pings, start_agent


@pytest.mark.parametrize("target", [*NEAR, *FAR])
def test_machines_reach_each_other_on_a_host_and_across_hosts(lab: Lab, target: str) -> None:
    assert pings(lab.place("web-1"), target)


def test_killing_and_restarting_agents_loses_no_packet(lab: Lab) -> None:
    with Flood(lab, "web-1", FAR[0]) as far, Flood(lab, "web-1", NEAR[1]) as near:
        for host in lab.spec.hosts:
            kill(lab, f"agent-{host}")
            start_agent(lab, host)
        assert (far.lost(), near.lost()) == (0, 0)


def test_a_connection_outlives_the_agents_of_both_its_hosts(lab: Lab) -> None:
    with Stream(lab, "web-1", "db-1", FAR[0]) as v4, Stream(lab, "web-1", "db-1", FAR[1]) as v6:
        for host in lab.spec.hosts:
            kill(lab, f"agent-{host}")
            start_agent(lab, host)
        assert v4.all_arrived()
        assert v6.all_arrived()


def test_other_programs_take_over_between_two_packets(lab: Lab) -> None:
    """The tunnels' port is built into the programs: to change it is to load others."""
    with lab.client() as api, Flood(lab, "web-1", NEAR[0]) as flood:
        for port in (4790, 4789):
            api.update("underlays", "lab", {"udp_port": port}, wait=20)
            assert pings(lab.place("web-1"), FAR[0])
        assert flood.lost() == 0


def test_an_agent_that_is_asked_to_end_leaves_the_host_forwarding(lab: Lab) -> None:
    kill(lab, "agent-h1", signal.SIGTERM)
    try:
        assert pings(lab.place("web-2"), FAR[1])
    finally:
        start_agent(lab, "h1")
    assert pings(lab.place("web-2"), FAR[0])


def test_a_restarted_agent_finds_its_tables_as_they_should_be(lab: Lab) -> None:
    kill(lab, "agent-h2")
    start_agent(lab, "h2")
    (filled,) = [
        line for line in lab.fabric.log("agent-h2").read_text().splitlines()[-20:] if "tables filled" in line
    ][-1:]
    assert "adopted=True" in filled
    assert "written=0" in filled
    assert "removed=0" in filled


def test_an_agent_restarts_and_forwards_with_no_controller(lab: Lab) -> None:
    kill(lab, "c1")
    kill(lab, "agent-h1")
    try:
        start_agent(lab, "h1")
        # New connections, too: each ping has an id of its own.
        assert pings(lab.place("web-1"), FAR[0])
        assert pings(lab.place("db-1"), "fd00:1::12")
    finally:
        lab.restart("c1")


def test_a_second_agent_on_the_same_folder_is_refused(lab: Lab) -> None:
    process = lab.fabric.ledger.processes["agent-h1"]
    with lab.place("h1").entered():
        second = subprocess.run(process.argv, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"another agent (process {process.pid}) is running" in second.stderr
    assert "Traceback" not in second.stderr
