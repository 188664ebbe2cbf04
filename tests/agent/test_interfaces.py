"""A port forwards whenever its interface is there, whichever of binding and interface comes first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace
from tests.agent.cloud import FAR, kill, pings, start_agent, status, until

TAP = "late0"


@pytest.fixture
def machine(lab: Lab) -> Iterator[Namespace]:
    """A machine without an interface."""
    with Namespace(f"{lab.spec.name}.late").create() as namespace:
        yield namespace
        with Links(lab.place("h1")) as links:
            links.delete(TAP)


def plug(lab: Lab, machine: Namespace) -> None:
    with lab.client("demo") as api:
        mac = api.get("ports", "web/spare")["mac"]
    with Links(lab.place("h1")) as links:
        links.veth(TAP, machine, "eth0", peer_mac=mac)
    with Links(machine) as links:
        links.address("eth0", "10.0.1.13/24")
        links.address("eth0", "fd00:1::13/64")
        links.route("0.0.0.0/0", via="10.0.1.1", interface="eth0")
        links.route("::/0", via="fd00:1::1", interface="eth0")


@pytest.fixture
def bound(lab: Lab) -> Iterator[None]:
    with lab.client("demo") as api:
        port = api.get("ports", "web/spare")
        binding = api.create("bindings", {"port": port["id"], "host": "h1", "interface": TAP})
        yield
        api.delete("bindings", binding["id"])


def says(lab: Lab, state: str, reason: str = "") -> None:
    def holds() -> bool:
        told = status(lab, "web/spare")
        return (told.get("state"), told.get("reason")) == (state, reason)

    until(f"the port is {state}: {reason}; it is {status(lab, 'web/spare')}", holds)


@pytest.mark.usefixtures("bound")
def test_a_port_bound_before_its_interface_appears_waits_for_it(lab: Lab, machine: Namespace) -> None:
    says(lab, "down", f"interface {TAP} is not there")
    plug(lab, machine)
    says(lab, "active")
    assert pings(machine, FAR[0])
    assert pings(machine, FAR[1])


def test_an_interface_may_be_there_before_its_port_is_bound(
    lab: Lab, machine: Namespace, request: pytest.FixtureRequest
) -> None:
    plug(lab, machine)
    assert not pings(machine, FAR[0])
    request.getfixturevalue("bound")
    says(lab, "active")
    assert pings(machine, FAR[0])


@pytest.mark.usefixtures("bound")
def test_an_interface_that_vanishes_and_comes_back_forwards_again(lab: Lab, machine: Namespace) -> None:
    plug(lab, machine)
    says(lab, "active")
    with Links(lab.place("h1")) as links:
        links.delete(TAP)
    says(lab, "down", f"interface {TAP} is not there")
    plug(lab, machine)
    says(lab, "active")
    assert pings(machine, FAR[0])


@pytest.mark.usefixtures("bound")
def test_what_changed_while_no_agent_was_there_is_made_good(lab: Lab, machine: Namespace) -> None:
    plug(lab, machine)
    says(lab, "active")
    kill(lab, "agent-h1")
    with Links(lab.place("h1")) as links:
        links.delete(TAP)
    plug(lab, machine)
    start_agent(lab, "h1")
    says(lab, "active")
    assert pings(machine, FAR[0])


@pytest.mark.usefixtures("bound")
def test_an_interface_that_is_switched_off_is_told(lab: Lab, machine: Namespace) -> None:
    plug(lab, machine)
    says(lab, "active")
    with Links(lab.place("h1")) as links:
        links.down(TAP)
        says(lab, "down", f"interface {TAP} is switched off")
        links.up(TAP)
    says(lab, "active")


def test_what_is_reported_while_no_controller_is_there_is_told_later(
    lab: Lab, machine: Namespace, request: pytest.FixtureRequest
) -> None:
    plug(lab, machine)
    request.getfixturevalue("bound")
    says(lab, "active")
    kill(lab, "c1")
    try:
        with Links(lab.place("h1")) as links:
            links.delete(TAP)
    finally:
        lab.restart("c1")
    says(lab, "down", f"interface {TAP} is not there")
