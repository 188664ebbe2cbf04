"""Stage NAT, where a scenario cannot say it: which port is chosen, who is told, what goes before what."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from onehop.model import NatRule, Port, SnatBlock
from onehop.model.translation import Place, block_at, first_blocks
from onehop.model.vocabulary import Drop
from onehop.simulation.hashing import connection_hash
from onehop.simulation.packet import TCP, Frame, Ipv4, Tcp, TcpFlag, Udp
from onehop.simulation.state import Tuple
from onehop.simulation.verdict import Ask
from tests.support.virtual import Virtual, frame_of, topology, why

CLOUD = """
project: demo
underlays: {{floor: {{}}}}
hosts: {{one: {{addresses: [{{underlay: floor, ip: 192.0.2.1}}]}}}}
networks:
  web:
    subnets: {{v4: {{cidr: 10.0.1.0/24}}}}
    ports: {{a: {{addresses: [{{ip: 10.0.1.5}}]}}, b: {{addresses: [{{ip: 10.0.1.6}}]}}}}
routers:
  edge:
    attach: [web]
    ports:
      up:
        addresses: [{{ip: 203.0.113.2, prefix: 24}}]
        bindings: {{one: {{host: one, interface: eth1}}}}
        nat_rules: {rules}
    routes: {{out: {{destination: 0.0.0.0/0, next_hops: [{{ip: 203.0.113.1}}]}}}}
