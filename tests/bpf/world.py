"""A small topology written into the tables by hand, and packets sent through the programs.

    network web (100)  10.0.1.0/24 fd00:1::/64     a=1  b=2         here
    network db  (200)  10.0.2.0/24 fd00:2::/64     c=3  here, d=4 on host 2
    router edge (1)    interfaces 11 at web, 12 at db; 21 and 22 are the networks' ports for them

MACs are 02:00:00:00:00:<port>; machines have .<port> on their network, the router has .254.
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import msgspec

from onehop.datapath.extents import REST
from onehop.datapath.injection import Mark
from onehop.datapath.layouts import ip6
from onehop.datapath.lists import lists_of
from onehop.datapath.programs import Datapath
from onehop.datapath.structs import (
    FdbKey,
    Hop,
    Host,
    InterfaceKey,
    MemberKey,
    Neighbour,
    NeighbourKey,
    Network,
    Port,
    PortAddressKey,
    PrefixKey,
    Route,
    Router,
    RouterAddressKey,
    Rule,
    SourceKey,
)
from onehop.datapath.tables import OF_IPV6, SOURCE_BITS, TABLES, THIS_HOST
from onehop.datapath.testrun import SkBuff, run_program
from onehop.datapath.traffic import Verdict
from onehop.datapath.words import (
    Action,
    Kind,
    MatchField,
    NeighbourFlag,
    PortFlag,
    PortKind,
    RouteAction,
    RouteFlag,
    RouterFlag,
    RuleAction,
    RuleFlag,
    SourceFlag,
)
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.packet import Frame, Ip, IpPacket, Ipv4, Ipv6, Transport, Udp, build, with_ttl

LEARN, RETURN, ASK, FLOOD = TunnelFlag.LEARN, TunnelFlag.RETURN, TunnelFlag.ASK, TunnelFlag.FLOOD
A, B, C, D = 1, 2, 3, 4
WEB, DB = 100, 200
EDGE = 1
EDGE_WEB, EDGE_DB, WEB_EDGE, DB_EDGE = 11, 12, 21, 22
OTHER = 2  # the other host
ZONE = 5
ANY = 1  # a list that allows everything
SIZES = dict.fromkeys(("flows", "records", "hints"), 4096)  # of tables: quickly made
UNDERLAY = 0  # among the interfaces
NETWORK_OF = {A: WEB, B: WEB, C: DB, D: DB, WEB_EDGE: WEB, DB_EDGE: DB}
SHOT, REDIRECT = 2, 7


def mac(port: int) -> str:
    return f"02:00:00:00:00:{port:02x}"


def raw_mac(port: int) -> bytes:
    return bytes.fromhex(mac(port).replace(":", ""))


def v4(port: int) -> str:
    return f"10.0.{1 if NETWORK_OF[port] == WEB else 2}.{254 if port > 20 else port}"


def v6(port: int) -> str:
    return f"fd00:{1 if NETWORK_OF[port] == WEB else 2}::{254 if port > 20 else port}"


def ip(port: int, version: int) -> Ip:
    return ip_address(v4(port) if version == 4 else v6(port))


def packet(src: int, dst: int, payload: Transport, version: int = 4, **fields: Any) -> IpPacket:
    """From one machine's address to another's."""
    if version == 4:
        return Ipv4(IPv4Address(v4(src)), IPv4Address(v4(dst)), payload, **fields)
    return Ipv6(IPv6Address(v6(src)), IPv6Address(v6(dst)), payload, **fields)


def next_hop(src: int, dst: int) -> int:
    """Whose MAC a machine sends to."""
    if NETWORK_OF[src] == NETWORK_OF[dst]:
        return dst
    return EDGE_WEB if NETWORK_OF[src] == WEB else EDGE_DB


def frame(src: int, dst: int, payload: Transport, version: int = 4, **fields: Any) -> Frame:
    """As the machine at `src` sends it."""
    return Frame(mac(next_hop(src, dst)), mac(src), packet(src, dst, payload, version, **fields))


def routed(sent: Frame, src: int, dst: int, hops: int = 1) -> bytes:
    """The frame as the machine at `dst` gets it."""
    assert isinstance(sent.payload, Ipv4 | Ipv6)
    by = EDGE_DB if NETWORK_OF[dst] == DB else EDGE_WEB
    return build(Frame(mac(dst), mac(by), with_ttl(sent.payload, sent.payload.ttl - hops)))


def prefix_key(of: int, cidr: str, bits: int = 32) -> PrefixKey:
    network = ipaddress.ip_network(cidr)
    six = network.version == 6
    return PrefixKey(
        bits + network.prefixlen + (0 if six else 96),
        of | (OF_IPV6 if six else 0),
        ip6(network.network_address),
    )


def link_local(mac: bytes) -> str:
    raw = bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + raw))


@dataclass(frozen=True)
class Underlay:
    """Where this host and the other one are."""

    here: str = "192.0.2.1"
    there: str = "192.0.2.2"


@dataclass
class Sent:
    """What came of a packet."""

    code: int
    data: bytes
    verdict: Verdict

    @property
    def drop(self) -> Drop | None:
        return Drop(self.verdict.drop) if self.verdict.drop else None

    @property
    def inner(self) -> bytes:
        """The frame in the tunnel."""
        assert self.verdict.action is Action.SENT
        return self.data[50:]


class World:
    """Tables, and the interfaces that ports are plugged into."""

    def __init__(
        self, datapath: Datapath, interfaces: dict[int, int], underlay: Underlay = Underlay()
    ) -> None:
        self.datapath, self.interfaces = datapath, interfaces
        self.underlay = underlay or Underlay()
        self.tables = {one.name: datapath.maps[one.name] for one in TABLES}
        self.lists = lists_of(datapath.maps, itertools.count(0, REST).__next__)
        self.ports: dict[int, Port] = {}

    def clear(self) -> None:
        """Empty everything that can be emptied; arrays are overwritten."""
        for table in self.tables.values():
            if table.info.kind not in (Kind.ARRAY, Kind.PERCPU_ARRAY):
                table.clear()
        for one in self.lists.values():
            for id in list(one.ids()):
                one.remove(id)

    def build(self) -> None:
        self.clear()
        self.put_list(ANY, [Rule(MatchField(0), MatchField(0), RuleAction.ALLOW)])
        for port in (A, B, C, D):
            self.add_machine(port)
        for network in (WEB, DB):
            self.put("networks", network, Network(ZONE, mtu=1450))
        self._add_router()
        self._add_hosts()
        for network in (WEB, DB):
            members = [port for port, at in NETWORK_OF.items() if at == network and port < WEB_EDGE]
            here = [port for port in members if port in self.interfaces]
            self.set_members(network, here, [OTHER] if len(here) < len(members) else [])

    # --- what tests change ---

    def put(self, table: str, key: Any, value: Any) -> None:
        self.tables[table].update(key, value)

    def put_list(self, id: int, rules: Sequence[Rule]) -> None:
        self.lists["rule_lists"].put(id, rules)

    def put_hops(self, group: int, hops: Sequence[Hop]) -> None:
        self.lists["hop_groups"].put(group, hops)

    def put_acl(self, place: int, acl: int, rules: Sequence[Rule], *, stateful: bool = False) -> None:
        """The list of a place with one ACL in it."""
        self.put_list(acl, rules)
        flags = RuleFlag.STATEFUL if stateful else RuleFlag(0)
        self.put_list(place, [Rule(MatchField(0), MatchField(0), RuleAction.JUMP, flags=flags, jump=acl)])

    def change_port(self, key: int, **fields: Any) -> None:
        self.ports[key] = msgspec.structs.replace(self.ports[key], **fields)
        self.put("ports", key, self.ports[key])

    def change(self, table: str, key: Any, **fields: Any) -> None:
        self.put(table, key, msgspec.structs.replace(self.tables[table].lookup(key), **fields))

    def bump(self, zone: int = ZONE) -> None:
        self.put("epochs", zone, (self.tables["epochs"].lookup(zone) or 0) + 1)

    def set_members(self, network: int, ports: list[int], hosts: list[int]) -> None:
        for i, port in enumerate(ports):
            self.put("members", MemberKey(network, i), port)
        for i, host in enumerate(hosts):
            self.put("remotes", MemberKey(network, i), host)
        self.change("networks", network, members=len(ports), remotes=len(hosts))

    def allow_source(self, port: int, mac: bytes, *cidrs: str, flags: int = 0) -> None:
        for version in (4, 6):
            self.put("sources", SourceKey(SOURCE_BITS, port, mac, version, bytes(16)), flags)
        for cidr in cidrs:
            net = ipaddress.ip_network(cidr)
            bits = SOURCE_BITS + net.prefixlen + (96 if net.version == 4 else 0)
            key = SourceKey(bits, port, mac, net.version, ip6(net.network_address))
            self.put("sources", key, flags | SourceFlag.ADDRESS)

    def add_machine(self, key: int, *, host: int | None = None) -> None:
        network, here = NETWORK_OF[key], key in self.interfaces
        self.ports[key] = Port(
            network,
            PortKind.VM,
            raw_mac(key),
            flags=PortFlag.UP | PortFlag.SECURITY,
            zone=ZONE,
            host=host or (THIS_HOST if here else OTHER),
            ifindex=self.interfaces.get(key, 0),
            mtu=1450,
            receives=ANY,
        )
        self.put("ports", key, self.ports[key])
        if here:
            self.put("interfaces", InterfaceKey(self.interfaces[key]), key)
        own = [f"{v4(key)}/32", f"{v6(key)}/128", f"{link_local(raw_mac(key))}/128"]
        self.allow_source(key, raw_mac(key), *own)
        self.put("fdb", FdbKey(network, raw_mac(key)), key)
        for address in (v4(key), v6(key), link_local(raw_mac(key))):
            neighbour = Neighbour(raw_mac(key), NeighbourFlag(0), key)
            self.put("neighbours", NeighbourKey(network, ip6(address)), neighbour)

    def _add_router(self) -> None:
        self.put("routers", EDGE, Router(ZONE, RouterFlag.UP))
        for interface, port, network in ((EDGE_WEB, WEB_EDGE, WEB), (EDGE_DB, DB_EDGE, DB)):
            own = raw_mac(interface)
            kind, up, on_router = PortKind.ROUTER, PortFlag.UP, PortFlag.ON_ROUTER
            self.ports[interface] = Port(EDGE, kind, own, up | on_router, port, ZONE, mtu=1450)
            self.ports[port] = Port(network, kind, bytes(6), up, interface, ZONE, mtu=1450)
            self.put("ports", interface, self.ports[interface])
            self.put("ports", port, self.ports[port])
            self.put("fdb", FdbKey(network, own), port)
            for version, address in ((4, v4(port)), (6, v6(port))):
                self.put("router_addresses", RouterAddressKey(EDGE, ip6(address)), interface)
                self.put("port_addresses", PortAddressKey(interface, version), ip6(address))
                key = NeighbourKey(network, ip6(address))
                self.put("neighbours", key, Neighbour(own, NeighbourFlag.ROUTER, port))
            group = interface
            self.lists["hop_groups"].put(group, [Hop(bytes(16), interface, 1)])
            last = 1 if network == WEB else 2
            for cidr in (f"10.0.{last}.0/24", f"fd00:{last}::/64"):
                route = Route(RouteAction.FORWARD, RouteFlag.CONNECTED, hops=group)
                self.put("routes", prefix_key(EDGE, cidr), route)

    def _add_hosts(self) -> None:
        here, there = ip6(self.underlay.here), ip6(self.underlay.there)
        self.put("hosts", THIS_HOST, Host(here, here, 0))
        self.put("hosts", OTHER, Host(there, here, self.interfaces[UNDERLAY]))
        self.put("peers", here, THIS_HOST)
        self.put("peers", there, OTHER)

    @staticmethod
    def now() -> int:
        """As the programs count time."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    # --- packets ---

    def send(self, port: int, frame: Frame | bytes) -> Sent:
        """A packet from the machine at a port."""
        frame = build(frame) if isinstance(frame, Frame) else frame
        return self._run("from_port", frame, SkBuff(ifindex=self.interfaces[port]))

    def injected(self, mark: Mark, frame: bytes) -> Sent:
        """What the agent sends."""
        return self._run("inject", frame, SkBuff(**mark._asdict()))

    def wrapped(
        self, target: int, source: int, frame: Frame | bytes, flags: TunnelFlag = LEARN, **fields: Any
    ) -> bytes:
        """As the other host sends it."""
        header = struct.pack("!II", 0x08000000 | source, target << 8 | flags)
        inner = build(frame) if isinstance(frame, Frame) else frame
        here, there = ip_address(self.underlay.here), ip_address(self.underlay.there)
        assert isinstance(here, IPv4Address) and isinstance(there, IPv4Address)
        outer = Ipv4(**({"src": there, "dst": here, "payload": Udp(50000, 4789, header + inner)} | fields))
        return build(Frame("02:00:00:00:01:01", "02:00:00:00:01:02", outer))

    def arrive(self, frame: bytes) -> Sent:
        """A packet from the underlay."""
        return self._run("from_underlay", frame, SkBuff(ifindex=self.interfaces[UNDERLAY]))

    def _run(self, program: str, frame: bytes, skb: SkBuff) -> Sent:
        self.tables["verdicts"].update(0, tuple(Verdict.decode(bytes(284)) for _ in self._verdicts()))
        outcome = run_program(self.datapath.programs[program], frame, skb)
        verdicts = [v for v in self._verdicts() if v.encode() != bytes(284)]
        assert len(verdicts) == 1, "exactly one CPU has told a verdict"
        return Sent(outcome.verdict, outcome.data, verdicts[0])

    def _verdicts(self) -> tuple[Verdict, ...]:
        found: tuple[Verdict, ...] = self.tables["verdicts"].lookup(0)
        return found
