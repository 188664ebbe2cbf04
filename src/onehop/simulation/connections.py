"""Stage CONNECTIONS: which connection a packet belongs to, and what is kept of it.

A connection is known by its tuple: protocol, addresses and ports. An echo has its id in place of both ports;
protocols without ports have 0. ICMP other than echo and errors, multicast, and what is not IP belong to none.
An ICMP error belongs to the connection whose packet it quotes, if it is sent to that packet's sender.

**Order at a port.** A packet that a machine sends is looked up so:

1. Its own record, by home. The port opened this connection: the packet is judged as if it opened it now. Or
   an uplink did: the packet is a reply, and leaves by an uplink (see `uplinks`).
2. A hint: the other side opened it. The packet goes to the opener's port as it is, marked RETURN.
3. The walk. If it passes anything stateful (a machine's port with port security, a stateful ACL), a record
   is written. If it is refused but can be a reply (TCP but for an initial SYN, any other protocol but an
   echo request), it goes as it is, marked ASK, to the port that it would have reached.

When a record is there but the walk refuses, a hint still counts. An echo reply is never an opener's packet;
an echo request and a TCP segment with an initial SYN are never replies, so a new connection is judged as one.

**The owner** of a record takes RETURN and ASK only from the record's far port. It asks the topology whether
the opener could still open this connection, and reach the same far port: what has been forbidden since ends
in both directions at once. Stateless ACLs have their say on the reply. Then the reply gets the MACs that the
opener knows, and a TTL lowered by the routers between, and goes out at the opener's port. The first reply
makes the connection an open one.

**TCP.** A segment that can belong nowhere (SYN with FIN or RST, or none of SYN, ACK, RST and FIN) is dropped
where state is kept. A RST opens nothing. A mid-stream segment that the walk lets pass is taken up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from onehop.model import Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.model.zones import is_uplink
from onehop.simulation.context import Dropped, Walk
from onehop.simulation.flow import ECHO_REQUEST, Flow
from onehop.simulation.hashing import connection_hash
from onehop.simulation.packet import (
    ICMP,
    ICMP6,
    TCP,
    Frame,
    Icmp,
    IpPacket,
    Ipv4,
    Ipv6,
    Raw,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    parse_quote,
)
from onehop.simulation.packet import SCTP as SCTP_PROTOCOL
from onehop.simulation.packet import UDP as UDP_PROTOCOL
from onehop.simulation.state import (
    HINT_LIFE,
    Budget,
    DeleteRecord,
    Hint,
    Life,
    NoteHint,
    Record,
    Tuple,
    WriteRecord,
)
from onehop.simulation.verdict import NO_FLAGS, Output

# How long a record lasts without a packet, in seconds: for TCP, and for everything else. Without SYNs to tell
# connections apart, a record has to outlive its hint: else the far side's packets would go back to nothing.
LIFETIME_TCP = {Life.OPENING: 60.0, Life.OPEN: 7200.0, Life.CLOSING: 60.0}
LIFETIME = dict.fromkeys(Life, HINT_LIFE + 30.0)
OTHERS = 16  # source ports to try where a tuple is taken
PORTED = (TCP, UDP_PROTOCOL, *ECHO_REQUEST)  # protocols whose source port, or id, can be another


def is_live(record: Record, now: float) -> bool:
    lifetimes = LIFETIME_TCP if record.far.protocol == TCP else LIFETIME
    return now - record.used <= lifetimes[record.life]


# --- looking up -------------------------------------------------------------------------------------------


def own_record(walk: Walk) -> None:
    """Find the connection that this port owns, among those that the packet can belong to."""
    home = walk.flow.tuple
    if walk.flow.is_icmp_error and (quoted := quoted_tuple(walk)) is not None:
        home, walk.related = quoted.reversed(), True
    records = walk.state.records_at_home(walk.origin, home) if home is not None else iter(())
    record = next((r for r in records if _suits(walk, r) and is_live(r, walk.state.now)), None)
    if record is None:
        walk.related = False
        return
    walk.record = record
    walk.subject = record.near if walk.related else None
    what = "an ICMP error about its" if walk.related else "belongs to its own"
    other = f"from uplink {record.opener}" if record.inbound else f"to port {record.far_port}"
    walk.step(Stage.CONNECTIONS, walk.origin, f"{what} connection {other}")


def _suits(walk: Walk, record: Record) -> bool:
    """Whether the owner can send such a packet: as the opener no reply, else nothing but replies."""
    return reply_tuple(walk) is not None if record.inbound else not walk.flow.is_echo_reply


def hint(walk: Walk) -> Hint | None:
    """Who opened the connection that this packet may be a reply of."""
    replies = reply_tuple(walk)
    found = walk.state.hints.get((walk.origin, replies)) if replies is not None else None
    if found is None or walk.state.now - found.used > HINT_LIFE:
        return None
    return found


def reply_tuple(walk: Walk) -> Tuple | None:
    """The tuple of the replies that a packet is one of, if it is one."""
    flow = walk.flow
    if flow.is_echo_request or walk.opens_tcp:
        return None
    if flow.is_icmp_error:
        quoted = quoted_tuple(walk)
        return quoted.reversed() if quoted is not None else None
    return flow.tuple


def quoted_tuple(walk: Walk) -> Tuple | None:
    """The tuple of the packet that an ICMP error is about, if the error goes to who sent it."""
    icmp = walk.ip.payload
    if not isinstance(icmp, Icmp):
        return None  # a later fragment
    quote = parse_quote(icmp.data, walk.ip.src.version)
    if quote is None or quote.src != walk.ip.dst:
        return None
    if quote.protocol == (ICMP if quote.src.version == 4 else ICMP6):
        return Tuple(quote.protocol, quote.src, quote.dst, quote.src_port, quote.src_port)
    return Tuple(quote.protocol, quote.src, quote.dst, quote.src_port, quote.dst_port)


def judged_flow(walk: Walk) -> Flow:
    """The flow that rules judge: of the connection's own packets, where the packet is an error about it."""
    near = walk.subject
    if not walk.related or walk.record is None or near is None:
        return walk.flow
    icmp = (ECHO_REQUEST[near.protocol], 0) if near.protocol in ECHO_REQUEST else None
    return replace(
        walk.flow,
        protocol=near.protocol,
        src=near.src,
        dst=near.dst,
        src_port=near.src_port,
        dst_port=near.dst_port,
        icmp=icmp,
        dscp=walk.record.tos >> 2,
        fragment=None,
    )


