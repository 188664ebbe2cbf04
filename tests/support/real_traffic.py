"""Real sockets in real network stacks: machines that ping, connect, ask and trace.

A socket stays in the namespace that it was made in, so one thread holds both ends of every connection here.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Self

from onehop.linux.namespaces import Namespace

PATIENCE = 10.0  # seconds for what is expected to happen
SILENCE = 0.7  # seconds for what is not
Listening = tuple[str, int]  # address and port that a server is bound to
Server = tuple[Namespace, Listening]
_RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_HOPS = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def socket_in(place: Namespace, address: str, kind: socket.SocketKind) -> socket.socket:
    with place.entered():
        made = socket.socket(family(address), kind)
    made.setblocking(False)
    return made


def _ready(
    seconds: float, *, reading: Sequence[socket.socket] = (), writing: Sequence[socket.socket] = ()
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Which sockets can be read, and written; by poll: select knows the first 1,024 descriptors alone."""
    poll = select.poll()
    events: dict[int, int] = {}
    for ends, event in ((reading, select.POLLIN), (writing, select.POLLOUT)):
        for end in ends:
            events[end.fileno()] = events.get(end.fileno(), 0) | event
    for descriptor, wanted in events.items():
        poll.register(descriptor, wanted)
    told = dict(poll.poll(max(0.0, seconds) * 1000))
    broken = select.POLLERR | select.POLLHUP
    return (
        [end for end in reading if told.get(end.fileno(), 0) & (select.POLLIN | broken)],
        [end for end in writing if told.get(end.fileno(), 0) & (select.POLLOUT | broken)],
    )


def ping(place: Namespace, address: str, *options: str, seconds: float = 2.0) -> bool:
    """Whether a question is answered, at the first or second try."""
    argv = ["ping", "-n", "-c", "1", "-W", str(seconds), *options, address]
    return any(subprocess.run(place.command(*argv), capture_output=True).returncode == 0 for _ in "ab")


def unanswered(place: Namespace, address: str) -> bool:
    """Whether nobody answers a ping."""
    argv = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", str(SILENCE), address]
    return subprocess.run(place.command(*argv), capture_output=True).returncode == 1


def udp(
    source: Namespace,
    target: Namespace,
    address: str,
    port: int,
    seconds: float = PATIENCE,
    *,
    at: Listening | None = None,
) -> bool:
    """Whether a question arrives and its answer comes back. It is asked again now and then."""
    return udp_to(source, (address, port), [(target, at or (address, port))], seconds)


def udp_to(
    source: Namespace, target: Listening, servers: Sequence[Server], seconds: float = PATIENCE
) -> bool:
    """The same, whichever of the servers it is that hears the question."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket_in(source, target[0], socket.SOCK_DGRAM))
        listening = []
        for place, at in servers:
            listening.append(stack.enter_context(socket_in(place, at[0], socket.SOCK_DGRAM)))
            listening[-1].bind(at)
        client.connect(target)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(OSError):  # told of an error by ICMP
                client.send(b"?")
            for server in _ready(min(left, 0.3), reading=listening)[0]:
                _, sender = server.recvfrom(16)
                server.sendto(b"!", sender)
                if _ready(1.0, reading=[client])[0]:
                    return client.recv(16) == b"!"
    return False


class Pair:
    """A TCP connection, both ends of it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server

    def talk(self) -> bool:
        """Whether what each end says reaches the other."""
        return self.carries(self.client, self.server, b"?") and self.carries(self.server, self.client, b"!")

    def carries(
        self, one: socket.socket, other: socket.socket, data: bytes, patience: float = PATIENCE
    ) -> bool:
        """Whether data arrive as they were, while both ends are served."""
        sent, got = 0, bytearray()
        deadline = time.monotonic() + patience
        while len(got) < len(data) and time.monotonic() < deadline:
            writing = [one] if sent < len(data) else []
            readable, writable = _ready(0.2, reading=[other], writing=writing)
            if writable:
                sent += one.send(data[sent : sent + (1 << 20)])
            if readable:
                piece = other.recv(1 << 20)
                if not piece:
                    return False
                got += piece
        return bytes(got) == data

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    source: Namespace,
    target: Namespace,
    address: str,
    port: int,
    source_port: int = 0,
    seconds: float = PATIENCE,
    *,
    at: Listening | None = None,
) -> Pair | None:
    """A TCP connection from a machine to a server that listens on another; None if it does not open.

    `at` tells where the server listens, if it knows itself by another address or port.
    """
    return connect_to(source, (address, port), [(target, at or (address, port))], source_port, seconds)


def connect_to(
    source: Namespace,
    target: Listening,
    servers: Sequence[Server],
    source_port: int = 0,
    seconds: float = PATIENCE,
) -> Pair | None:
    """The same, whichever of the servers it is that is reached."""
    with contextlib.ExitStack() as stack:
        listeners = []
        for place, at in servers:
            listener = stack.enter_context(socket_in(place, at[0], socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(at)
            listener.listen()
            listeners.append(listener)
        client = socket_in(source, target[0], socket.SOCK_STREAM)
        if source_port:
            client.bind(("", source_port))
        client.connect_ex(target)
        # Ready to write: open, or refused.
        _, writable = _ready(seconds, writing=[client])
        reached = _ready(seconds, reading=listeners)[0] if writable else []
        if not reached or client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            client.close()
            return None
        server, _ = reached[0].accept()
        server.setblocking(False)
        return Pair(client, server)


def tcp(
    source: Namespace,
    target: Namespace,
    address: str,
    port: int,
    seconds: float = PATIENCE,
    *,
    at: Listening | None = None,
) -> bool:
    """Whether a connection opens and carries data in both directions."""
    pair = connect(source, target, address, port, seconds=seconds, at=at)
    if pair is None:
        return False
    with pair:
        return pair.talk()


def hops(source: Namespace, address: str, most: int = 8) -> list[str]:
    """Who answers probes with growing time to live, up to the target, as traceroute finds out."""
    return list(_hops(source, address, most))


def _hops(source: Namespace, address: str, most: int) -> Iterator[str]:
    for ttl in range(1, most + 1):
        hop = _probe(source, address, ttl) or _probe(source, address, ttl) or "*"
        yield hop
        if hop == address:
            return


def _probe(source: Namespace, address: str, ttl: int) -> str | None:
    """Who tells of an error about one datagram to an unused port."""
    kind = family(address)
    with socket_in(source, address, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(*_RECVERR[kind], 1)
        probe.setsockopt(*_HOPS[kind], ttl)
        probe.connect((address, 33434 + ttl))
        probe.send(b"probe")
        poll = select.poll()
        poll.register(probe, select.POLLERR)
        if not poll.poll(1000):
            return None
        try:
            _, parts, _, _ = probe.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        except OSError as error:
            assert error.errno == errno.EAGAIN
            return None
        return _offender(parts[0][2])


def _offender(data: bytes) -> str:
    """The address that stands behind a sock_extended_err."""
    (found,) = struct.unpack_from("=H", data, 16)
    if found == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, data[20:24])
    return socket.inet_ntop(socket.AF_INET6, data[24:40])
