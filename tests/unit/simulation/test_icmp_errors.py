"""When senders are told, what they are told, and when nobody may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onehop.model.vocabulary import Drop
from onehop.simulation.packet import Icmp, Ipv4, Ipv6, Raw, build, build_ip
from onehop.simulation.state import Budget
from tests.support.virtual import Virtual, frame_of
from tests.unit.simulation.changes import change


@pytest.mark.parametrize(
    ("packet", "quoted"),
    [
        ("udp 192.0.2.1:53 size=10", 38),
        ("udp 192.0.2.1:53 size=1000", 548),
        ("udp [2001:db8::1]:53 size=10", 58),
        ("udp [2001:db8::1]:53 size=1300", 1232),
    ],
)
def test_an_error_quotes_what_was_sent(shop: Virtual, packet: str, quoted: int) -> None:
    sent = shop.frame("web-1", packet)
    error = frame_of(shop.send("web-1", sent).answers[0])
    assert isinstance(error.payload, Ipv4 | Ipv6) and isinstance(error.payload.payload, Icmp)
    assert error.payload.payload.data == build(sent)[14 : 14 + quoted]
    assert (error.src, error.dst) == (sent.dst, sent.src)


def test_too_big_tells_the_mtu(shop: Virtual) -> None:
    change(shop, shop.find("network", "web"), mtu=9000)
    for packet in (
        "udp 10.0.2.21:53 size=1500 df",
        "udp 10.0.2.21:53 size=1500",
        "udp [fd00:2::21]:53 size=1500",
    ):
        verdict = shop.send("web-1", packet)
        error = frame_of(verdict.answers[0]).payload
        assert verdict.drop == Drop.TOO_BIG
        assert isinstance(error, Ipv4 | Ipv6) and isinstance(error.payload, Icmp)
        assert error.payload.type == (3 if isinstance(error, Ipv4) else 2)
        assert int.from_bytes(error.payload.rest, "big") == 1450


@pytest.mark.parametrize(
    "packet",
    [
        "icmp 192.0.2.1 type=3 code=1",
        "icmp 192.0.2.1 type=11",
        "icmp 2001:db8::1 type=1",
        "icmp 2001:db8::1 type=2",
        "udp 10.0.1.11:1 > 239.1.1.1:1 dst-mac=02:00:00:00:01:01",
    ],
)
def test_no_error_is_sent_about_errors_and_multicast(shop: Virtual, packet: str) -> None:
    verdict = shop.send("web-1", packet)
    assert verdict.drop is not None
    assert not verdict.answers


def test_no_error_is_sent_about_a_later_fragment(shop: Virtual) -> None:
    frame = shop.frame("web-1", "udp 192.0.2.1:53")
    assert isinstance(frame.payload, Ipv4)
    data = build_ip(frame.payload)[20:]
    first = replace(frame, payload=replace(frame.payload, payload=Raw(17, data), more_fragments=True))
    later = replace(frame, payload=replace(frame.payload, payload=Raw(17, data), offset=8))
    assert len(shop.send("web-1", first).answers) == 1
    verdict = shop.send("web-1", later)
    assert verdict.drop == Drop.NO_ROUTE and not verdict.answers


def test_a_port_is_told_within_its_budget(shop: Virtual) -> None:
    shop.state = replace(shop.state, exhausted=frozenset({(shop.port("web-1").id, Budget.ICMP_ERROR)}))
    verdict = shop.send("web-1", "udp 192.0.2.1:53")
    assert verdict.drop == Drop.NO_ROUTE and not verdict.answers
    assert shop.send("bare", "udp 192.0.2.1:53").answers


def test_an_interface_without_an_ipv4_address_tells_nothing(shop: Virtual) -> None:
    interface = shop.port("web")
    change(shop, interface, addresses=tuple(a for a in interface.addresses if ":" in str(a.ip)))
    packet = "udp 10.0.1.11:1 > 192.0.2.1:53 dst-mac=02:00:00:00:01:01"
    assert shop.send("web-1", packet).drop == Drop.NO_ROUTE
    assert not shop.last.answers
