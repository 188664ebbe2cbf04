"""The devices that the datapath needs in the host's namespace, made once, found again by name.

onehop0   one end of a veth pair: what is sent out of it enters the pipeline (see `slowpath.inject`)
onehop-v  a VXLAN device that carries nothing. It holds the tunnels' UDP port, so that network cards do
          their offloads for them; `silence` drops what would come out of it.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pyroute2 import IPRoute

from onehop.linux.links import Links, NetlinkError

__all__ = ["INJECT", "INJECT_PEER", "VXLAN", "Sort", "inject_device", "prepare", "vxlan_device"]

INJECT, INJECT_PEER, VXLAN = "onehop0", "onehop1", "onehop-v"
_MTU = 65535
_GET_FLAGS, _SET_FLAGS, _PROMISCUOUS = 0x8913, 0x8914, 0x100  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_PROMISC
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Vxlan:
    index: int
    port: int


def inject_device() -> int:
    """Its index."""
    with Links() as links:
        if not links.exists(INJECT):
            links.veth(INJECT, None, INJECT_PEER, mtu=_MTU)
        for name in (INJECT, INJECT_PEER):
            silence_ipv6(name)
            links.up(name)
        return links.index(INJECT)


def vxlan_device(port: int) -> int:
    """Its index. One for another UDP port is replaced."""
    netlink: Any = IPRoute()
    try:
        found = _vxlan(netlink)
        if found is not None and found.port != port:
            netlink.link("del", index=found.index)
            found = None
        if found is None:
            netlink.link(
                "add", ifname=VXLAN, kind="vxlan", vxlan_port=port, vxlan_collect_metadata=True,
                vxlan_learning=False,
            )  # fmt: skip
            found = _vxlan(netlink)
            assert found is not None
        silence_ipv6(VXLAN)
        netlink.link("set", index=found.index, state="up")
        return found.index
    finally:
        netlink.close()


def _vxlan(netlink: Any) -> _Vxlan | None:
    with contextlib.suppress(NetlinkError):
        for index in netlink.link_lookup(ifname=VXLAN):
            (link,) = netlink.get_links(index)
            data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
            return _Vxlan(index, int(data.get_attr("IFLA_VXLAN_PORT")))
    return None


class Sort(enum.Enum):
    """What is behind an interface that ports are plugged into."""

    MACHINE = "machine"
    UPLINK = "uplink"  # the outside; the interface is all its own
    SHARED_UPLINK = "shared uplink"  # the outside, by some VLANs; the rest is the host's


def prepare(name: str, sort: Sort) -> None:
    """Ready an interface for ports. On an uplink a router's port speaks with a MAC of its own, which network
    cards let in only if they let everything in."""
    if sort is not Sort.SHARED_UPLINK:
        silence_ipv6(name)
    if sort is not Sort.MACHINE:
        try:
            promiscuous(name)
        except OSError as error:
            log.warning("an uplink cannot be made promiscuous", interface=name, reason=str(error))


def promiscuous(name: str) -> None:
    """Let frames in for whichever MAC. It stays so: forwarding does not depend on the agent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        packed = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("16sH22x", name.encode(), 0))
        flags = struct.unpack_from("16sH", packed)[1] | _PROMISCUOUS
        fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sH22x", name.encode(), flags))


def silence_ipv6(name: str) -> None:
    """Keep this host's own IPv6 off an interface: machines behind it must not hear of the host."""
    with contextlib.suppress(OSError):  # no IPv6 in this kernel, or the interface has just gone
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
