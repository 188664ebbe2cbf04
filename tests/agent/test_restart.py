"""An agent that ends, however it ends, leaves the host forwarding; the next one goes on with it."""

from __future__ import annotations

import signal
import subprocess

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import FAR, NEAR, Flood, kill, pings, start_agent


@pytest.mark.parametrize("target", [*NEAR, *FAR])
def test_machines_reach_each_other_on_a_host_and_across_hosts(lab: Lab, target: str) -> None:
    assert pings(lab.place("web-1"), target)


def test_killing_and_restarting_agents_loses_no_packet(lab: Lab) -> None:
    with Flood(lab, "web-1", FAR[0]) as far, Flood(lab, "web-1", NEAR[1]) as near:
        for host in lab.spec.hosts:
            kill(lab, f"agent-{host}")
            start_agent(lab, host)
        assert (far.lost(), near.lost()) == (0, 0)


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
