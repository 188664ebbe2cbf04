"""Packets that come from outside, and those that go there, where more than one host has a part.

**At the gateway**, a packet from an uplink is taken on a *choosing walk*: as any walk from that port, but
nothing is judged, and nothing of it kept. It finds the machine's port that the packet is for, or the one
whose block of a shared address it is for; that port's host gets the packet as it came. What is for another
uplink, or for several machines, the gateway judges itself, as any port's packets.

**The owner**, that port's host, finds the connection. The port opened it: the packet is a reply. An uplink
did, or nobody yet: the packet is judged on the walk from that uplink, which has to reach the port; it is
refused for good.

**The way out** of replies of connections that an uplink opened: what the router's routes say by now, by any
uplink.

**At the gateway** again, what is for an uplink gets the MAC of its next hop: no other host knows who is
there.
"""

from __future__ import annotations

from dataclasses import replace

from onehop.model import Network, Port, Router
from onehop.model.formats import parse_ip
from onehop.model.vocabulary import Drop, Stage
from onehop.model.zones import is_uplink
from onehop.simulation import connections, fragments, icmp_errors, ingress_port, neighbours, replies, router
from onehop.simulation.addresses import addresses_of, link_local
from onehop.simulation.context import Finished, Visit, Walk
from onehop.simulation.neighbours import NO_MAC
from onehop.simulation.packet import Ip, Ipv4, Ipv6, build, build_ip
from onehop.simulation.stages import CHOSEN, cross, forward
from onehop.simulation.state import Record
from onehop.simulation.verdict import Output

# --- the gateway: from an uplink ----------------------------------------------------------------------------


def pass_on(walk: Walk) -> bool:
    """Send a packet from an uplink to the port that it is for; False if it is judged here instead."""
    chosen = replace(walk, choosing=True, steps=[], visits=[replace(walk.visit)], effects=[])
    try:
        cross(chosen, CHOSEN)
    except Finished:
        pass
    except BaseException:
        _adopt(walk, chosen)
        raise
    port = chosen.reached
    if chosen.is_flood or (port is not None and port.kind == "router"):
        return False
    _adopt(walk, chosen)
    if port is None:
        raise Finished
    _fits(walk, port)
    walk.step(Stage.EGRESS_PORT, port.id, f"for port {port.name}: goes there as it came")
    walk.outputs.append(Output(port.id, walk.data, walk.origin))
    return True


def _adopt(walk: Walk, chosen: Walk) -> None:
    """Take over what the choosing walk has told; answers and requests are the same lists."""
    walk.steps.extend(chosen.steps)
    walk.effects.extend(chosen.effects)


def _fits(walk: Walk, port: Port) -> None:
    """Answer what is too large for the network that the packet ends on."""
    network = walk.view.get(Network, port.network)
    ip = walk.frame.payload
    if network is None or not isinstance(ip, Ipv4 | Ipv6) or len(build_ip(ip)) <= network.mtu:
        return
    own = [a for a in addresses_of(walk.in_port) if a.version == ip.src.version]
    source = own[0] if own else link_local(walk.in_port.mac) if isinstance(ip, Ipv6) else None
    if source is not None:
        icmp_errors.tell(walk, icmp_errors.Error.TOO_BIG, network.mtu, source=source)
    text = f"{len(build_ip(ip))} bytes, and {network.name} takes {network.mtu}"
    walk.drop(Stage.ROUTER, network.id, Drop.TOO_BIG, text)


# --- the owner: from an uplink ------------------------------------------------------------------------------


def arrive(walk: Walk, port: str) -> None:
    """A packet from an uplink has come to the host of the port that the gateway chose."""
    fragments.follow(walk)
    record = _known(walk, port)
    if record is not None and not record.inbound:
        replies.accept(walk, record)
        return
    walk.inbound, walk.record = port, record
    if record is not None and walk.flow.is_icmp_error:
        walk.related, walk.subject = True, record.near
    walk.enter(walk.origin_port)
    ingress_port.is_up(walk)
    forward(walk)


def _known(walk: Walk, port: str) -> Record | None:
    """The connection of a port that a packet from an uplink belongs to."""
    if walk.flow.is_icmp_error:
        away = connections.quoted_tuple(walk)
    else:
        away = walk.flow.tuple.reversed() if walk.flow.tuple is not None else None
    record = walk.state.records.get((port, away)) if away is not None else None
    if record is None or not connections.is_live(record, walk.state.now):
        return None
    if record.inbound:
        return record
    is_reply = connections.reply_tuple(walk) is not None
    return record if is_reply and record.router == walk.origin_port.router else None


# --- the owner: to an uplink --------------------------------------------------------------------------------


def reply(walk: Walk, record: Record) -> None:
    """What a port sends of a connection that an uplink opened: out by whichever uplink leads there."""
    port = _way_out(walk, record)
    way = replies.probe(walk, record, port.id, port.mac)
    replies.last_hops(walk, way)
    replies.back(walk, record)
    walk.set_macs(port.mac, NO_MAC)
    connections.keep_up(walk, record)
    walk.step(Stage.EGRESS_PORT, port.id, f"a reply: leaves by uplink {port.name}")
    walk.outputs.append(Output(port.id, build(walk.frame), walk.origin))


def _way_out(walk: Walk, record: Record) -> Port:
    """The uplink by which the router sends the reply, as the other side sees it."""
    device = walk.view.get(Router, record.router)
    came = walk.view.get(Port, record.opener)
    if device is None or came is None:
        text = "the router that it came by is gone"
        walk.drop(Stage.CONNECTIONS, record.owner, Drop.CONNECTION_ENDED, text)
    asked = replace(walk, visits=[Visit(device, came, (walk.frame.src, walk.frame.dst))])
    if record.near != record.far:
        asked.become(record.away, record.home)
    router.choose_way(asked)
    if not is_uplink(walk.view, asked.out_port):
        text = f"the way to {asked.ip.dst} is no longer by an uplink"
        walk.drop(Stage.ROUTER, device.id, Drop.NO_ROUTE, text)
    return asked.out_port


# --- the gateway: to an uplink ------------------------------------------------------------------------------


def leave(walk: Walk, port: Port) -> None:
    """What is for an uplink that is here gets its next hop's MAC and goes out."""
    ip = walk.frame.payload
    if isinstance(ip, Ipv4 | Ipv6):
        target = _next_hop(walk, port, ip)
        mac = neighbours.learned(walk, port, target)
        if mac is None:
            neighbours.ask_for(walk, port, target)
        walk.step(Stage.NEIGHBOURS, port.id, f"next hop {target} is at {mac}: out by uplink {port.name}")
        walk.set_macs(port.mac, mac)
    walk.outputs.append(Output(port.id, build(walk.frame), walk.origin))


def _next_hop(walk: Walk, port: Port, ip: Ipv4 | Ipv6) -> Ip:
    """By the router's route for the packet, if that leaves by this port; else the destination itself."""
    way = router.best_way(walk.view, port.router or "", ip)
    hops = [hop for hop, by in way.hops if by.id == port.id] if way is not None else []
    return parse_ip(hops[0].ip) if hops and hops[0].ip is not None else ip.dst
