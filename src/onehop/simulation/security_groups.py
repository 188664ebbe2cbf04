"""Stage SECURITY_GROUPS: what the machine at a port may send, and what may be sent to it.

Groups allow; they never forbid. A packet passes when any group of the port allows it.

* From the machine: without groups, everything. With groups: if any of them has `egress: allow`, or an egress
  rule that matches.
* To the machine: only what an ingress rule of one of its groups matches. Without groups: nothing.
* Replies need no rule; they never come here. Every packet of the opener is judged as if it opened the
  connection, so a rule that is taken away cuts what it allowed. An ICMP error about a connection is judged
  as a packet of that connection.
* ARP and neighbour discovery need no rule: their spoofing is checked at the ingress port. Frames that are
  not IP need a rule that names nothing at all.
* Ports with `port_security: false`, and ports that are not a machine's, have no groups.

A rule's `ports` are destination ports, and hold for TCP, UDP and SCTP. Its remote is the source of what comes
in and the destination of what goes out. A remote group stands for the addresses of its members.
"""

from __future__ import annotations

from onehop.model import Port, SecurityGroup, SecurityGroupRule
from onehop.model.formats import parse_cidr, parse_ip, parse_ports, parse_protocol
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.connections import judged_flow
from onehop.simulation.context import Walk
from onehop.simulation.flow import Flow
from onehop.simulation.packet import ARP, Ip


def from_machine(walk: Walk) -> None:
    port = walk.in_port
    if not _guarded(walk, port):
        return
    groups = [g for id in port.security_groups if (g := walk.view.get(SecurityGroup, id))]
    open_group = next((g for g in groups if g.egress == "allow"), None)
    if not port.security_groups:
        walk.step(Stage.SECURITY_GROUPS, port.id, "no security groups: everything may leave")
    elif open_group is not None:
        walk.step(Stage.SECURITY_GROUPS, open_group.id, "allowed: the group lets everything leave")
    else:
        _by_rules(walk, groups, port, "egress")


def to_machine(walk: Walk) -> None:
    port = walk.out_port
    if _guarded(walk, port):
        groups = [g for id in port.security_groups if (g := walk.view.get(SecurityGroup, id))]
        _by_rules(walk, groups, port, "ingress")


def _guarded(walk: Walk, port: Port) -> bool:
    """Whether groups judge this packet at this port."""
    if port.kind != "vm" or not port.port_security:
        return False
    flow = walk.flow
    if flow.is_discovery or (flow.ethertype == ARP and flow.vlan == 0):
        return False
    walk.stateful = True
    return True


def _by_rules(walk: Walk, groups: list[SecurityGroup], port: Port, direction: str) -> None:
    flow = judged_flow(walk)
    for group in groups:
        for rule in walk.view.rules(group.id):
            if rule.direction == direction and matches(walk.view, rule, flow):
                text = f"allowed by rule {rule.name} of group {group.name}"
                walk.step(Stage.SECURITY_GROUPS, group.id, text, rule.id)
                return
    text = f"no {direction} rule of the port's groups allows it" if groups else "only replies may come in"
    walk.refuse(Stage.SECURITY_GROUPS, port.id, Drop.SECURITY_GROUP, text)


def matches(view: View, rule: SecurityGroupRule, flow: Flow) -> bool:
    if flow.src is None or flow.dst is None:
        return _names_nothing(rule)
    remote = flow.src if rule.direction == "ingress" else flow.dst
    return _matches_header(rule, flow) and _matches_remote(view, rule, remote)


def _names_nothing(rule: SecurityGroupRule) -> bool:
    named = (rule.family, rule.protocol, rule.ports, rule.icmp_type, rule.icmp_code)
    remotes = (rule.remote_cidr, rule.remote_group, rule.remote_address_group)
    return all(part is None for part in (*named, *remotes))


def _matches_header(rule: SecurityGroupRule, flow: Flow) -> bool:
    if rule.family is not None and rule.family != f"ipv{flow.version}":
        return False
    if rule.protocol is not None and parse_protocol(rule.protocol) != flow.protocol:
        return False
    if rule.ports is not None:
        low, high = parse_ports(rule.ports)
        if not flow.has_ports or not low <= flow.dst_port <= high:
            return False
    if rule.icmp_type is not None and (
        not flow.is_icmp or flow.icmp is None or flow.icmp[0] != rule.icmp_type
    ):
        return False
    return rule.icmp_code is None or (
        flow.is_icmp and flow.icmp is not None and flow.icmp[1] == rule.icmp_code
    )


def _matches_remote(view: View, rule: SecurityGroupRule, remote: Ip) -> bool:
    if rule.remote_cidr is not None and remote not in parse_cidr(rule.remote_cidr):
        return False
    if rule.remote_group is not None and not _is_member(view, rule.remote_group, remote):
        return False
    return rule.remote_address_group is None or in_address_group(view, rule.remote_address_group, remote)


def _is_member(view: View, group: str, ip: Ip) -> bool:
    members = view.members(group)
    return any(parse_ip(a.ip) == ip for port in members for a in port.addresses if a.ip is not None)


def in_address_group(view: View, group: str, ip: Ip) -> bool:
    return any(ip in parse_cidr(entry.cidr) for entry in view.entries(group))
