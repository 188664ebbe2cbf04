"""What people read and write: packets, traces, captures."""

from __future__ import annotations

import struct

import pytest

from onehop.simulation.packet import build
from onehop.simulation.packet_text import BadPacketText, describe
from onehop.simulation.pcap import BadCapture, frames
from onehop.simulation.trace import as_data, outcome, render, trace
from tests.support.virtual import Virtual


@pytest.mark.parametrize(
    "text",
    [
        "tcp 10.0.1.11:4000 > 10.0.2.21:80 SYN ttl=64",
        "tcp [fd00:1::11]:4000 > [fd00:2::21]:80 SYN,ACK ttl=3",
        "udp 10.0.1.11:4000 > 10.0.2.21:53 ttl=64",
        "sctp 10.0.1.11:4000 > 10.0.2.21:53 ttl=64",
        "icmp 10.0.1.11 > 10.0.2.21 id=7 ttl=64",
        "icmp 10.0.1.11 > 10.0.2.21 reply id=7 ttl=64",
        "icmp fd00:1::11 > fd00:2::21 type=1 code=4 ttl=64",
        "proto 47 10.0.1.11 > 10.0.2.21 ttl=64",
        "arp who-has 10.0.1.12 tell 10.0.1.11",
        "arp 10.0.1.11 is-at 02:00:00:00:01:11",
        "nd who-has fd00:1::12 tell fd00:1::11",
        "nd fd00:1::11 is-at 02:00:00:00:01:11",
    ],
)
def test_a_packet_is_described_as_it_is_written(shop: Virtual, text: str) -> None:
    assert describe(shop.frame("web-1", text)) == text


def test_what_is_left_out_is_the_ports_own(shop: Virtual) -> None:
    assert (
        describe(shop.frame("web-1", "tcp 10.0.2.21:80")) == "tcp 10.0.1.11:40000 > 10.0.2.21:80 SYN ttl=64"
    )
    assert describe(shop.frame("web-1", "icmp > fd00:2::21")).startswith("icmp fd00:1::11 > fd00:2::21")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no packet"),
        ("ftp 10.0.1.11 > 10.0.2.21", "'ftp' is none of"),
        ("tcp 10.0.1.11 > 10.0.2.21", "needs ports"),
        ("tcp 10.0.1.11:1 > 10.0.2.21:99999", "port is a number from 0 to 65535"),
        ("tcp 10.0.1.300:1 > 10.0.2.21:9", "is not an IPv4 or IPv6 address"),
        ("tcp 10.0.1.11:1 > [fd00::1]:9", "different families"),
        ("tcp 10.0.1.11:1 > 10.0.2.21:9 SIN", "neither an option nor TCP flags"),
        ("udp 10.0.1.11:1 > 10.0.2.21:9 ttl=256", "ttl is a number from 0 to 255"),
        ("tcp 10.0.1.11:1 >", "write where it goes"),
        ("arp what 10.0.1.1", "write 'arp who-has"),
        ("nd who-has 10.0.1.1", "write 'nd who-has"),
        ("proto x 10.0.1.1", "is not a protocol"),
        ("udp 10.0.1.1:1 src-mac=x", "is not a MAC"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(shop: Virtual, text: str, says: str) -> None:
    with pytest.raises(BadPacketText, match=says):
        shop.frame("web-1", text)


def test_a_trace_names_each_step_and_the_deciding_rule(shop: Virtual) -> None:
    verdict = shop.send("web-1", "tcp 10.0.2.21:5432")
    lines = render(shop.view, verdict)
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "port web/web-1",
        "group web",
        "network web",
        "port web/edge",
    ]
    assert any("allowed by rule sql of group db" in line for line in lines)
    assert lines[-1] == ("delivered at port db/db-1: tcp 10.0.1.11:40000 > 10.0.2.21:5432 SYN ttl=63")


@pytest.mark.parametrize(
    ("packet", "last"),
    [
        ("tcp 10.0.1.13:80", "dropped at port web/bare: security-group"),
        ("udp 192.0.2.1:1", "dropped at router edge: no-route"),
        ("udp 10.0.2.99:1", "waits: port edge/db asks who has 10.0.2.99"),
        ("udp 0.0.0.0:68 > 255.255.255.255:67", "left to the dhcp service"),
        ("arp who-has 10.0.1.1", "answered to port web/web-1: arp 10.0.1.1 is-at 02:00:00:00:01:01"),
    ],
)
def test_the_last_line_says_what_came_of_it(shop: Virtual, packet: str, last: str) -> None:
    assert outcome(shop.view, shop.send("web-1", packet))[-1] == last


def test_bytes_that_are_no_packet_have_a_trace_too(shop: Virtual) -> None:
    verdict = shop.send("web-1", b"short")
    assert render(shop.view, verdict)[-1] == "dropped at port web/web-1: malformed"


def test_a_trace_as_data_names_the_same_things(shop: Virtual) -> None:
    data = as_data(shop.view, trace(shop.view, shop.port("bare"), "tcp 10.0.2.21:5432"))
    assert (data["drop"], data["where"]) == ("security_group", shop.port("db-1").id)
    assert data["delivered"] == [] and data["answered"] is False
    assert data["steps"][0] == {
        "stage": "ingress_port",
        "object": shop.port("bare").id,
        "name": "port web/bare",
        "rule": None,
        "text": "enters by port bare",
    }


# --- captures ---------------------------------------------------------------------------------------------


def capture(order: str, packets: list[bytes], magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    records = [struct.pack(order + "IIII", 7, 500, len(p), len(p)) + p for p in packets]
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link) + b"".join(records)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_capture_gives_its_frames(shop: Virtual, order: str) -> None:
    packet = build(shop.frame("web-1", "tcp 10.0.2.21:5432"))
    assert list(frames(capture(order, [packet, packet]))) == [(7.0005, packet)] * 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "too short"),
        (bytes(40), "not a pcap file"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "pcapng"),
        (capture("<", [], link=101), "link type 101"),
        (capture("<", [b"12345"])[:-1], "ends within a packet"),
        (capture("<", [b"12345"])[:30], "ends within a packet's header"),
    ],
)
def test_a_capture_that_cannot_be_read_is_told(data: bytes, says: str) -> None:
    with pytest.raises(BadCapture, match=says):
        list(frames(data))
