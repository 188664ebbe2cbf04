"""What the programs leave to the agent: next hops that the model does not know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from onehop.lab.spec import Vm
from onehop.linux.links import Links
from tests.agent.cloud import a_lab, pings

EXTRA = ("10.0.1.100", "fd00:1::100")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """web-2 answers for addresses that the model does not give it, but allows."""
    with a_lab("slow") as lab:
        with lab.client("demo") as api:
            network = api.get("networks", "db")["id"]
            body = {"network": network, "name": "db-2", "security_groups": ["open"]}
            api.create("ports", {**body, "addresses": [{"ip": "10.0.2.12"}, {"ip": "fd00:2::12"}]})
            pairs = [{"cidr": f"{ip}"} for ip in ("10.0.1.100/32", "fd00:1::100/128")]
            api.update("ports", "web/web-2", {"allowed_address_pairs": pairs})
        lab.add_vm(Vm("db-2", "db/db-2", "h1"))
        lab._settle(lambda _: None)
        with Links(lab.place("web-2")) as links:
            links.address("eth0", f"{EXTRA[0]}/24")
            links.address("eth0", f"{EXTRA[1]}/64")
        yield lab


@pytest.mark.parametrize("address", EXTRA)
def test_a_router_asks_for_a_next_hop_on_its_own_host(lab: Lab, address: str) -> None:
    assert pings(lab.place("db-2"), address)
