"""The devices that the datapath needs in the host's namespace, made once, found again by name.

onehop0   one end of a veth pair: what is sent out of it enters the pipeline (see `slowpath.inject`)
onehop-v  a VXLAN device that carries nothing. It holds the tunnels' UDP port, so that network cards do
          their offloads for them; `silence` drops what would come out of it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pyroute2 import IPRoute

from onehop.linux.links import Links, NetlinkError

__all__ = ["INJECT", "INJECT_PEER", "VXLAN", "inject_device", "silence_ipv6", "vxlan_device"]

INJECT, INJECT_PEER, VXLAN = "onehop0", "onehop1", "onehop-v"
_MTU = 65535
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


def silence_ipv6(name: str) -> None:
    """Keep this host's own IPv6 off an interface: machines behind it must not hear of the host."""
    with contextlib.suppress(OSError):  # no IPv6 in this kernel, or the interface has just gone
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
