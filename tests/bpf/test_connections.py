"""Records, hints, RETURN and ASK: connections whose ends are here, or on another host."""

from __future__ import annotations

import pytest

from onehop.datapath.layouts import ip6
from onehop.datapath.structs import Rule
from onehop.datapath.traffic import Hint, Record, TupleKey
from onehop.datapath.words import Action, HostFlag, Life, MatchField, RuleAction
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.packet import Frame, Icmp, Tcp, TcpFlag, Transport, Udp, build, build_ip
from tests.bpf.world import (
    ANY,
    ASK,
    EDGE_DB,
    LEARN,
    OTHER,
    RETURN,
    A,
    C,
    D,
    World,
    frame,
    ip,
    mac,
    packet,
    routed,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
UDP, BACK = Udp(4000, 53, b"question"), Udp(53, 4000, b"answer")
SYN, ACK, FIN = TcpFlag.SYN, TcpFlag.ACK, TcpFlag.FIN | TcpFlag.ACK
NONE = TunnelFlag(0)


def key(opener: int, far: int, payload: Transport, version: int = 4, at: int | None = None) -> TupleKey:
    assert isinstance(payload, Tcp | Udp)
    protocol = 6 if isinstance(payload, Tcp) else 17
    src, dst = ip6(ip(opener, version)), ip6(ip(far, version))
    return TupleKey(at or opener, src, dst, payload.src, payload.dst, protocol)


def record(world: World, opener: int, far: int, payload: Transport = UDP, version: int = 4) -> Record | None:
    found: Record | None = world.tables["records"].lookup(key(opener, far, payload, version))
    return found


def hint(world: World, port: int, opener: int, payload: Transport = BACK, version: int = 4) -> Hint | None:
    """At `port`: where its replies go."""
    found: Hint | None = world.tables["hints"].lookup(key(port, opener, payload, version))
    return found


def hide(world: World, port: int) -> None:
    """Let only replies come to a machine."""
    world.change_port(port, receives=0)


# --- both ends here -----------------------------------------------------------------------------------------


@BOTH
def test_the_opener_keeps_a_record_and_the_far_port_a_hint(world: World, version: int) -> None:
    world.send(A, frame(A, C, UDP, version))
    kept, noted = record(world, A, C, UDP, version), hint(world, C, A, BACK, version)
    assert kept is not None and noted is not None
    assert (kept.far_port, kept.life, kept.hops, noted.opener) == (C, Life.OPENING, 1, A)


@BOTH
def test_a_reply_needs_no_rule(world: World, version: int) -> None:
    hide(world, A)
    world.send(A, frame(A, C, UDP, version))
    back = frame(C, A, BACK, version)
    for _ in range(2):
        got = world.send(C, back)
        assert (got.verdict.action, got.verdict.tunnel) == (Action.DELIVERED, RETURN)
        assert got.data == routed(back, C, A)
    kept = record(world, A, C, UDP, version)
    assert kept is not None and kept.life is Life.OPEN


def test_what_is_no_reply_is_refused(world: World) -> None:
    hide(world, A)
    world.send(A, frame(A, C, UDP))
    assert world.send(C, frame(C, A, Udp(54, 4000))).drop is Drop.SECURITY_GROUP
    assert world.send(C, frame(C, A, Udp(53, 4001))).drop is Drop.SECURITY_GROUP


@BOTH
def test_replies_find_their_way_without_hints(world: World, version: int) -> None:
    hide(world, A)
    world.send(A, frame(A, C, UDP, version))
    world.tables["hints"].clear()
    world.tables["flows"].clear()
    back = frame(C, A, BACK, version)
    got = world.send(C, back)
    assert (got.verdict.action, got.verdict.tunnel, got.data) == (Action.DELIVERED, ASK, routed(back, C, A))


def test_a_rule_taken_away_cuts_both_directions(world: World) -> None:
    hide(world, A)
    world.send(A, frame(A, C, UDP))
    assert world.send(C, frame(C, A, BACK)).verdict.action is Action.DELIVERED
    world.put_list(ANY, [])
    world.bump()
    assert world.send(C, frame(C, A, BACK)).drop is Drop.SECURITY_GROUP
    assert world.send(A, frame(A, C, Tcp(4000, 80))).drop is Drop.SECURITY_GROUP


def test_stateless_rules_have_their_say_on_the_reply(world: World) -> None:
    rule = Rule(MatchField.SRC_PORTS, MatchField(0), RuleAction.DROP, src_low=53, src_high=53)
    world.put_acl(60, 61, [rule])
    world.change("routers", 1, acls_forward=60)
    world.send(A, frame(A, C, UDP))
    assert world.send(C, frame(C, A, BACK)).drop is Drop.ACL_DROP


@BOTH
def test_an_echo_reply_is_a_reply_and_a_request_is_none(world: World, version: int) -> None:
    hide(world, A)
    request, answer = (8, 0) if version == 4 else (128, 129)
    world.send(A, frame(A, C, Icmp(request, rest=b"\0\7\0\1"), version))
    assert world.send(C, frame(C, A, Icmp(answer, rest=b"\0\7\0\1"), version)).verdict.tunnel is RETURN
    assert world.send(C, frame(C, A, Icmp(request, rest=b"\0\7\0\1"), version)).drop is Drop.SECURITY_GROUP


def test_an_error_about_a_connection_is_a_reply(world: World) -> None:
    hide(world, A)
    world.send(A, frame(A, C, UDP))
    about = build_ip(packet(A, C, UDP))
    error = frame(C, A, Icmp(3, 3, data=about))
    got = world.send(C, error)
    assert (got.verdict.action, got.data) == (Action.DELIVERED, routed(error, C, A))
    other = frame(C, A, Icmp(3, 3, data=build_ip(packet(A, C, Udp(4001, 53)))))
    assert world.send(C, other).drop is Drop.SECURITY_GROUP


def test_tcp_is_followed_through_its_life(world: World) -> None:
    def life() -> Life:
        found = record(world, A, C, Tcp(4000, 80))
        assert found is not None
        return found.life

    lives = []
    for port, payload in (
        (A, Tcp(4000, 80, SYN)),
        (C, Tcp(80, 4000, SYN | ACK)),
        (A, Tcp(4000, 80, ACK)),
        (C, Tcp(80, 4000, FIN)),
        (A, Tcp(4000, 80, SYN)),
        (C, Tcp(80, 4000, SYN | ACK)),
        (A, Tcp(4000, 80, ACK)),
        (A, Tcp(4000, 80, FIN)),
    ):
        got = world.send(port, frame(port, C if port == A else A, payload))
        assert got.verdict.action is Action.DELIVERED
        lives.append(life())
    opening, opened, closing = Life.OPENING, Life.OPEN, Life.CLOSING
    assert lives == [opening, opened, opened, closing, opening, opened, opened, closing]


def test_what_is_no_tcp_segment_opens_nothing(world: World) -> None:
    assert world.send(A, frame(A, C, Tcp(4000, 80, SYN | FIN))).drop is Drop.INVALID_STATE
    assert world.send(A, frame(A, C, Tcp(4000, 80, TcpFlag(0)))).drop is Drop.INVALID_STATE
    assert world.send(A, frame(A, C, Tcp(4000, 80, TcpFlag.RST))).verdict.action is Action.DELIVERED
    assert record(world, A, C, Tcp(4000, 80)) is None


def test_a_port_has_no_more_connections_than_its_quota(world: World) -> None:
    world.change_port(A, quota=2)
    drops = [world.send(A, frame(A, C, Udp(port, 53))).drop for port in (1, 2, 3, 1)]
    assert drops == [None, None, Drop.TABLE_FULL, None]


# --- the far port on another host ---------------------------------------------------------------------------


@BOTH
def test_a_return_goes_to_its_opener(world: World, version: int) -> None:
    hide(world, A)
    world.send(A, frame(A, D, UDP, version))
    back = frame(D, A, BACK, version)
    for hit in (0, 1):
        got = world.arrive(world.wrapped(A, D, back, RETURN))
        assert (got.verdict.action, got.verdict.hit) == (Action.DELIVERED, hit)
        assert got.data == routed(back, D, A)


@pytest.mark.parametrize("flag", [RETURN, ASK])
def test_nobody_replies_to_what_was_never_said(world: World, flag: TunnelFlag) -> None:
    back = frame(D, A, BACK)
    assert world.arrive(world.wrapped(A, D, back, flag)).drop is Drop.UNSOLICITED


def test_only_the_far_port_replies(world: World) -> None:
    world.add_machine(C, host=OTHER)
    world.send(A, frame(A, D, UDP))
    assert world.arrive(world.wrapped(A, C, frame(D, A, BACK), RETURN)).drop is Drop.UNSOLICITED


# --- the opener on another host -----------------------------------------------------------------------------


@BOTH
def test_what_was_judged_elsewhere_is_delivered_and_learned_from(world: World, version: int) -> None:
    here = Frame(mac(C), mac(EDGE_DB), packet(D, C, UDP, version, ttl=63))
    for hit in (0, 1):
        got = world.arrive(world.wrapped(C, D, here, LEARN))
        assert (got.verdict.action, got.verdict.hit, got.data) == (Action.DELIVERED, hit, build(here))
    noted = hint(world, C, D, BACK, version)
    assert noted is not None and noted.opener == D


def test_without_learn_nothing_is_learned(world: World) -> None:
    world.arrive(world.wrapped(C, D, frame(D, C, UDP), NONE))
    assert hint(world, C, D) is None


@BOTH
def test_with_a_hint_a_reply_goes_back_as_it_is(world: World, version: int) -> None:
    world.arrive(world.wrapped(C, D, frame(D, C, UDP, version), LEARN))
    back = frame(C, D, BACK, version)
    for hit in (0, 1):
        got = world.send(C, back)
        assert (got.verdict.tunnel, got.verdict.hit, got.inner) == (RETURN, hit, build(back))


def test_learning_ends_what_was_decided_about_replies(world: World) -> None:
    assert world.send(C, frame(C, D, BACK)).verdict.tunnel is LEARN
    world.tables["records"].clear()
    world.arrive(world.wrapped(C, D, frame(D, C, UDP), LEARN))
    assert world.send(C, frame(C, D, BACK)).verdict.tunnel is RETURN


def test_a_live_hint_is_replaced_only_by_its_own_opener(world: World) -> None:
    world.put("hints", key(C, D, BACK), Hint(A, world.now()))
    world.arrive(world.wrapped(C, D, frame(D, C, UDP), LEARN))
    noted = hint(world, C, D)
    assert noted is not None and noted.opener == A


# --- who is believed ----------------------------------------------------------------------------------------


def test_what_is_not_for_us_goes_on_to_the_hosts_own_stack(world: World) -> None:
    inner = frame(D, C, UDP)
    for fields in ({"dst": ip(A, 4)}, {"payload": Udp(50000, 4790, bytes(60))}):
        got = world.arrive(world.wrapped(C, D, inner, **fields))
        assert (got.code, got.verdict.action) == (-1, Action.PASSED)


def test_a_stranger_is_not_believed(world: World) -> None:
    got = world.arrive(world.wrapped(C, D, frame(D, C, UDP), src=ip(A, 4)))
    assert got.drop is Drop.UNKNOWN_PEER


def test_a_fenced_host_is_not_believed_even_about_known_flows(world: World) -> None:
    world.arrive(world.wrapped(C, D, frame(D, C, UDP)))
    world.change("hosts", OTHER, flags=HostFlag.FENCED)
    assert world.arrive(world.wrapped(C, D, frame(D, C, UDP))).drop is Drop.FENCED


def test_a_host_speaks_for_its_own_ports_only(world: World) -> None:
    assert world.arrive(world.wrapped(C, A, frame(A, C, UDP))).drop is Drop.FORGED_SOURCE


def test_a_key_that_is_not_here_is_unknown(world: World) -> None:
    assert world.arrive(world.wrapped(4711, D, frame(D, C, UDP))).drop is Drop.UNKNOWN_KEY
    assert world.arrive(world.wrapped(D, D, frame(D, C, UDP))).drop is Drop.UNKNOWN_KEY


def test_a_header_that_is_none_is_malformed(world: World) -> None:
    data = bytearray(world.wrapped(C, D, frame(D, C, UDP)))
    data[49] = 0x80
    assert world.arrive(bytes(data)).drop is Drop.MALFORMED
