"""Many live connections through NAT while a gateway, an agent, controllers are lost: none of them ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from onehop.lab.lab import Lab
from tests.agent.cloud import kill, start_agent
from tests.support.crowd import Crowd, Speakers
from tests.support.lab_cloud import Tenant, a_lab
from tests.support.nat_cloud import LAB, OUTSIDE, PLACES, Addresses, document

OURS = Addresses(1)
EACH = 125  # connections of a group; there are eight groups


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    fields = {**LAB, "controllers": 2, "store": "etcd"}
    with a_lab(f"m{os.getpid()}", **fields) as lab, Tenant(lab, document(1), PLACES) as tenant:
        yield tenant


def gather(crowd: Crowd, tenant: Tenant) -> None:
    """Half of the connections by masquerade, half by floating IPs; half of either with a silent outside."""
    outside = tenant.lab.place("internet-1")
    # The machines open these; over the first of each pair the outside says nothing.
    for number, (path, version) in enumerate([("web/a", 4), ("web/b", 6), ("web/f", 4)]):
        for speakers in ("client", "both"):
            name = f"{path} to the outside by IPv{version}, {speakers} talking"
            address = (OUTSIDE[version], 5000 + 2 * number + (speakers == "both"))
            crowd.open(name, tenant.machine(path), outside, address, EACH, speakers=speakers)
    # The outside opens these, and listens to the first of them.
    ways: list[tuple[int, Speakers]] = [(4, "server"), (6, "both")]
    for version, speakers in ways:
        name = f"the outside to web/g by IPv{version}, {speakers} talking"
        at = (tenant.address("web/g", version), 5100)
        target = (OURS.g[version], 5100)
        crowd.open(name, outside, tenant.machine("web/g"), target, EACH, speakers=speakers, at=at)


@contextmanager
def without_gateway(lab: Lab, host: str) -> Iterator[None]:
    """The gateway is lost; the operator says so, and the outside withdraws its routes."""
    with lab.client() as api:
        lab.stop_host(host)
        api.update("hosts", host, {"fenced": True})
        try:
            yield
        finally:
            lab.start_host(host)
            api.update("hosts", host, {"fenced": False}, wait=20)


@contextmanager
def without_agent(lab: Lab, host: str) -> Iterator[None]:
    kill(lab, f"agent-{host}")
    try:
        yield
    finally:
        start_agent(lab, host)


@contextmanager
def without_controllers(lab: Lab) -> Iterator[None]:
    for name in ("c1", "c2"):
        kill(lab, name)
    try:
        yield
    finally:
        for name in ("c1", "c2"):
            lab.restart(name)


def test_a_thousand_connections_outlive_a_gateway_an_agent_and_the_controllers(tenant: Tenant) -> None:
    lab = tenant.lab
    with Crowd() as crowd:
        gather(crowd, tenant)
        assert len(crowd.ends) == 2 * 1000
        crowd.start()
        crowd.wait_for_rounds()
        for lost in (
            without_gateway(lab, "gw-1"),
            without_agent(lab, "h1"),
            without_agent(lab, "gw-2"),
            without_controllers(lab),
        ):
            with lost:
                crowd.wait_for_rounds()
            crowd.wait_for_rounds()
        # The other gateway, after the first one has come back.
        with without_gateway(lab, "gw-2"):
            crowd.wait_for_rounds()
        crowd.wait_for_rounds()
        assert crowd.ended == {}
