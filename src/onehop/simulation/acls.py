"""Stage ACLS: ordered lists of rules, at ports, networks and routers.

    entering by a port      the port's `acls_in`, then the device's `acls_in`
    (routers, way chosen)   `acls_forward`
    leaving by a port       the device's `acls_out`, then the port's `acls_out`

At each of these places the lists are gone through in order. A rule that matches decides: `allow` ends all
lists of the place, `drop` and `reject` the packet, `return` ends the list; `jump` goes through another list
and comes back. What no rule decides goes on. `reject` is told to the sender by an ICMP
error, but for packets that may be replies: these go on to ask (see `connections`).

**Matching.** All that a match gives must hold; what `invert` names must not. What a packet does not have
never holds: ports of an ICMP packet, addresses of a frame that is not IP, an IPv6 address in an IPv4 prefix;
`out_port` holds only once the way is known. A later fragment has the ports of its first.

**Stateful** lists judge the packets of the opener alone: replies pass with them. A packet is `new` to them
whether or not it has a record, so that what let the connection in keeps letting it pass; if they refuse that
and there is a record, they are asked again for `established`. An ICMP error about the port's own connection
is judged as a packet of that connection, then as `related`. What can have no connection is `untracked`.

**Stateless** lists judge every packet. On the opener's walk they also judge the reply that one expects, on
the same way back (`judge_reply`): `acls_in` where the opener's packet met `acls_out`, and so on. At each
place the reply has the tuple that is the reverse of the opener's packet there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onehop.model import Acl, AclRule, Match, Router
from onehop.model.formats import parse_cidr, parse_mac, parse_mac_mask, parse_ports, parse_protocol
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.connections import judged_flow
from onehop.simulation.context import Visit, Walk
from onehop.simulation.flow import Flow
from onehop.simulation.icmp_errors import Error, tell
from onehop.simulation.packet import Ip
from onehop.simulation.security_groups import in_address_group
from onehop.simulation.state import Tuple
from onehop.simulation.verdict import Log

MAX_JUMPS = 8  # deep; a list that jumps deeper decides nothing there


@dataclass(frozen=True)
class Place:
    """Lists to go through, and the ports of the device by which the packet comes and goes."""

    acls: tuple[str, ...]
    where: str
    in_port: str | None
    out_port: str | None = None


@dataclass(frozen=True)
class Decision:
    action: str  # allow, drop, reject
    acl: Acl
    rule: AclRule


# --- the places, in the order in which a packet meets them ------------------------------------------------


def into_port(walk: Walk) -> None:
    port = walk.in_port
    _judge(walk, Place(port.acls_in, port.id, port.id))


def into_device(walk: Walk) -> None:
    device = walk.device
    _judge(walk, Place(device.acls_in, device.id, walk.in_port.id))


def forward(walk: Walk) -> None:
    router = walk.router
    _judge(walk, Place(router.acls_forward, router.id, walk.in_port.id, walk.out_port.id))


def out_of_device(walk: Walk) -> None:
    device = walk.device
    _judge(walk, Place(device.acls_out, device.id, walk.in_port.id, walk.out_port.id))


def out_of_port(walk: Walk) -> None:
    port = walk.out_port
    _judge(walk, Place(port.acls_out, port.id, walk.in_port.id, port.id))


# --- judging the packet -----------------------------------------------------------------------------------


def _judge(walk: Walk, place: Place) -> None:
    for id in place.acls:
        acl = walk.view.get(Acl, id)
        if acl is None:
            continue
        decision = _decide(walk, acl, place)
        if decision is None:
            continue
        text = f"{decision.action} by rule {decision.rule.id} of ACL {decision.acl.name}"
        if decision.action == "allow":
            walk.step(Stage.ACLS, decision.acl.id, text, decision.rule.id)
            return
        if decision.action == "reject":
            tell(walk, Error.REJECTED)
        drop = Drop.ACL_REJECT if decision.action == "reject" else Drop.ACL_DROP
        walk.refuse(Stage.ACLS, decision.acl.id, drop, text, decision.rule.id)
        return


def _decide(walk: Walk, acl: Acl, place: Place) -> Decision | None:
    """What one list says; a stateful one may be asked about the packet in more than one light."""
    decision = None
    for flow, state in _lights(walk, acl):
        decision = _run(walk, acl, place, flow, state)
        if decision is None or decision.action == "allow":
            break
    return decision


def _lights(walk: Walk, acl: Acl) -> Iterator[tuple[Flow, str | None]]:
    """How a list sees the packet: its flow, and what it is to its connection."""
    if not acl.stateful:
        yield walk.flow, None
        return
    flow = judged_flow(walk)
    if flow.tuple is None:
        yield flow, "untracked"
        return
    walk.stateful = True
    yield flow, "new"
    if walk.related:
        yield walk.flow, "related"
    elif walk.record is not None:
        yield flow, "established"


def _run(walk: Walk, acl: Acl, place: Place, flow: Flow, state: str | None) -> Decision | None:
    decision, logs = run(walk.view, acl, place, flow, state)
    walk.logs.extend(logs)
    return decision


def run(
    view: View, acl: Acl, place: Place, flow: Flow, state: str | None
) -> tuple[Decision | None, list[Log]]:
    """Go through a list, and through those that it jumps to."""
    logs: list[Log] = []

    def through(acl: Acl, depth: int) -> Decision | None:
        for rule in acl.rules:
            if not matches(view, rule.match, flow, place, state):
                continue
            if rule.log:
                logs.append(Log(acl.id, rule.id, rule.action))
            if rule.action == "return":
                return None
            if rule.action != "jump":
                return Decision(rule.action, acl, rule)
            target = view.get(Acl, rule.jump)
            found = through(target, depth + 1) if target is not None and depth < MAX_JUMPS else None
            if found is not None:
                return found
        return None

    return through(acl, 0), logs


# --- judging the reply ------------------------------------------------------------------------------------


def judge_reply(walk: Walk) -> None:
    """On a probe of the owner: what the stateless lists on the way say to the reply. Drops if they refuse."""
    flow = judged_flow(walk).reply()
    for visit in reversed(walk.visits):
        for place, macs, opener in _places_back(visit):
            seen = replace(flow, src_mac=macs[1], dst_mac=macs[0])
            _judge_reply_at(walk, place, _with_tuple(seen, opener.reversed()) if opener is not None else seen)


def _with_tuple(flow: Flow, ends: Tuple) -> Flow:
    return replace(flow, src=ends.src, dst=ends.dst, src_port=ends.src_port, dst_port=ends.dst_port)


def _judge_reply_at(walk: Walk, place: Place, flow: Flow) -> None:
    for id in place.acls:
        acl = walk.view.get(Acl, id)
        if acl is None or acl.stateful:
            continue
        decision, logs = run(walk.view, acl, place, flow, None)
        walk.logs.extend(logs)
        if decision is None:
            continue
        if decision.action == "allow":
            return
        drop = Drop.ACL_REJECT if decision.action == "reject" else Drop.ACL_DROP
        text = f"{decision.action} of the reply by rule {decision.rule.id} of ACL {decision.acl.name}"
        walk.drop(Stage.ACLS, decision.acl.id, drop, text, decision.rule.id)


def _places_back(visit: Visit) -> Iterator[tuple[Place, tuple[str, str], Tuple | None]]:
    """The places of a device that a reply meets, with the MACs and tuple of the opener's packet there."""
    if visit.out_port is None or visit.macs_out is None:
        return
    device, came, went = visit.device, visit.out_port, visit.in_port
    yield Place(came.acls_in, came.id, came.id), visit.macs_out, visit.went
    yield Place(device.acls_in, device.id, came.id), visit.macs_out, visit.went
    if isinstance(device, Router):
        yield Place(device.acls_forward, device.id, came.id, went.id), visit.macs_out, visit.within
    yield Place(device.acls_out, device.id, came.id, went.id), visit.macs_in, visit.within
    yield Place(went.acls_out, went.id, came.id, went.id), visit.macs_in, visit.came


