"""A small topology written into the tables by hand, and packets sent through the programs.

    network web (100)  10.0.1.0/24 fd00:1::/64     a=1  b=2         here
    network db  (200)  10.0.2.0/24 fd00:2::/64     c=3  here, d=4 on host 2
    router edge (1)    interfaces 11 at web, 12 at db; 21 and 22 are the networks' ports for them

MACs are 02:00:00:00:00:<port>; machines have .<port> on their network, the router has .254.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from onehop.datapath.layouts import ip6
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
from onehop.datapath.tables import OF_IPV6, SOURCE_BITS, THIS_HOST
from onehop.datapath.testrun import SkBuff, run_program
from onehop.datapath.traffic import Verdict
from onehop.datapath.words import (
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

A, B, C, D = 1, 2, 3, 4
WEB, DB = 100, 200
EDGE = 1
EDGE_WEB, EDGE_DB, WEB_EDGE, DB_EDGE = 11, 12, 21, 22
OTHER = 2  # the other host
ZONE = 5
ANY = 1  # a list that allows everything
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


@dataclass
class Sent:
    """What came of a packet."""

    code: int
    data: bytes
    verdict: Verdict


class World:
    """Tables, and the interfaces that ports are plugged into."""

    def __init__(self, datapath: Datapath, interfaces: dict[int, int]) -> None:
        self.datapath, self.interfaces = datapath, interfaces
        self.tables = datapath.tables
        self.ports: dict[int, Port] = {}

    def clear(self) -> None:
        """Empty everything that can be emptied; arrays are overwritten."""
        for table in self.tables.values():
            if table.info.kind not in (Kind.ARRAY, Kind.PERCPU_ARRAY):
                table.clear()
        for one in self.datapath.lists.values():
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
        self.set_members(WEB, [A, B], [])
        self.set_members(DB, [C], [OTHER])

    # --- what tests change ---

    def put(self, table: str, key: Any, value: Any) -> None:
        self.tables[table].update(key, value)

    def put_list(self, id: int, rules: Sequence[Rule]) -> None:
        self.datapath.lists["rule_lists"].put(id, rules)

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
            self.datapath.lists["hop_groups"].put(group, [Hop(bytes(16), interface, 1)])
            last = 1 if network == WEB else 2
            for cidr in (f"10.0.{last}.0/24", f"fd00:{last}::/64"):
                route = Route(RouteAction.FORWARD, RouteFlag.CONNECTED, hops=group)
                self.put("routes", prefix_key(EDGE, cidr), route)

    def _add_hosts(self) -> None:
        for id, address in ((THIS_HOST, "192.0.2.1"), (OTHER, "192.0.2.2")):
            ifindex = self.interfaces.get(0, 0) if id == OTHER else 0
            self.put("hosts", id, Host(ip6(address), ip6("192.0.2.1"), ifindex))
            self.put("peers", ip6(address), id)

    # --- packets ---

    def send(self, port: int, frame: bytes) -> Sent:
        """A packet from the machine at a port."""
        return self._run("from_port", frame, SkBuff(ifindex=self.interfaces[port]))

    def inject(self, port: int, frame: bytes) -> Sent:
        return self._run("inject", frame, SkBuff(mark=port))

    def arrive(self, frame: bytes) -> Sent:
        """A packet from the underlay."""
        return self._run("from_underlay", frame, SkBuff(ifindex=self.interfaces[0]))

    def _run(self, program: str, frame: bytes, skb: SkBuff) -> Sent:
        self.tables["verdicts"].update(0, tuple(Verdict.decode(bytes(284)) for _ in self._verdicts()))
        outcome = run_program(self.datapath.programs[program], frame, skb)
        verdicts = [v for v in self._verdicts() if v.encode() != bytes(284)]
        assert len(verdicts) == 1, "exactly one CPU has told a verdict"
        return Sent(outcome.verdict, outcome.data, verdicts[0])

    def _verdicts(self) -> tuple[Verdict, ...]:
        found: tuple[Verdict, ...] = self.tables["verdicts"].lookup(0)
        return found
