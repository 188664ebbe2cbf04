"""Stage FRAGMENTS: later fragments follow their first.

The first fragment holds the whole transport header (parsing sees to that) and is remembered by the port that
sent it. Those that come later are judged as it was, with its ports. A later one without a first is dropped by
name: its machine's IP stack sends again. Nothing may be written over the first: a fragment that begins within
it, or another first with other contents, is dropped.
"""

from __future__ import annotations

from dataclasses import replace

from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.context import Walk
from onehop.simulation.packet import FRAGMENT, Fragment, IpPacket, Ipv4, Ipv6, build_ip
from onehop.simulation.state import FRAGMENT_LIFE, FirstFragment, FragmentKey, NoteFragment


def follow(walk: Walk) -> None:
    ip = walk.frame.payload
    if not isinstance(ip, Ipv4 | Ipv6) or ip.fragment is None:
        return
    fragment = ip.fragment
    key = FragmentKey(walk.origin, ip.protocol, ip.src, ip.dst, fragment.id)
    known = walk.state.fragments.get(key)
    if known is not None and walk.state.now - known.seen > FRAGMENT_LIFE:
        known = None
    if fragment.offset:
        _later(walk, fragment, known)
    else:
        _first(walk, ip, key, known)


def _first(walk: Walk, ip: IpPacket, key: FragmentKey, known: FirstFragment | None) -> None:
    flow = walk.flow
    first = FirstFragment(flow.src_port, flow.dst_port, flow.icmp, _size(ip), walk.state.now)
    if known is not None and replace(known, seen=first.seen) != first:
        walk.drop(Stage.FRAGMENTS, walk.origin, Drop.FRAGMENT_OVERLAP, "another first fragment came before")
    walk.effects.append(NoteFragment(key, first))


def _size(ip: IpPacket) -> int:
    """How much of the packet that was cut up a fragment holds."""
    if isinstance(ip, Ipv4):
        return len(build_ip(ip)) - 20 - len(ip.options)
    before = [e.protocol for e in ip.extensions].index(FRAGMENT) + 1
    return len(build_ip(ip)) - 40 - sum(1 + len(e.body) for e in ip.extensions[:before])


def _later(walk: Walk, fragment: Fragment, known: FirstFragment | None) -> None:
    if known is None:
        why = "its first fragment has not been seen"
        walk.drop(Stage.FRAGMENTS, walk.origin, Drop.FRAGMENT_FIRST_MISSING, why)
    elif fragment.offset < known.end:
        walk.drop(Stage.FRAGMENTS, walk.origin, Drop.FRAGMENT_OVERLAP, "it overlaps the first fragment")
    walk.first = walk.first_sent = known
    walk.step(Stage.FRAGMENTS, walk.origin, "follows its first fragment")
