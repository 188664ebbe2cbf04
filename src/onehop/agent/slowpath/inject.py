"""Sends frames into the pipeline as if a port had: out of the injection device, marked with the port's key.

The program at its egress takes the mark for the port and runs what runs at every port. A frame that it does
not take is dropped there; nothing sent here reaches the host's own stack.
"""

from __future__ import annotations

import socket

from onehop.agent.slowpath.frames import completed

__all__ = ["Injector"]

_SO_MARK = 36
MAX_FRAME = 65535


class Injector:
    def __init__(self, device: str) -> None:
        """A socket that only sends: protocol 0 receives nothing."""
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        self._socket.bind((device, 0))
        self.lost = 0

    def send(self, port: int, frame: bytes) -> None:
        """Send as the port with this key. Like any frame it may get lost."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, port)
            self._socket.send(completed(frame))
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._socket.close()