"""
MASQUERADE = "{share: {action: masquerade}}"
FULL = """{share: {action: masquerade},
           all: {action: dnat, internal: 10.0.1.6, protocol: tcp, ports: "1024-1151"}}"""


def cloud(rules: str = MASQUERADE) -> Virtual:
    return Virtual(topology(CLOUD.format(rules=rules)))


def left(virtual: Virtual, packet: str, port: str = "a") -> tuple[str, int]:
    """From which address and port a packet leaves."""
    verdict = virtual.send(port, packet)
    assert len(verdict.outputs) == 1, why(verdict)
    ip = frame_of(verdict.outputs[0]).payload
    assert isinstance(ip, Ipv4) and isinstance(ip.payload, Tcp | Udp)
    return str(ip.src), ip.payload.src


def blocks(virtual: Virtual, port: str) -> list[SnatBlock]:
    return virtual.view.children(SnatBlock, virtual.port(port).id)


def give(virtual: Virtual, port: str, first: int) -> None:
    """One more block for a machine."""
    rule = virtual.find("nat-rule", "share")
    assert isinstance(rule, NatRule)
    at = virtual.view.get(Port, rule.port)
    assert at is not None and at.router is not None
    block = block_at(Place(at.router, "203.0.113.2", first), virtual.port(port), rule)
    virtual.view.put(block)  # type: ignore[attr-defined]


def test_the_shared_port_lies_in_the_machines_own_block() -> None:
    virtual = cloud()
    for name in ("a", "b"):
        (block,) = blocks(virtual, name)
        source = "10.0.1.5" if name == "a" else "10.0.1.6"
        for port in range(4000, 4020):
            ip, chosen = left(virtual, f"tcp {source}:{port} > 8.8.8.8:80 SYN", name)
            assert ip == block.ip and block.first <= chosen < block.first + 128


def test_candidates_are_counted_through_the_sorted_blocks() -> None:
    virtual = cloud()
    (block,) = blocks(virtual, "a")
    virtual.view.remove(block.id)  # type: ignore[attr-defined]
    for first in (6400, 2048, 4096):
        give(virtual, "a", first)
    ends = Tuple(TCP, ip_address("10.0.1.5"), ip_address("8.8.8.8"), 4000, 80)
    x = connection_hash(ends, 0) % 384
    expected = (2048, 4096, 6400)[x // 128] + x % 128
    assert left(virtual, "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN") == ("203.0.113.2", expected)


def test_a_port_serves_each_destination_once() -> None:
    virtual = cloud()
    seen = set()
    for port in range(4000, 4030):
        for other in ("8.8.8.8", "8.8.4.4"):
            seen.add((other, *left(virtual, f"udp 10.0.1.5:{port} > {other}:53")))
    assert len(seen) == 60


def test_a_port_that_is_forwarded_is_nobodys_to_send_from() -> None:
    virtual = cloud(FULL)
    (block,) = blocks(virtual, "a")
    if block.first != 1024:
        (block,) = blocks(virtual, "b")
    name, ip = ("a", "10.0.1.5") if block.port == virtual.port("a").id else ("b", "10.0.1.6")
    assert virtual.send(name, f"tcp {ip}:4000 > 8.8.8.8:80 SYN").drop is Drop.NAT_EXHAUSTED
    assert left(virtual, f"udp {ip}:4000 > 8.8.8.8:80", name)[1] >= 1024


def test_the_agent_is_told_before_ports_run_out_and_while_there_are_none() -> None:
    virtual = cloud()
    told = {}
    for port in range(10000, 10300):
        verdict = virtual.send("a", f"udp 10.0.1.5:{port} > 8.8.8.8:53")
        told[port] = (verdict.drop, bool([r for r in verdict.requests if r.what is Ask.BLOCKS]))
    assert (None, True) in told.values(), "told before the first is dropped"
    assert not told[10000][1]
    assert all(asks for drop, asks in told.values() if drop is Drop.NAT_EXHAUSTED)
    first_told = next(port for port, (_, asks) in told.items() if asks)
    first_drop = next(port for port, (drop, _) in told.items() if drop is not None)
    assert first_told < first_drop


def test_more_blocks_are_more_ports() -> None:
    virtual = cloud()
    for port in range(10000, 10300):
        virtual.send("a", f"udp 10.0.1.5:{port} > 8.8.8.8:53")
    full = len(virtual.state.records)
    for first in (6400, 6528, 6656):
        give(virtual, "a", first)
    for port in range(11000, 11300):
        virtual.send("a", f"udp 10.0.1.5:{port} > 8.8.8.8:53")
    assert full <= 128 < len(virtual.state.records)


def test_a_machine_without_a_block_has_no_ports() -> None:
    virtual = cloud()
    for block in blocks(virtual, "a"):
        virtual.view.remove(block.id)  # type: ignore[attr-defined]
    verdict = virtual.send("a", "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN")
    assert verdict.drop is Drop.NAT_EXHAUSTED and verdict.requests[0].what is Ask.BLOCKS
    assert verdict.requests[0].rule == virtual.find("nat-rule", "share").id
    for block in first_blocks(virtual.view):
        virtual.view.put(block)  # type: ignore[attr-defined]
    assert virtual.send("a", "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN").drop is None


def test_a_question_whether_a_connection_passes_takes_no_port() -> None:
    virtual = cloud()
    sent = virtual.send("a", "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN")
    frame = frame_of(sent.outputs[0])
    ip = frame.payload
    assert isinstance(ip, Ipv4) and isinstance(ip.payload, Tcp)
    answer = Tcp(80, ip.payload.src, TcpFlag.SYN | TcpFlag.ACK)
    reply = Frame(virtual.port("up").mac, "02:0f:00:00:00:01", Ipv4(ip.dst, ip.src, answer))
    verdict = virtual.send("up", reply)
    assert verdict.delivered and len(virtual.state.records) == 1
    for block in blocks(virtual, "a"):
        virtual.view.remove(block.id)  # type: ignore[attr-defined]
    assert virtual.send("up", reply).drop is not None
    assert len(virtual.state.records) == 1, "asking deletes nothing"


ALL = "m: {action: masquerade}"
POOL = "p: {action: snat, pools: [{first: 203.0.113.9, last: 203.0.113.9}]}"
POOL_OF_A = "p: {action: snat, source: 10.0.1.5/32, pools: [{first: 203.0.113.9, last: 203.0.113.9}]}"
POOL_OF_B = "p: {action: snat, source: 10.0.1.6/32, pools: [{first: 203.0.113.9, last: 203.0.113.9}]}"
MANY = "s: {action: static, external: 203.0.113.16/28, internal: 10.0.1.0/28}"
ONE = "o: {action: static, external: 203.0.113.77/32, internal: 10.0.1.5/32}"
PRIORITIES = [
    ([ALL], "203.0.113.2"),
    ([ALL, POOL], "203.0.113.9"),
    ([ALL, MANY], "203.0.113.21"),
    ([ONE, MANY], "203.0.113.77"),
    ([POOL_OF_A, MANY], "203.0.113.9"),
    ([POOL_OF_A, ONE], "203.0.113.77"),
    ([POOL_OF_B], "10.0.1.5"),
    (["m: {action: masquerade, family: ipv6}"], "10.0.1.5"),
]


@pytest.mark.parametrize(("rules", "address"), PRIORITIES)
def test_the_longest_prefix_goes_first_then_the_firmest_rule(rules: list[str], address: str) -> None:
    assert left(cloud("{" + ", ".join(rules) + "}"), "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN")[0] == address


def test_what_is_sent_is_told_with_its_rule() -> None:
    virtual = cloud()
    verdict = virtual.send("a", "tcp 10.0.1.5:4000 > 8.8.8.8:80 SYN")
    rule: Any = virtual.find("nat-rule", "share")
    assert [s.rule for s in verdict.steps if s.stage.name == "NAT"] == [rule.id]


def test_the_same_packets_find_the_same_ports() -> None:
    one, other = cloud(), cloud()
    for port in range(4000, 4040):
        packet = f"tcp 10.0.1.5:{port} > 8.8.8.8:80 SYN"
        assert left(one, packet) == left(other, packet)
