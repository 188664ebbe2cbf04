"""The example files hold what they should, so that nobody's first step ends in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.lab.outside import document
from onehop.lab.spec import load
from onehop.model import Port
from onehop.model.document import parse
from onehop.model.offline import build

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("lab*.yaml")), ids=lambda path: path.stem)
def test_an_example_lab_plugs_each_machine_into_a_port_of_its_tenant(path: Path) -> None:
    lab = load(path)
    ports = {entry.path for entry in parse(lab.topology).entries if entry.kind.name == "port"}
    assert {vm.port for vm in lab.vms} <= ports


def test_the_world_outside_is_a_document_that_holds() -> None:
    lab = load(EXAMPLES / "lab-nat.yaml")
    made = document(lab)
    hosts = {host: {} for host in lab.hosts}
    uplinks = [
        port for port in build(parse({**made, "hosts": hosts})).all(Port) if port.name in ("up-1", "up-2")
    ]
    assert [port.kind for port in uplinks] == ["router", "router"]
