"""A packet as rules see it: the fields that security groups and ACLs match, and that name a connection."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onehop.simulation.packet import (
    ICMP,
    ICMP6,
    SCTP,
    TCP,
    UDP,
    Frame,
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Sctp,
    Tcp,
    TcpFlag,
    Udp,
)
from onehop.simulation.state import FirstFragment, Tuple

ECHO_REQUEST = {ICMP: 8, ICMP6: 128}
ECHO_REPLY = {ICMP: 0, ICMP6: 129}
ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMP6: (1, 2, 3, 4)}
LISTENING = (130, 131, 132, 143)  # multicast listener discovery
DISCOVERY = (133, 134, 135, 136, 137)  # router and neighbour discovery


@dataclass(frozen=True, slots=True)
class Flow:
    """`src`, `dst` and what follows them mean something only where `version` is 4 or 6."""

    src_mac: str
    dst_mac: str
    ethertype: int
    vlan: int = 0
    version: int = 0  # 0: not IP
    protocol: int = 0
    src: Ip | None = None
    dst: Ip | None = None
    src_port: int = 0  # of an echo: its id, in both
    dst_port: int = 0
    icmp: tuple[int, int] | None = None  # type and code
    flags: TcpFlag | None = None  # of TCP; None for later fragments, too
    dscp: int = 0
    fragment: str | None = None  # "first" or "later"

    @property
    def has_ports(self) -> bool:
        return self.version != 0 and self.protocol in (TCP, UDP, SCTP)

    @property
    def is_icmp(self) -> bool:
        return self.protocol == {4: ICMP, 6: ICMP6}.get(self.version)

    @property
    def is_echo_request(self) -> bool:
        return self.is_icmp and self.icmp == (ECHO_REQUEST[self.protocol], 0)

    @property
    def is_echo_reply(self) -> bool:
        return self.is_icmp and self.icmp == (ECHO_REPLY[self.protocol], 0)

    @property
    def is_icmp_error(self) -> bool:
        return self.is_icmp and self.icmp is not None and self.icmp[0] in ERRORS[self.protocol]

    @property
    def is_discovery(self) -> bool:
        """Messages between neighbours, which no group or record is about."""
        return self.version == 6 and self.icmp is not None and self.icmp[0] in (*DISCOVERY, *LISTENING)

    @property
    def tuple(self) -> Tuple | None:
        """What its connection is known by; None for what belongs to none."""
        if (
            self.src is None
            or self.dst is None
            or self.dst.is_multicast
            or str(self.dst) == "255.255.255.255"
        ):
            return None
        if self.is_icmp and not (self.is_echo_request or self.is_echo_reply):
            return None
        return Tuple(self.protocol, self.src, self.dst, self.src_port, self.dst_port)

    def reply(self) -> Flow:
        """The reply that one expects: everything turned around, with the same DSCP, and no fragment."""
        icmp = (ECHO_REPLY[self.protocol], 0) if self.is_echo_request else self.icmp
        return replace(
            self,
            src_mac=self.dst_mac,
            dst_mac=self.src_mac,
            src=self.dst,
            dst=self.src,
            src_port=self.dst_port,
            dst_port=self.src_port,
            icmp=icmp,
            fragment=None,
        )


def flow_of(frame: Frame, first: FirstFragment | None = None) -> Flow:
    """The flow of a frame. A later fragment takes what it does not say itself from its first."""
    vlan = frame.vlans[0].id if frame.vlans else 0
    ip = frame.payload
    if not isinstance(ip, Ipv4 | Ipv6):
        return Flow(frame.src, frame.dst, frame.ethertype, vlan)
    src_port, dst_port, icmp = _ends(ip) if first is None else (first.src_port, first.dst_port, first.icmp)
    fragment = ip.fragment
    return Flow(
        src_mac=frame.src,
        dst_mac=frame.dst,
        ethertype=frame.ethertype,
        vlan=vlan,
        version=ip.src.version,
        protocol=ip.protocol,
        src=ip.src,
        dst=ip.dst,
        src_port=src_port,
        dst_port=dst_port,
        icmp=icmp,
        flags=ip.payload.flags if isinstance(ip.payload, Tcp) else None,
        dscp=ip.dscp,
        fragment=None if fragment is None else "later" if fragment.offset else "first",
    )


def _ends(ip: IpPacket) -> tuple[int, int, tuple[int, int] | None]:
    """The ports, or the id of an echo in place of both; and ICMP's type and code."""
    match ip.payload:
        case Tcp(src, dst) | Udp(src, dst) | Sctp(src, dst):
            return src, dst, None
        case Icmp(type, code) as icmp:
            echo = code == 0 and type in (ECHO_REQUEST[ip.protocol], ECHO_REPLY[ip.protocol])
            return (icmp.id, icmp.id, (type, code)) if echo else (0, 0, (type, code))
        case _:
            return 0, 0, None
