"""What can pass between two ports.

The answer is found by trying. Rules cut the space of packets at known places: the ends of their port ranges,
the protocols and ICMP types that they name. Within a piece no rule tells two packets apart, so one packet of
each piece is walked, as if nothing had been sent before, and its reply after it: a passage is what works both
ways. The target is tried by its own address, and by the floating IPs that stand for it. Not tried: source
ports (49152 stands for all), DSCP, fragments, and state that packets have left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from onehop.model import (
    Acl,
    FloatingIp,
    Port,
    SecurityGroupRule,
)
from onehop.model.formats import PROTOCOLS, parse_ip, parse_ports, parse_protocol
from onehop.model.view import View
from onehop.model.vocabulary import Drop
from onehop.simulation.addresses import addresses_of
from onehop.simulation.flow import ECHO_REPLY, ECHO_REQUEST
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
    Raw,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    build,
    parse,
)
from onehop.simulation.packet_text import mac_for
from onehop.simulation.state import State
from onehop.simulation.walk import walk

SOURCE_PORT = 49152
OTHER = -1  # a protocol that no rule names
MAX_PIECES = 1024  # of ports, for one protocol
_NAMES = {number: name for name, number in PROTOCOLS.items()}


@dataclass(frozen=True, slots=True, order=True)
class Passage:
    """What gets through, replies included. `first` and `last` are ports, or an ICMP type, or None."""

    family: str
    protocol: int
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.first is None:
            return f"{self.family} {name if self.protocol != OTHER else 'any other protocol'}"
        if self.protocol in (ICMP, ICMP6):
            return f"{self.family} {name} type {self.first}"
        if (self.first, self.last) == (0, 65535):
            return f"{self.family} {name} all ports"
        return f"{self.family} {name} {self.first}" + (f"-{self.last}" if self.last != self.first else "")


@dataclass(frozen=True, slots=True)
class Reach:
    """What can pass from one port to another, and what kept the rest from it: reason, and the object's id."""

    passages: tuple[Passage, ...]
    refusals: frozenset[tuple[Drop, str]]


def reach(view: View, source: str, target: str) -> Reach:
    """What the machine at one port can open to the machine at another."""
    a, b = view.get(Port, source), view.get(Port, target)
    if a is None or b is None:
        return Reach((), frozenset())
    return try_all(view, a, b, Cuts(view))


# --- the pieces -------------------------------------------------------------------------------------------


class Cuts:
    """Where rules cut the space of packets."""

    def __init__(self, view: View) -> None:
        ports, protocols, types = {0, 65536}, {TCP, UDP, SCTP}, {8, 128}
        for rule in view.all(SecurityGroupRule):
            _cut(ports, rule.ports)
            if rule.protocol is not None:
                protocols.add(parse_protocol(rule.protocol))
            if rule.icmp_type is not None:
                types.add(rule.icmp_type)
        for match in (rule.match for acl in view.all(Acl) for rule in acl.rules):
            _cut(ports, match.dst_ports)
            if match.protocol is not None:
                protocols.add(parse_protocol(match.protocol))
            if match.icmp_type is not None:
                types.add(match.icmp_type)
        other = next(n for n in range(253, 0, -1) if n not in protocols)
        self.protocols = sorted(protocols - {ICMP, ICMP6})
        self.other = other
        self.types = sorted(types)
        self.pieces = list(pairwise(sorted(ports)))[:MAX_PIECES]


def _cut(cuts: set[int], ports: str | None) -> None:
    if ports is not None:
        low, high = parse_ports(ports)
        cuts.update((low, high + 1))


def try_all(view: View, a: Port, b: Port, cuts: Cuts) -> Reach:
    found: list[Passage] = []
    refusals: set[tuple[Drop, str]] = set()
    for version in (4, 6):
        ends = _ends(view, a, b, version)
        for passage, opening, reply in _candidates(version, cuts) if ends else ():
            refusal = _try_any(view, a, b, ends, opening, reply)
            if refusal is None:
                _add(found, passage)
            elif refusal[0] is not None:
                refusals.add((refusal[0], refusal[1]))
    return Reach(tuple(found), frozenset(refusals))


def _ends(view: View, a: Port, b: Port, version: int) -> list[tuple[Ip, Ip]]:
    """From which address to which: the target's own first, then those that stand for it."""
    sources = [ip for ip in addresses_of(a) if ip.version == version]
    own = [ip for ip in addresses_of(b) if ip.version == version]
    floating = [parse_ip(f.ip) for f in view.referring(FloatingIp, b.id) if f.ip is not None]
    targets = [*own[:1], *(ip for ip in floating if ip.version == version)]
    return [(sources[0], target) for target in targets] if sources else []


