"""Whole topologies with the real executable: plan, apply, diff, delete, export, and what gets in between."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import ONEHOP, Controller, Project

SHOP = """\
stack: shop
networks:
  web:
    subnets: {v4: {cidr: 10.0.1.0/24}, v6: {cidr: "fd00:1::/64"}}
    ports:
      web-1: {security_groups: [web]}
      web-2: {security_groups: [web], addresses: [{subnet: v4}]}
  db:
    mtu: 1400
    subnets: {v4: {cidr: 10.0.2.0/24}}
    ports: {db-1: {addresses: [{ip: 10.0.2.7}], acls_in: [guard]}}
security_groups:
  web: {rules: {http: {direction: ingress, protocol: tcp, ports: 80}}}
acls:
  guard: {rules: [{id: mine, action: allow, match: {in_port: db/db-1}}]}
routers:
  edge:
    attach: [web, db]
    routes: {default: {destination: 0.0.0.0/0, next_hops: [{ip: 10.0.1.254}]}}
"""
OBJECTS = 19


class Stack:
    """A document in a file, applied within a project."""

    def __init__(self, project: Project, path: Path) -> None:
        self.project = project
        self.path = path
        self.write(SHOP)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.write(text.replace(old, new))

    def run(self, verb: str, *words: str) -> Any:
        return self.project.run(verb, "-f", str(self.path), *words)

    def do(self, verb: str, *words: str) -> Any:
        result = self.run(verb, *words)
        assert result.status == 0, result
        return result

    def show(self, noun: str, ref: str) -> Any:
        return self.project.do(noun, "show", ref, "-o", "json").json()


@pytest.fixture
def stack(project: Project, tmp_path: Path) -> Stack:
    return Stack(project, tmp_path / "shop.yaml")


@pytest.fixture
def shop(stack: Stack) -> Stack:
    """The shop, applied."""
    assert stack.do("apply").out.endswith(f"done: {OBJECTS} created\n")
    return stack


def test_the_plan_is_shown_and_nothing_is_done(stack: Stack) -> None:
    planned = stack.do("apply", "--dry-run").out
    assert "+ network db\n    mtu: 1400\n" in planned
    assert planned.endswith(f"{OBJECTS} to create; 0 as they should be\n")
    assert stack.project.do("network", "list", "-o", "json").json() == []


def test_waiting_says_that_every_host_has_it(stack: Stack) -> None:
    told = stack.do("apply", "--wait=5").out
    assert told.endswith(f"done: {OBJECTS} created; every host has it\n")


def test_applying_twice_changes_nothing(shop: Stack) -> None:
    before = shop.show("port", "web/web-1")
    assert shop.do("apply").out.startswith("nothing to do")
    assert shop.show("port", "web/web-1") == before
    assert shop.do("diff").out == f"nothing to do; {OBJECTS} as they should be\n"


def test_export_and_then_diff_is_empty(shop: Stack) -> None:
    exported = shop.project.do("export", "--stack", "shop").out
    assert yaml.safe_load(exported)["routers"]["edge"]["attach"] == ["db", "web"]
    shop.write(exported)
    assert shop.do("diff").status == 0


def test_an_export_makes_the_same_elsewhere(shop: Stack, controller: Controller, tmp_path: Path) -> None:
    exported = shop.project.do("export", "--stack", "shop").out
    other = Project(controller, f"{shop.project.name}-copy")
    copy = Stack(other, tmp_path / "copy.yaml")
    copy.write(exported.replace(f"project: {shop.project.name}", f"project: {other.name}"))
    copy.do("apply")
    again = other.do("export", "--stack", "shop").out
    assert again == copy.path.read_text()


def test_a_change_is_shown_and_made(shop: Stack) -> None:
    shop.change("mtu: 1400", "mtu: 1300")
    differs = shop.run("diff")
    assert (differs.status, differs.out.splitlines()[:2]) == (1, ["~ network db", "    mtu: 1400 -> 1300"])
    shop.do("apply")
    assert shop.show("network", "db")["mtu"] == 1300


def test_what_people_set_by_hand_stays(shop: Stack) -> None:
    shop.project.do("network", "update", "web", "--learning")
    assert shop.run("diff").status == 0
    shop.change("mtu: 1400", "mtu: 1300")
    shop.do("apply")
    assert shop.show("network", "web")["learning"] is True


def test_what_the_document_says_wins_over_what_was_set_by_hand(shop: Stack) -> None:
    shop.project.do("network", "update", "db", "--mtu", "9000")
    assert "mtu: 9000 -> 1400" in shop.run("diff").out
    shop.do("apply")
    assert shop.show("network", "db")["mtu"] == 1400


def test_a_field_dropped_from_the_document_returns_to_its_default(shop: Stack) -> None:
    shop.change("    mtu: 1400\n", "")
    shop.do("apply")
    assert shop.show("network", "db")["mtu"] == 1450
    shop.project.do("network", "update", "db", "--mtu", "9000")
    assert shop.run("diff").status == 0


def test_deletions_are_not_made_without_being_asked(shop: Stack) -> None:
    shop.change("      web-2: {security_groups: [web], addresses: [{subnet: v4}]}\n", "")
    refused = shop.run("apply")
    assert refused.status == 1
    assert "- port web/web-2" in refused.out
    assert "--yes" in refused.err
    shop.do("apply", "--yes")
    assert shop.project.run("port", "show", "web/web-2").status == 1


@pytest.mark.parametrize(("answer", "status", "left"), [("n", 1, 1), ("y", 0, 0)])
def test_a_person_is_asked_before_deletions(shop: Stack, answer: str, status: int, left: int) -> None:
    terminal, theirs = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        done = subprocess.run(
            [ONEHOP, "delete", "-f", str(shop.path)],
            env={**shop.project.controller.environ, "ONEHOP_PROJECT": shop.project.name},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(theirs)
    assert f"Delete {OBJECTS} objects?" in done.stdout + done.stderr
    assert done.returncode == status
    assert len(shop.project.do("router", "list", "-o", "json").json()) == left


def test_a_stack_is_deleted_by_its_name(shop: Stack) -> None:
    shop.project.do("delete", "--stack", "shop", "--yes")
    assert shop.project.do("network", "list", "-o", "json").json() == []
    assert shop.project.run("export", "--stack", "shop").status == 1


def test_other_peoples_objects_are_not_altered_unless_adopted(stack: Stack) -> None:
    stack.project.do("network", "create", "db", "--mtu", "1500")
    refused = stack.run("apply")
    assert refused.status == 1
    assert f"{stack.path}:8: networks.db: network 'db' is there already" in refused.err
    assert stack.show("network", "db")["mtu"] == 1500
    assert "~ network db  (taken over)" in stack.do("apply", "--adopt").out
    assert stack.show("network", "db")["mtu"] == 1400


def test_a_subnet_that_goes_takes_the_routers_address_with_it(shop: Stack) -> None:
    shop.change(', v6: {cidr: "fd00:1::/64"}', "")
    shop.change(
        "web-1: {security_groups: [web]}", "web-1: {security_groups: [web], addresses: [{subnet: v4}]}"
    )
    shop.do("apply", "--yes")
    (address,) = shop.show("port", "edge/web")["addresses"]
    assert address["ip"] == "10.0.1.1"


def test_an_address_passes_from_a_deleted_port_to_a_new_one(shop: Stack) -> None:
    shop.change("db-1: {addresses", "db-2: {addresses")
    shop.change("match: {in_port: db/db-1}", "match: {in_port: db/db-2}")
    shop.do("apply", "--yes")
    assert shop.show("port", "db/db-2")["addresses"][0]["ip"] == "10.0.2.7"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("mtu: 1400", "mtu: 1", ":9: networks.db.mtu"),
        ("mtu: 1400", "mtv: 1400", ":9: networks.db.mtv"),
        ("acls_in: [guard]", "acls_in: [gard]", ":11: networks.db.ports.db-1.acls_in[0]: there is no acl"),
        ("10.0.2.7", "10.9.9.9", ":11: networks.db.ports.db-1.addresses[0].ip"),
        ("stack: shop\n", "", "stack: is needed"),
        ("stack: shop", "stack: [", "not YAML"),
        ("networks:", "netwroks:", ":2: netwroks: no such section"),
        ("attach: [web, db]", "attach: [web, dv]", "there is no network 'dv'"),
        ("project", "project", ""),
    ],
)
def test_a_wrong_document_is_refused_with_file_and_line(stack: Stack, old: str, new: str, told: str) -> None:
    if old == "project":
        stack.write("project: none\n" + SHOP)
        told = ":1: project"
    else:
        stack.change(old, new)
    refused = stack.run("apply")
    assert refused.status == 1
    assert told in refused.err
    assert "Traceback" not in refused.err


def test_a_file_that_is_not_there(project: Project) -> None:
    refused = project.run("apply", "-f", "/nowhere/x.yaml")
    assert (refused.status, refused.err) == (
        1,
        "onehop: cannot read /nowhere/x.yaml: No such file or directory\n",
    )


def test_a_document_can_come_from_standard_input(project: Project) -> None:
    project.do("apply", "-f", "-", stdin=SHOP)
    assert project.run("diff", "-f", "-", stdin=SHOP).status == 0


def test_two_stacks_live_side_by_side(shop: Stack, tmp_path: Path) -> None:
    other = Stack(shop.project, tmp_path / "other.yaml")
    other.write("stack: other\nports:\n  guest: {network: web, security_groups: [web]}\n")
    other.do("apply")
    assert shop.run("diff").status == 0
    refused = shop.run("delete", "--yes")
    assert "in use by port web/guest" in refused.err
    other.do("delete", "--yes")
    shop.do("delete", "--yes")


def test_progress_is_a_stream_of_json_for_programs(stack: Stack) -> None:
    events = [json.loads(line) for line in stack.do("apply", "-o", "json").out.splitlines()]
    assert events[-1]["event"] == "done"
    assert {"actions", "planned", "progress"} <= {event["event"] for event in events}


def large(ports: int) -> str:
    lines = ["stack: large", "networks:", "  n:", "    subnets: {v4: {cidr: 10.0.0.0/16}}", "    ports:"]
    return "\n".join([*lines, *(f"      p{i}: {{}}" for i in range(ports))]) + "\n"


def test_an_apply_that_a_killed_controller_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    controller = Controller(tmp_path)
    controller.start()
    try:
        project = Project(controller, "p")
        stack = Stack(project, tmp_path / "large.yaml")
        stack.write(large(3000))
        environ = {**controller.environ, "ONEHOP_PROJECT": "p"}
        command = [ONEHOP, "apply", "-f", str(stack.path), "--yes", "-o", "json"]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as p:
            assert p.stdout is not None and p.stderr is not None
            while json.loads(p.stdout.readline()).get("done", 0) < 200:
                assert p.poll() is None
            controller.kill()
            p.stdout.read()
            assert "did not answer to the end" in p.stderr.read()
        assert p.returncode == 1
        controller.start()
        there = len(project.do("port", "list", "-o", "json").json())
        assert 0 < there < 3000
        stack.do("apply", "--yes")
        assert stack.do("diff").out == "nothing to do; 3002 as they should be\n"
        ports = project.do("port", "list", "-o", "json").json()
        assert len({port["mac"] for port in ports}) == len({port["key"] for port in ports}) == 3000
    finally:
        controller.stop()


# --- what a change makes possible or impossible -------------------------------------------------------


def test_a_plan_tells_what_becomes_reachable_and_what_no_longer_is(shop: Stack) -> None:
    shop.change("ports: 80}}", "ports: 443}}")
    plan = shop.run("diff").out
    assert "+ reach db/db-1 -> web/web-1: ipv4 tcp 443\n" in plan
    assert "- reach db/db-1 -> web/web-1: ipv4 tcp 80\n" in plan
    assert "icmp" not in plan


def test_what_a_plan_would_be_refused_for_is_told_by_a_dry_run(shop: Stack) -> None:
    shop.change("{v4: {cidr: 10.0.2.0/24}}", "{v4: {cidr: 10.0.2.0/24}, more: {cidr: 10.0.1.128/25}}")
    refused = shop.run("diff")
    assert refused.status == 1
    assert "overlap" in refused.err
