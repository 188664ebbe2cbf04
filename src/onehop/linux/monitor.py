"""The links and addresses of a network namespace, kept up to date by the kernel's announcements.

    monitor = Monitor()                       # of the namespace that the calling thread is in
    loop.add_reader(monitor.fileno(), ...)    # then: monitor.read()

Plain netlink, since what is wanted is small and comes often: a message costs microseconds. When the kernel
could not hold all announcements, everything is listed again.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

__all__ = ["Link", "Monitor"]

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NAME, _LINK_INFO, _INFO_KIND, _PEER_NAMESPACE = 3, 18, 1, 37  # IFLA_...
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_REQUEST_DUMP = 0x1 | 0x300
_IFF_UP = 1
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    kind: str  # veth, tun, vxlan...; empty for a physical one
    up: bool
    peer_elsewhere: bool  # its peer is in another namespace


class Monitor:
    """`links` by index; `addresses` as (index, address)."""

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.addresses: set[tuple[int, str]] = set()
        self._socket = _open(_GROUPS)
        # Listings need this namespace too, whatever thread asks for them later.
        self._asking = _open(0)
        self._asking.setblocking(True)
        self._asking.settimeout(5)
        self.list()

    def fileno(self) -> int:
        return self._socket.fileno()

    def by_name(self) -> dict[str, Link]:
        return {link.name: link for link in self.links.values()}

    def read(self) -> bool:
        """Take in what has been announced; whether anything has changed."""
        links, addresses = dict(self.links), set(self.addresses)
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data = self._socket.recv(_BUFFER)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    self.list()
                    continue
                for kind, body in _messages(data):
                    self._take(kind, body)
        return links != self.links or addresses != self.addresses

    def list(self) -> None:
        """Ask for everything."""
        self.links, self.addresses = {}, set()
        for request, head in (
            (_GET_LINK, _LINK.pack(0, 0, 0, 0, 0)),
            (_GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0)),
        ):
            size = _HEADER.size + len(head)
            self._asking.send(_HEADER.pack(size, request, _REQUEST_DUMP, 1, 0) + head)
            while self._take_all(self._asking.recv(_BUFFER)):
                pass

    def close(self) -> None:
        self._socket.close()
        self._asking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_all(self, data: bytes) -> bool:
        """One part of a listing; whether there is more."""
        for kind, body in _messages(data):
            if kind == _DONE:
                return False
            if kind == _ERROR:
                (number,) = struct.unpack_from("=i", body)
                raise OSError(-number, f"list interfaces: {errno.errorcode.get(-number, number)}")
            self._take(kind, body)
        return True

    def _take(self, kind: int, body: bytes) -> None:
        if kind in (_NEW_LINK, _DELETE_LINK):
            family, _, index, flags, _ = _LINK.unpack_from(body)
            if family:  # about its place in a bridge
                return
            if kind == _DELETE_LINK:
                self.links.pop(index, None)
            else:
                self.links[index] = _link(index, flags, dict(_attributes(body[_LINK.size :])))
        elif kind in (_NEW_ADDRESS, _DELETE_ADDRESS):
            *_, index = _ADDRESS.unpack_from(body)
            found = dict(_attributes(body[_ADDRESS.size :]))
            raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
            if raw is not None:
                entry = (index, str(ipaddress.ip_address(raw)))
                (self.addresses.add if kind == _NEW_ADDRESS else self.addresses.discard)(entry)


def _open(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    opened.bind((0, groups))
    return opened


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _link(index: int, flags: int, found: dict[int, bytes]) -> Link:
    info = dict(_attributes(found.get(_LINK_INFO, b"")))
    return Link(
        index,
        _text(found.get(_NAME, b"")),
        _text(info.get(_INFO_KIND, b"")),
        bool(flags & _IFF_UP),
        _PEER_NAMESPACE in found,
    )


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
