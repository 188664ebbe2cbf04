"""Stage ICMP_ERRORS: telling the sender why a packet did not get through.

An error goes straight back to the port that sent the packet; return routes are not consulted. It comes from
the address of the router port by which the packet entered the router; on a switch, which has no address,
from the packet's own destination. It quotes the packet as it was sent: up to 548 bytes of IPv4, up to 1232
of IPv6. TTL 64.

None is sent about an ICMP error, a fragment that is not the first, anything to or from an address that is not
one machine's, or a frame to several machines (RFC 1812 4.3.2.7, RFC 4443 2.4); and each port has a budget.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from onehop.model import Router
from onehop.model.vocabulary import Stage
from onehop.simulation.addresses import addresses_of, is_unicast, link_local
from onehop.simulation.context import Walk
from onehop.simulation.flow import flow_of
from onehop.simulation.packet import Frame, Icmp, Ip, IpPacket, Ipv4, Ipv6, build_ip, is_multicast_mac
from onehop.simulation.state import Budget

QUOTED4, QUOTED6 = 548, 1232


class Error(Enum):
    """What is told: type and code in IPv4, then in IPv6."""

    TTL_EXPIRED = ((11, 0), (3, 0))
    NO_ROUTE = ((3, 0), (1, 0))
    REJECTED = ((3, 13), (1, 1))  # communication administratively prohibited
    NO_SUCH_PORT = ((3, 3), (1, 4))
    TOO_BIG = ((3, 4), (2, 0))
    NO_NEIGHBOUR = ((3, 1), (1, 3))  # the next hop has never answered


def tell(walk: Walk, error: Error, mtu: int = 0, source: Ip | None = None) -> None:
    """Answer with an ICMP error, where one may be sent; from `source`, if the walk does not say."""
    if walk.refused or walk.probe or walk.is_copy or not _may_tell(walk):
        return
    original = walk.original.payload
    assert isinstance(original, Ipv4 | Ipv6)
    source = source or _source(walk, original)
    here = walk.device.id if walk.visits else walk.origin
    if source is None:
        return
    if not walk.state.may(walk.origin, Budget.ICMP_ERROR):
        walk.step(Stage.ICMP_ERRORS, here, "no ICMP error: the port has had its share")
        return
    walk.spend(Budget.ICMP_ERROR)
    walk.step(Stage.ICMP_ERRORS, here, f"answered with an ICMP error from {source}: {error.name}")
    walk.answer(error_frame(walk.original, source, error, mtu))


def error_frame(original: Frame, source: Ip, error: Error, mtu: int = 0) -> Frame:
    """The error about a frame, for the machine that sent it."""
    ip = original.payload
    assert isinstance(ip, Ipv4 | Ipv6)
    reply: IpPacket
    if isinstance(ip, Ipv4) and isinstance(source, IPv4Address):
        type, code = error.value[0]
        icmp = Icmp(type, code, mtu.to_bytes(4, "big"), build_ip(ip)[:QUOTED4])
        reply = Ipv4(source, ip.src, icmp)
    else:
        assert isinstance(ip, Ipv6) and isinstance(source, IPv6Address)
        type, code = error.value[1]
        icmp = Icmp(type, code, mtu.to_bytes(4, "big"), build_ip(ip)[:QUOTED6])
        reply = Ipv6(source, ip.src, icmp)
    return Frame(dst=original.src, src=original.dst, payload=reply)


def _may_tell(walk: Walk) -> bool:
    frame, flow = walk.original, flow_of(walk.original, walk.first)
    if flow.src is None or flow.dst is None or is_multicast_mac(frame.dst):
        return False
    if flow.is_icmp_error or flow.is_discovery or flow.fragment == "later":
        return False
    return is_unicast(flow.src) and is_unicast(flow.dst)


def _source(walk: Walk, original: IpPacket) -> Ip | None:
    if not isinstance(walk.device, Router):
        return original.dst
    version = original.dst.version
    own = [ip for ip in addresses_of(walk.in_port) if ip.version == version]
    if own:
        return own[0]
    return link_local(walk.in_port.mac) if version == 6 else None
