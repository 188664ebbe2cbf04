"""The flow cache: what a host did with a packet, to do again with the next that looks the same.

    no entry ── judged and sent on ──► current ── a zone it crossed changes ──► old ── judged anew ──► current
                                         └── its record or hint goes, its tuple is learned ──► no entry

What looks the same has the same headers, but for what may differ within a connection: lengths, ids, TCP
numbers, payload. Only whole packets that change nothing in a connection's life are taken from the cache: no
SYN, FIN or RST, no fragment, no ICMP error. An entry is a short cut: without it, the same happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onehop.model.vocabulary import TunnelFlag
from onehop.simulation.cloud.zones import Epochs
from onehop.simulation.packet import (
    Frame,
    Icmp,
    IpPacket,
    Ipv4,
    Ipv6,
    Malformed,
    Sctp,
    Tcp,
    TcpFlag,
    Udp,
    build,
    with_ttl,
)
from onehop.simulation.packet import parse as parse_frame
from onehop.simulation.rewrite import rewritten
from onehop.simulation.state import HintKey, RecordKey, Tuple
from onehop.simulation.verdict import Output

FlowKey = tuple[str, Tuple, tuple[object, ...]]  # port, tuple, everything else that has to be the same
MARKS = TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST
ECHOES = {4: (0, 8), 6: (128, 129)}


@dataclass(frozen=True, slots=True)
class Flow:
    """What was done. Applies to frames no larger than the one that was judged: others meet other MTUs."""

    target: str  # port
    flags: TunnelFlag
    src_mac: str
    dst_mac: str
    hops: int  # by how much the TTL went down
    largest: int  # bytes
    epochs: Epochs
    record: RecordKey | None = None
    hint: HintKey | None = None
    translated: tuple[Tuple, Tuple] | None = None  # from, to

    def apply(self, frame: Frame, size: int) -> bytes | None:
        """The frame as it leaves; None if this one has to be judged by itself."""
        packet = frame.payload
        if not isinstance(packet, Ipv4 | Ipv6) or packet.ttl <= self.hops or size > self.largest:
            return None
        packet = with_ttl(packet, packet.ttl - self.hops)
        if self.translated is not None:
            packet = rewritten(packet, *self.translated)
        return build(replace(frame, src=self.src_mac, dst=self.dst_mac, payload=packet))


def key_of(port: str, frame: Frame) -> FlowKey | None:
    """What a frame is looked up by; None for frames that are always judged."""
    packet = frame.payload
    if not isinstance(packet, Ipv4 | Ipv6) or packet.fragment is not None:
        return None
    ends = _ends(packet)
    if ends is None:
        return None
    options: object = packet.options if isinstance(packet, Ipv4) else packet.extensions
    rest = (frame.src, frame.dst, packet.tos, options, frame.trailer, *ends[2:])
    return port, Tuple(packet.protocol, packet.src, packet.dst, *ends[:2]), rest


def _ends(packet: IpPacket) -> tuple[int, ...] | None:
    """Both ports, and what else tells flows apart."""
    match packet.payload:
        case Tcp() as tcp:
            return None if tcp.flags & MARKS else (tcp.src, tcp.dst)
        case Udp() as udp:
            return udp.src, udp.dst
        case Icmp() as icmp if icmp.type in ECHOES[packet.src.version]:
            return icmp.id, icmp.id, icmp.type, icmp.code
        case Icmp() | Sctp():
            return None
    return 0, 0


def _tuple(packet: IpPacket) -> Tuple | None:
    ends = _ends(packet)
    return Tuple(packet.protocol, packet.src, packet.dst, *ends[:2]) if ends is not None else None


def flow_of(
    frame: Frame, data: bytes, out: Output, epochs: Epochs, record: RecordKey | None, hint: HintKey | None
) -> Flow | None:
    """The entry that would do to a frame what was done to it; None if no entry can."""
    left = parse_frame(out.data)
    packet = frame.payload
    if isinstance(left, Malformed) or not isinstance(packet, Ipv4 | Ipv6):
        return None
    if not isinstance(left.payload, Ipv4 | Ipv6):
        return None
    hops = packet.ttl - left.payload.ttl
    before, after = _tuple(packet), _tuple(left.payload)
    translated = (before, after) if before is not None and after is not None and before != after else None
    flow = Flow(out.target, out.flags, left.src, left.dst, hops, len(data), epochs, record, hint, translated)
    return flow if flow.apply(frame, len(data)) == out.data else None


class FlowCache:
    """The flows of one host."""

    def __init__(self) -> None:
        self._flows: dict[FlowKey, Flow] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[FlowKey]:
        return iter(self._flows)

    def get(self, key: FlowKey) -> Flow | None:
        return self._flows.get(key)

    def put(self, key: FlowKey, flow: Flow | None) -> None:
        if flow is None:
            self._flows.pop(key, None)
        else:
            self._flows[key] = flow

    def forget_tuple(self, port: str, tuple: Tuple) -> None:
        """Learning deletes the flows of the reply tuple: they were judged without what is known now."""
        for key in [key for key in self._flows if key[:2] == (port, tuple)]:
            del self._flows[key]

    def clear(self) -> None:
        self._flows.clear()
