"""The demo tells the truth: it ends well only if every packet fares as the tenant's rules say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from onehop.lab.ledger import Ledger, names
from onehop.lab.teardown import down

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"d{os.getpid()}"
    yield name
    if name in names():
        down(Ledger.open(name), lambda _: None)


def demo(name: str, folder: Path, shop: object) -> subprocess.CompletedProcess[str]:
    lab = yaml.safe_load((EXAMPLES / "lab.yaml").read_text())
    path = folder / "lab.yaml"
    (folder / "shop-outside.yaml").write_text((EXAMPLES / "shop-outside.yaml").read_text())
    topology = [shop, "shop-outside.yaml"]
    path.write_text(yaml.safe_dump({**lab, "name": name, "topology": topology}))
    argv = [sys.executable, "-m", "onehop.lab.demo", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_fails_when_a_packet_does_and_can_be_run_again(name: str, tmp_path: Path) -> None:
    shop = yaml.safe_load((EXAMPLES / "shop.yaml").read_text())
    rules = shop["security_groups"]["web"]["rules"]
    http = rules.pop("http")
    broken = demo(name, tmp_path, shop)
    assert broken.returncode == 1, broken.stderr
    assert broken.stdout.count("FAIL tcp") == 4
    assert "4 packets did not fare as they should" in broken.stderr

    rules["http"] = http
    whole = demo(name, tmp_path, shop)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "is there from before" in whole.stderr
    assert whole.stdout.count("  ok   ") == 20
