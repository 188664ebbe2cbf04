"""A packet's life through routers: which way, how far, and what the sender is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from onehop.model import NextHop, Port, Route
from onehop.model.vocabulary import Drop
from onehop.simulation import walk as walks
from onehop.simulation.hashing import choose, connection_hash
from onehop.simulation.neighbours import question
from onehop.simulation.packet import Frame, Icmp, Ipv4, Ipv6, Other, build
from onehop.simulation.packet_text import describe
from onehop.simulation.state import Tuple
from onehop.simulation.verdict import Ask
from tests.support.virtual import Virtual, frame_of
from tests.unit.simulation.changes import add, change

WEB_EDGE, DB_EDGE, DB_1 = "02:00:00:00:01:01", "02:00:00:00:02:01", "02:00:00:00:02:21"


def route(shop: Virtual, name: str, destination: str, **fields: object) -> Route:
    """A route of the router `edge`."""
    router = shop.find("router", "edge")
    made = Route(
        id=f"00000000-0000-0000-0000-{len(name):012d}", name=name, router=router.id, destination=destination
    )
    return type(made)(**{**{f: getattr(made, f) for f in made.__struct_fields__}, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("packet", "arrives"),
    [
        ("udp 10.0.1.11:4000 > 10.0.2.21:53", "udp 10.0.1.11:4000 > 10.0.2.21:53 ttl=63"),
        ("udp [fd00:1::11]:4000 > [fd00:2::21]:53", "udp [fd00:1::11]:4000 > [fd00:2::21]:53 ttl=63"),
    ],
)
def test_a_packet_crosses_a_router(shop: Virtual, packet: str, arrives: str) -> None:
    verdict = shop.send("web-1", packet)
    assert shop.got() == [("db-1", arrives)]
    frame = frame_of(verdict.outputs[0])
    assert (frame.src, frame.dst) == (DB_EDGE, DB_1)


def test_nothing_but_macs_ttl_and_checksum_changes(shop: Virtual) -> None:
    sent = shop.frame("web-1", "udp 10.0.1.11:4000 > 10.0.2.21:53 size=100 dscp=46 df")
    assert isinstance(sent.payload, Ipv4)
    expected = Frame(DB_1, DB_EDGE, replace(sent.payload, ttl=63), trailer=b"pad")
    verdict = shop.send("web-1", replace(sent, trailer=b"pad"))
    assert [o.data for o in verdict.outputs] == [build(expected)]


@pytest.mark.parametrize("target", ["10.0.1.1", "10.0.2.1", "fd00:1::1", "fd00:2::1"])
def test_the_router_answers_a_ping_to_any_of_its_addresses(shop: Virtual, target: str) -> None:
    source = "10.0.1.11" if "." in target else "fd00:1::11"
    sent = shop.frame("web-1", f"icmp {source} > {target} id=7 seq=9 size=33")
    verdict = shop.send("web-1", sent)
    reply = frame_of(verdict.answers[0])
    assert describe(reply) == f"icmp {target} > {source} reply id=7 ttl=64"
    assert (reply.src, reply.dst) == (sent.dst, sent.src)
    assert verdict.answers[0].data == build(_unchecked(reply)), "checksums are right"


def _unchecked(frame: Frame) -> Frame:
    ip = frame.payload
    assert isinstance(ip, Ipv4 | Ipv6) and isinstance(ip.payload, Icmp)
    ip = replace(ip, payload=replace(ip.payload, checksum=None))
    return replace(frame, payload=replace(ip, checksum=None) if isinstance(ip, Ipv4) else ip)


def test_the_router_serves_nothing_else(shop: Virtual) -> None:
    assert shop.send("web-1", "tcp 10.0.1.1:22").drop == Drop.NO_SUCH_SERVICE
    assert shop.answered() == ["icmp 10.0.1.1 > 10.0.1.11 type=3 code=3 ttl=64"]
    assert shop.send("web-1", "udp [fd00:1::1]:22").drop == Drop.NO_SUCH_SERVICE
    assert shop.answered() == ["icmp fd00:1::1 > fd00:1::11 type=1 code=4 ttl=64"]


@pytest.mark.parametrize(
    ("packet", "drop", "answer"),
    [
        ("udp 10.0.2.21:53 ttl=1", Drop.TTL_EXPIRED, "icmp 10.0.1.1 > 10.0.1.11 type=11 code=0 ttl=64"),
        ("udp [fd00:2::21]:53 ttl=1", Drop.TTL_EXPIRED, "icmp fd00:1::1 > fd00:1::11 type=3 code=0 ttl=64"),
        ("udp 10.0.2.21:53 ttl=0", Drop.TTL_EXPIRED, "icmp 10.0.1.1 > 10.0.1.11 type=11 code=0 ttl=64"),
        ("udp 192.0.2.1:53", Drop.NO_ROUTE, "icmp 10.0.1.1 > 10.0.1.11 type=3 code=0 ttl=64"),
        ("udp [2001:db8::1]:53", Drop.NO_ROUTE, "icmp fd00:1::1 > fd00:1::11 type=1 code=0 ttl=64"),
    ],
)
def test_a_sender_is_told_why_it_goes_no_further(shop: Virtual, packet: str, drop: Drop, answer: str) -> None:
    assert shop.send("web-1", packet).drop == drop
    assert shop.answered() == [answer]


@pytest.mark.parametrize(
    ("packet", "drop"),
    [
        (f"udp 239.1.1.1:53 dst-mac={WEB_EDGE}", Drop.BAD_ADDRESS),
        (f"udp 255.255.255.255:53 dst-mac={WEB_EDGE}", Drop.BAD_ADDRESS),
        ("udp 10.0.2.255:53", Drop.BAD_ADDRESS),
        (f"udp [fe80::9]:53 dst-mac={WEB_EDGE}", Drop.BAD_ADDRESS),
        (f"udp [fe80::ff:fe00:111]:9 > [fd00:2::21]:53 dst-mac={WEB_EDGE}", Drop.BAD_ADDRESS),
    ],
)
def test_what_stays_on_a_network_is_not_routed(shop: Virtual, packet: str, drop: Drop) -> None:
    assert shop.send("web-1", packet).drop == drop
    assert shop.answered() == []


def test_a_router_forwards_ip_only(shop: Virtual) -> None:
    frame = Frame(WEB_EDGE, "02:00:00:00:01:11", Other(0x88B5, b"anything"))
    assert shop.send("web-1", frame).drop == Drop.NOT_IP


def test_a_router_that_is_off_drops_everything(shop: Virtual) -> None:
    change(shop, shop.find("router", "edge"), admin_up=False)
    assert shop.send("web-1", "udp 10.0.2.21:53").drop == Drop.ROUTER_DOWN


# --- which way --------------------------------------------------------------------------------------------


def test_the_longest_destination_wins_and_then_the_longest_source(shop: Virtual) -> None:
    add(
        shop,
        route(shop, "a", "0.0.0.0/0", action="blackhole"),
        route(shop, "ab", "10.0.2.0/25", source="10.0.1.0/24", action="reject"),
        route(shop, "abc", "10.0.2.0/25", source="10.0.1.11/32", action="blackhole"),
        route(shop, "abcd", "10.0.2.21/32", source="10.0.1.12/32", next_hops=(NextHop(ip="10.0.2.21"),)),
    )
    assert shop.send("web-1", "udp 192.0.2.1:53").drop == Drop.BLACKHOLE
    assert shop.send("web-1", "udp 10.0.2.21:53").drop == Drop.BLACKHOLE
    assert shop.send("bare", "udp 10.0.2.21:53").drop == Drop.REJECT_ROUTE
    assert shop.answered() == ["icmp 10.0.1.1 > 10.0.1.13 type=3 code=0 ttl=64"]
    assert shop.send("web-2", "udp 10.0.2.21:53").delivered


def test_a_route_goes_before_a_subnet_of_the_same_length(shop: Virtual) -> None:
    add(shop, route(shop, "a", "10.0.2.0/24", action="blackhole"))
    assert shop.send("web-1", "udp 10.0.2.21:53").drop == Drop.BLACKHOLE


def test_a_way_through_a_port_that_is_off_does_not_count(shop: Virtual) -> None:
    change(shop, shop.find("port", "db"), admin_up=False)
    assert shop.send("web-1", "udp 10.0.2.21:53").drop == Drop.NO_ROUTE


def test_a_route_leads_through_a_machine(shop: Virtual) -> None:
    add(shop, route(shop, "a", "10.50.0.0/16", next_hops=(NextHop(ip="10.0.2.21"),)))
    shop.send("web-1", "udp 10.50.1.1:53")
    assert shop.got() == [("db-1", "udp 10.0.1.11:40000 > 10.50.1.1:53 ttl=63")]


def fan(shop: Virtual, *weights: int) -> list[Port]:
    """Machines on db, each a next hop to 10.50.0.0/16."""
    db = shop.port("db-1")
    ports, hops = [], []
    for n, weight in enumerate(weights, start=1):
        address = type(db.addresses[0])(subnet=db.addresses[0].subnet, ip=f"10.0.2.{100 + n}")
        fields = {f: getattr(db, f) for f in db.__struct_fields__}
        fields |= {"id": f"10000000-0000-0000-0000-{n:012d}", "name": f"fan-{n}"}
        fields |= {"mac": f"02:00:00:00:02:a{n}", "addresses": (address,)}
        ports.append(Port(**fields))
        hops.append(NextHop(ip=f"10.0.2.{100 + n}", weight=weight))
    add(shop, *ports, route(shop, "fan", "10.50.0.0/16", next_hops=tuple(hops)))
    return ports


def test_connections_are_spread_by_weight_and_each_stays_whole(shop: Virtual) -> None:
    fan(shop, 1, 3)
    taken: Counter[str] = Counter()
    for port in range(1000, 1400):
        first = walks.walk(shop.view, shop.state, *_sent(shop, f"udp 10.0.1.11:{port} > 10.50.1.1:53"))
        again = walks.walk(shop.view, shop.state, *_sent(shop, f"udp 10.0.1.11:{port} > 10.50.1.1:53 size=9"))
        assert [o.target for o in first.outputs] == [o.target for o in again.outputs]
        taken[shop.got(first)[0][0]] += 1
    assert set(taken) == {"fan-1", "fan-2"}
    assert 60 <= taken["fan-1"] <= 140, taken


def _sent(shop: Virtual, packet: str) -> tuple[str, bytes]:
    return shop.port("web-1").id, build(shop.frame("web-1", packet))


def test_the_hash_of_a_connection_is_what_is_written_down() -> None:
    tuple4 = Tuple(6, ip_address("10.0.1.5"), ip_address("10.0.2.7"), 4000, 80)
    tuple6 = Tuple(17, ip_address("fd00:1::5"), ip_address("fd00:2::7"), 4000, 53)
    assert (connection_hash(tuple4, 2), connection_hash(tuple6, 2)) == (935548356, 3775476889)


@pytest.mark.parametrize(
    ("hash", "weights", "index"),
    [
        (0, [1], 0),
        (0, [1, 1], 0),
        (0x7FFFFFFF, [1, 1], 0),
        (0x80000000, [1, 1], 1),
        (0xFFFFFFFF, [1, 1, 2], 2),
    ],
)
def test_a_hash_falls_to_the_share_of_its_weight(hash: int, weights: list[int], index: int) -> None:
    assert choose(hash, weights) == index


# --- neighbours -------------------------------------------------------------------------------------------


def test_an_unknown_neighbour_is_asked_for_while_the_packet_waits(shop: Virtual) -> None:
    verdict = shop.send("web-1", "udp 10.0.2.99:53")
    assert verdict.drop is None and not verdict.outputs
    request = verdict.requests[0]
    assert (request.what, str(request.ip)) == (Ask.RESOLVE, "10.0.2.99")
    frame = question(shop.view, request.port, ip_address("10.0.2.99"))
    assert frame is not None and describe(frame) == "arp who-has 10.0.2.99 tell 10.0.2.1"
    flooded = walks.emit(shop.view, shop.state, request.port, frame)
    assert [o.target for o in flooded.outputs] == [shop.find("network", "db").id]


def test_what_a_router_hears_it_knows(shop: Virtual) -> None:
    change(shop, shop.port("db-1"), port_security=False)
    change(shop, shop.find("network", "db"), learning=True)
    shop.send("db-1", "arp 10.0.2.99 is-at 02:00:00:00:02:99")
    shop.send("db-1", "udp 10.0.2.99:1 > 10.0.1.11:1 src-mac=02:00:00:00:02:99")
    shop.send("web-1", "udp 10.0.2.99:53")
    assert shop.got() == [("db-1", "udp 10.0.1.11:40000 > 10.0.2.99:53 ttl=63")]


def test_the_model_is_believed_before_any_neighbour(shop: Virtual) -> None:
    change(shop, shop.port("open"), addresses=())
    shop.send("open", "arp 10.0.1.12 is-at 02:00:00:00:01:14")
    shop.send("db-1", "tcp 10.0.1.12:80")
    assert [port for port, _ in shop.got()] == ["web-2"]


def test_an_address_that_is_on_no_subnet_of_the_interface_is_not_learned(shop: Virtual) -> None:
    verdict = shop.send("open", "arp 10.0.2.99 is-at 02:00:00:00:01:14")
    assert verdict.effects == () or all(type(e).__name__ != "LearnNeighbour" for e in verdict.effects)


# --- several routers --------------------------------------------------------------------------------------

DEEP = """
networks:
  left: {subnets: {v4: {cidr: 10.0.1.0/24}}, ports: {a: {port_security: false}}}
  right: {subnets: {v4: {cidr: 10.0.2.0/24}}, ports: {b: {port_security: false}}}
