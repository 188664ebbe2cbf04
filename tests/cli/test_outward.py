"""Ways to the outside, as commands: what an operator types, and what a tenant does."""

from __future__ import annotations

import uuid

import pytest

from tests.cli.conftest import Controller, Project


@pytest.fixture
def public(controller: Controller) -> str:
    """An external network of a project of the operator's, with an uplink of gateway `gw-...`."""
    tail = uuid.uuid4().hex[:8]
    ops = Project(controller, f"ops-{tail}")
    name, gateway = f"public-{tail}", f"gw-{tail}"
    grant = ("--grant", "allow=external")
    ops.do("network", "create", name, "--subnet", "203.0.113.0/24", "--subnet", "2001:db8::/64", *grant)
    ops.do("host", "create", gateway)
    place = ("--network", name, "--host", gateway, "--interface", "eth1")
    told = ops.do("uplink", "add", *place, "--address", "192.0.2.2/30", "--next-hop", "192.0.2.1")
    assert told.out.splitlines() == [
        f"made provider router provider-{name}",
        f"made its port {name}, with 203.0.113.1, 2001:db8::1",
        f"made its port {gateway}-eth1, with 192.0.2.2",
        f"bound its port to interface eth1 of host {gateway}",
        "it sends 0.0.0.0/0 to 192.0.2.1",
    ]
    return name


def test_two_commands_give_a_tenant_a_way_out_and_tell_how(public: str, project: Project) -> None:
    project.do("network", "create", "web")
    told = project.do("router", "create", "edge", "--external", public).out.partition("\n\n")[2]
    at, web, *rest = told.splitlines()
    assert at.startswith(f"attached to network {public}, at 203.0.113.")
    assert web.startswith("attached to network web, at 10.0.")
    assert "it had no subnets, and was given 10.0." in web
    assert rest == [
        "sends 0.0.0.0/0 to 203.0.113.1",
        "sends ::/0 to 2001:db8::1",
        f"masquerades at port {public}",
    ]


def test_a_machine_gets_a_floating_ip_which_moves(public: str, project: Project) -> None:
    project.do("network", "create", "web", "--subnet", "10.0.1.0/24")
    project.do("router", "create", "edge", "--external", public, "--attach", "web")
    for name in ("one", "two"):
        project.do("port", "create", name, "--network", "web")
    subnet = f"{public.replace('public-', 'ops-')}:{public}/v4"
    made = project.do(
        "floating-ip", "create", "f", "--subnet", subnet, "--port", "web/one", "-o", "json"
    ).json()
    moved = project.do("floating-ip", "update", "f", "--port", "web/two", "-o", "json").json()
    assert moved["ip"] == made["ip"]
    assert moved["port_ip"] != made["port_ip"]
    released = project.do("floating-ip", "update", "f", "--unset", "port", "-o", "json").json()
    assert (released["port"], released["port_ip"]) == (None, None)


def test_a_router_without_a_way_out_is_attached_to_networks(project: Project) -> None:
    for name, cidr in (("web", "10.0.1.0/24"), ("db", "10.0.2.0/24")):
        project.do("network", "create", name, "--subnet", cidr)
    told = project.do("router", "create", "core", "--attach", "web", "--attach", "db").out
    assert "attached to network web, at 10.0.1.1" in told
    assert "attached to network db, at 10.0.2.1" in told
