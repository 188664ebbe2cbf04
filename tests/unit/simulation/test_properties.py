"""What holds whatever the topology and the packets."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onehop.model import Port
from onehop.model.view import Topology
from onehop.simulation import walk as walks
from onehop.simulation.packet import Frame, Icmp, Ipv4, Ipv6, Tcp, TcpFlag, Udp, build
from onehop.simulation.packet_text import mac_for
from onehop.simulation.state import State
from onehop.simulation.verdict import Output
from tests.support.virtual import Virtual, frame_of, topology
from tests.unit.simulation.shop import SHOP

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Tenant:
    """Networks in a row, with routers between them, machines on each, and rules by chance."""

    networks: int
    machines: int
    seed: int

    def document(self, stack: str = "one") -> dict[str, object]:
        chance = random.Random(self.seed)
        names = [f"{stack}-n{n}" for n in range(self.networks)]
        groups = {f"{stack}-g{n}": {"rules": self._rules(chance)} for n in range(2)}
        return {
            "networks": {
                name: {
                    "subnets": {
                        "v4": {"cidr": f"10.0.{n}.0/24"},
                        "v6": {"cidr": f"fd00:{n}::/64"},
                    },
                    "ports": {f"{name}-m{m}": self._port(chance, list(groups)) for m in range(self.machines)},
                }
                for n, name in enumerate(names)
            },
            "security_groups": groups,
            "routers": {f"{stack}-r": {"attach": names}},
        }

    @staticmethod
    def _rules(chance: random.Random) -> dict[str, object]:
        rules: dict[str, object] = {}
        for n in range(chance.randrange(3)):
            rule: dict[str, object] = {"direction": chance.choice(["ingress", "ingress", "egress"])}
            if chance.random() < 0.7:
                rule["protocol"] = chance.choice(["tcp", "udp", "icmp", "icmpv6"])
            if chance.random() < 0.3:
                rule["remote_cidr"] = chance.choice(["10.0.0.0/24", "fd00:1::/64"])
            rules[f"rule-{n}"] = rule
        return rules

    @staticmethod
    def _port(chance: random.Random, groups: list[str]) -> dict[str, object]:
        secure = chance.random() < 0.8
        return {
            "port_security": secure,
            "security_groups": chance.sample(groups, chance.randrange(3)) if secure else [],
        }


tenants = st.builds(Tenant, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))


@st.composite
def packets(draw: st.DrawFn, view: Topology) -> tuple[Port, Port, Frame]:
    """A packet of one machine to another."""
    machines = [p for p in view.all(Port) if p.kind == "vm"]
    source, target = draw(st.sampled_from(machines)), draw(st.sampled_from(machines))
    return source, target, draw(frames(view, source, target))


@st.composite
def frames(draw: st.DrawFn, view: Topology, source: Port, target: Port) -> Frame:
    family = draw(st.sampled_from([0, 1]))
    src, dst = (port.addresses[family].ip for port in (source, target))
    sport, dport = draw(st.integers(1, 65535)), draw(st.sampled_from([22, 53, 80, 443, 8080]))
    echo = Icmp(128 if ":" in str(src) else 8, rest=sport.to_bytes(2, "big") + b"\0\1")
    payload = draw(st.sampled_from([Tcp(sport, dport), Udp(sport, dport), echo]))
    make = Ipv6 if ":" in str(src) else Ipv4
    packet = make(type_of(src), type_of(dst), payload)  # type: ignore[arg-type]
    return Frame(mac_for(view, source, packet.dst), source.mac, packet)


def type_of(text: str | None) -> object:
    from onehop.model.formats import parse_ip

    return parse_ip(text or "")


def reply_to(output: Output) -> Frame:
    frame = frame_of(output)
    ip = frame.payload
    assert isinstance(ip, Ipv4 | Ipv6)
    match ip.payload:
        case Tcp(sport, dport):
            payload: Tcp | Udp | Icmp = Tcp(dport, sport, TcpFlag.SYN | TcpFlag.ACK)
        case Udp(sport, dport):
            payload = Udp(dport, sport)
        case Icmp() as icmp:
            payload = Icmp({8: 0, 128: 129}[icmp.type], rest=icmp.rest)
        case other:
            raise AssertionError(other)
    back = Ipv4(ip.dst, ip.src, payload) if isinstance(ip, Ipv4) else Ipv6(ip.dst, ip.src, payload)
    return Frame(frame.src, frame.dst, back)


@relaxed
@given(tenants, st.data())
def test_a_reply_to_an_allowed_packet_is_delivered_whatever_is_forgotten(
    tenant: Tenant, data: st.DataObject
) -> None:
    view = topology_of(tenant.document())
    source, _, frame = data.draw(packets(view))
    sent = walks.walk(view, State(), source.id, build(frame))
    for output in sent.outputs:
        state = State().after(sent.effects)
        for remembered in (state, State(records=state.records)):
            back = walks.walk(view, remembered, output.target, build(reply_to(output)))
            assert [o.target for o in back.outputs] == [source.id], back


def topology_of(document: dict[str, object]) -> Topology:
    import yaml

    return topology(yaml.safe_dump(document))


@relaxed
@given(tenants, tenants, st.data())
def test_tenants_never_meet(one: Tenant, two: Tenant, data: st.DataObject) -> None:
    first, second = one.document("one"), two.document("two")
    both = topology_of({key: {**first[key], **second[key]} for key in first})  # type: ignore[dict-item]
    source, _, frame = data.draw(packets(both))
    verdict = walks.walk(both, State(), source.id, build(frame))
    for output in verdict.outputs:
        target = both.get(Port, output.target)
        assert target is not None and target.name[:3] == source.name[:3]


@relaxed
@given(tenants, st.randoms(use_true_random=False), st.data())
def test_the_order_in_which_a_topology_is_built_changes_nothing(
    tenant: Tenant, order: random.Random, data: st.DataObject
) -> None:
    view = topology_of(tenant.document())
    objects = list(view)
    order.shuffle(objects)
    shuffled = Topology(objects + objects[: len(objects) // 2])
    source, _, frame = data.draw(packets(view))
    assert walks.walk(view, State(), source.id, build(frame)) == walks.walk(
        shuffled, State(), source.id, build(frame)
    )


@relaxed
@given(tenants, st.data())
def test_what_a_port_is_refused_never_leaves_its_host_unless_it_may_be_a_reply(
    tenant: Tenant, data: st.DataObject
) -> None:
    view = topology_of(tenant.document())
    source, _, frame = data.draw(packets(view))
    verdict = walks.send(view, State(), source.id, build(frame))
    if verdict.drop is not None:
        assert verdict.outputs == ()
    for output in verdict.outputs:
        opens = isinstance(frame.payload, Ipv4 | Ipv6) and not isinstance(frame.payload.payload, Udp)
        assert output.refused is None or not opens


PORTS = ["web-1", "bare", "open", "db-1"]
SAMPLES = [
    "tcp 10.0.1.11:4000 > 10.0.2.21:5432",
    "udp [fd00:1::11]:4000 > [fd00:2::21]:53",
    "icmp 10.0.1.11 > 10.0.2.21",
    "icmp 10.0.1.11 > 10.0.1.14 type=3 code=3",
    "arp who-has 10.0.1.12 tell 10.0.1.11",
    "nd who-has fd00:1::12 tell fd00:1::11",
]
MUTATION = st.tuples(st.integers(0, 200), st.integers(0, 255))


@relaxed
@given(st.sampled_from(PORTS), st.binary(max_size=150))
def test_no_bytes_raise(port: str, data: bytes) -> None:
    shop = Virtual(SHOP)
    verdict = shop.send(port, data)
    assert (
        verdict.drop is not None or verdict.outputs or verdict.answers or verdict.requests or len(data) >= 14
    )


@settings(relaxed, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(SAMPLES), st.lists(MUTATION, max_size=3)), min_size=1, max_size=4))
def test_no_mutated_packets_raise(sent: list[tuple[str, list[tuple[int, int]]]]) -> None:
    shop = Virtual(VIEW)
    for text, changes in sent:
        data = bytearray(build(shop.frame("web-1", text)))
        for at, value in changes:
            data[at % len(data)] = value
        for port in ("web-1", "open"):
            shop.send(port, bytes(data))


VIEW = topology(SHOP)
