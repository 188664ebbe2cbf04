"""What the programs answer by themselves: ARP, neighbour discovery, echo requests, ICMP errors."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from onehop.datapath.structs import Rule
from onehop.datapath.words import Action, MatchField, RuleAction
from onehop.model.vocabulary import Drop
from onehop.simulation.packet import (
    BROADCAST,
    Arp,
    Frame,
    Icmp,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    build,
    build_ip,
    multicast_mac,
)
from tests.bpf.world import (
    EDGE_WEB,
    REDIRECT,
    RETURN,
    WEB_EDGE,
    A,
    B,
    C,
    D,
    Sent,
    World,
    frame,
    ip,
    mac,
    packet,
    v4,
    v6,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
UDP = Udp(4000, 53, b"question")
NOBODY = "00:00:00:00:00:00"


def who_has(target: str, src: int = A) -> Frame:
    arp = Arp(1, mac(src), IPv4Address(v4(src)), NOBODY, IPv4Address(target))
    return Frame(BROADCAST, mac(src), arp)


def solicitation(target: str, src: int = A) -> Frame:
    group = IPv6Address(b"\xff\x02" + bytes(9) + b"\1\xff" + IPv6Address(target).packed[13:])
    option = b"\1\1" + bytes.fromhex(mac(src).replace(":", ""))
    icmp = Icmp(135, data=IPv6Address(target).packed + option)
    return Frame(multicast_mac(group), mac(src), Ipv6(IPv6Address(v6(src)), group, icmp, ttl=255))


@pytest.mark.parametrize(("target", "owner"), [(v4(B), B), (v4(WEB_EDGE), EDGE_WEB)])
def test_arp_for_a_known_address_is_answered(world: World, target: str, owner: int) -> None:
    got = world.send(A, who_has(target))
    answer = Arp(2, mac(owner), IPv4Address(target), mac(A), IPv4Address(v4(A)))
    assert (got.code, got.verdict.action) == (REDIRECT, Action.ANSWERED)
    assert got.data == build(Frame(mac(A), mac(owner), answer))


@pytest.mark.parametrize(("target", "owner", "flags"), [(v6(B), B, 0x60), (v6(WEB_EDGE), EDGE_WEB, 0xE0)])
def test_a_solicitation_for_a_known_address_is_answered(
    world: World, target: str, owner: int, flags: int
) -> None:
    got = world.send(A, solicitation(target))
    data = IPv6Address(target).packed + b"\2\1" + bytes.fromhex(mac(owner).replace(":", ""))
    icmp = Icmp(136, rest=bytes((flags, 0, 0, 0)), data=data)
    reply = Ipv6(IPv6Address(target), IPv6Address(v6(A)), icmp, ttl=255)
    assert got.data == build(Frame(mac(A), mac(owner), reply))


def test_questions_for_unknown_addresses_and_announcements_are_for_all(world: World) -> None:
    for sent in (who_has("10.0.1.99"), who_has(v4(A)), solicitation("fd00:1::99")):
        assert world.send(A, sent).verdict.action is Action.FLOODED


@pytest.mark.parametrize(
    "sent",
    [
        replace(who_has(v4(B)), payload=Arp(1, mac(A), IPv4Address(v4(B)), NOBODY, IPv4Address(v4(B)))),
        replace(who_has(v4(B)), payload=Arp(2, mac(B), IPv4Address(v4(A)), NOBODY, IPv4Address(v4(B)))),
        replace(
            solicitation(v6(B)),
            payload=Ipv6(
                IPv6Address(v6(A)),
                IPv6Address("ff02::1"),
                Icmp(136, rest=b"\x20\0\0\0", data=IPv6Address(v6(B)).packed),
                ttl=255,
            ),
        ),
    ],
)
def test_nobody_claims_anothers_address(world: World, sent: Frame) -> None:
    assert world.send(A, sent).drop is Drop.SPOOFED_ARP


@BOTH
def test_a_router_answers_pings_to_any_of_its_addresses(world: World, version: int) -> None:
    request, reply = (8, 0) if version == 4 else (128, 129)
    for text in ("10.0.1.254", "10.0.2.254") if version == 4 else ("fd00:1::254", "fd00:2::254"):
        target, own = ip_address(text), ip(A, version)
        asked = Icmp(request, rest=b"\0\7\0\1", data=b"some bytes")
        answered = replace(asked, type=reply)
        if isinstance(target, IPv4Address) and isinstance(own, IPv4Address):
            there: Ipv4 | Ipv6 = Ipv4(own, target, asked)
            back: Ipv4 | Ipv6 = Ipv4(target, own, answered)
        else:
            assert isinstance(target, IPv6Address) and isinstance(own, IPv6Address)
            there, back = Ipv6(own, target, asked), Ipv6(target, own, answered)
        got = world.send(A, Frame(mac(EDGE_WEB), mac(A), there))
        assert got.data == build(Frame(mac(A), mac(EDGE_WEB), back))


# --- errors -------------------------------------------------------------------------------------------------


def error(sent: Frame, source: str, type: int, code: int, mtu: int = 0, version: int = 4) -> bytes:
    """The error about a frame, for who sent it."""
    about = sent.payload
    assert isinstance(about, Ipv4 | Ipv6)
    icmp = Icmp(type, code, mtu.to_bytes(4, "big"), build_ip(about)[: 548 if version == 4 else 1232])
    if isinstance(about, Ipv4):
        return build(Frame(sent.src, sent.dst, Ipv4(IPv4Address(source), about.src, icmp)))
    return build(Frame(sent.src, sent.dst, Ipv6(IPv6Address(source), about.src, icmp)))


def answered(got: Sent, drop: Drop, data: bytes) -> bool:
    assert (got.code, got.verdict.action, got.drop) == (REDIRECT, Action.ANSWERED, drop)
    return got.data == data


@BOTH
@pytest.mark.parametrize("size", [0, 1, 7, 540, 1300])
def test_the_sender_is_told_when_time_runs_out(world: World, version: int, size: int) -> None:
    sent = frame(A, C, Udp(4000, 53, bytes(range(256)) * 6), version, ttl=1)
    assert isinstance(sent.payload, Ipv4 | Ipv6)
    sent = frame(A, C, Udp(4000, 53, (bytes(range(256)) * 6)[:size]), version, ttl=1)
    source, type = (v4(WEB_EDGE), 11) if version == 4 else (v6(WEB_EDGE), 3)
    assert answered(world.send(A, sent), Drop.TTL_EXPIRED, error(sent, source, type, 0, version=version))


@BOTH
def test_the_sender_is_told_the_next_mtu(world: World, version: int) -> None:
    world.change_port(EDGE_WEB + 1, mtu=1400)
    sent = frame(A, C, Udp(4000, 53, bytes(1400)), version)
    source, type, code = (v4(WEB_EDGE), 3, 4) if version == 4 else (v6(WEB_EDGE), 2, 0)
    assert answered(world.send(A, sent), Drop.TOO_BIG, error(sent, source, type, code, 1400, version))


@BOTH
def test_a_switch_speaks_in_the_name_of_the_destination(world: World, version: int) -> None:
    sent = frame(A, B, Udp(4000, 53, bytes(1450)), version)
    source, type, code = (v4(B), 3, 4) if version == 4 else (v6(B), 2, 0)
    assert answered(world.send(A, sent), Drop.TOO_BIG, error(sent, source, type, code, 1450, version))


@BOTH
def test_a_rejecting_rule_is_told(world: World, version: int) -> None:
    world.put_acl(60, 61, [Rule(MatchField(0), MatchField(0), RuleAction.REJECT)])
    world.change("routers", 1, acls_in=60)
    sent = frame(A, C, Tcp(4000, 80), version)
    source, type, code = (v4(WEB_EDGE), 3, 13) if version == 4 else (v6(WEB_EDGE), 1, 1)
    assert answered(world.send(A, sent), Drop.ACL_REJECT, error(sent, source, type, code, version=version))


def test_nothing_is_told_about_errors_broadcasts_and_later_fragments(world: World) -> None:
    about = build_ip(packet(A, C, UDP))
    for sent in (frame(A, C, Icmp(3, 3, data=about), ttl=1), frame(A, C, Icmp(11, 0, data=about), ttl=1)):
        got = world.send(A, sent)
        assert (got.verdict.action, got.drop) == (Action.DROPPED, Drop.TTL_EXPIRED)


def test_errors_have_a_budget(world: World) -> None:
    sent = frame(A, C, UDP, ttl=1)
    assert world.send(A, sent).verdict.action is Action.ANSWERED
    # The budget fills up again as time passes, so how many it takes depends on the machine.
    assert any(world.send(A, sent).verdict.action is Action.DROPPED for _ in range(20_000))


@BOTH
def test_a_reply_whose_time_runs_out_is_told_to_its_sender_on_the_other_host(
    world: World, version: int
) -> None:
    world.send(A, frame(A, D, UDP, version))
    back = frame(D, A, Udp(53, 4000, b"answer"), version, ttl=1)
    got = world.arrive(world.wrapped(A, D, back, RETURN))
    source, type = ("10.0.2.254", 11) if version == 4 else ("fd00:2::254", 3)
    assert (got.verdict.action, got.drop) == (Action.ANSWERED, Drop.TTL_EXPIRED)
    assert got.data[50:] == error(back, source, type, 0, version=version)
