"""`onehop lab` as people use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from onehop.lab.lab import Lab
from tests.support.lab_cloud import Tenant

OPEN = {"security_groups": ["open"]}
DOCUMENT = {
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}},
            "ports": {
                name: {**OPEN, "addresses": [{"ip": f"10.0.1.{n}"}]} for name, n in (("a", 11), ("b", 12))
            },
        }
    },
    "security_groups": {"open": {"rules": {"all": {"direction": "ingress"}}}},
}


@pytest.fixture(scope="module")
def tenant(lab: Lab) -> Iterator[Tenant]:
    with Tenant(lab, DOCUMENT, {"web/a": "h1"}) as tenant:
        yield tenant


def onehop(*argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `onehop lab ...` to its end."""
    command = [sys.executable, "-m", "onehop.lab.main", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_status_tells_programs_hosts_and_machines_as_json(tenant: Tenant) -> None:
    name = tenant.lab.spec.name
    done = onehop("status", "--lab", name, "-o", "json")
    status = json.loads(done.stdout)
    assert status["name"] == name
    assert set(status["hosts"]) == {"h1", "h2", "h3"}
    assert all(program["running"] for program in status["programs"].values())
    machine = status["vms"][tenant.vm("web/a")]
    assert (machine["host"], machine["status"]["state"]) == ("h1", "active")


def test_exec_ends_with_the_commands_status_and_output(tenant: Tenant) -> None:
    at = ("exec", "--lab", tenant.lab.spec.name, tenant.vm("web/a"), "--")
    done = onehop(*at, "sh", "-c", "ip -4 -o address show eth0; exit 7")
    assert (done.returncode, "10.0.1.11/24" in done.stdout) == (7, True)
    assert onehop(*at, "sh", "-c", "kill -9 $$").returncode == 128 + 9


def test_a_machine_is_added_moved_and_removed(tenant: Tenant) -> None:
    lab = ("--lab", tenant.lab.spec.name)
    name = tenant.vm("web/b")
    assert onehop("vm", "add", *lab, name, "--port", f"{tenant.name}:web/b", "--host", "h2").returncode == 0
    answered = onehop("exec", *lab, name, "--", "ping", "-c", "5", "-i", "0.2", "-W", "2", "10.0.1.11")
    assert answered.returncode == 0
    assert onehop("vm", "move", *lab, name, "--host", "h3").returncode == 0
    status = json.loads(onehop("status", *lab, "-o", "json").stdout)
    assert status["vms"][name]["host"] == "h3"
    assert onehop("vm", "remove", *lab, name).returncode == 0
    status = json.loads(onehop("status", *lab, "-o", "json").stdout)
    assert name not in status["vms"]
    assert not tenant.lab.fabric.machine(name).exists


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("exec", "nobody", "--", "true"), "there is no 'nobody' in lab"),
        (("exec", "h1"), "what should be run there?"),
        (("exec", "h1", "--", "no-such-program"), "no-such-program"),
        (("vm", "move", "nobody", "--host", "h1"), "there is no machine 'nobody'"),
        (("vm", "remove", "nobody"), "there is no machine 'nobody'"),
        (("vm", "add", "x", "--port", "web/a", "--host", "h9"), "'h9' is no host of this lab"),
        (("vm", "add", "x", "--port", "nowhere/a"), "nowhere"),
        (("restart", "nobody"), "'nobody' is no program"),
    ],
)
def test_a_wrong_name_is_told_in_a_sentence(tenant: Tenant, argv: tuple[str, ...], told: str) -> None:
    words = 2 if argv[0] == "vm" else 1
    done = onehop(*argv[:words], "--lab", tenant.lab.spec.name, *argv[words:])
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("argv", [("status", "--lab", "no-such-lab"), ("down", "no-such-lab")])
def test_a_lab_that_is_not_there_is_told(argv: tuple[str, ...]) -> None:
    done = onehop(*argv)
    assert done.returncode == 1
    assert done.stderr.startswith("onehop lab: there is no lab 'no-such-lab'; there are:")


AS_NOBODY = """
import os, runpy, sys
import onehop.lab.demo, onehop.lab.main  # while its files may be read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("argv", [("onehop.lab.main", "list"), ("onehop.lab.demo",)])
def test_without_root_the_way_out_is_told(argv: tuple[str, ...]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", AS_NOBODY, *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "takes root: use sudo" in done.stderr
