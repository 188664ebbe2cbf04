from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehop.agent.slowpath.frames import completed, question, text
from onehop.datapath.layouts import ip6
from onehop.simulation.neighbours import question as specified
from onehop.simulation.packet import Frame, Ipv4, Ipv6, Tcp, Udp, build
from tests.support.virtual import Virtual
from tests.support.world import World
from tests.unit.simulation.shop import SHOP

HOSTS = {
    4: (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")),
    6: (IPv6Address("fd00::1"), IPv6Address("fd00::2")),
}


@pytest.mark.parametrize("address", ["10.0.1.77", "fd00:1::77"])
def test_a_router_asks_as_the_specification_says(address: str) -> None:
    shop = Virtual(SHOP)
    view, port = shop.view, World(shop.view, "v4").port("edge/web")
    wanted = IPv4Address(address) if "." in address else IPv6Address(address)
    frame = specified(view, port.id, wanted)
    assert frame is not None
    own = next(a.ip for a in port.addresses if a.ip is not None and ("." in a.ip) == ("." in address))
    source = IPv4Address(own) if "." in own else IPv6Address(own)
    mac = bytes.fromhex(port.mac.replace(":", ""))
    assert question(wanted.packed, mac, source.packed) == build(frame)


def half_done(frame: bytes, at: int) -> bytes:
    """As a machine hands it over that leaves checksums to the hardware: with that of the pseudo header."""
    version = frame[14] >> 4
    addresses = frame[26:34] if version == 4 else frame[22:54]
    header = 34 if version == 4 else 54
    protocol = frame[23] if version == 4 else frame[20]
    pseudo = addresses + (len(frame) - header).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    total = sum(int.from_bytes(pseudo[i : i + 2], "big") for i in range(0, len(pseudo), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[: header + at] + total.to_bytes(2, "big") + frame[header + at + 2 :]


@given(st.binary(max_size=60), st.sampled_from([4, 6]), st.booleans())
def test_a_checksum_that_was_only_begun_is_completed(data: bytes, version: int, is_tcp: bool) -> None:
    payload = Tcp(1000, 80, data=data) if is_tcp else Udp(1000, 53, data=data)
    src, dst = HOSTS[version]
    ip = Ipv4(src, dst, payload) if version == 4 else Ipv6(src, dst, payload)  # type: ignore[arg-type]
    frame = build(Frame("02:00:00:00:00:01", "02:00:00:00:00:02", ip))
    assert completed(half_done(frame, 16 if is_tcp else 6)) == frame
    assert completed(frame) == frame


@given(st.binary(max_size=200))
def test_no_frame_is_too_odd_to_be_looked_at(frame: bytes) -> None:
    assert len(completed(frame)) == len(frame)


def test_addresses_are_written_as_people_do() -> None:
    assert text(ip6("10.0.0.1")) == "10.0.0.1"
    assert text(ip6("fd00::1")) == "fd00::1"
