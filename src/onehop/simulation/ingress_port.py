"""Stage INGRESS_PORT: what a port lets in at all, before anybody asks where the packet goes.

In this order:

1. **Switched on.** A port that is off takes nothing.
2. **Addresses that can be on a packet.** The source MAC is one machine's. Source addresses are unicast; the
   unspecified address asks for DHCP, or speaks to neighbours. Nothing is sent to loopback, to no address, or
   to an IPv4 address written as IPv6. An IPv4 header's checksum is right; those of the transport are the
   receiver's business.
3. **Spoofing**, at a machine's port with port security: the source MAC is the port's or an allowed pair's,
   and the source address goes with that MAC. So do the addresses that ARP and neighbour messages claim. A
   machine may use the link-local address made from its MAC. It may not answer DHCP, advertise routes, or
   redirect its neighbours. The same goes for frames that are not IP, as to their MAC.
4. **Fragments** get the ports of their first (see `fragments`).
5. **Services**: DHCP and router solicitations go to the slow path, where a subnet of the network has them.
6. **Size**: an IP packet larger than the network's MTU is answered with an ICMP error. Onehop fragments
   nothing, whether or not the packet forbids it.
"""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model import Network, Port
from onehop.model.formats import Prefix, parse_cidr
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.addresses import (
    ALL_DHCP,
    LIMITED_BROADCAST,
    addresses_of,
    is_unicast,
    link_local,
)
from onehop.simulation.context import Walk
from onehop.simulation.flow import Flow
from onehop.simulation.icmp_errors import Error, tell
from onehop.simulation.neighbours import (
    ADVERTISEMENT,
    NO_MAC,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    SOLICITATION,
    discovery_of,
)
from onehop.simulation.packet import (
    UDP,
    Arp,
    Ip,
    Ipv4,
    Ipv6,
    build_ip,
    header_checksum_is_right,
    is_multicast_mac,
)
from onehop.simulation.verdict import Ask


def is_up(walk: Walk) -> None:
    """The port that sent the packet, or the far end of a link that it came over."""
    port = walk.in_port
    if not port.admin_up:
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.PORT_DOWN, "the port is switched off")
    walk.step(Stage.INGRESS_PORT, port.id, f"enters by port {port.name}")


# --- addresses that can be on a packet --------------------------------------------------------------------


def makes_sense(walk: Walk) -> None:
    port, frame, ip = walk.in_port, walk.frame, walk.frame.payload
    if is_multicast_mac(frame.src) or frame.src == NO_MAC:
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.BAD_ADDRESS, f"{frame.src} is no machine's MAC")
    if isinstance(ip, Ipv4) and not header_checksum_is_right(build_ip(ip)[: 20 + len(ip.options)]):
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.BAD_CHECKSUM, "the IPv4 header's checksum is wrong")
    if isinstance(ip, Arp) and not ip.sender_ip.is_unspecified and not is_unicast(ip.sender_ip):
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.BAD_ADDRESS, f"ARP from {ip.sender_ip}")
    flow = walk.flow
    if flow.src is None or flow.dst is None:
        return
    if not is_unicast(flow.src) and not (flow.src.is_unspecified and _may_have_no_address(flow)):
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.BAD_ADDRESS, f"{flow.src} cannot be a source")
    if not is_unicast(flow.dst) and not flow.dst.is_multicast and flow.dst != LIMITED_BROADCAST:
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.BAD_ADDRESS, f"{flow.dst} cannot be a destination")


def _may_have_no_address(flow: Flow) -> bool:
    return flow.is_discovery or _is_dhcp_question(flow)


def _is_dhcp_question(flow: Flow) -> bool:
    ports = (flow.src_port, flow.dst_port) == (68, 67)
    return flow.version == 4 and flow.protocol == UDP and ports and flow.dst == LIMITED_BROADCAST


# --- spoofing ---------------------------------------------------------------------------------------------


def is_honest(walk: Walk) -> None:
    port, frame = walk.in_port, walk.frame
    if port.kind != "vm" or not port.port_security:
        return
    if all(frame.src != mac for mac, _ in _allowed(port)):
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.SPOOFED_MAC, f"the port may not send from {frame.src}")
    ip = frame.payload
    if isinstance(ip, Arp):
        _check_arp(walk, ip)
    elif isinstance(ip, Ipv4 | Ipv6):
        if not ip.src.is_unspecified and not _may_claim(walk, ip.src):
            walk.drop(Stage.INGRESS_PORT, port.id, Drop.SPOOFED_IP, f"the port may not send from {ip.src}")
        if isinstance(ip, Ipv6) and walk.flow.is_discovery:
            _check_discovery(walk, ip)
        if _is_server(walk.flow):
            walk.drop(Stage.INGRESS_PORT, port.id, Drop.DHCP_SERVER, "machines may not answer DHCP")


