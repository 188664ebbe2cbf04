"""What the owner of a connection does with a reply.

The topology is asked, by a *probe*: a packet such as the opener sends. It has to reach the same far port as
ever (for an uplink, any of the same router), with the same tuple. Then the stateless ACLs on its way judge
the reply.
"""

from __future__ import annotations

from dataclasses import replace

from onehop.model import Network, Router
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation import acls, connections, icmp_errors
from onehop.simulation.addresses import addresses_of
from onehop.simulation.context import Finished, Visit, Walk
from onehop.simulation.packet import Ip, build, build_ip, with_ttl
from onehop.simulation.stages import CHECKS, forward, through
from onehop.simulation.state import Record
from onehop.simulation.verdict import Output


def accept(walk: Walk, record: Record) -> None:
    """A reply has come to the opener's host: judge it and give it to the opener."""
    way = probe(walk, record, record.opener)
    last_hops(walk, way)
    back(walk, record)
    walk.set_macs(src=record.near_macs[1], dst=record.near_macs[0])
    connections.keep_up(walk, record)
    walk.step(Stage.EGRESS_PORT, record.opener, "a reply: leaves by the port that opened the connection")
    walk.outputs.append(Output(record.opener, build(walk.frame), walk.origin))


def back(walk: Walk, record: Record) -> None:
    """Give a reply the addresses and ports that the opener knows."""
    if record.near != record.far:
        near, far = record.near.reversed(), record.far.reversed()
        walk.become(near, far)
        text = f"{far.src} port {far.src_port} > {far.dst} port {far.dst_port} becomes "
        text += f"{near.src} port {near.src_port} > {near.dst} port {near.dst_port}"
        walk.step(Stage.NAT, record.owner, text)


def probe(walk: Walk, record: Record, by: str, to_mac: str | None = None) -> list[Visit]:
    """Ask whether the connection would still pass, its packets entering by a port; gives their way."""
    frame = connections.probe_frame(record)
    frame = replace(frame, dst=to_mac or frame.dst)
    inbound = record.owner if record.inbound else None
    asked = Walk(walk.view, walk.state, by, b"", frame, frame, record=record, probe=True, inbound=inbound)
    passes = False
    try:
        asked.enter(asked.origin_port)
        through(CHECKS, asked)
        forward(asked)
        passes = asked.reached is not None and connections.is_far_port(walk.view, record, asked.reached.id)
        if passes:
            connections.conform(asked)
            acls.judge_reply(asked)
    except Finished:
        pass
    finally:
        walk.steps.extend(asked.steps)
        walk.logs.extend(asked.logs)
    if not passes:
        text = "the opener's packets now go elsewhere"
        walk.drop(Stage.CONNECTIONS, record.owner, Drop.CONNECTION_ENDED, text)
    return asked.visits


def last_hops(walk: Walk, way: list[Visit]) -> None:
    """What the routers and the network on the way back would do to a reply: TTL, and size."""
    routers = [visit for visit in reversed(way) if isinstance(visit.device, Router)]
    ip = walk.ip
    if routers and ip.ttl <= len(routers):
        end = routers[max(ip.ttl, 1) - 1]
        icmp_errors.tell(walk, icmp_errors.Error.TTL_EXPIRED, source=_facing(end, ip.dst))
        walk.drop(Stage.ROUTER, end.device.id, Drop.TTL_EXPIRED, "its time to live ends here")
    network, size = way[0].device, len(build_ip(ip))
    if isinstance(network, Network) and size > network.mtu:
        last = routers[-1] if routers else None
        source = _facing(last, ip.dst) if last is not None else ip.dst
        icmp_errors.tell(walk, icmp_errors.Error.TOO_BIG, network.mtu, source=source)
        text = f"{size} bytes, and {network.name} takes {network.mtu}"
        walk.drop(Stage.ROUTER, network.id, Drop.TOO_BIG, text)
    if routers:
        walk.set_ip(with_ttl(ip, ip.ttl - len(routers)))


def _facing(visit: Visit, ip: Ip) -> Ip:
    """The address of a router on the side that a reply comes from."""
    own = addresses_of(visit.out_port) if visit.out_port is not None else []
    return next((a for a in own if a.version == ip.version), ip)
