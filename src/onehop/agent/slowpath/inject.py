"""Sends frames into the pipeline as if a port had, or another host: out of the injection device, with a mark.

The program at its egress goes by the mark and runs what runs at every port, or for what comes from the
underlay. A frame that it does not take is dropped there; nothing sent here reaches the host's own stack.
"""

from __future__ import annotations

import socket
import sys

from onehop.agent.slowpath.frames import completed
from onehop.datapath.injection import Mark, from_port
from onehop.model.vocabulary import Drop

__all__ = ["Injector"]

_SO_MARK, _SO_PRIORITY = 36, 12
MAX_FRAME = 65535


class Injector:
    def __init__(self, device: str) -> None:
        """A socket that only sends: protocol 0 receives nothing."""
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        self._socket.bind((device, 0))
        self.lost = 0

    def send(self, port: int, frame: bytes, asker: int = 0) -> None:
        """Send as the port with this key; as a router's port in the name of a machine's port."""
        self.inject(from_port(port, asker), frame)

    def give_up(self, port: int, frame: bytes, why: Drop) -> None:
        """Have the programs end a packet that has waited in vain."""
        self.inject(from_port(port, gives_up=why), frame)

    def inject(self, mark: Mark, frame: bytes) -> None:
        """Like any frame it may get lost."""
        try:
            for option, value in ((_SO_MARK, mark.mark), (_SO_PRIORITY, mark.priority)):
                self._socket.setsockopt(socket.SOL_SOCKET, option, value.to_bytes(4, sys.byteorder))
            self._socket.send(completed(frame))
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._socket.close()
