"""A real controller process on SQLite, and the real `onehop` executable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ONEHOP = str(Path(sys.executable).with_name("onehop"))
PATIENCE = 30.0


class Result(NamedTuple):
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Controller:
    """A controller process with its own directory, and the CLI that talks to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listen = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEHOP_")}
        return {**kept, "ONEHOP_CONFIG": str(self.directory / "contexts.json"), "COLUMNS": "100"}

    @property
    def url(self) -> str:
        return f"https://{self.listen}"

    def start(self) -> None:
        command = [ONEHOP, "controller", "--state", str(self.directory), "--listen", self.listen]
        with (self.directory / "log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        first = self._process.stdout.readline()  # printed once it answers
        assert first.startswith("Onehop listens on "), (self.directory / "log").read_text()
        self.listen = first.rpartition("//")[2].strip()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def run(self, *words: str, stdin: str | None = None, **environ: str) -> Result:
        done = subprocess.run(
            [ONEHOP, *words],
            env={**self.environ, **environ},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def do(self, *words: str, stdin: str | None = None, **environ: str) -> Result:
        """A command that has to succeed."""
        result = self.run(*words, stdin=stdin, **environ)
        assert result.status == 0, result
        return result


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    controller = Controller(tmp_path_factory.mktemp("controller"))
    controller.start()
    yield controller
    controller.stop()


class Project:
    """A project of a controller, and commands within it."""

    def __init__(self, controller: Controller, name: str) -> None:
        self.controller = controller
        self.name = name
        controller.do("project", "create", name)

    def run(self, *words: str, stdin: str | None = None) -> Result:
        return self.controller.run(*words, stdin=stdin, ONEHOP_PROJECT=self.name)

    def do(self, *words: str, stdin: str | None = None) -> Result:
        return self.controller.do(*words, stdin=stdin, ONEHOP_PROJECT=self.name)


_numbers = iter(range(1_000_000))


@pytest.fixture
def project(controller: Controller) -> Project:
    return Project(controller, f"p{next(_numbers)}")
