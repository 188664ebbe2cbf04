"""A lab's world outside, a host's power, and the routes outside that follow it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from tests.lab.test_commands import onehop
from tests.lab.test_leaving_nothing import remains
from tests.support.lab_cloud import a_lab

PREFIXES = {4: "203.0.113.0/24", 6: "2001:db8:113::/64"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = f"o{os.getpid()}"
    fields = {"hosts": ["gw-1", "gw-2"], "uplinks": {"up-1": "gw-1", "up-2": "gw-2"}}
    with a_lab(name, **fields, outside={"machines": ["internet-1"]}) as lab:
        yield lab
    assert remains(name) == []


def ways(lab: Lab, version: int) -> list[str]:
    """The uplinks by which the router outside sends to the external network."""
    said = lab.place("isp").run("ip", "-j", f"-{version}", "route", "show", PREFIXES[version])
    (route,) = json.loads(said)
    return [way["dev"] for way in route.get("nexthops", [route]) if way.get("dev", "lo") != "lo"]


def status(lab: Lab) -> dict[str, object]:
    said = onehop("status", "--lab", lab.spec.name, "-o", "json").stdout
    return {name: uplink["announced"] for name, uplink in json.loads(said)["uplinks"].items()}


@pytest.mark.parametrize("gateway", ["198.51.100.1", "2001:db8:100::1"])
def test_a_machine_outside_reaches_its_router(lab: Lab, gateway: str) -> None:
    argv = ("exec", "--lab", lab.spec.name, "internet-1", "--", "ping", "-c", "1", "-W", "5", gateway)
    assert onehop(*argv).returncode == 0


def test_an_uplink_is_withdrawn_and_announced(lab: Lab) -> None:
    at = ("--lab", lab.spec.name)
    assert onehop("uplink", "withdraw", *at, "up-1").returncode == 0
    assert status(lab) == {"up-1": False, "up-2": True}
    assert [ways(lab, version) for version in (4, 6)] == [["uplink1"]] * 2
    assert onehop("uplink", "withdraw", *at, "up-2").returncode == 0
    assert [ways(lab, version) for version in (4, 6)] == [[]] * 2
    for name in ("up-1", "up-2"):
        assert onehop("uplink", "announce", *at, name).returncode == 0
    assert [ways(lab, version) for version in (4, 6)] == [["uplink0", "uplink1"]] * 2


def test_a_host_loses_its_power_and_gets_it_back(lab: Lab) -> None:
    at = ("--lab", lab.spec.name)
    assert onehop("host", "stop", *at, "gw-2").returncode == 0
    assert ways(lab, 4) == ["uplink0"]
    assert not lab.fabric.ledger.processes["agent-gw-2"].is_running
    assert not list((lab.fabric.ledger.folder / "hosts/gw-2/bpf").glob("*"))
    done = onehop("host", "start", *at, "gw-2")
    assert done.returncode == 0, done.stderr
    assert ways(lab, 6) == ["uplink0", "uplink1"]
    again = Lab.open(lab.spec.name)
    assert again.fabric.ledger.processes["agent-gw-2"].is_running


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("host", "stop", "h9"), "'h9' is no host of this lab; there are gw-1, gw-2"),
        (("uplink", "withdraw", "up-9"), "there is no uplink 'up-9'; there are up-1, up-2"),
        (("vm", "add", "internet-1", "--port", "web/a"), "there is a machine 'internet-1' already"),
    ],
)
def test_a_wrong_name_is_told_in_a_sentence(lab: Lab, argv: tuple[str, ...], told: str) -> None:
    done = onehop(*argv[:2], "--lab", lab.spec.name, *argv[2:])
    assert done.returncode == 1
    assert told in done.stderr
