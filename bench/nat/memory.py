"""What the kernel keeps of a translated connection, in bytes.

Connections are opened through masquerade and held while entries are counted in every table that connections
write, on all hosts. What a table takes is what the kernel says (`memlock` in /proc/self/fdinfo): of a table
that has its memory from the start, each entry's share of the room; else what the table has grown by. The
cache of flows is counted, too, though it is bounded.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from bench.datapath.cloud import PORT
from bench.datapath.onehop import LEARNED, Running
from bench.datapath.paths import Path
from onehop.datapath.maps import Map
from onehop.linux.namespaces import Namespace

PATIENCE = 30.0


def measure(running: Running, path: Path, count: int) -> dict[str, float]:
    running.forget()
    tables = [datapath.maps[name] for datapath in running.datapaths for name in LEARNED]
    empty = [_memory(table) for table in tables]
    with held(path, count):
        total = sum(_taken(table, before) for table, before in zip(tables, empty, strict=True))
    return {"mib_per_million_connections": total / count * 1e6 / (1 << 20)}


def _taken(table: Map[Any, Any], empty: int) -> float:
    entries = sum(1 for _ in table.items())
    return entries * empty / table.info.max_entries + _memory(table) - empty


def _memory(table: Map[Any, Any]) -> int:
    info = File(f"/proc/self/fdinfo/{table.fd}").read_text()
    (memory,) = (line.split()[1] for line in info.splitlines() if line.startswith("memlock:"))
    return int(memory)


@contextlib.contextmanager
def held(path: Path, count: int) -> Iterator[None]:
    """So many connections, over each of which a byte has gone in either direction."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * count + 1000), most))
    near, far = path.machines
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_socket(far))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen(1024)
        for _ in range(count):
            client = stack.enter_context(_socket(near))
            client.settimeout(PATIENCE)
            client.connect((path.target, PORT))
            server = stack.enter_context(_accepted(listener))
            for one, other in ((client, server), (server, client)):
                one.sendall(b"?")
                if other.recv(1) != b"?":
                    raise RuntimeError("a connection ended early")
        yield


def _socket(place: Namespace) -> socket.socket:
    with place.entered():
        return socket.socket()


def _accepted(listener: socket.socket) -> socket.socket:
    listener.settimeout(PATIENCE)
    server, _ = listener.accept()
    server.settimeout(PATIENCE)
    return server