def _allowed(port: Port) -> Iterator[tuple[str, Prefix | Ip | None]]:
    """Each MAC that a port may send from, with an address or prefix that goes with it."""
    yield port.mac, None
    for ip in addresses_of(port):
        yield port.mac, ip
    for pair in port.allowed_address_pairs:
        yield pair.mac or port.mac, parse_cidr(pair.cidr)


def _may_claim(walk: Walk, ip: Ip) -> bool:
    """Whether an address goes with the frame's source MAC."""
    mac = walk.frame.src
    if ip == link_local(mac):
        return True
    for allowed_mac, what in _allowed(walk.in_port):
        if allowed_mac != mac or what is None or what.version != ip.version:
            continue
        if what == ip or (not isinstance(what, type(ip)) and ip in what):  # type: ignore[operator]
            return True
    return False


def _check_arp(walk: Walk, arp: Arp) -> None:
    probe = arp.operation == 1 and arp.sender_ip.is_unspecified
    if arp.sender_mac != walk.frame.src or not (probe or _may_claim(walk, arp.sender_ip)):
        text = f"the port may not say that {arp.sender_ip} is at {arp.sender_mac}"
        walk.drop(Stage.INGRESS_PORT, walk.in_port.id, Drop.SPOOFED_ARP, text)


def _check_discovery(walk: Walk, ip: Ipv6) -> None:
    port, icmp = walk.in_port, walk.flow.icmp
    assert icmp is not None
    if ip.fragment is not None:
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.MALFORMED, "a fragmented neighbour message (RFC 6980)")
    if icmp[0] in (ROUTER_ADVERTISEMENT, REDIRECT):
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.DHCP_SERVER, "machines may not advertise routes")
    if icmp[0] not in (SOLICITATION, ADVERTISEMENT):
        return
    message = discovery_of(ip)
    if message is None:
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.MALFORMED, "not a proper neighbour message")
    macs = {message.source_mac, message.target_mac} - {None, walk.frame.src}
    claims_other = message.type == ADVERTISEMENT and not _may_claim(walk, message.target)
    if macs or claims_other:
        text = f"the port may not say where {message.target} is"
        walk.drop(Stage.INGRESS_PORT, port.id, Drop.SPOOFED_ARP, text)


def _is_server(flow: Flow) -> bool:
    if flow.protocol != UDP or flow.version == 0:
        return False
    return flow.src_port == (67 if flow.version == 4 else 547) and flow.dst_port in (67, 68, 546, 547)


# --- services and size ------------------------------------------------------------------------------------


def wants_service(walk: Walk) -> None:
    port, flow = walk.in_port, walk.flow
    if port.kind != "vm" or not isinstance(walk.device, Network) or walk.probe:
        return
    subnets = walk.view.subnets(walk.network.id)
    v4 = any(s.dhcp and parse_cidr(s.cidr).version == 4 for s in subnets)
    modes = {s.ipv6_mode for s in subnets if parse_cidr(s.cidr).version == 6}
    if _is_dhcp_question(flow) and v4:
        walk.step(Stage.INGRESS_PORT, port.id, "asks for DHCP: the slow path answers")
        walk.request(Ask.DHCP, port.id)
    asks6 = flow.protocol == UDP and (flow.src_port, flow.dst_port, flow.dst) == (546, 547, ALL_DHCP)
    if asks6 and "dhcpv6" in modes:
        walk.step(Stage.INGRESS_PORT, port.id, "asks for DHCPv6: the slow path answers")
        walk.request(Ask.DHCP, port.id)
    if flow.is_discovery and flow.icmp == (ROUTER_SOLICITATION, 0) and modes - {"none"}:
        walk.step(Stage.INGRESS_PORT, port.id, "asks for routers: the slow path answers")
        walk.request(Ask.ROUTER_ADVERTISEMENT, port.id)


def fits(walk: Walk) -> None:
    if not isinstance(walk.device, Network) or walk.flow.version == 0:
        return
    size, mtu = len(build_ip(walk.ip)), walk.network.mtu
    if size > mtu:
        tell(walk, Error.TOO_BIG, mtu)
        text = f"{size} bytes, and the network takes {mtu}"
        walk.drop(Stage.INGRESS_PORT, walk.in_port.id, Drop.TOO_BIG, text)
