"""What routers make of addresses and ports: packet by packet, with their checksums, and in records."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from onehop.datapath.layouts import codec, ip6
from onehop.datapath.ringbuf import Ring
from onehop.datapath.testrun import run_program
from onehop.datapath.traffic import Event, Record, TupleKey
from onehop.datapath.words import Action, EventKind, RecordFlag
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.packet import (
    Frame,
    Icmp,
    Ip,
    Ipv4,
    Ipv6,
    Raw,
    Sctp,
    Tcp,
    TcpFlag,
    Transport,
    Udp,
    build_ip,
)
from onehop.simulation.rewrite import rewritten
from onehop.simulation.state import Tuple
from tests.bpf.translation import FIRST, OUTSIDE, assign, forward, share, stand_for
from tests.bpf.world import RETURN, A, C, D, Sent, World, frame, ip, packet, routed

BOTH = pytest.mark.parametrize("version", [4, 6])
SYN, ACK = TcpFlag.SYN, TcpFlag.ACK


def echo(version: int, id: int, *, reply: bool = False) -> Icmp:
    types = {4: (8, 0), 6: (128, 129)}[version]
    return Icmp(types[reply], rest=id.to_bytes(2, "big") + b"\0\1", data=b"ping")


def at(sent: Frame, src: Ip, dst: Ip, payload: Transport) -> Frame:
    """The same frame with other ends, its checksums made anew."""
    held = sent.payload
    assert isinstance(held, Ipv4 | Ipv6)
    if isinstance(held, Ipv4):
        assert isinstance(src, IPv4Address) and isinstance(dst, IPv4Address)
        return replace(sent, payload=replace(held, src=src, dst=dst, payload=payload))
    assert isinstance(src, IPv6Address) and isinstance(dst, IPv6Address)
    return replace(sent, payload=replace(held, src=src, dst=dst, payload=payload))


def to(src: int, dst: Ip, payload: Transport, version: int) -> Frame:
    """From a machine on `web`, to an address outside."""
    return at(frame(src, C, payload, version), ip(src, version), dst, payload)


def records(world: World) -> dict[TupleKey, Record]:
    return dict(world.tables["records"].items())


def the_record(world: World) -> tuple[TupleKey, Record]:
    (found,) = records(world).items()
    return found


def events(world: World) -> list[Event]:
    told: list[bytes] = []
    with Ring(world.datapath.maps["events"]) as ring:
        ring.consume(lambda record: told.append(bytes(record)))
    return [codec(Event).decode(record[: codec(Event).size]) for record in told]


# --- rewriting ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_shared_ports_are_given_and_taken_back_with_every_checksum(
    world: World, version: int, kind: str
) -> None:
    share(world, version)
    shared = OUTSIDE[version].shared

    def payload(src: int, dst: int, reply: bool) -> Transport:
        flags = ACK if reply else SYN
        made: dict[str, Transport] = {
            "tcp": Tcp(src, dst, flags, data=b"odd"),
            "udp": Udp(src, dst, b"odd"),
            "echo": echo(version, dst if reply else src, reply=reply),
        }
        return made[kind]

    there = world.send(A, sent := frame(A, C, payload(4000, 53, False), version))
    key, record = the_record(world)
    assert FIRST <= key.src_port < FIRST + 128
    assert (key.src, record.flags & RecordFlag.TRANSLATED) == (ip6(shared), RecordFlag.TRANSLATED)
    out = at(sent, shared, ip(C, version), payload(key.src_port, 53, False))
    assert there.data == routed(out, A, C)
    answer = frame(C, A, payload(53, key.src_port, True), version)
    answer = at(answer, ip(C, version), shared, payload(53, key.src_port, True))
    plain = frame(C, A, payload(53, 4000, True), version)
    for hit in (0, 1):
        back = world.send(C, answer)
        assert (back.verdict.action, back.verdict.tunnel, back.verdict.hit) == (
            Action.DELIVERED, RETURN, hit,
        )  # fmt: skip
        assert back.data == routed(plain, C, A)


@BOTH
@pytest.mark.parametrize(
    "payload",
    [
        Tcp(4000, 80, SYN, data=b"x" * 7),
        Udp(4000, 53, b"question"),
        Sctp(4000, 80),
        Raw(47, b"anything"),
        Icmp(8, rest=b"\0\7\0\1"),
    ],
    ids=["tcp", "udp", "sctp", "gre", "echo"],
)
def test_static_translation_changes_addresses_of_whatever_there_is(
    world: World, version: int, payload: Transport
) -> None:
    if isinstance(payload, Icmp):
        payload = echo(version, 7)
    stand_for(world, version, OUTSIDE[version].floating, ip(A, version))
    got = world.send(A, sent := frame(A, C, payload, version))
    assert got.data == routed(at(sent, OUTSIDE[version].floating, ip(C, version), payload), A, C)


@BOTH
def test_destinations_change_on_the_way_there_and_sources_on_the_way_back(world: World, version: int) -> None:
    stand_for(world, version, OUTSIDE[version].floating, ip(C, version))
    there = Udp(4000, 53, b"question")
    sent = to(A, OUTSIDE[version].floating, there, version)
    assert world.send(A, sent).data == routed(at(sent, ip(A, version), ip(C, version), there), A, C)
    answer = frame(C, A, Udp(53, 4000, b"answer"), version)
    told = at(answer, OUTSIDE[version].floating, ip(A, version), Udp(53, 4000, b"answer"))
    assert world.send(C, answer).data == routed(told, C, A)


def test_a_udp_packet_without_checksum_gets_none(world: World) -> None:
    share(world, 4)
    got = world.send(A, sent := frame(A, C, Udp(4000, 53, b"odd", checksum=0)))
    key, _ = the_record(world)
    out = Udp(key.src_port, 53, b"odd", checksum=0)
    assert got.data == routed(at(sent, OUTSIDE[4].shared, ip(C, 4), out), A, C)


@BOTH
def test_a_checksum_that_was_wrong_stays_wrong(world: World, version: int) -> None:
    share(world, version)
    got = world.send(A, sent := frame(A, C, Udp(4000, 53, b"odd", checksum=0x1234), version))
    key, _ = the_record(world)
    held = sent.payload
    assert isinstance(held, Ipv4 | Ipv6)
    before = Tuple(17, held.src, held.dst, 4000, 53)
    after = Tuple(17, OUTSIDE[version].shared, held.dst, key.src_port, 53)
    assert got.data == routed(replace(sent, payload=rewritten(held, before, after)), A, C)


def test_later_fragments_change_their_addresses_alone(world: World) -> None:
    share(world, 4)
    first = frame(A, C, Udp(4000, 53, bytes(792), length=1208, checksum=0x1234), more_fragments=True, id=9)
    later = frame(A, C, Raw(17, b"the rest" * 50), offset=800, id=9)
    got = world.send(A, first)
    key, _ = the_record(world)
    held = first.payload
    assert isinstance(held, Ipv4)
    before = Tuple(17, held.src, held.dst, 4000, 53)
    after = Tuple(17, OUTSIDE[4].shared, held.dst, key.src_port, 53)
    assert got.data == routed(replace(first, payload=rewritten(held, before, after)), A, C)
    rest = at(later, OUTSIDE[4].shared, ip(C, 4), Raw(17, b"the rest" * 50))
    assert world.send(A, later).data == routed(rest, A, C)


@BOTH
def test_an_error_is_translated_with_what_it_is_about(world: World, version: int) -> None:
    share(world, version)
    shared = OUTSIDE[version].shared
    question = Udp(4000, 53, b"question")
    world.send(A, frame(A, C, question, version))
    key, _ = the_record(world)
    unreachable = (3, 3) if version == 4 else (1, 4)
    known = packet(A, C, question, version)
    out = at(frame(A, C, question, version), shared, ip(C, version), Udp(key.src_port, 53, b"question"))
    assert isinstance(out.payload, Ipv4 | Ipv6)
    error = frame(C, A, Icmp(*unreachable, data=build_ip(out.payload)), version)
    error = at(error, ip(C, version), shared, Icmp(*unreachable, data=build_ip(out.payload)))
    told = frame(C, A, Icmp(*unreachable, data=build_ip(known)), version)
    assert world.send(C, error).data == routed(told, C, A)


# --- ports to share -----------------------------------------------------------------------------------------


def opened(world: World, count: int, dst: int = C) -> list[Sent]:
    return [world.send(A, frame(A, dst, Udp(10_000 + n, 53))) for n in range(count)]


def test_connections_to_one_destination_get_ports_of_their_own_until_none_is_left(world: World) -> None:
    share(world, 4)
    drops = [sent.drop for sent in opened(world, 400)]
    assert set(drops) == {None, Drop.NAT_EXHAUSTED}
    used = [key.src_port for key in records(world)]
    assert len(set(used)) == len(used) == drops.count(None) <= 128
    assert all(FIRST <= port < FIRST + 128 for port in used)


def test_the_agent_is_told_before_ports_run_out(world: World) -> None:
    share(world, 4)
    events(world)
    drops, told = [], []
    for n in range(128):
        drops.append(world.send(A, frame(A, C, Udp(10_000 + n, 53))).drop)
        told = [event for event in events(world) if event.kind is EventKind.NAT_LOW]
        if told:
            break
    assert set(drops) == {None}
    assert (told[0].port, told[0].id) == (A, 9)


def test_a_port_is_used_again_for_another_destination(world: World) -> None:
    share(world, 4)
    assert {sent.drop for sent in opened(world, 60)} == {None}
    assert {sent.drop for sent in opened(world, 60, D)} == {None}
    ports = [key.src_port for key in records(world)]
    assert len(ports) == 120 and len(set(ports)) < 120


def test_who_has_no_block_is_told_exhausted(world: World) -> None:
    share(world, 4, by=C)
    assert world.send(A, frame(A, C, Udp(4000, 53))).drop is Drop.NAT_EXHAUSTED


def test_a_port_forward_keeps_its_port(world: World) -> None:
    share(world, 4)
    for port in range(FIRST, FIRST + 127):
        forward(world, 4, port, C, 53)
    found = {sent.drop for sent in opened(world, 40)}
    assert {key.src_port for key in records(world)} <= {FIRST + 127}
    assert found <= {None, Drop.NAT_EXHAUSTED}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (Sctp(4000, 80), Drop.UNSUPPORTED),
        (Raw(47, b"anything"), Drop.UNSUPPORTED),
        (Icmp(3, 3, data=bytes(28)), Drop.UNSOLICITED),
    ],
    ids=["sctp", "gre", "an error about nothing"],
)
def test_not_everything_can_share(world: World, payload: Transport, reason: Drop) -> None:
    share(world, 4)
    assert world.send(A, frame(A, C, payload)).drop is reason


def test_a_connection_ends_with_its_block(world: World) -> None:
    share(world, 4)
    world.send(A, sent := frame(A, C, Udp(4000, 53)))
    key, _ = the_record(world)
    assign(world, 4, [FIRST + 128])
    answer = at(frame(C, A, Udp(53, 4000)), ip(C, 4), OUTSIDE[4].shared, Udp(53, key.src_port))
    assert world.send(C, answer).drop is Drop.CONNECTION_ENDED
    assert key in records(world)  # a reply only asks
    assert world.send(A, sent).drop is Drop.CONNECTION_ENDED
    assert not records(world) and not list(world.tables["translated"].items())
    assert world.send(A, sent).drop is None
    assert the_record(world)[0].src_port >= FIRST + 128


def test_what_is_shared_belongs_to_who_has_the_block(world: World) -> None:
    share(world, 4)
    world.send(A, frame(A, C, Udp(4000, 53)))
    key, _ = the_record(world)
    for table in ("hints", "flows"):
        world.tables[table].clear()
    answer = at(frame(C, A, Udp(53, 4000)), ip(C, 4), OUTSIDE[4].shared, Udp(53, key.src_port))
    got = world.send(C, answer)
    assert (got.verdict.tunnel, got.data) == (TunnelFlag.ASK, routed(frame(C, A, Udp(53, 4000)), C, A))


# --- clashes ------------------------------------------------------------------------------------------------


@BOTH
def test_who_is_reached_by_two_addresses_sees_two_ports(world: World, version: int) -> None:
    stand_for(world, version, OUTSIDE[version].floating, ip(C, version), source=False)
    world.send(A, frame(A, C, Udp(4000, 53), version))
    got = world.send(A, to(A, OUTSIDE[version].floating, Udp(4000, 53), version))
    keys = list(records(world))
    assert got.drop is None and len(keys) == 2
    (other,) = {key.src_port for key in keys} - {4000}
    answer = world.send(C, frame(C, A, Udp(53, other), version))
    told = at(frame(C, A, Udp(53, 4000), version), OUTSIDE[version].floating, ip(A, version), Udp(53, 4000))
    assert answer.data == routed(told, C, A)


def test_what_has_no_ports_can_only_clash(world: World) -> None:
    stand_for(world, 4, OUTSIDE[4].floating, ip(C, 4), source=False)
    world.send(A, frame(A, C, Raw(47, b"anything")))
    assert world.send(A, to(A, OUTSIDE[4].floating, Raw(47, b"anything"), 4)).drop is Drop.TUPLE_CLASH


# --- what is kept -------------------------------------------------------------------------------------------


def test_what_has_been_idle_for_too_long_goes_with_its_index(world: World) -> None:
    share(world, 4)
    world.send(A, frame(A, C, Udp(4000, 53)))
    key, _ = the_record(world)
    world.change("records", key, used=1)
    run_program(world.datapath.programs["forget_record"], bytes(16) + key.encode())
    assert not list(world.tables["translated"].items())
    assert world.tables["openers"].lookup(A) == 0


def test_the_end_of_a_cached_flow_is_noted(world: World) -> None:
    share(world, 4)
    for flags in (SYN, ACK, ACK, TcpFlag.FIN | ACK):
        world.send(A, frame(A, C, Tcp(4000, 80, flags)))
    _, record = the_record(world)
    assert record.life.name == "CLOSING"


def test_untranslated_connections_have_no_index(world: World) -> None:
    world.send(A, frame(A, C, Udp(4000, 53)))
    key, record = the_record(world)
    assert (key.src_port, record.flags & RecordFlag.TRANSLATED) == (4000, 0)
    assert not list(world.tables["translated"].items())
