"""Whatever happens to a lab, `onehop lab down` leaves nothing of it behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from onehop.lab.lab import Lab
from onehop.lab.ledger import FOLDER, Ledger, names
from onehop.lab.spec import read
from onehop.lab.teardown import down
from onehop.linux import libc
from onehop.linux.namespaces import FOLDER as NAMESPACES
from onehop.linux.namespaces import Namespace
from tests.support.lab_cloud import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"l{os.getpid()}"
    yield name
    if name in names():
        down(Ledger.open(name), lambda _: None)


def remains(name: str) -> list[str]:
    """What is there of a lab."""
    found = [str(path) for path in NAMESPACES.iterdir() if path.name.startswith((f"{name}-", f"{name}."))]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"/{name}/" in line]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"{FOLDER}/{name}/" in said:
            found.append(said)
    return found + [str(FOLDER / name)] * (FOLDER / name).exists()


def example(name: str, folder: Path, lab: str) -> Path:
    """An example lab under another name."""
    spec = yaml.safe_load((EXAMPLES / lab).read_text())
    for document in EXAMPLES.glob("*.yaml"):
        shutil.copy(document, folder)
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump({**spec, "name": name}))
    return path


def onehop(*argv: str) -> int:
    command = [sys.executable, "-m", "onehop.lab.main", *argv]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


@pytest.mark.parametrize(
    ("moment", "lab"),
    [
        *((moment, "lab.yaml") for moment in ("laying", "starting controller", "starting host h2")),
        *((moment, "lab.yaml") for moment in ("applying", "starting machine web-2", "waiting")),
        ("building the world outside", "lab-nat.yaml"),
    ],
)
def test_a_start_that_is_killed_can_be_taken_down(moment: str, lab: str, name: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "onehop.lab.main", "up", str(example(name, tmp_path, lab))]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as starting:
        assert starting.stderr is not None
        while moment not in (line := starting.stderr.readline()):
            assert line, f"it never got to {moment}"
        starting.send_signal(signal.SIGKILL)
        starting.wait()
    assert remains(name)
    assert onehop("down", name) == 0
    assert remains(name) == []


def test_a_lab_that_was_half_destroyed_can_be_taken_down(name: str) -> None:
    lab = Lab.up(read({"name": name, "hosts": 1}), lambda _: None)
    programs = pinned_programs(lab, "h1")
    os.kill(lab.fabric.ledger.processes["agent-h1"].pid, signal.SIGKILL)
    libc.umount(str(lab.fabric.node("c1").path), libc.MNT_DETACH)
    lab.fabric.node("wire").delete()
    lab.down(lambda _: None)
    assert remains(name) == []
    assert programs
    until("the programs are gone from the kernel", lambda: not any(map(is_loaded, programs)))


def pinned_programs(lab: Lab, host: str) -> list[int]:
    folder = lab.fabric.ledger.folder / "hosts" / host / "bpf"
    argv = ["bpftool", "-j", "prog", "show", "pinned"]
    found = [
        subprocess.run([*argv, str(path)], capture_output=True, text=True, check=True).stdout
        for path in folder.glob("code-*/from_*")
    ]
    return [int(json.loads(text)["id"]) for text in found]


def is_loaded(program: int) -> bool:
    argv = ["bpftool", "prog", "show", "id", str(program)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_what_runs_in_a_labs_namespace_ends_with_it(name: str) -> None:
    ledger = Ledger.create(name)
    ledger.namespaces.append(f"{name}-h1")
    ledger.save()
    with Namespace(f"{name}-h1").create().popen(["sleep", "1000"]) as forgotten:
        down(ledger, lambda _: None)
        assert forgotten.wait(timeout=10) == -signal.SIGTERM
    assert remains(name) == []


def test_a_lab_without_a_ledger_can_be_taken_down(name: str) -> None:
    (FOLDER / name).mkdir(parents=True)
    assert onehop("down", name) == 0
    assert remains(name) == []