# --- the opener's side ------------------------------------------------------------------------------------


def keep(walk: Walk, far_port: Port) -> TunnelFlag:
    """Write down the connection of a packet that has passed; gives the flags that it travels with."""
    if walk.related:
        conform(walk)
        return NO_FLAGS
    near, known = walk.sent, walk.record
    if not walk.stateful or near.tuple is None or walk.flow.tuple is None:
        return NO_FLAGS
    if near.flags is not None and _is_nonsense(near.flags):
        walk.drop(Stage.CONNECTIONS, walk.origin, Drop.INVALID_STATE, f"no TCP segment is {near.flags!s}")
    if known is None and (near.is_echo_reply or (near.flags is not None and near.flags & TcpFlag.RST)):
        return NO_FLAGS
    if known is not None:
        conform(walk)
    else:
        _begin(walk, near.tuple)
    far = walk.flow
    assert far.tuple is not None
    walk.record = Record(
        opener=walk.origin,
        near=near.tuple,
        far_port=far_port.id,
        far=far.tuple,
        near_macs=(near.src_mac, near.dst_mac),
        far_macs=(far.src_mac, far.dst_mac),
        tos=walk.ip.tos,
        life=_first_life(near.flags) if known is None else _next_life(known.life, near.flags, reply=False),
        used=walk.state.now,
        inbound=walk.inbound is not None,
        router=router_outside(walk.view, walk.origin_port if walk.inbound else far_port),
    )
    walk.effects.append(WriteRecord(walk.record))
    walk.step(Stage.CONNECTIONS, walk.owner, "recorded" if known is None else "record kept up")
    return NO_FLAGS if walk.inbound or walk.record.router is not None else TunnelFlag.LEARN


