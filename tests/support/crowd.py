"""Many live TCP connections, both ends of each held by one thread, which keeps data going over them.

    with Crowd() as crowd:
        crowd.open("masquerade", machine, outside, ("198.51.100.10", 5000), 250, speakers="both")
        crowd.start()
        ...                     # something breaks
        crowd.wait_for_rounds(2)

In each round every end that speaks says a few bytes, and the round ends when all of it has arrived. So a
round that ends shows that every connection lives, and one that does not names those that hang.
"""

from __future__ import annotations

import collections
import contextlib
import resource
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal, Self

from onehop.linux.namespaces import Namespace
from tests.support.real_traffic import Listening, family

Speakers = Literal["client", "server", "both"]
SAID = b"a few words "
PACE = 0.25  # seconds from one round to the next, at least
AT_ONCE = 64  # connections that are being opened
PATIENCE = 40.0


@dataclass(eq=False)
class End:
    """One end of a connection."""

    name: str
    socket: socket.socket
    speaks: bool
    other: End | None = None
    heard: int = 0
    expected: int = 0
    ended: str = ""


@dataclass
class Crowd:
    ends: list[End] = field(default_factory=list)
    rounds: int = 0

    def __post_init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
        self._poll = selectors.EpollSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="crowd")

    # --- opening ------------------------------------------------------------------------------------

    def open(
        self,
        name: str,
        source: Namespace,
        target: Namespace,
        address: Listening,
        count: int,
        *,
        speakers: Speakers,
        at: Listening | None = None,
    ) -> None:
        """So many connections, some at a time. `at` is where the server listens, if not at the address."""
        with _socket(target, address[0]) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(at or address)
            listener.listen(AT_ONCE)
            for first in range(0, count, AT_ONCE):
                wanted = min(AT_ONCE, count - first)
                clients = [_socket(source, address[0]) for _ in range(wanted)]
                for client in clients:
                    client.connect_ex(address)
                self._pair(name, clients, _accept(listener, wanted, name), speakers)

    def _pair(
        self, name: str, clients: list[socket.socket], servers: list[socket.socket], speakers: Speakers
    ) -> None:
        """Ends of the same connection find each other by a number that the client says."""
        for number, client in enumerate(clients):
            assert not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), name
            client.setblocking(True)
            client.sendall(bytes([number]))
        for server in servers:
            server.settimeout(PATIENCE)
            client = clients[server.recv(1)[0]]
            near = End(f"{name}, its client", client, speakers != "server")
            far = End(f"{name}, its server", server, speakers != "client")
            near.other, far.other = far, near
            for end in (near, far):
                end.socket.setblocking(False)
                self._poll.register(end.socket, selectors.EVENT_READ, end)
            self.ends += [near, far]

    # --- talking ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def _talk(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            for end in self.ends:
                if end.speaks and not end.ended:
                    self._say(end)
            waiting = {end for end in self.ends if end.heard < end.expected}
            while waiting and not self._stop.is_set():
                waiting -= self._listen()
            self.rounds += 1
            self._stop.wait(began + PACE - time.monotonic())

    def _say(self, end: End) -> None:
        assert end.other is not None
        try:
            end.socket.sendall(SAID)
            end.other.expected += len(SAID)
        except OSError as error:
            self._end(end, str(error))

    def _listen(self) -> set[End]:
        """Those that need not be waited for any more."""
        done = set()
        for key, _ in self._poll.select(0.2):
            end: End = key.data
            try:
                said = end.socket.recv(4096)
            except OSError as error:
                self._end(end, str(error))
                done.add(end)
                continue
            if not said:
                self._end(end, "was closed")
            end.heard += len(said)
            if end.ended or end.heard >= end.expected:
                done.add(end)
        return done

    def _end(self, end: End, why: str) -> None:
        end.ended = why
        with contextlib.suppress(KeyError):
            self._poll.unregister(end.socket)

    # --- what came of it ----------------------------------------------------------------------------

    def wait_for_rounds(self, count: int = 2, seconds: float = PATIENCE) -> None:
        """Return when so many rounds more have ended in full: the first of them may have begun before."""
        goal, deadline = self.rounds + count, time.monotonic() + seconds
        while self.rounds < goal and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.ended, f"connections ended: {self.ended}"
        assert self.rounds >= goal, f"connections hang: {self.hanging}"

    @property
    def ended(self) -> dict[tuple[str, str], int]:
        return dict(collections.Counter((end.name, end.ended) for end in self.ends if end.ended))

    @property
    def hanging(self) -> dict[str, int]:
        return dict(collections.Counter(end.name for end in self.ends if end.heard < end.expected))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for end in self.ends:
            end.socket.close()
        self._poll.close()


def _socket(place: Namespace, address: str) -> socket.socket:
    with place.entered():
        made = socket.socket(family(address))
    made.setblocking(False)
    return made


def _accept(listener: socket.socket, count: int, name: str) -> list[socket.socket]:
    listener.settimeout(PATIENCE)
    found: list[socket.socket] = []
    try:
        while len(found) < count:
            found.append(listener.accept()[0])
    except TimeoutError:
        raise AssertionError(f"of {count} connections of {name}, {len(found)} opened") from None
    return found
