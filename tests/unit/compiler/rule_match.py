"""What compiled rules match, as the eBPF programs read them: for comparing with the simulation."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.compiler.desired import Desired
from onehop.datapath.layouts import ip6
from onehop.datapath.structs import PrefixKey, Rule
from onehop.datapath.tables import OF_IPV6
from onehop.datapath.words import ConnectionState, Fragment, MatchField
from onehop.model.formats import Ip, parse_mac
from onehop.simulation.flow import Flow


def rule_matches(
    desired: Desired, rule: Rule, flow: Flow, in_port: int, out_port: int, state: str | None
) -> bool:
    held = MatchField(0)
    for field in _held(desired, rule, flow, in_port, out_port, state):
        held |= field
    return (held ^ rule.invert) & rule.match == rule.match


def _held(
    desired: Desired, rule: Rule, flow: Flow, in_port: int, out_port: int, state: str | None
) -> Iterator[MatchField]:
    if rule.in_port == in_port:
        yield MatchField.IN_PORT
    if rule.out_port == out_port:
        yield MatchField.OUT_PORT
    if _masked(parse_mac(flow.src_mac), rule.src_mac_mask) == _masked(rule.src_mac, rule.src_mac_mask):
        yield MatchField.SRC_MAC
    if _masked(parse_mac(flow.dst_mac), rule.dst_mac_mask) == _masked(rule.dst_mac, rule.dst_mac_mask):
        yield MatchField.DST_MAC
    if rule.ethertype == flow.ethertype:
        yield MatchField.ETHERTYPE
    if rule.vlan == flow.vlan:
        yield MatchField.VLAN
    if state is not None and rule.state >> ConnectionState[state.upper()] & 1:
        yield MatchField.STATE
    if flow.version:
        yield from _held_of_ip(desired, rule, flow)


def _held_of_ip(desired: Desired, rule: Rule, flow: Flow) -> Iterator[MatchField]:
    assert flow.src is not None and flow.dst is not None
    if rule.version == flow.version:
        yield MatchField.VERSION
    if rule.protocol == flow.protocol:
        yield MatchField.PROTOCOL
    if flow.has_ports and rule.src_low <= flow.src_port <= rule.src_high:
        yield MatchField.SRC_PORTS
    if flow.has_ports and rule.dst_low <= flow.dst_port <= rule.dst_high:
        yield MatchField.DST_PORTS
    if flow.is_icmp and flow.icmp is not None and rule.icmp_type == flow.icmp[0]:
        yield MatchField.ICMP_TYPE
    if flow.is_icmp and flow.icmp is not None and rule.icmp_code == flow.icmp[1]:
        yield MatchField.ICMP_CODE
    if rule.dscp == flow.dscp:
        yield MatchField.DSCP
    if flow.fragment is not None and rule.fragment in (Fragment.ANY, Fragment[flow.fragment.upper()]):
        yield MatchField.FRAGMENT
    yield from _held_of_addresses(desired, rule, flow.src, flow.dst)


def _held_of_addresses(desired: Desired, rule: Rule, src: Ip, dst: Ip) -> Iterator[MatchField]:
    if _in_prefix(src, rule.src, rule.src_mask):
        yield MatchField.SRC
    if _in_prefix(dst, rule.dst, rule.dst_mask):
        yield MatchField.DST
    if _in_set(desired, rule.src_set, src):
        yield MatchField.SRC_GROUP
    if _in_set(desired, rule.dst_set, dst):
        yield MatchField.DST_GROUP


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(a & b for a, b in zip(value, mask, strict=True))


def _in_prefix(ip: Ip, prefix: bytes, mask: bytes) -> bool:
    """A mask shorter than 96 bits is of IPv6, and holds no mapped address."""
    short = mask[8:12] != b"\xff" * 4
    return not (short and ip.version == 4) and _masked(ip6(ip), mask) == prefix


def _in_set(desired: Desired, set: int, ip: Ip) -> bool:
    address, whose = int.from_bytes(ip6(ip), "big"), set | (OF_IPV6 if ip.version == 6 else 0)
    masked = (address >> shift << shift for shift in range(129))
    keys = (PrefixKey(160 - i, whose, value.to_bytes(16, "big")) for i, value in enumerate(masked))
    return any(key in desired.tables["address_sets"] for key in keys)
