"""Interfaces, addresses, routes and neighbours inside a namespace, by netlink.

    with Links(host) as links:
        links.veth("tap1", vm, "eth0", mac="02:00:00:00:01:02")
        links.address("tap1", "10.0.0.1/24")

Everything is gone with its namespace; only what is to go earlier needs `delete`.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import struct
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from onehop.linux.namespaces import Namespace

__all__ = ["Links", "NetlinkError"]

_NO_DAD = 0x02  # IFA_F_NODAD: a fresh IPv6 address would be unusable for a second otherwise
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class Links:
    """A netlink socket in a namespace, or where the calling thread is. It may be used from anywhere."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self.namespace = namespace
        with self._inside():
            self._netlink: Any = IPRoute()

    # --- interfaces ---

    def veth(
        self,
        name: str,
        peer_in: Namespace | None,
        peer: str,
        *,
        mtu: int = 1500,
        mac: str | None = None,
        peer_mac: str | None = None,
    ) -> None:
        """A pair of interfaces, both up: one here, its peer in another namespace (or here too)."""
        near = {"address": mac} if mac else {}
        far = {"ifname": peer, "mtu": mtu} | ({"address": peer_mac} if peer_mac else {})
        with contextlib.ExitStack() as open_files:
            if peer_in is not None:
                target = os.open(peer_in.path, os.O_RDONLY | os.O_CLOEXEC)
                open_files.callback(os.close, target)
                far["net_ns_fd"] = target
            self._netlink.link("add", ifname=name, kind="veth", mtu=mtu, peer=far, **near)
        self.up(name)
        if peer_in is None:
            self.up(peer)
        else:
            with Links(peer_in) as there:
                there.up(peer)

    def tap(self, name: str, *, mtu: int = 1500) -> int:
        """A tap, up; the descriptor through which frames go in and out. It goes when that is closed."""
        with self._inside():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
                self._netlink.link("set", index=self.index(name), mtu=mtu, state="up")
            except BaseException:
                os.close(fd)
                raise
        return fd

    def up(self, name: str) -> None:
        self._netlink.link("set", index=self.index(name), state="up")

    def down(self, name: str) -> None:
        self._netlink.link("set", index=self.index(name), state="down")

    def delete(self, name: str) -> None:
        """Remove an interface, and a veth's peer with it; nothing if it is gone."""
        with contextlib.suppress(LookupError):
            self._netlink.link("del", index=self.index(name))

    def exists(self, name: str) -> bool:
        return bool(self._netlink.link_lookup(ifname=name))

    def names(self) -> list[str]:
        """All interfaces, in the order of their indexes."""
        return [str(link.get("ifname")) for link in self._netlink.get_links()]

    def index(self, name: str) -> int:
        found = self._netlink.link_lookup(ifname=name)
        if not found:
            where = self.namespace.name if self.namespace else "this namespace"
            raise LookupError(f"there is no interface {name} in {where}")
        return int(found[0])

    def mac(self, name: str) -> str:
        (link,) = self._netlink.get_links(self.index(name))
        return str(link.get("address"))

    def statistics(self, name: str) -> dict[str, int]:
        """The interface's counters: rx_packets, tx_dropped and so on."""
        (link,) = self._netlink.get_links(self.index(name))
        return dict(link.get("stats64"))

    # --- addresses and routes ---

    def address(self, name: str, cidr: str) -> None:
        """Give an interface an address with its prefix length, `10.0.0.1/24` or `fd00::1/64`."""
        parsed = ipaddress.ip_interface(cidr)
        options = {"flags": _NO_DAD} if parsed.version == 6 else {}
        self._netlink.addr(
            "add",
            index=self.index(name),
            address=str(parsed.ip),
            prefixlen=parsed.network.prefixlen,
            **options,
        )

    def route(self, destination: str, *, via: str | None = None, interface: str | None = None) -> None:
        """A route to a prefix, through a gateway, an interface, or both."""
        parsed = ipaddress.ip_network(destination)
        hop: dict[str, Any] = {"gateway": via} if via else {}
        if interface:
            hop["oif"] = self.index(interface)
        family = 2 if parsed.version == 4 else 10
        self._netlink.route("add", dst=str(parsed), family=family, **hop)

    def neighbour(self, name: str, address: str, mac: str) -> None:
        """Say for good which MAC an address has."""
        self._netlink.neigh(
            "replace", ifindex=self.index(name), dst=address, lladdr=mac, state="permanent",
            family=2 if ipaddress.ip_address(address).version == 4 else 10,
        )  # fmt: skip

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _inside(self) -> contextlib.AbstractContextManager[None]:
        return self.namespace.entered() if self.namespace else contextlib.nullcontext()
