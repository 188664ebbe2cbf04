"""Fragments follow their first, or are dropped by name."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Extension, Frame, IpPacket, Ipv4, Ipv6, Raw, Udp, build, build_ip
from tests.support.virtual import Virtual

A4, B4 = IPv4Address("10.0.1.11"), IPv4Address("10.0.2.21")
A6, B6 = IPv6Address("fd00:1::11"), IPv6Address("fd00:2::21")
WEB_1, EDGE = "02:00:00:00:01:11", "02:00:00:00:01:01"
DATAGRAM = bytes(range(256)) * 4


def pieces(version: int, size: int = 400, port: int = 53, id: int = 77) -> list[Frame]:
    """A UDP datagram in three fragments."""
    udp = Udp(4000, port, DATAGRAM)
    whole: IpPacket = Ipv4(A4, B4, udp) if version == 4 else Ipv6(A6, B6, udp)
    data = build_ip(whole)[20 if version == 4 else 40 :]
    cuts = list(range(0, len(data), size))
    return [Frame(EDGE, WEB_1, _piece(version, data, at, size, at == cuts[-1], id)) for at in cuts]


def _piece(version: int, data: bytes, at: int, size: int, last: bool, id: int) -> IpPacket:
    raw = Raw(17, data[at : at + size])
    if version == 4:
        return Ipv4(A4, B4, raw, id=id, more_fragments=not last, offset=at)
    body = b"\0" + (at | (not last)).to_bytes(2, "big") + id.to_bytes(4, "big")
    return Ipv6(A6, B6, raw, extensions=(Extension(44, body),))


@pytest.mark.parametrize("version", [4, 6])
def test_all_fragments_of_an_allowed_packet_arrive(shop: Virtual, version: int) -> None:
    got = b""
    for frame in pieces(version):
        verdict = shop.send("web-1", frame)
        assert [o.target for o in verdict.outputs] == [shop.port("db-1").id]
        got += verdict.outputs[0].data[14 + (20 if version == 4 else 48) :]
    assert got[8:] == DATAGRAM


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_are_judged_as_their_first(shop: Virtual, version: int) -> None:
    drops = [shop.send("web-1", frame).drop for frame in pieces(version, port=54)]
    assert drops == [Drop.SECURITY_GROUP] * 3


@pytest.mark.parametrize("version", [4, 6])
def test_a_fragment_before_its_first_is_named(shop: Virtual, version: int) -> None:
    first, second, third = pieces(version)
    assert shop.send("web-1", third).drop == Drop.FRAGMENT_FIRST_MISSING
    assert shop.send("web-1", first).delivered
    assert shop.send("web-1", third).delivered
    assert shop.send("web-1", second).delivered


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_is_written_over_the_first(shop: Virtual, version: int) -> None:
    shop.send("web-1", pieces(version)[0])
    inside = pieces(version, size=200)[1]
    assert shop.send("web-1", inside).drop == Drop.FRAGMENT_OVERLAP
    assert shop.send("web-1", pieces(version, port=22)[0]).drop == Drop.FRAGMENT_OVERLAP
    assert shop.send("web-1", pieces(version)[0]).delivered, "the same first again is no harm"


def test_a_first_is_remembered_for_a_while(shop: Virtual) -> None:
    first, second, _ = pieces(4)
    shop.send("web-1", first)
    shop.pass_time(31)
    assert shop.send("web-1", second).drop == Drop.FRAGMENT_FIRST_MISSING


def test_replies_in_fragments_come_back(shop: Virtual) -> None:
    shop.send("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53")
    data = build_ip(Ipv4(B4, A4, Udp(53, 4000, DATAGRAM)))[20:]
    for at in (0, 400, 800):
        ip = Ipv4(B4, A4, Raw(17, data[at : at + 400]), more_fragments=at < 800, offset=at)
        assert shop.send("db-1", Frame("02:00:00:00:02:01", "02:00:00:00:02:21", ip)).delivered


def test_an_atomic_fragment_is_a_whole_packet(shop: Virtual) -> None:
    ip = Ipv6(A6, B6, Udp(4000, 53), extensions=(Extension(44, bytes(7)),))
    assert shop.send("web-1", Frame(EDGE, WEB_1, ip)).delivered


def test_a_first_fragment_without_all_of_its_header_is_malformed(shop: Virtual) -> None:
    ip = Ipv4(A4, B4, Raw(6, bytes(16)), more_fragments=True)
    assert shop.send("web-1", build(Frame(EDGE, WEB_1, ip))).drop == Drop.MALFORMED


def test_a_neighbour_message_in_fragments_is_malformed(shop: Virtual) -> None:
    whole = shop.frame("web-1", "nd who-has fd00:1::12")
    assert isinstance(whole.payload, Ipv6)
    body = b"\0\0\x01\0\0\0\x07"
    ip = replace(whole.payload, extensions=(Extension(44, body),))
    assert shop.send("web-1", replace(whole, payload=ip)).drop == Drop.MALFORMED
