"""What a lab has made, written down before it is made, so that `down` finds it also after a crash.

One folder per lab, `/run/onehop/lab/NAME`, holds `ledger.json` and whatever the lab's programs keep. Labs
share nothing: all names carry the lab's, so several stand side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onehop.lab.spec import LAB_NAME, LabError

FOLDER = Path("/run/onehop/lab")
PATIENCE = 10.0  # seconds that a program gets to end by itself


@dataclass(frozen=True, slots=True)
class Process:
    """A program of a lab. `started` tells it from a later one that got the same pid."""

    name: str
    pid: int
    started: int
    argv: tuple[str, ...]
    namespace: str

    @property
    def is_running(self) -> bool:
        return start_time(self.pid) == self.started

    def stop(self, patience: float = PATIENCE, *, group: bool = True) -> None:
        """End it, and with `group` what it started: politely, then surely."""
        for sign, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, PATIENCE)):
            if not self.is_running:
                return
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, sign)
            deadline = time.monotonic() + wait
            while self.is_running and time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, os.WNOHANG)
                time.sleep(0.01)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


class Ledger:
    """A lab's folder and its list of namespaces, programs, mounts and machines."""

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        if not LAB_NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name of a lab: 1 to 20 of a-z, 0-9 and '-'")
        self.name = name
        self.folder = folder / name
        self.file = self.folder / "ledger.json"
        self.namespaces: list[str] = []
        self.mounts: list[str] = []
        self.processes: dict[str, Process] = {}
        self.facts: dict[str, Any] = {}

    @classmethod
    def create(cls, name: str, folder: Path = FOLDER) -> Ledger:
        ledger = cls(name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            ledger.folder.mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(
                f"there is a lab {name!r} already; `onehop lab down {name}` removes it, also after a crash"
            ) from None
        ledger.save()
        return ledger

    @classmethod
    def open(cls, name: str, folder: Path = FOLDER) -> Ledger:
        ledger = cls(name, folder)
        try:
            data = json.loads(ledger.file.read_text())
        except FileNotFoundError:
            if not ledger.folder.is_dir():
                there = ", ".join(names(folder)) or "none"
                raise LabError(f"there is no lab {name!r}; there are: {there}") from None
            data = {}  # cut short before it was first written: nothing had been made
        ledger.namespaces = list(data.get("namespaces", ()))
        ledger.mounts = list(data.get("mounts", ()))
        ledger.facts = dict(data.get("facts", {}))
        for entry in data.get("processes", ()):
            process = Process(**{**entry, "argv": tuple(entry["argv"])})
            ledger.processes[process.name] = process
        return ledger

    def save(self) -> None:
        data = {
            "namespaces": self.namespaces,
            "mounts": self.mounts,
            "facts": self.facts,
            "processes": [asdict(process) for process in self.processes.values()],
        }
        fresh = self.file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(data, indent=1))
        fresh.replace(self.file)

    def sub(self, name: str) -> Path:
        """A folder of the lab's, made if need be."""
        path = self.folder / name
        path.mkdir(mode=0o700, exist_ok=True, parents=True)
        return path

    def remove(self) -> None:
        """Take the folder away; everything that it tells of is gone by now."""
        for path, folders, files in os.walk(self.folder, topdown=False):
            for name in files:
                Path(path, name).unlink()
            for name in folders:
                inner = Path(path, name)
                if inner.is_symlink():
                    inner.unlink()
                else:
                    inner.rmdir()
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()


def names(folder: Path = FOLDER) -> Iterator[str]:
    """The labs there are."""
    if folder.is_dir():
        yield from sorted(path.name for path in folder.iterdir() if path.is_dir())
