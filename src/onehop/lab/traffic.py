"""Real traffic between machines, to see what passes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from onehop.lab.spec import is_v6
from onehop.linux.namespaces import Namespace

PATIENCE = 1.5  # seconds after which a packet counts as dropped


def ping(source: Namespace, address: str, count: int = 2) -> bool:
    """Whether every echo request is answered."""
    argv = ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", str(PATIENCE), address]
    done = subprocess.run(source.command(*argv), capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def tcp(source: Namespace, target: Namespace, address: str, port: int) -> bool:
    """Whether a connection opens, and carries what is said in both directions."""
    with _echoing(target, address, port):
        with source.entered():
            client = socket.socket(_family(address))
        with client:
            client.settimeout(PATIENCE)
            try:
                client.connect((address, port))
                client.sendall(b"hello")
                return client.recv(16) == b"hello"
            except OSError:
                return False


@contextlib.contextmanager
def _echoing(machine: Namespace, address: str, port: int) -> Iterator[None]:
    """A server on a machine that says what it hears, once, to whoever comes by this family."""
    with machine.entered():
        server = socket.socket(_family(address))
    with server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", port))  # it may know itself by another address
        server.listen()
        thread = threading.Thread(target=_echo, args=(server,), daemon=True)
        thread.start()
        yield
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


def _echo(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            connection.sendall(connection.recv(16))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if is_v6(address) else socket.AF_INET