def router_outside(view: View, port: Port) -> str | None:
    return port.router if is_uplink(view, port) else None


def _begin(walk: Walk, near: Tuple) -> None:
    """See that a new connection may be written down, and that its tuples are nobody else's."""
    if not walk.state.may(walk.owner, Budget.CONNECTIONS):
        why = "the port has as many connections as it may"
        walk.drop(Stage.CONNECTIONS, walk.owner, Drop.TABLE_FULL, why)
    far = walk.flow.tuple
    assert far is not None
    if _is_free(walk, near, far):
        return
    fixed = walk.bound or (walk.inbound is not None and _is_taken(walk, near.reversed()))
    others = [] if fixed or far.protocol not in PORTED else [with_source_port(far, p) for p in _others(far)]
    free = next((other for other in others if _is_free(walk, near, other)), None)
    if free is None:
        text = f"another connection has the tuple of {far.src} port {far.src_port}"
        walk.drop(Stage.CONNECTIONS, walk.owner, Drop.TUPLE_CLASH, text)
    walk.step(Stage.CONNECTIONS, walk.owner, f"port {far.src_port} is taken: port {free.src_port} instead")
    walk.become(free)


def _others(far: Tuple) -> Iterator[int]:
    """Source ports to take instead."""
    return (1024 + (connection_hash(far, 0) + i) % 64512 for i in range(OTHERS))


def _is_free(walk: Walk, near: Tuple, far: Tuple) -> bool:
    """Whether no live record of the owner has one of these tuples."""
    if walk.inbound is None:
        return not _is_taken(walk, far)
    at_home = walk.state.records_at_home(walk.owner, far.reversed())
    return not _is_taken(walk, near.reversed()) and not any(is_live(r, walk.state.now) for r in at_home)


def _is_taken(walk: Walk, away: Tuple) -> bool:
    record = walk.state.records.get((walk.owner, away))
    return record is not None and is_live(record, walk.state.now)


def with_source_port(ends: Tuple, port: int) -> Tuple:
    """A tuple from another port. The id of an echo stands in both ports."""
    is_echo = ends.protocol in ECHO_REQUEST
    return replace(ends, src_port=port, dst_port=port if is_echo else ends.dst_port)


def conform(walk: Walk) -> None:
    """See that the walk of a record's own packet, or of an error about it, comes out as it always has."""
    record, far = walk.record, walk.connection
    assert record is not None
    if far is None or far == record.far:
        return
    if not walk.bound and far.protocol in PORTED and with_source_port(far, record.far.src_port) == record.far:
        walk.become(record.far)
        return
    if not walk.probe:
        walk.effects.append(DeleteRecord(record.key))
    text = "its packets would now have other addresses"
    walk.drop(Stage.CONNECTIONS, walk.owner, Drop.CONNECTION_ENDED, text)


def _is_nonsense(flags: TcpFlag) -> bool:
    if flags & TcpFlag.SYN and flags & (TcpFlag.FIN | TcpFlag.RST):
        return True
    return not flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST | TcpFlag.FIN)


def _first_life(flags: TcpFlag | None) -> Life:
    return Life.OPENING if flags is None or flags & TcpFlag.SYN else Life.OPEN


def _next_life(life: Life, flags: TcpFlag | None, *, reply: bool) -> Life:
    if flags is not None and flags & (TcpFlag.FIN | TcpFlag.RST):
        return Life.CLOSING
    if life == Life.CLOSING and not reply and flags is not None and flags & TcpFlag.SYN:
        return Life.OPENING
    return Life.OPEN if reply and life == Life.OPENING else life


# --- the far side -----------------------------------------------------------------------------------------