routers:
  r1:
    attach: [left]
    ports: {to-r2: {addresses: [{ip: 169.254.0.1, prefix: 30}]}}
    routes: {right: {destination: 0.0.0.0/0, next_hops: [{ip: 169.254.0.2}]}}
  r2:
    attach: [right]
    ports: {to-r1: {addresses: [{ip: 169.254.0.2, prefix: 30}]}}
    routes: {left: {destination: 0.0.0.0/0, next_hops: [{ip: 169.254.0.1}]}}
links: {r1-r2: {a: r1/to-r2, b: r2/to-r1}}
"""


def test_traceroute_shows_each_router_and_then_the_machine() -> None:
    deep = Virtual(DEEP)
    hops = []
    for ttl in (1, 2, 3):
        deep.send("a", f"udp 10.0.2.2:33434 ttl={ttl}")
        hops += [text.split(" ")[1] for text in deep.answered()] + [port for port, _ in deep.got()]
    assert hops == ["10.0.1.1", "169.254.0.2", "b"]


def test_a_loop_ends_in_a_named_drop() -> None:
    deep = Virtual(DEEP)
    assert deep.send("a", "udp 192.0.2.1:53").drop == Drop.TOO_MANY_DEVICES
    assert deep.send("a", "udp 192.0.2.1:53 ttl=5").drop == Drop.TTL_EXPIRED


def test_an_address_on_a_link_that_nobody_has_is_named() -> None:
    change(deep := Virtual(DEEP), deep.find("port", "to-r1"), addresses=())
    assert deep.send("a", "udp 192.0.2.1:53").drop == Drop.NO_NEIGHBOUR