# --- matching ---------------------------------------------------------------------------------------------


def matches(view: View, match: Match, flow: Flow, place: Place, state: str | None) -> bool:
    return all(
        holds != (name in match.invert)
        for name, wanted in _given(match)
        for holds in [_holds(view, name, wanted, flow, place, state)]
    )


def _given(match: Match) -> Iterator[tuple[str, object]]:
    for name in match.__struct_fields__:
        wanted = getattr(match, name)
        if name != "invert" and wanted is not None and wanted != ():
            yield name, wanted


def _holds(view: View, name: str, wanted: object, flow: Flow, place: Place, state: str | None) -> bool:
    match name, wanted:
        case ("in_port", _):
            return place.in_port == wanted
        case ("out_port", _):
            return place.out_port == wanted
        case ("src_mac", str(text)):
            return _mac_holds(flow.src_mac, text)
        case ("dst_mac", str(text)):
            return _mac_holds(flow.dst_mac, text)
        case ("ethertype", _):
            return flow.ethertype == wanted
        case ("vlan", _):
            return flow.vlan == wanted
        case ("state", tuple() as states):
            return state in states
        case _:
            return flow.version != 0 and _ip_holds(view, name, wanted, flow)


def _ip_holds(view: View, name: str, wanted: object, flow: Flow) -> bool:
    match name, wanted:
        case ("src" | "dst", str(cidr)):
            return _address(name, flow) in parse_cidr(cidr)
        case ("src_group" | "dst_group", str(group)):
            return in_address_group(view, group, _address(name, flow))
        case ("protocol", str(protocol)):
            return flow.protocol == parse_protocol(protocol)
        case ("src_ports" | "dst_ports", str(ports)):
            low, high = parse_ports(ports)
            port = flow.src_port if name == "src_ports" else flow.dst_port
            return flow.has_ports and low <= port <= high
        case ("icmp_type", _):
            return flow.is_icmp and flow.icmp is not None and flow.icmp[0] == wanted
        case ("icmp_code", _):
            return flow.is_icmp and flow.icmp is not None and flow.icmp[1] == wanted
        case ("dscp", _):
            return flow.dscp == wanted
        case ("fragment", _):
            return flow.fragment is not None and wanted in ("any", flow.fragment)
        case _:
            raise AssertionError(f"no meaning for {name}")


def _address(name: str, flow: Flow) -> Ip:
    ip = flow.src if name.startswith("src") else flow.dst
    assert ip is not None
    return ip


def _mac_holds(mac: str, text: str) -> bool:
    wanted, mask = parse_mac_mask(text)
    pairs = zip(parse_mac(mac), wanted, mask, strict=True)
    return all(a & m == b & m for a, b, m in pairs)
