"""A real etcd for tests: one member or several, on loopback, in a directory that goes away.

    with EtcdCluster() as etcd:
        store = await open_store(etcd.url("/mine/"))

Members are killed and started again by number. Nothing outlives the `with`.

gRPC's asyncio side wants one event loop for the life of a process: a second loop may be handed what was
left of the first ("Event loop is closed"). Tests that open an etcd store in their own process share a
loop for the session, as `tests/store/conftest.py` does it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START = 30.0  # seconds that etcd may take to be ready


@dataclass(frozen=True)
class Files:
    """PEM files: etcd's own certificate, a client's, and who signed both."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path


@dataclass
class Member:
    name: str
    client: int
    peer: int
    metrics: int
    process: subprocess.Popen[bytes] | None = None


class EtcdCluster:
    def __init__(self, size: int = 1, *, tls: Files | None = None, options: Sequence[str] = ()) -> None:
        self.tls = tls
        self.directory = Path(tempfile.mkdtemp(prefix="onehop-etcd-"))
        self._options = list(options)
        ports = iter(free_ports(size * 3))
        self.members = [Member(f"m{n}", next(ports), next(ports), next(ports)) for n in range(size)]

    def __enter__(self) -> EtcdCluster:
        try:
            for number in range(len(self.members)):
                self.spawn(number)
            for number in range(len(self.members)):
                self.wait_healthy(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(len(self.members)):
            self.kill(number)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- where it is --------------------------------------------------------------------------------

    @property
    def endpoints(self) -> list[str]:
        return [f"127.0.0.1:{member.client}" for member in self.members]

    def url(self, prefix: str = "/onehop/", query: str = "") -> str:
        scheme = "etcds" if self.tls else "etcd"
        return f"{scheme}://{','.join(self.endpoints)}{prefix}{query and '?' + query}"

    # --- what happens to it -------------------------------------------------------------------------

    def start(self, number: int = 0) -> None:
        self.spawn(number)
        self.wait_healthy(number)

    def spawn(self, number: int = 0) -> None:
        member = self.members[number]
        with (self.directory / f"{member.name}.log").open("ab") as log:
            member.process = subprocess.Popen(self._command(member), stdout=log, stderr=log)

    def kill(self, number: int = 0) -> None:
        """As if the power went: SIGKILL."""
        process, self.members[number].process = self.members[number].process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self, number: int = 0) -> None:
        self._signal(number, signal.SIGSTOP)

    def resume(self, number: int = 0) -> None:
        self._signal(number, signal.SIGCONT)

    def _signal(self, number: int, which: signal.Signals) -> None:
        process = self.members[number].process
        assert process is not None
        process.send_signal(which)

    def data(self, number: int = 0) -> Path:
        return self.directory / self.members[number].name

    def wait_healthy(self, number: int = 0) -> None:
        member = self.members[number]
        until = time.monotonic() + START
        while time.monotonic() < until:
            if member.process is None or member.process.poll() is not None:
                break
            if self._healthy(member):
                return
            time.sleep(0.02)
        log = (self.directory / f"{member.name}.log").read_text(errors="replace")
        raise RuntimeError(f"etcd {member.name} did not become healthy:\n{log[-3000:]}")

    def _healthy(self, member: Member) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{member.metrics}/health", timeout=2) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (OSError, ValueError):
            return False

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A call to etcd's JSON gateway, for what the store itself never does (no TLS)."""
        request = urllib.request.Request(
            f"http://{self.endpoints[0]}/v3/{path}", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _command(self, member: Member) -> list[str]:
        scheme = "https" if self.tls else "http"
        client = f"{scheme}://127.0.0.1:{member.client}"
        peer = f"http://127.0.0.1:{member.peer}"
        command = [
            *("etcd", "--name", member.name, "--data-dir", str(self.directory / member.name)),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--listen-metrics-urls", f"http://127.0.0.1:{member.metrics}"),
            *("--initial-cluster", ",".join(f"{m.name}=http://127.0.0.1:{m.peer}" for m in self.members)),
            *("--initial-cluster-token", self.directory.name),
            *("--logger", "zap", "--log-level", "error"),
            *("--max-txn-ops", "4096"),  # as we ask operators to: etcd's 128 are soon used up
            *("--experimental-watch-progress-notify-interval", "1s"),
        ]
        if len(self.members) == 1:  # nobody to lose an election to: be quick, leases as well
            command += ["--heartbeat-interval", "50", "--election-timeout", "500"]
        if self.tls:
            command += ["--cert-file", str(self.tls.cert), "--key-file", str(self.tls.key)]
            command += ["--trusted-ca-file", str(self.tls.ca), "--client-cert-auth"]
        return command + self._options


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def etcd_for_tests() -> Iterator[EtcdCluster]:
    """The body of a session fixture: `etcd = pytest.fixture(scope="session")(etcd_for_tests)`."""
    with EtcdCluster() as cluster:
        yield cluster