def _candidates(version: int, cuts: Cuts) -> Iterator[tuple[Passage, Transport, Transport | None]]:
    """Each piece of the space, with a packet of it and the reply to that packet."""
    family = f"ipv{version}"
    for protocol in cuts.protocols:
        if protocol in (TCP, UDP, SCTP):
            for low, high in cuts.pieces:
                opening, reply = (
                    _with_ports(protocol, SOURCE_PORT, low, True),
                    _with_ports(protocol, low, SOURCE_PORT, False),
                )
                yield Passage(family, protocol, low, high - 1), opening, reply
        else:
            yield Passage(family, protocol), Raw(protocol), Raw(protocol)
    yield Passage(family, OTHER), Raw(cuts.other), Raw(cuts.other)
    icmp = ICMP if version == 4 else ICMP6
    for type in cuts.types:
        answer = Icmp(ECHO_REPLY[icmp], rest=b"\0\1\0\1") if type == ECHO_REQUEST[icmp] else None
        if answer is not None or type not in ECHO_REQUEST.values():
            yield Passage(family, icmp, type, type), Icmp(type, rest=b"\0\1\0\1"), answer


def _with_ports(protocol: int, src: int, dst: int, opens: bool) -> Transport:
    if protocol == TCP:
        return Tcp(src, dst, TcpFlag.SYN if opens else TcpFlag.SYN | TcpFlag.ACK)
    return Udp(src, dst) if protocol == UDP else Sctp(src, dst)


def _add(found: list[Passage], passage: Passage) -> None:
    """Add a piece, joined to the one before where they touch."""
    if found and passage.first is not None and passage.protocol not in (ICMP, ICMP6):
        last = found[-1]
        same = (last.family, last.protocol) == (passage.family, passage.protocol)
        if same and last.last is not None and last.last + 1 == passage.first:
            found[-1] = Passage(last.family, last.protocol, last.first, passage.last)
            return
    found.append(passage)


def _try_any(
    view: View, a: Port, b: Port, ends: list[tuple[Ip, Ip]], opening: Transport, reply: Transport | None
) -> tuple[Drop | None, str] | None:
    """None if it gets through by any address; else why not by the first."""
    first = _try(view, a, b, ends[0], opening, reply)
    if first is None or any(_try(view, a, b, other, opening, reply) is None for other in ends[1:]):
        return None
    return first


def _try(
    view: View, a: Port, b: Port, ends: tuple[Ip, Ip], opening: Transport, reply: Transport | None
) -> tuple[Drop | None, str] | None:
    """None if it gets through, and its reply back; else why not, and where."""
    source, target = ends
    frame = Frame(mac_for(view, a, target), a.mac, _packet(source, target, opening))
    there = walk(view, State(), a.id, build(frame))
    arrived = next((o for o in there.outputs if o.target == b.id), None)
    if arrived is None or reply is None:
        return None if arrived is not None else (there.drop, there.where or "")
    received = parse(arrived.data)
    assert isinstance(received, Frame)
    answer = Frame(received.src, b.mac, _answer(received, reply))
    back = walk(view, State().after(there.effects), b.id, build(answer))
    if any(o.target == a.id for o in back.outputs):
        return None
    return back.drop, back.where or ""


def _answer(received: Frame, reply: Transport) -> IpPacket:
    """The reply to a packet as it was received: addresses, ports and ids may be others than were sent."""
    ip = received.payload
    assert isinstance(ip, Ipv4 | Ipv6)
    got = ip.payload
    if isinstance(got, Tcp | Udp | Sctp) and isinstance(reply, Tcp | Udp | Sctp):
        reply = replace(reply, src=got.dst, dst=got.src)
    elif isinstance(got, Icmp) and isinstance(reply, Icmp):
        reply = replace(reply, rest=got.rest)
    return _packet(ip.dst, ip.src, reply)


def _packet(source: Ip, target: Ip, payload: Transport) -> IpPacket:
    if isinstance(source, IPv4Address) and isinstance(target, IPv4Address):
        return Ipv4(source, target, payload)
    assert isinstance(source, IPv6Address) and isinstance(target, IPv6Address)
    return Ipv6(source, target, payload)
