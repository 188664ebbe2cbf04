"""What the flow cache may do otherwise, for a second: it goes on with what was decided.

* It takes replies without noting that they open a connection, or close one that both sides have opened.
* Where a connection leaves by any of several uplinks, it keeps to one, and notes no other that is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from onehop.datapath.traffic import Record
from onehop.datapath.words import RecordFlag
from onehop.model import Port
from onehop.model.view import View
from onehop.model.zones import is_uplink
from onehop.simulation.cloud import Delivered, Event
from onehop.simulation.state import Life
from tests.support.kernel.host import KernelHost


def hit(host: KernelHost) -> bool:
    return any(run.verdict.hit for run in host.runs)


def catch_up(host: KernelHost, spec: dict[Any, Any], everywhere: Collection[Any], cached: bool) -> None:
    """Note in a host's records what the next packet would, if the last was taken from the cache."""
    free = any(run.verdict.hit and not run.verdict.tunnel for run in host.runs)  # of no record
    for key, record in host.tables.items("records") if cached else ():
        known = host.tuple_of(key)
        if known not in spec:
            continue
        _, protocol, src, dst, *ports = known
        both = any(other[1:] == (protocol, dst, src, *ports[::-1]) for other in everywhere)
        fresh = _by_uplink(host.view, record, spec[known])
        life = spec[known][-1]
        opens = (record.life, life) == (Life.OPENING, Life.OPEN)
        if life != record.life and hit(host) and (opens or both or free):
            fresh = msgspec.structs.replace(fresh, life=life)
        if hit(host):
            fresh = msgspec.structs.replace(fresh, tos=spec[known][-2] << 2)  # of the last packet
        if fresh != record:
            host.tables.maps["records"].update(key, fresh)


def _by_uplink(view: View, record: Record, wanted: tuple[Any, ...]) -> Record:
    """The record with the uplink that was used last."""
    other = view.get(Port, wanted[0] if record.flags & RecordFlag.INBOUND else wanted[1])
    if other is None or not is_uplink(view, other):
        return record
    macs = [bytes.fromhex(mac.replace(":", "")) for mac in wanted[6:10]]
    names = ("near_src", "near_dst", "far_src", "far_dst")
    return msgspec.structs.replace(record, far_port=other.key, **dict(zip(names, macs, strict=True)))


def left_alike(view: View, spec: Iterable[Event], real: Iterable[Event]) -> bool:
    """Whether the same packets have left by uplinks, whichever, and nothing else has come anywhere."""
    wanted, actual = sorted(_left(view, spec)), sorted(_left(view, real))
    return bool(wanted) and wanted == actual and all(wanted)


def _left(view: View, events: Iterable[Event]) -> Iterator[bytes]:
    """What has left, without MACs; nothing, for what was delivered elsewhere."""
    for event in events:
        if isinstance(event, Delivered):
            port = view.get(Port, event.port)
            yield event.frame[12:] if port is not None and is_uplink(view, port) else b""


__all__ = ["catch_up", "hit", "left_alike"]
