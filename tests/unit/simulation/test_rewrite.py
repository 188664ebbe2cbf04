"""Other addresses and ports on a packet: as if it had been sent like that, and back again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from onehop.simulation.packet import (
    ICMP,
    ICMP6,
    TCP,
    UDP,
    Frame,
    Icmp,
    IpPacket,
    Ipv4,
    Ipv6,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    build,
    build_ip,
    parse,
)
from onehop.simulation.rewrite import rewritten, rewritten_error
from onehop.simulation.state import Tuple

MAC = "02:00:00:00:00:01"
PORTS = st.integers(0, 65535)
ADDRESSES = {
    4: st.integers(0, 2**32 - 1).map(IPv4Address),
    6: st.integers(0, 2**128 - 1).map(IPv6Address),
}


@st.composite
def tuples(draw: Any, version: int, protocol: int) -> Tuple:
    src, dst = draw(ADDRESSES[version]), draw(ADDRESSES[version])
    first = draw(PORTS)
    second = first if protocol in (ICMP, ICMP6) else draw(PORTS)
    return Tuple(protocol, src, dst, first, second)


@st.composite
def pairs(draw: Any) -> tuple[Tuple, Tuple, bytes]:
    """Two tuples of one kind, and a payload."""
    version = draw(st.sampled_from((4, 6)))
    protocol = draw(st.sampled_from((TCP, UDP, ICMP if version == 4 else ICMP6)))
    one, other = draw(tuples(version, protocol)), draw(tuples(version, protocol))
    return one, other, draw(st.binary(max_size=40))


def packet(ends: Tuple, data: bytes) -> IpPacket:
    """A packet of a tuple, with all its checksums."""
    payload: Transport
    if ends.protocol == TCP:
        payload = Tcp(ends.src_port, ends.dst_port, TcpFlag.ACK, 7, 9, data=data)
    elif ends.protocol == UDP:
        payload = Udp(ends.src_port, ends.dst_port, data)
    else:
        type = 8 if ends.protocol == ICMP else 128
        payload = Icmp(type, rest=ends.src_port.to_bytes(2, "big") + b"\0\1", data=data)
    return whole(around(ends, payload))


def around(ends: Tuple, payload: Transport) -> IpPacket:
    if isinstance(ends.src, IPv4Address) and isinstance(ends.dst, IPv4Address):
        return Ipv4(ends.src, ends.dst, payload)
    assert isinstance(ends.src, IPv6Address) and isinstance(ends.dst, IPv6Address)
    return Ipv6(ends.src, ends.dst, payload)


def whole(ip: IpPacket) -> IpPacket:
    """The packet as it is read from the wire, checksums and all."""
    frame = parse(build(Frame(MAC, MAC, ip)))
    assert isinstance(frame, Frame) and isinstance(frame.payload, Ipv4 | Ipv6)
    return frame.payload


def error(about: IpPacket, quoted: int) -> IpPacket:
    v4 = isinstance(about, Ipv4)
    icmp = Icmp(3 if v4 else 1, 3 if v4 else 4, data=build_ip(about)[:quoted])
    return whole(around(Tuple(0, about.dst, about.src), icmp))


@given(pairs())
def test_a_translated_packet_is_as_if_it_had_been_sent_so(pair: tuple[Tuple, Tuple, bytes]) -> None:
    before, after, data = pair
    assert rewritten(packet(before, data), before, after) == packet(after, data)


@given(pairs())
def test_there_and_back_gives_the_same_bytes(pair: tuple[Tuple, Tuple, bytes]) -> None:
    before, after, data = pair
    sent = packet(before, data)
    assert rewritten(rewritten(sent, before, after), after, before) == sent


@given(pairs(), st.integers(68, 120))
def test_an_error_quotes_the_packet_as_its_sender_knows_it(
    pair: tuple[Tuple, Tuple, bytes], quoted: int
) -> None:
    before, after, data = pair
    told = error(packet(before, data), quoted)
    expected = error(packet(after, data), quoted)
    back = rewritten_error(told, before.reversed(), after.reversed(), after.dst, after.src)
    assert back == expected


@given(pairs(), st.sampled_from((28, 30, 36, 48, 50, 56)))
def test_an_error_that_quotes_little_has_a_right_checksum(
    pair: tuple[Tuple, Tuple, bytes], quoted: int
) -> None:
    before, after, data = pair
    told = error(packet(before, data), quoted)
    back = rewritten_error(told, before.reversed(), after.reversed(), after.dst, after.src)
    icmp = back.payload
    assert isinstance(icmp, Icmp)
    assert whole(replace(back, payload=replace(icmp, checksum=None))).payload == icmp


@given(pairs())
def test_a_wrong_checksum_stays_wrong(pair: tuple[Tuple, Tuple, bytes]) -> None:
    before, after, data = pair
    sent = packet(before, data)
    right = sent.payload
    assert isinstance(right, Tcp | Udp | Icmp) and right.checksum is not None
    wrong = replace(sent, payload=replace(right, checksum=(right.checksum + 1) % 0xFFFF or 1))
    assert rewritten(wrong, before, after) != packet(after, data)


def test_udp_without_a_checksum_gets_none() -> None:
    ends = Tuple(UDP, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 1, 2)
    bare = whole(Ipv4(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), Udp(1, 2, b"x", checksum=0)))
    after = replace(ends, src=IPv4Address("10.0.0.9"), src_port=7)
    changed = rewritten(bare, ends, after)
    assert isinstance(changed.payload, Udp) and changed.payload.checksum == 0


def test_sctp_keeps_its_ports_and_its_sum() -> None:
    ends = Tuple(132, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 1, 2)
    sent = whole(Ipv4(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), Sctp(1, 2)))
    changed = rewritten(sent, ends, replace(ends, src=IPv4Address("10.0.0.9")))
    assert changed.payload == sent.payload and str(changed.src) == "10.0.0.9"
