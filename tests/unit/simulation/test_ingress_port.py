"""What a port lets in: no forged addresses, no servers, nothing that cannot be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from onehop.model import AddressPair
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.packet import Arp, Frame, Icmp, Ipv4, Ipv6, Udp, build
from tests.support.virtual import Virtual
from tests.unit.simulation.changes import change

MAC, OTHER_MAC = "02:00:00:00:01:11", "02:00:00:00:01:12"
A4, B4 = IPv4Address("10.0.1.11"), IPv4Address("10.0.1.12")
A6, B6 = IPv6Address("fd00:1::11"), IPv6Address("fd00:1::12")
ALL_NODES = "33:33:00:00:00:01"


@pytest.mark.parametrize(
    ("packet", "drop"),
    [
        (f"udp 10.0.1.12:53 src-mac={OTHER_MAC}", Drop.SPOOFED_MAC),
        ("udp 10.0.1.12:4000 > 10.0.1.14:53", Drop.SPOOFED_IP),
        ("udp [fd00:1::12]:4000 > [fd00:1::14]:53", Drop.SPOOFED_IP),
        ("udp [fe80::1]:4000 > [fd00:1::14]:53", Drop.SPOOFED_IP),
        ("arp who-has 10.0.1.14 tell 10.0.1.12", Drop.SPOOFED_ARP),
        ("arp 10.0.1.1 is-at 02:00:00:00:01:11", Drop.SPOOFED_ARP),
        ("arp 10.0.1.11 is-at 02:00:00:00:01:12", Drop.SPOOFED_ARP),
        ("nd who-has fd00:1::14 tell fd00:1::12", Drop.SPOOFED_IP),
        ("nd fd00:1::11 is-at 02:00:00:00:01:12", Drop.SPOOFED_ARP),
        ("udp 10.0.1.11:67 > 255.255.255.255:68", Drop.DHCP_SERVER),
        ("udp [fe80::ff:fe00:111]:547 > [fd00:1::12]:546", Drop.DHCP_SERVER),
        ("icmp fe80::ff:fe00:111 > ff02::1 type=134 ttl=255", Drop.DHCP_SERVER),
        ("icmp fe80::ff:fe00:111 > fd00:1::12 type=137 ttl=255", Drop.DHCP_SERVER),
    ],
)
def test_forgery_is_named(shop: Virtual, packet: str, drop: Drop) -> None:
    verdict = shop.send("web-1", packet)
    assert (verdict.drop, verdict.stage, verdict.where) == (drop, Stage.INGRESS_PORT, shop.port("web-1").id)
    assert not verdict.outputs and not verdict.answers


def test_a_port_without_security_may_send_from_any_address(shop: Virtual) -> None:
    assert shop.send("open", f"tcp 10.9.9.9:4000 > 10.0.1.12:80 src-mac={MAC}").delivered


def test_a_neighbour_advertisement_for_anothers_address_is_forgery(shop: Virtual) -> None:
    icmp = Icmp(136, rest=b"\x20\0\0\0", data=B6.packed)
    frame = Frame(ALL_NODES, MAC, Ipv6(A6, IPv6Address("ff02::1"), icmp, ttl=255))
    assert shop.send("web-1", frame).drop == Drop.SPOOFED_ARP


def test_an_address_pair_lets_its_address_out_with_its_mac_alone(shop: Virtual) -> None:
    virtual_mac = "00:00:5e:00:01:01"
    pairs = (AddressPair(cidr="10.50.0.0/16"), AddressPair(cidr="10.0.1.100/32", mac=virtual_mac))
    change(shop, shop.port("web-1"), allowed_address_pairs=pairs)
    assert shop.send("web-1", "tcp 10.50.1.1:1 > 10.0.1.12:80").delivered
    assert shop.send("web-1", f"tcp 10.0.1.100:1 > 10.0.1.12:80 src-mac={virtual_mac}").delivered
    assert shop.send("web-1", "tcp 10.0.1.100:1 > 10.0.1.12:80").drop == Drop.SPOOFED_IP
    assert shop.send("web-1", f"tcp 10.50.1.1:1 > 10.0.1.12:80 src-mac={virtual_mac}").drop == Drop.SPOOFED_IP
    assert shop.send("web-1", "tcp 10.51.1.1:1 > 10.0.1.12:80").drop == Drop.SPOOFED_IP


def test_a_machine_may_use_the_link_local_address_of_its_mac(shop: Virtual) -> None:
    assert shop.send("web-1", "icmp fe80::ff:fe00:111 > fe80::ff:fe00:112").delivered


def test_a_port_that_is_off_takes_nothing(shop: Virtual) -> None:
    change(shop, shop.port("web-1"), admin_up=False)
    assert shop.send("web-1", "tcp 10.0.1.12:80").drop == Drop.PORT_DOWN


def test_a_port_that_is_off_gets_nothing(shop: Virtual) -> None:
    change(shop, shop.port("web-2"), admin_up=False)
    assert shop.send("web-1", "tcp 10.0.1.12:80").drop == Drop.PORT_DOWN


@pytest.mark.parametrize(
    "frame",
    [
        Frame(OTHER_MAC, "01:00:00:00:00:01", Ipv4(A4, B4, Udp(1, 2))),
        Frame(OTHER_MAC, "00:00:00:00:00:00", Ipv4(A4, B4, Udp(1, 2))),
        *(
            Frame(OTHER_MAC, MAC, Ipv4(IPv4Address(src), B4, Udp(1, 2)))
            for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1")
        ),
        *(
            Frame(OTHER_MAC, MAC, Ipv4(A4, IPv4Address(dst), Udp(1, 2)))
            for dst in ("0.0.0.0", "127.0.0.1", "240.0.0.1")
        ),
        *(
            Frame(OTHER_MAC, MAC, Ipv6(IPv6Address(src), B6, Udp(1, 2)))
            for src in ("::", "::1", "ff02::1", "::ffff:10.0.1.11")
        ),
        *(
            Frame(OTHER_MAC, MAC, Ipv6(A6, IPv6Address(dst), Udp(1, 2)))
            for dst in ("::", "::1", "::ffff:10.0.1.12")
        ),
        Frame(OTHER_MAC, MAC, Arp(2, MAC, IPv4Address("224.0.0.1"), OTHER_MAC, B4)),
    ],
    ids=lambda frame: str(getattr(frame.payload, "src", "arp")),
)
@pytest.mark.parametrize("port", ["web-1", "open"])
def test_addresses_that_cannot_be_on_a_packet_are_named(shop: Virtual, port: str, frame: Frame) -> None:
    assert shop.send(port, frame).drop == Drop.BAD_ADDRESS


def test_a_wrong_header_checksum_is_named(shop: Virtual) -> None:
    frame = shop.frame("web-1", "udp 10.0.1.14:53")
    assert isinstance(frame.payload, Ipv4)
    verdict = shop.send("web-1", replace(frame, payload=replace(frame.payload, checksum=0x1234)))
    assert verdict.drop == Drop.BAD_CHECKSUM


def test_a_wrong_transport_checksum_is_the_receivers_business(shop: Virtual) -> None:
    frame = shop.frame("web-1", "udp 10.0.1.14:53")
    assert isinstance(frame.payload, Ipv4) and isinstance(frame.payload.payload, Udp)
    wrong = replace(frame.payload.payload, checksum=0x1234)
    frame = replace(frame, payload=replace(frame.payload, payload=wrong))
    assert [o.data for o in shop.send("web-1", frame).outputs] == [build(frame)]
