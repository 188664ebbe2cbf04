"""One measurement on one path: start the load, read its number.

Everything runs on core 0, before all other processes: what is measured is the work that a packet makes from
end to end, and on one core nothing of it hides beside something else.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from bench.datapath.cloud import PORT
from bench.datapath.paths import NIC, Path
from onehop.linux.namespaces import Namespace

SOURCE = File(__file__).parent / "load.c"
BUILT = File(__file__).parents[2] / "build" / "bench"
THREADS = 8  # that open connections
FLOWS = 300  # whose first packets are timed


def build() -> File:
    """The load tool, compiled for this machine."""
    BUILT.mkdir(parents=True, exist_ok=True)
    tool = BUILT / "load"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", tool, SOURCE, "-lpthread"], check=True)
    return tool


@dataclass(frozen=True, slots=True)
class Load:
    """`seconds` of each measurement."""

    tool: File
    seconds: float

    @contextlib.contextmanager
    def server(self, machine: Namespace) -> Iterator[None]:
        with machine.popen([str(self.tool), "serve", str(PORT)], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield
            finally:
                process.kill()

    def tcp(self, path: Path, command: str, *more: str) -> float:
        a, b = path.machines
        with self.server(b):
            said = self._run(a, command, path.target, str(PORT), str(self.seconds), *more)
        return float(said)

    def udp(self, path: Path, command: str, amount: str) -> list[float]:
        a, b = path.machines
        said = self._run(a, command, str(a.path), str(b.path), path.target, str(PORT), amount)
        return [float(line) for line in said.split()]

    def _run(self, machine: Namespace, *command: str) -> str:
        return machine.run(str(self.tool), *command, timeout=self.seconds + 30)


def offload(path: Path, to: str) -> None:
    for machine in path.machines:
        machine.run("ethtool", "-K", NIC, "tso", to, "gso", to)


def stream(load: Load, path: Path) -> float:
    return load.tcp(path, "stream")


def stream_nogso(load: Load, path: Path) -> float:
    offload(path, "off")
    try:
        return load.tcp(path, "stream")
    finally:
        offload(path, "on")


def pps(load: Load, path: Path) -> float:
    return load.udp(path, "pps", str(load.seconds))[0]


def rr(load: Load, path: Path) -> float:
    return load.tcp(path, "rr")


def crr(load: Load, path: Path) -> float:
    return load.tcp(path, "crr", str(THREADS))


def first(load: Load, path: Path) -> float:
    """Microseconds that a connection's first packet takes longer than its second."""
    one, other = load.udp(path, "first", str(FLOWS))
    return (one - other) / 1000


TESTS: Mapping[str, Callable[[Load, Path], float]] = {
    "stream": stream,
    "stream_nogso": stream_nogso,
    "pps": pps,
    "rr": rr,
    "crr": crr,
    "first": first,
}
