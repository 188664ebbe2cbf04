"""Packets and bytes: what is read comes back exactly, and nothing that is read raises."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import ICMP as ScapyIcmp
from scapy.all import IP, Ether, ICMPv6EchoRequest, IPv6, Raw, conf
from scapy.all import TCP as ScapyTcp
from scapy.all import UDP as ScapyUdp

from onehop.model.vocabulary import Drop
from onehop.simulation.packet import (
    Arp,
    Extension,
    Frame,
    Icmp,
    Ipv4,
    Ipv6,
    Malformed,
    Other,
    Quote,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    Vlan,
    build,
    build_ip,
    multicast_mac,
    parse,
    parse_quote,
    with_ttl,
)
from onehop.simulation.packet import (
    Raw as RawPayload,
)

conf.verb = 0
A_MAC, B_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
A4, B4 = IPv4Address("10.0.1.10"), IPv4Address("10.0.1.11")
A6, B6 = IPv6Address("fd00:1::a"), IPv6Address("fd00:1::b")

TRANSPORTS: list[Transport] = [
    Tcp(4000, 80, TcpFlag.SYN, seq=1, options=b"\x02\x04\x05\xb4", data=b"odd"),
    Udp(4000, 53, b"question"),
    Udp(4000, 53),
    Sctp(4000, 5000, bytes(12)),
    Icmp(8, 0, b"\x00\x07\x00\x01", b"ping"),
    RawPayload(47, b"\x00\x00\x08\x00"),
]
FRAMES = [
    *(Frame(B_MAC, A_MAC, Ipv4(A4, B4, t, id=7, dont_fragment=True)) for t in TRANSPORTS),
    *(Frame(B_MAC, A_MAC, Ipv6(A6, B6, t, flow_label=0xABCDE, tos=0xB8)) for t in TRANSPORTS),
    Frame(B_MAC, A_MAC, Ipv4(A4, B4, Udp(1, 2, b"x"), options=b"\x07\x07\x04\0\0\0\0\0"), trailer=bytes(9)),
    Frame(B_MAC, A_MAC, Ipv4(A4, B4, RawPayload(17, bytes(8)), more_fragments=True, offset=8)),
    Frame(
        B_MAC,
        A_MAC,
        Ipv6(A6, B6, Udp(1, 2, bytes(8)), extensions=(Extension(0, bytes(7)), Extension(44, bytes(7)))),
    ),
    Frame(B_MAC, A_MAC, Arp(1, A_MAC, A4, "00:00:00:00:00:00", B4), trailer=bytes(18)),
    Frame(B_MAC, A_MAC, Other(0x88CC, b"lldp"), vlans=(Vlan(0x6005), Vlan(7, 0x88A8))),
    Frame(B_MAC, A_MAC, Other(0x0010, bytes(16))),
]


def good(data: bytes) -> Frame:
    frame = parse(data)
    assert isinstance(frame, Frame), frame
    return frame


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: type(f.payload).__name__)
def test_what_is_read_is_built_back_exactly(frame: Frame) -> None:
    data = build(frame)
    assert build(good(data)) == data


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: type(f.payload).__name__)
def test_every_cut_of_a_frame_has_a_verdict(frame: Frame) -> None:
    data = build(frame)
    for length in range(len(data)):
        cut = parse(data[:length])
        assert isinstance(cut, Malformed) or build(cut) == data[:length]


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    frame = parse(data)
    assert isinstance(frame, Malformed) or build(frame) == data


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4))
def test_mutated_frames_are_read_or_refused(frame: Frame, changes: list[tuple[int, int]]) -> None:
    data = bytearray(build(frame))
    for at, value in changes:
        data[at % len(data)] = value
    result = parse(bytes(data))
    assert isinstance(result, Malformed) or build(result) == bytes(data)


@given(st.binary(max_size=120), st.sampled_from([4, 6]))
def test_random_quotes_are_read_or_refused(data: bytes, version: int) -> None:
    quote = parse_quote(data, version)
    assert quote is None or quote.src.version == version


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            IP(src=str(A4), dst=str(B4), id=7) / ScapyTcp(sport=1, dport=2, window=65535) / Raw(b"odd"),
            Ipv4(A4, B4, Tcp(1, 2, data=b"odd"), id=7),
        ),
        (
            IP(src=str(A4), dst=str(B4), id=7) / ScapyUdp(sport=1, dport=2) / Raw(b"odd"),
            Ipv4(A4, B4, Udp(1, 2, b"odd"), id=7),
        ),
        (
            IP(src=str(A4), dst=str(B4), id=7) / ScapyIcmp(id=9, seq=1),
            Ipv4(A4, B4, Icmp(8, rest=b"\0\x09\0\x01"), id=7),
        ),
        (
            IPv6(src=str(A6), dst=str(B6)) / ScapyUdp(sport=1, dport=2) / Raw(b"odd"),
            Ipv6(A6, B6, Udp(1, 2, b"odd")),
        ),
        (
            IPv6(src=str(A6), dst=str(B6)) / ICMPv6EchoRequest(id=9, seq=1),
            Ipv6(A6, B6, Icmp(128, rest=b"\0\x09\0\x01")),
        ),
    ],
    ids=["tcp4", "udp4", "icmp4", "udp6", "icmp6"],
)
def test_another_implementation_builds_the_same_bytes(theirs: object, ours: Ipv4 | Ipv6) -> None:
    assert build(Frame(B_MAC, A_MAC, ours)) == bytes(Ether(dst=B_MAC, src=A_MAC) / theirs)


def udp4(**changes: object) -> bytes:
    return build(Frame(B_MAC, A_MAC, replace(Ipv4(A4, B4, Udp(1, 2, b"data")), **changes)))  # type: ignore[arg-type]


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


V6 = build(Frame(B_MAC, A_MAC, Ipv6(A6, B6, Udp(1, 2))))
TYPE0 = build(Frame(B_MAC, A_MAC, Ipv6(A6, B6, Udp(1, 2), extensions=(Extension(43, b"\0\0\0\0\0\0\0"),))))
CHAIN = build(Frame(B_MAC, A_MAC, Ipv6(A6, B6, Udp(1, 2), extensions=(Extension(60, bytes(7)),) * 7)))


@pytest.mark.parametrize(
    ("data", "drop"),
    [
        (b"", Drop.MALFORMED),
        (patched(udp4(), 14, b"\x65"), Drop.MALFORMED),
        (patched(udp4(), 14, b"\x44"), Drop.MALFORMED),
        (patched(udp4(), 16, b"\x00\x13"), Drop.MALFORMED),
        (patched(udp4(), 16, b"\x01\x00"), Drop.MALFORMED),
        (patched(udp4(), 38, b"\x00\x07"), Drop.MALFORMED),
        (patched(udp4(), 38, b"\x00\x20"), Drop.MALFORMED),
        (patched(udp4(), 20, b"\x20\x00"), Drop.MALFORMED),
        (udp4(payload=RawPayload(17, bytes(64)), offset=0xFFF8), Drop.MALFORMED),
        (patched(V6, 14, b"\x40"), Drop.MALFORMED),
        (patched(V6, 18, b"\x00\x09"), Drop.MALFORMED),
        (TYPE0, Drop.UNSUPPORTED),
        (CHAIN, Drop.UNSUPPORTED),
        (
            build(
                Frame(
                    B_MAC,
                    A_MAC,
                    Ipv6(A6, B6, Udp(1, 2), extensions=(Extension(60, bytes(7)), Extension(0, bytes(7)))),
                )
            ),
            Drop.MALFORMED,
        ),
        (patched(build(FRAMES[-3]), 16, b"\x86\xdd"), Drop.MALFORMED),
    ],
    ids=[
        "empty",
        "version",
        "ihl",
        "length short",
        "length long",
        "udp short",
        "udp long",
        "odd fragment",
        "beyond 64K",
        "v6 version",
        "v6 length",
        "routing type 0",
        "chain",
        "hop-by-hop second",
        "arp for v6",
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, drop: Drop) -> None:
    result = parse(data)
    assert isinstance(result, Malformed)
    assert result.drop == drop


def test_a_new_ttl_keeps_the_header_checksum_right_and_a_wrong_one_wrong() -> None:
    frame = good(udp4())
    assert isinstance(frame.payload, Ipv4)
    assert build_ip(with_ttl(frame.payload, 63)) == udp4(ttl=63)[14:]
    wrong = replace(frame.payload, checksum=0x1234)
    assert parse(build(Frame(B_MAC, A_MAC, with_ttl(wrong, 63)))) != parse(udp4(ttl=63))


def test_what_stands_behind_a_vlan_tag_is_not_looked_into() -> None:
    frame = good(build(Frame(B_MAC, A_MAC, Ipv4(A4, B4, Udp(1, 2)), vlans=(Vlan(5),))))
    assert isinstance(frame.payload, Other)
    assert frame.ethertype == 0x0800


def test_an_icmp_error_quotes_the_tuple_of_its_packet() -> None:
    packet = Ipv4(A4, B4, Tcp(4000, 80))
    assert parse_quote(build_ip(packet)[:28], 4) == Quote(6, A4, B4, 4000, 80)
    assert parse_quote(build_ip(packet)[:27], 4) is None
    ping = Ipv6(A6, B6, Icmp(128, rest=b"\0\x09\0\x01"), extensions=(Extension(60, bytes(7)),))
    assert parse_quote(build_ip(ping), 6) == Quote(58, A6, B6, 9, 128)


def test_a_multicast_address_has_its_mac() -> None:
    assert multicast_mac(IPv4Address("239.129.2.3")) == "01:00:5e:01:02:03"
    assert multicast_mac(IPv6Address("ff02::1:ff00:a")) == "33:33:ff:00:00:0a"
