"""Compiled rules match what the simulation says that they match, for any rule and any packet."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.compiler.compile import Compiler
from onehop.compiler.desired import Desired
from onehop.model import (
    Acl,
    AclRule,
    AddressGroup,
    AddressGroupEntry,
    Match,
    Network,
    Port,
    PortAddress,
    SecurityGroup,
    SecurityGroupRule,
)
from onehop.model.view import Topology
from onehop.simulation import acls, security_groups
from onehop.simulation.flow import Flow
from tests.unit.compiler.cloudlet import made, uid
from tests.unit.compiler.rule_match import rule_matches
from tests.unit.compiler.test_incremental import THIS

V4, V6 = ("10.0.1.5", "10.0.1.6", "192.0.2.9"), ("fd00:1::5", "fd00:2::9", "::7")
CIDRS = ("10.0.1.0/24", "10.0.1.5/32", "0.0.0.0/0", "fd00:1::/64", "::/0", "::/64", "fd00:1::5/128")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "03:ff:00:00:00:01")
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58, "gre": 47}
PORTS = ("80", "0-65535", "1000-2000")
STATES = ("new", "established", "related", "untracked")

small = st.integers(0, 3)
matches = st.fixed_dictionaries(
    {},
    optional={
        "in_port": st.sampled_from([uid("port", 0), uid("port", 1), uid("port", 9)]),
        "out_port": st.sampled_from([uid("port", 0), uid("port", 1), uid("port", 9)]),
        "src_mac": st.sampled_from([*MACS, "02:00:00:00:00:00/fe:00:00:00:00:00"]),
        "dst_mac": st.sampled_from([*MACS, "01:00:00:00:00:00/01:00:00:00:00:00"]),
        "ethertype": st.sampled_from([0x0800, 0x86DD, 0x0806]),
        "vlan": small,
        "src": st.sampled_from(CIDRS),
        "dst": st.sampled_from(CIDRS),
        "src_group": st.just(uid("addresses", 0)),
        "dst_group": st.just(uid("addresses", 1)),
        "protocol": st.sampled_from(list(PROTOCOLS)),
        "src_ports": st.sampled_from(PORTS),
        "dst_ports": st.sampled_from(PORTS),
        "icmp_type": st.sampled_from([0, 8, 128]),
        "icmp_code": small,
        "dscp": small,
        "fragment": st.sampled_from(["any", "first", "later"]),
        "state": st.lists(st.sampled_from(STATES), min_size=1, max_size=3).map(tuple),
    },
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    version = draw(st.sampled_from([0, 4, 6, 4, 6]))
    macs = {"src_mac": draw(st.sampled_from(MACS)), "dst_mac": draw(st.sampled_from(MACS))}
    if not version:
        return Flow(**macs, ethertype=0x0806, vlan=draw(small))
    ips = st.sampled_from(V4 if version == 4 else V6).map(ip_address)
    ports = st.sampled_from([0, 80, 1500])
    return Flow(
        **macs,
        ethertype=0x0800 if version == 4 else 0x86DD,
        vlan=draw(small),
        version=version,
        protocol=draw(st.sampled_from(list(PROTOCOLS.values()))),
        src=draw(ips),
        dst=draw(ips),
        src_port=draw(ports),
        dst_port=draw(ports),
        icmp=draw(st.none() | st.tuples(st.sampled_from([0, 8, 128]), small)),
        dscp=draw(small),
        fragment=draw(st.sampled_from([None, "first", "later"])),
    )


@settings(max_examples=80, deadline=None, print_blob=True)
@given(matches, st.randoms(use_true_random=False), st.lists(flows(), min_size=5, max_size=10), st.data())
def test_an_acls_rule_matches_what_the_simulation_says(
    fields: dict[str, Any], random: Any, packets: list[Flow], data: st.DataObject
) -> None:
    inverted = tuple(name for name in sorted(fields) if random.random() < 0.3)
    match = Match(**fields, invert=inverted)
    acl = made(Acl, "acl", 0, stateful=True, rules=(AclRule(id="r", action="drop", match=match),))
    view, desired = compiled(acl)
    (rule,) = (r for rules in desired.lists["rule_lists"].values() for r in rules if not r.jump)
    for flow in packets:
        state = data.draw(st.sampled_from([None, *STATES]))
        out_port = data.draw(st.sampled_from([None, uid("port", 1)]))
        place = acls.Place((), "", uid("port", 0), out_port)
        wanted = acls.matches(view, match, flow, place, state)
        assert rule_matches(desired, rule, flow, 100, 101 if out_port else 0, state) == wanted, (match, flow)


rules = st.fixed_dictionaries(
    {"direction": st.sampled_from(["ingress", "egress"])},
    optional={
        "family": st.sampled_from(["ipv4", "ipv6"]),
        "protocol": st.sampled_from(list(PROTOCOLS)),
        "ports": st.sampled_from(PORTS),
        "icmp_type": st.sampled_from([0, 8, 128]),
        "icmp_code": small,
    },
)
remotes = st.sampled_from(
    [{}, *({"remote_cidr": cidr} for cidr in CIDRS), {"remote_group": uid("group", 0)},
     {"remote_address_group": uid("addresses", 0)}]
)  # fmt: skip


@settings(max_examples=80, deadline=None, print_blob=True)
@given(rules, remotes, st.lists(flows(), min_size=5, max_size=10))
def test_a_groups_rule_matches_what_the_simulation_says(
    fields: dict[str, Any], remote: dict[str, Any], packets: list[Flow]
) -> None:
    rule = made(SecurityGroupRule, "rule", 0, security_group=uid("group", 0), **fields, **remote)
    view, desired = compiled(rule)
    (found,) = (r for rules in desired.lists["rule_lists"].values() for r in rules if not r.jump)
    for flow in packets:
        wanted = security_groups.matches(view, rule, flow)
        assert rule_matches(desired, found, flow, 0, 0, None) == wanted, (rule, flow)


def compiled(obj: Acl | SecurityGroupRule) -> tuple[Topology, Desired]:
    """The object among all that it may name."""
    network = made(Network, "network", 0, key=10, acls_in=(uid("acl", 0),))
    addresses = (PortAddress(ip=V4[0]), PortAddress(ip=V6[0]))
    port = made(Port, "port", 0, network=network.id, key=100, mac=MACS[0])
    member = msgspec.structs.replace(port, security_groups=(uid("group", 0),), addresses=addresses)
    view = Topology(
        [
            network,
            member,
            made(Port, "port", 1, network=network.id, key=101, mac=MACS[1]),
            made(SecurityGroup, "group", 0, egress="rules"),
            made(AddressGroup, "addresses", 0),
            made(AddressGroup, "addresses", 1),
            made(AddressGroupEntry, "entry", 0, address_group=uid("addresses", 0), cidr="10.0.1.0/24"),
            made(AddressGroupEntry, "entry", 1, address_group=uid("addresses", 1), cidr="::/0"),
            obj,
        ]
    )
    return view, Compiler(THIS).compile(view)
