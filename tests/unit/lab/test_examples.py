"""The example files hold what they should, so that nobody's first step ends in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.lab.spec import load
from onehop.model import Network
from onehop.model.document import parse
from onehop.model.offline import build

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("lab*.yaml")), ids=lambda path: path.stem)
def test_an_example_lab_plugs_each_machine_into_a_port_of_its_tenant(path: Path) -> None:
    lab = load(path)
    topology = build(parse(lab.topology))
    ports = {
        f"{network.name}/{port.name}"
        for network in topology.all(Network)
        for port in topology.ports(network.id)
    }
    assert {vm.port for vm in lab.vms} <= ports
