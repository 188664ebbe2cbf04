"""Sends frames out of this host's uplinks: questions to neighbours outside, and what waited for answers.

A packet that waits is of one of two sorts. What a port of this host sent lies as it was sent, and goes
through the pipeline once more. What came from another host has been through it there, and lacks but the MAC.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

from onehop.agent.slowpath.frames import completed, tagged
from onehop.datapath.structs import Port
from onehop.datapath.tables import THIS_HOST
from onehop.datapath.words import PortFlag

__all__ = ["Uplinks"]


class Ports(Protocol):
    """The table."""

    def lookup(self, key: int) -> Port | None: ...


class Uplinks:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        self.lost = 0

    def is_one(self, key: int) -> bool:
        """Whether a key is that of an uplink, of whichever host."""
        port = self._ports.lookup(key)
        return port is not None and bool(port.flags & PortFlag.UPLINK)

    def is_here(self, key: int) -> bool:
        """Whether a port is bound to this host."""
        port = self._ports.lookup(key)
        return port is not None and port.host == THIS_HOST

    def send(self, key: int, frame: bytes) -> None:
        """Send as an uplink. Like any frame it may get lost."""
        port = self._ports.lookup(key)
        if port is None or not port.ifindex or not port.flags & PortFlag.UP:
            return
        with contextlib.suppress(OSError):
            name = socket.if_indextoname(port.ifindex)
            whole = completed(frame)
            self._socket.sendto(tagged(whole, port.vlan) if port.vlan else whole, (name, 0))
            return
        self.lost += 1

    def close(self) -> None:
        self._socket.close()
