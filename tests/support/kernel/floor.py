"""The ground that hosts stand on: a namespace with a tap for each port, one for the underlay, and the devices
through which copies are injected. What programs send out of a tap is read from its descriptor at once.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass

from onehop.linux import libc
from onehop.linux.links import Links
from onehop.linux.namespaces import Namespace

UNDERLAY = "u0"
HOSTS = range(1, 33)  # addresses of hosts on the underlay that are neighbours for good
LARGEST = 65521  # MTU of a tap
ROOM = 1 << 17


@dataclass(frozen=True, slots=True)
class Tap:
    fd: int
    ifindex: int

    def write(self, frame: bytes) -> None:
        os.write(self.fd, frame)


class Floor:
    """One for all hosts. Interfaces are made when they are first asked for, and stay."""

    def __init__(self) -> None:
        self.namespace = Namespace(f"differential-{os.getpid()}").create()
        self._here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._there = os.open(self.namespace.path, os.O_RDONLY | os.O_CLOEXEC)
        self._links = Links(self.namespace)
        self._taps: dict[str, Tap] = {}
        self._poll = select.epoll()
        self._by_fd: dict[int, Tap] = {}
        self.namespace.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # the kernel is to say nothing itself
        self.underlay = self.tap(UNDERLAY)
        self._lay_underlay()

    def _lay_underlay(self) -> None:
        self.namespace.sysctl(f"net/ipv6/conf/{UNDERLAY}/addr_gen_mode", 1)
        self.namespace.sysctl(f"net/ipv6/conf/{UNDERLAY}/disable_ipv6", 0)
        self._links.address(UNDERLAY, "192.0.2.254/24")
        self._links.address(UNDERLAY, "2001:db8::ffff/64")
        for number in HOSTS:
            mac = f"02:00:00:00:ff:{number:02x}"
            self._links.neighbour(UNDERLAY, f"192.0.2.{number}", mac)
            self._links.neighbour(UNDERLAY, f"2001:db8::{number:x}", mac)

    def tap(self, name: str) -> Tap:
        if name not in self._taps:
            fd = self._links.tap(name, mtu=LARGEST)
            tap = Tap(fd, self._links.index(name))
            self._taps[name] = self._by_fd[fd] = tap
            self._poll.register(fd, select.EPOLLIN)
        return self._taps[name]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace meanwhile; quicker than by its name."""
        libc.setns(self._there, libc.CLONE_NEWNET)
        try:
            yield
        finally:
            libc.setns(self._here, libc.CLONE_NEWNET)

    def read(self) -> dict[int, list[bytes]]:
        """What has come out since this was last asked, by interface."""
        found: dict[int, list[bytes]] = {}
        while ready := self._poll.poll(0):
            for fd, _ in ready:
                frame = os.read(fd, ROOM)
                if not _is_the_kernels_own(frame):
                    found.setdefault(self._by_fd[fd].ifindex, []).append(frame)
        return found

    def close(self) -> None:
        self._poll.close()
        self._links.close()
        for fd in (*self._by_fd, self._here, self._there):
            os.close(fd)
        self.namespace.delete()


def _is_the_kernels_own(frame: bytes) -> bool:
    """Multicast listener reports: what the namespace itself says on the underlay."""
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0 and frame[54:55] == b"\x3a"