def note_hint(walk: Walk, port: str) -> None:
    """Remember, at the far port, where replies go. A live hint is replaced only by its own opener."""
    tuple = walk.flow.tuple
    if tuple is None:
        return
    known = walk.state.hints.get((port, tuple.reversed()))
    live = known is not None and walk.state.now - known.used <= HINT_LIFE
    if known is not None and live and known.opener != walk.origin:
        return
    walk.effects.append(NoteHint(port, tuple.reversed(), Hint(walk.origin, walk.state.now)))


def send_back(walk: Walk, found: Hint) -> None:
    """Send a reply to its opener's port, as it is."""
    replies = reply_tuple(walk)
    assert replies is not None
    walk.answers.clear()
    walk.record = None
    walk.step(Stage.CONNECTIONS, walk.origin, f"a reply: goes back to port {found.opener} as it is")
    walk.effects.append(NoteHint(walk.origin, replies, Hint(found.opener, walk.state.now)))
    walk.outputs.append(Output(found.opener, walk.data, walk.origin, TunnelFlag.RETURN))


def ask(walk: Walk, refusal: Dropped) -> None:
    """Send a refused packet that may be a reply to the port that it would have reached."""
    assert walk.reached is not None
    if not walk.state.may(walk.origin, Budget.ASK):
        raise refusal
    walk.spend(Budget.ASK)
    walk.answers.clear()
    text = f"may be a reply: the host of port {walk.reached.id} is asked for its record"
    walk.step(Stage.CONNECTIONS, walk.origin, text)
    walk.outputs.append(Output(walk.reached.id, walk.data, walk.origin, TunnelFlag.ASK, refusal.drop))


# --- the owner --------------------------------------------------------------------------------------------


def claimed(walk: Walk, opener: str) -> Record | None:
    """The record of the connection that a packet from elsewhere is a reply of."""
    replies = reply_tuple(walk)
    record = walk.state.records.get((opener, replies.reversed())) if replies is not None else None
    if record is None or record.inbound or not is_live(record, walk.state.now):
        return None
    return record if is_far_port(walk.view, record, walk.origin) else None


def is_far_port(view: View, record: Record, id: str) -> bool:
    """Whether a port is the other end of a connection; for an uplink, any of the router will do."""
    port = view.get(Port, id)
    if id == record.far_port or port is None or record.inbound or record.router is None:
        return id == record.far_port
    return router_outside(view, port) == record.router


def keep_up(walk: Walk, record: Record) -> None:
    """Note on a record that a reply has come."""
    if walk.flow.is_icmp_error:
        return
    life = _next_life(record.life, walk.flow.flags, reply=True)
    walk.record = replace(record, life=life, used=walk.state.now)
    walk.effects.append(WriteRecord(walk.record))


def probe_frame(record: Record) -> Frame:
    """A packet such as the opener sends, to ask whether its connection would still pass."""
    near = record.near
    payload: Transport
    match near.protocol:
        case protocol if protocol == TCP:
            payload = Tcp(near.src_port, near.dst_port, TcpFlag.ACK)
        case protocol if protocol == UDP_PROTOCOL:
            payload = Udp(near.src_port, near.dst_port)
        case protocol if protocol == SCTP_PROTOCOL:
            payload = Sctp(near.src_port, near.dst_port)
        case protocol if protocol == (ICMP if near.src.version == 4 else ICMP6):
            payload = Icmp(ECHO_REQUEST[protocol], rest=near.src_port.to_bytes(2, "big") + bytes(2))
        case protocol:
            payload = Raw(protocol)
    ip: IpPacket
    if isinstance(near.src, IPv4Address) and isinstance(near.dst, IPv4Address):
        ip = Ipv4(near.src, near.dst, payload, tos=record.tos)
    else:
        assert isinstance(near.src, IPv6Address) and isinstance(near.dst, IPv6Address)
        ip = Ipv6(near.src, near.dst, payload, tos=record.tos)
    return Frame(src=record.near_macs[0], dst=record.near_macs[1], payload=ip)
