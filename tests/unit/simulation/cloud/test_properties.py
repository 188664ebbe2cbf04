"""What holds in every cloud, whatever is sent and changed: found by trying to break it."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from onehop.model.vocabulary import TunnelFlag
from onehop.simulation.cloud import Life
from onehop.simulation.packet import build
from tests.support.clouds import Clouds
from tests.support.families import Family

MACHINES = ("a", "b", "c", "d", "x", "y")
LINKED = ({"a", "b", "c", "d"}, {"x", "y"})
HOSTS = {"one": ["a", "c", "x"], "two": ["b", "d"], "three": ["y"]}
TOGETHER = {"one": list(MACHINES)}

# `x` and `y` have the addresses and MACs of `a` and `b`, on a network that nothing links to the others.
TOPOLOGY: dict[str, Any] = {
    "networks": {
        "other": {
            "subnets": {"main": {"cidr": "10.0.1.0/24"}},
            "ports": {
                name: {
                    "mac": f"02:00:0a:00:01:0{number}",
                    "addresses": [{"ip": f"10.0.1.{number}"}],
                    "security_groups": ["open"],
                }
                for name, number in (("x", 5), ("y", 6))
            },
        }
    },
    "acls": {"guard": {}},
    "security_groups": {"picky": {}},
}


def _port(network: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"networks": {network: {"ports": {name: fields}}}}


def _rule(**fields: Any) -> dict[str, Any]:
    return {"security_groups": {"picky": {"rules": {"some": {"direction": "ingress", **fields}}}}}


_NO_DNS = [{"id": "no-dns", "action": "drop", "match": {"protocol": "udp", "dst_ports": "53"}}]

# Each can come at any time, in any order, and more than once.
CHANGES: list[dict[str, Any]] = [
    *(
        _port(network, name, **fields)
        for network, name in (("web", "a"), ("db", "c"))
        for fields in (
            {"security_groups": []},
            {"security_groups": ["open"]},
            {"security_groups": ["picky"]},
            {"port_security": False, "security_groups": []},
            {"port_security": None},
            {"admin_up": False},
            {"admin_up": None},
            {"acls_in": ["guard"]},
            {"acls_out": ["guard"]},
            {"acls_in": None, "acls_out": None},
        )
    ),
    _rule(protocol="tcp"),
    _rule(remote_group="open"),
    _rule(remote_cidr="10.0.1.5/32"),
    {"security_groups": {"picky": {"rules": {"some": None}}}},
    {"routers": {"edge": {"acls_forward": ["guard"]}}},
    {"routers": {"edge": {"acls_forward": None}}},
    {"routers": {"edge": {"admin_up": False}}},
    {"routers": {"edge": {"admin_up": None}}},
    {"acls": {"guard": {"rules": _NO_DNS}}},
    {"acls": {"guard": {"stateful": True}}},
    {"acls": {"guard": {"rules": None, "stateful": None}}},
    {"networks": {"web": {"unknown_unicast": "flood"}}},
    {"networks": {"web": {"unknown_unicast": None, "mtu": 1300}}},
    {"routers": {"edge": {"routes": {"hole": {"destination": "10.0.2.8/32", "action": "blackhole"}}}}},
    {"routers": {"edge": {"routes": {"hole": None}}}},
]

# Connections with their replies, both ways and on one network.
OPEN = [
    *(("a", text) for text in ("udp a:4000 > c:53", "tcp a:4000 > b:80 ACK")),
    *(("c", text) for text in ("udp c:53 > a:4000", "tcp c:4000 > a:80 ACK")),
    *(("a", text) for text in ("tcp a:80 > c:4000 ACK", "udp a:4000 > d:80")),
    ("b", "tcp b:80 > a:4000 ACK"),
]

ports = st.sampled_from([53, 80, 4000])
words = st.sampled_from(["", "", "ttl 1", "ttl 2", "size 1280", "dscp 46"])


@st.composite
def packets(draw: st.DrawFn) -> tuple[str, str]:
    """Something that a machine sends: where, and what."""
    at, to = draw(st.sampled_from(MACHINES)), draw(st.sampled_from([*MACHINES, "10.0.1.1", "10.0.9.9"]))
    kind = draw(st.sampled_from(["tcp", "tcp", "udp", "udp", "icmp", "who-has", "broadcast", "fragment"]))
    if kind == "icmp":
        what = draw(
            st.sampled_from(["echo-request", "echo-reply", "unreachable port about udp {to}:53 > {at}:80"])
        )
        return at, f"icmp {at} > {to} {what} id 7".format(at=at, to=to) if "about" not in what else (
            f"icmp {at} > {to} " + what.format(at=at, to=to)
        )
    if kind == "who-has":
        return at, f"who-has {to} tell {at}"
    if kind == "broadcast":
        return at, f"udp {at}:4000 > 10.0.1.255:53 to-mac broadcast"
    if kind == "fragment":
        part = draw(st.sampled_from(["0+ size 800", "808 size 400"]))
        return at, f"udp {at}:4000 > {to}:53 id 77 fragment {part}"
    flags = draw(st.sampled_from(["SYN", "SYN ACK", "ACK", "FIN ACK", "RST"])) if kind == "tcp" else ""
    return at, f"{kind} {at}:{draw(ports)} > {to}:{draw(ports)} {flags} {draw(words)}"


def seen(cloud: Clouds, life: Life) -> Counter[tuple[str, bytes]]:
    """What machines saw of a frame."""
    return Counter(zip(cloud.reached(life), (d.frame for d in life.delivered), strict=True))


def reasons(life: Life) -> set[str]:
    """Why it was dropped; of a flood, each host has its own reasons."""
    return {(d.refused or d.reason).name for d in life.dropped}


def is_flood(life: Life) -> bool:
    return any(o.flags & TunnelFlag.FLOOD for v in life.verdicts for o in v.outputs)


class SameEverywhere(RuleBasedStateMachine):
    """Neither where ports are, nor the flow cache, nor lost flows change what machines see."""

    @initialize(family=st.sampled_from(["v4", "v6"]))
    def start(self, family: Family) -> None:
        self.clouds = {
            f"{place} {'with' if flows else 'without'} flows": Clouds(
                "two-networks", TOPOLOGY, hosts, family, use_flows=flows, budgets=False
            )
            for place, hosts in (("apart", HOSTS), ("together", TOGETHER))
            for flows in (True, False)
        }

        self.recent: deque[tuple[str, str]] = deque(maxlen=4)
        self.again()
        self.again()

    @rule(packet=packets(), times=st.integers(1, 2))
    def send(self, packet: tuple[str, str], times: int) -> None:
        at, text = packet
        for _ in range(times):
            self._send(at, text)
        self.recent.append(packet)

    def again(self) -> None:
        """What was open from the start, and what was sent last: most of it is in the flow caches."""
        for at, text in (*OPEN, *self.recent):
            self._send(at, text)

    def _send(self, at: str, text: str) -> None:
        frames = {build(cloud.frame(text, at)) for cloud in self.clouds.values()}
        assert len(frames) == 1
        lives = {name: cloud.send(text, at) for name, cloud in self.clouds.items()}
        results = {name: seen(self.clouds[name], life) for name, life in lives.items()}
        first = next(iter(results.values()))
        assert all(result == first for result in results.values()), (text, results, lives)
        if not any(is_flood(life) for life in lives.values()):
            dropped = {name: reasons(life) for name, life in lives.items()}
            assert len({frozenset(r) for r in dropped.values()}) == 1, (text, dropped)
        for name, life in lives.items():
            check_crossings(self.clouds[name], at, text, life)
            check_isolation(self.clouds[name], at, life)

    @rule(change=st.sampled_from(CHANGES))
    def change(self, change: dict[str, Any]) -> None:
        for cloud in self.clouds.values():
            cloud.change(change)
        self.again()

    @rule(seconds=st.sampled_from([1.0, 40.0, 200.0, 400.0]))
    def wait(self, seconds: float) -> None:
        for cloud in self.clouds.values():
            cloud.cloud.wait(seconds)

    @rule()
    def lose_flows(self) -> None:
        for cloud in self.clouds.values():
            cloud.cloud.forget(flows=True)

    @invariant()
    def records_are_the_same(self) -> None:
        """The same connections are known, in the same state, wherever they are kept."""
        if not hasattr(self, "clouds"):
            return
        kept = [
            {key: record for host in cloud.cloud.hosts.values() for key, record in host.state.records.items()}
            for cloud in self.clouds.values()
        ]
        assert all(records == kept[0] for records in kept)


def check_crossings(cloud: Clouds, at: str, text: str, life: Life) -> None:
    """A packet crosses once if it is delivered elsewhere; if it is dropped, only as a reply, or asking."""
    remote = {d.host for d in life.delivered} - {cloud.host(at).id}
    plain = [s for s in life.sent if not s.flags & (TunnelFlag.ASK | TunnelFlag.RETURN | TunnelFlag.FLOOD)]
    assert len(life.sent) <= (len(cloud.cloud.hosts) - 1 if is_flood(life) else 1)
    assert len(plain) == (len(remote) if plain else 0)
    if life.asked:
        assert (
            "SYN" not in text.replace("SYN ACK", "") and "echo-request" not in text and "who-has" not in text
        )


def check_isolation(cloud: Clouds, at: str, life: Life) -> None:
    """Who is not linked is never reached."""
    (own,) = (group for group in LINKED if at in group)
    assert set(cloud.reached(life)) <= own


class HintsAreOnlyHints(RuleBasedStateMachine):
    """TCP connections live on, whatever hosts forget, however ports move, whenever replies come."""

    @initialize(family=st.sampled_from(["v4", "v6"]))
    def start(self, family: Family) -> None:
        shut = {name: {"security_groups": []} for name in ("a", "b")}
        self.cloud = Clouds("two-networks", {"networks": {"web": {"ports": shut}}}, HOSTS_4, family)
        self.open: set[tuple[str, int, str]] = set()
        self.ports = 4000
        self.noise = 1400

    @rule(client=st.sampled_from("ab"), server=st.sampled_from("cd"), wait=st.booleans())
    def opens(self, client: str, server: str, wait: bool) -> None:
        self.ports += 1
        connection = (client, self.ports, server)
        self._there(connection, "SYN")
        if wait:
            self.cloud.cloud.forget(hints=True)
        self._back(connection, "SYN ACK")
        self._there(connection, "ACK")
        self.open.add(connection)

    @rule(data=st.data(), back=st.booleans(), times=st.integers(1, 3))
    def talks(self, data: st.DataObject, back: bool, times: int) -> None:
        if self.open:
            connection = data.draw(st.sampled_from(sorted(self.open)))
            for _ in range(times):
                (self._back if back else self._there)(connection, "ACK")

    def _there(self, connection: tuple[str, int, str], flags: str) -> None:
        client, port, server = connection
        self._arrives(f"tcp {client}:{port} > {server}:80 {flags}", client, server)

    def _back(self, connection: tuple[str, int, str], flags: str) -> None:
        client, port, server = connection
        self._arrives(f"tcp {server}:80 > {client}:{port} {flags}", server, client)

    def _arrives(self, text: str, at: str, there: str) -> None:
        life = self.cloud.send(text, at)
        assert self.cloud.reached(life) == [there], (text, life)
        assert life.crossings <= 1

    @rule(hints=st.booleans(), flows=st.booleans())
    def forget(self, hints: bool, flows: bool) -> None:
        self.cloud.cloud.forget(hints=hints, flows=flows)

    @rule(host=st.sampled_from(["one", "two", "three", "four"]))
    def forget_on_one_host(self, host: str) -> None:
        self.cloud.host(host).forget_hints()

    @rule(port=st.sampled_from("abcd"), host=st.sampled_from(["one", "two", "three", "four"]))
    def move(self, port: str, host: str) -> None:
        self.cloud.move(port, host)

    @rule()
    def change_something_else(self) -> None:
        self.noise += 1
        self.cloud.change({"networks": {"web": {"mtu": self.noise}}})

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.cloud.cloud.wait(seconds)


HOSTS_4 = {"one": ["a", "c"], "two": ["b"], "three": ["d"], "four": []}

TestSameEverywhere = SameEverywhere.TestCase
TestSameEverywhere.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestHintsAreOnlyHints = HintsAreOnlyHints.TestCase
TestHintsAreOnlyHints.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
