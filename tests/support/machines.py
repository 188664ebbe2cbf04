"""Machines with the smallest network stack that lets scenarios talk of pings and connections.

A machine resolves neighbours, answers for its own addresses, echoes pings, and serves every TCP and UDP port:
it answers `?` with `!`. It holds no state but neighbours, so that a test holds it all.

All who are outside are one at each uplink: what they say comes in by the uplink that they were told by, or
by `via`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from onehop.model import Port
from onehop.simulation.packet import (
    ICMP,
    Arp,
    Frame,
    Icmp,
    Ip,
    IpPacket,
    Ipv4,
    Ipv6,
    Malformed,
    Raw,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    build,
    build_ip,
    parse,
)
from tests.support.network import Dropped, Life, Network
from tests.support.packet_text import sent
from tests.support.world import World

QUESTION, ANSWER = b"?", b"!"
TRACEROUTE = range(33434, 33534)
MAX_FRAMES = 1000  # in one talk; more would be a storm


@dataclass(frozen=True)
class End:
    """A machine, by its port and the address that it speaks from; outside: by any uplink, and its address."""

    port: Port
    ip: Ip
    is_outside: bool = False


@dataclass
class Talk:
    """What came of some frames: what each port received, and what was dropped."""

    received: list[tuple[str, Frame]] = field(default_factory=list)  # port id, frame
    dropped: list[Dropped] = field(default_factory=list)

    def at(self, end: End) -> list[IpPacket]:
        """The IP packets that a machine received."""
        return [
            f.payload
            for id, f in self.received
            if isinstance(f.payload, Ipv4 | Ipv6)
            and (f.payload.dst == end.ip if end.is_outside else id == end.port.id)
        ]

    def reasons(self) -> set[str]:
        return {d.reason.name.lower() for d in self.dropped} | {
            d.refused.name.lower() for d in self.dropped if d.refused
        }


class Machines:
    """All machines of a network."""

    def __init__(self, network: Network, world: World) -> None:
        self.network = network
        self.world = world
        self.neighbours: dict[tuple[str, Ip], str] = {}
        self.via: Port | None = None

    def send(self, port: Port, packet: IpPacket) -> Talk:
        """A machine sends, having asked for its neighbour if need be; everybody answers until all is said."""
        talk = Talk()
        if self.world.is_outside(port):
            port = self.via or port
            self._pump(port, Frame(port.mac, self.world.mac_at(port), packet), talk)
            return talk
        mac = self._next_mac(port, packet.dst, talk)
        if mac is not None:
            self._pump(port, Frame(mac, port.mac, packet), talk)
        return talk

    def _next_mac(self, port: Port, dst: Ip, talk: Talk) -> str | None:
        hop = (
            dst
            if self.world.is_local(port, dst)
            else self.world.address(self.world.gateway(port), dst.version)
        )
        if (port.id, hop) not in self.neighbours:
            question = f"who-has {hop} tell {self.world.address(port, dst.version)}"
            self._pump(port, sent(question, self.world, port), talk)
        return self.neighbours.get((port.id, hop))

    def _pump(self, port: Port, frame: Frame, talk: Talk) -> None:
        queue = deque([(port, frame)])
        for _ in range(MAX_FRAMES):
            if not queue:
                return
            at, out = queue.popleft()
            life = self.network.send(at, build(out))
            talk.dropped.extend(life.dropped)
            queue.extend(self._deliver(life, talk))
        raise AssertionError("a storm: the machines do not stop to answer each other")

    def _deliver(self, life: Life, talk: Talk) -> list[tuple[Port, Frame]]:
        answers = []
        for delivery in life.delivered:
            frame = parse(delivery.frame)
            assert not isinstance(frame, Malformed), frame
            talk.received.append((delivery.port, frame))
            port = self.network.view.get(Port, delivery.port)
            assert port is not None
            answer = self._answer(port, frame)
            if answer is not None:
                answers.append(self.entering(port, answer))
        return answers

    def entering(self, port: Port, answer: Frame) -> tuple[Port, Frame]:
        """Where an answer comes in: of the outside, maybe by another uplink."""
        via = self.via
        if via is None or not self.world.is_outside(port) or not isinstance(answer.payload, Ipv4 | Ipv6):
            return port, answer
        return via, replace(answer, src=self.world.mac_at(via), dst=via.mac)

    def _answer(self, port: Port, frame: Frame) -> Frame | None:
        mine, mac = self.world.addresses_at(port), self.world.mac_at(port)
        packet = frame.payload
        if isinstance(packet, Arp):
            return self._arp(port, packet, mine)
        if not isinstance(packet, Ipv4 | Ipv6):
            return None
        if isinstance(packet.payload, Icmp) and packet.payload.type in (135, 136) and packet.src.version == 6:
            return self._neighbour(port, packet, packet.payload, mine)
        if str(packet.dst) not in mine or frame.dst != mac:
            return None
        reply = _reply(packet)
        return None if reply is None else Frame(self._mac_back(port, frame, reply), mac, reply)

    def _mac_back(self, port: Port, frame: Frame, reply: IpPacket) -> str:
        """Machines know who wrote to them; asking again is left to the ones who begin."""
        return self.neighbours.get((port.id, reply.dst), frame.src)

    def _arp(self, port: Port, arp: Arp, mine: set[str]) -> Frame | None:
        mac = self.world.mac_at(port)
        if arp.operation == 2:
            self.neighbours[port.id, arp.sender_ip] = arp.sender_mac
        elif str(arp.target_ip) in mine and arp.sender_ip != arp.target_ip:
            return Frame(arp.sender_mac, mac, Arp(2, mac, arp.target_ip, arp.sender_mac, arp.sender_ip))
        return None

    def _neighbour(self, port: Port, packet: IpPacket, icmp: Icmp, mine: set[str]) -> Frame | None:
        target = self.world.ip(str(type(packet.dst)(icmp.data[:16])))
        if icmp.type == 136:
            self.neighbours[port.id, target] = icmp.data[18:24].hex(":")
        elif str(target) in mine:
            return sent(f"is-at {target} tell {packet.src}", self.world, port)
        return None


def turned(frame: Frame, error: bool) -> Frame | None:
    """A frame as it might come back: as an answer, or as an ICMP error about it."""
    ip = frame.payload
    if not isinstance(ip, Ipv4 | Ipv6) or ip.dst.is_multicast:
        return None
    inner: Transport
    match ip.payload:
        case _ if error and not isinstance(ip.payload, Icmp | Raw):
            inner = _port_unreachable(ip)
        case Tcp() as tcp:
            answer = TcpFlag.ACK if tcp.flags & TcpFlag.ACK else TcpFlag.SYN | TcpFlag.ACK
            inner = Tcp(tcp.dst, tcp.src, answer, 1000, tcp.seq + 1)
        case Udp() as udp:
            inner = Udp(udp.dst, udp.src, b"back")
        case Icmp(type=8 | 0) as echo if ip.src.version == 4:
            inner = replace(echo, type=8 - echo.type, checksum=None)
        case Icmp(type=128 | 129) as echo if ip.src.version == 6:
            inner = replace(echo, type=257 - echo.type, checksum=None)
        case Icmp():
            return None
        case other:
            inner = other
    back = _around(ip, inner)
    return Frame(frame.src, frame.dst, back)


def _around(packet: IpPacket, inner: Transport) -> IpPacket:
    if isinstance(packet, Ipv4):
        return Ipv4(packet.dst, packet.src, inner)
    return Ipv6(packet.dst, packet.src, inner)


def _reply(packet: IpPacket) -> IpPacket | None:
    """What the machine that a packet is for says to it."""
    match packet.payload:
        case Icmp(type=8 | 128 as type) as echo:
            return _back(packet, replace(echo, type=0 if type == 8 else 129, checksum=None))
        case Tcp() as tcp:
            return _tcp_reply(packet, tcp)
        case Udp() as udp if udp.dst in TRACEROUTE:
            return _back(packet, _port_unreachable(packet))
        case Udp(data=data) as udp if data == QUESTION:
            return _back(packet, Udp(udp.dst, udp.src, ANSWER))
    return None


def _tcp_reply(packet: IpPacket, tcp: Tcp) -> IpPacket | None:
    flags = tcp.flags
    if flags & TcpFlag.SYN and not flags & TcpFlag.ACK:
        return _back(packet, Tcp(tcp.dst, tcp.src, TcpFlag.SYN | TcpFlag.ACK, 1000, tcp.seq + 1))
    if tcp.data == QUESTION:
        answer = Tcp(tcp.dst, tcp.src, TcpFlag.PSH | TcpFlag.ACK, tcp.ack, tcp.seq + 1, data=ANSWER)
        return _back(packet, answer)
    return None


def _port_unreachable(packet: IpPacket) -> Icmp:
    v4 = packet.src.version == 4
    return Icmp(3 if v4 else 1, 3 if v4 else 4, data=build_ip(packet)[: 28 if v4 else 48])


def _back(packet: IpPacket, payload: Tcp | Udp | Icmp) -> IpPacket:
    if isinstance(packet, Ipv4):
        return Ipv4(packet.dst, packet.src, payload)
    return Ipv6(packet.dst, packet.src, payload)


def packet(world: World, src: Ip, dst: Ip, payload: Tcp | Udp | Icmp, ttl: int = 64) -> IpPacket:
    """A packet between two addresses of one family."""
    if isinstance(src, IPv4Address):
        assert isinstance(dst, IPv4Address)
        return Ipv4(src, dst, payload, ttl)
    assert not isinstance(dst, IPv4Address)
    return Ipv6(src, dst, payload, ttl)


def echo(world: World, a: Ip, b: Ip, id: int) -> IpPacket:
    icmp = Icmp(8 if a.version == 4 else 128, 0, id.to_bytes(2, "big") + b"\0\1", b"onehop")
    return packet(world, a, b, icmp)


__all__ = ["ANSWER", "ICMP", "QUESTION", "End", "Machines", "Talk", "echo", "packet"]
