"""A small cloud for tests of agents: two hosts, three machines on two networks, one router between."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from onehop.lab import programs
from onehop.lab.lab import Lab
from onehop.lab.spec import read
from onehop.linux.namespaces import Namespace

Json = dict[str, Any]

TOPOLOGY: Json = {
    "project": "demo",
    "networks": {
        "web": {
            "subnets": {"v4": {"cidr": "10.0.1.0/24"}, "v6": {"cidr": "fd00:1::/64"}},
            "ports": {
                name: {
                    "security_groups": ["open"],
                    "addresses": [{"ip": f"10.0.1.{host}"}, {"ip": f"fd00:1::{host}"}],
                }
                for name, host in {"web-1": 11, "web-2": 12, "spare": 13}.items()
            },
        },
        "db": {
            "subnets": {"v4": {"cidr": "10.0.2.0/24"}, "v6": {"cidr": "fd00:2::/64"}},
            "ports": {
                "db-1": {
                    "security_groups": ["open"],
                    "addresses": [{"ip": "10.0.2.11"}, {"ip": "fd00:2::11"}],
                }
            },
        },
    },
    "security_groups": {"open": {"rules": {"all": {"direction": "ingress"}}}},
    "routers": {"edge": {"attach": ["web", "db"]}},
}
# web-1 and web-2 share a host; db-1 is on the other.
VMS = {
    "web-1": {"port": "web/web-1", "host": "h1"},
    "web-2": {"port": "web/web-2", "host": "h1"},
    "db-1": {"port": "db/db-1", "host": "h2"},
}
NEAR = ("10.0.1.12", "fd00:1::12")
FAR = ("10.0.2.11", "fd00:2::11")


def until(what: str, holds: Callable[[], bool], seconds: float = 20) -> None:
    """Return when a condition holds; fail when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


@contextmanager
def a_lab(name: str, **changes: Any) -> Iterator[Lab]:
    """A lab of this process's own, gone at the end."""
    spec = read({"name": f"{name}-{os.getpid()}", "topology": TOPOLOGY, "vms": VMS, **changes})
    lab = Lab.up(spec, lambda _: None)
    try:
        yield lab
    finally:
        lab.down(lambda _: None)


class Flood:
    """Pings from a machine, some hundreds a second, until it is asked what came back."""

    def __init__(self, lab: Lab, machine: str, target: str) -> None:
        self._process = lab.place(machine).popen(
            ["ping", "-i", "0.002", "-W", "2", target], stdout=subprocess.PIPE, text=True
        )
        self.target = target

    def lost(self) -> int:
        """End it; how many questions had no answer. Some must have had one."""
        self._process.send_signal(signal.SIGINT)
        said = self._process.communicate(timeout=20)[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found is not None, said
        sent, received = int(found[1]), int(found[2])
        assert received > 50, said
        # The last question may be on its way when ping ends.
        return max(0, sent - received - 1)

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Stream:
    """A TCP connection between machines, over which data goes until it is asked for the sum."""

    def __init__(self, lab: Lab, machine: str, server: str, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with lab.place(server).entered():
            self._listening = socket.socket(family)
        self._listening.bind((address, 5001))
        self._listening.listen(1)
        with lab.place(machine).entered():
            self._client = socket.socket(family)
        self._client.settimeout(10)
        self._client.connect((address, 5001))
        self._server, _ = self._listening.accept()
        self._server.settimeout(10)
        self.sent = self.received = 0
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]
        for thread in self._threads:
            thread.start()

    def all_arrived(self) -> bool:
        """End it. Whether every byte has come over, and the connection ended in order."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        return self.sent == self.received > 0

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ending.wait(0.0005):
                self.sent += self._client.send(bytes(4096))
            self._client.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(1 << 16):
                self.received += len(data)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        for one in (self._listening, self._client, self._server):
            one.close()


def pings(place: Namespace, target: str) -> bool:
    """Whether an answer comes, at the first or second try."""
    with place.entered():
        command = ["ping", "-c", "1", "-W", "1", target]
        return any(subprocess.run(command, capture_output=True, check=False).returncode == 0 for _ in "ab")


def kill(lab: Lab, program: str, sign: int = signal.SIGKILL) -> None:
    """End one of a lab's programs, and wait for its end."""
    process = lab.fabric.ledger.processes[program]
    os.kill(process.pid, sign)

    def is_gone() -> bool:
        os.waitpid(process.pid, os.WNOHANG)
        return not process.is_running

    try:
        until(f"{program} ends", is_gone)
    except ChildProcessError:
        until(f"{program} ends", lambda: not process.is_running)


def start_agent(lab: Lab, host: str) -> None:
    """Start a host's agent again, and wait until it runs."""
    log = lab.fabric.log(f"agent-{host}")
    before = log.read_text().count("] running")
    programs.start_agent(lab.fabric, lab.spec, host)
    until(
        f"the agent of {host} runs: {log.read_text()[-2000:]}",
        lambda: log.read_text().count("] running") > before,
    )


def status(lab: Lab, port: str) -> Json:
    """What a port's host says of it."""
    with lab.client("demo") as api:
        return dict(api.get("ports", port).get("status") or {})
