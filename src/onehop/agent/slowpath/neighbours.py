"""Next hops that the model does not know: asked for by ARP and neighbour solicitation, learned, passed on.

One state machine per (router's port, address):

                 a packet needs it
    (nothing) ──────────────────────► asking ── nobody answers, ASKS times ──► given up
        ▲                               │                                          │
        │                               │ somebody says: it is at MAC              │ packets are dropped
        │                               ▼                                          ▼
        └──── packets wait no more ── learned: in the table, waiting packets sent  (nothing)

At an uplink only its own host does this. Entries do not tell whether they are in use; so one that a packet
has needed is asked for again before it expires, for an hour, and then until a packet needs it again no more.

Pure but for what it is given: `pipeline` is where frames go on, `outside` sends out of uplinks, `table`
is `learned_neighbours`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address
from typing import Protocol

import structlog

from onehop.agent.slowpath.frames import between, plain, question, text
from onehop.datapath.structs import LearnedNeighbour, NeighbourKey
from onehop.model import Network, Port, Router
from onehop.model.assign import eui64
from onehop.model.formats import Ip, Prefix, parse_cidr, parse_ip, parse_mac
from onehop.model.relations.addressing import transit
from onehop.model.switching import Subnet
from onehop.model.view import View
from onehop.model.vocabulary import Drop

__all__ = ["Neighbours", "Table", "coarse_now"]

ASKS = 3  # questions, a second apart
PAUSE = 1.0
WAITING = 4  # frames that wait for one neighbour; older ones give way
MOST = 1024  # neighbours asked for at a time
REFRESH = 200.0  # seconds after which an entry at an uplink is asked for again; it lasts 300
NEEDED = 3600.0  # seconds for which that is done
_COARSE = 6  # CLOCK_MONOTONIC_COARSE
_NOBODY = bytes(6)
_LINK_LOCAL = IPv6Network("fe80::/64")

log = structlog.get_logger()


class Pipeline(Protocol):
    """Where packets go on that waited. Ports are told by their keys."""

    def send(self, port: int, frame: bytes, asker: int = 0) -> None:
        """As a port; as a router's port in the name of `asker`, a machine's."""

    def give_up(self, port: int, frame: bytes, why: Drop) -> None: ...


class Outside(Protocol):
    """The uplinks of this host."""

    def is_one(self, key: int) -> bool: ...

    def is_here(self, key: int) -> bool: ...

    def send(self, key: int, frame: bytes) -> None: ...


class Table(Protocol):
    def lookup(self, key: NeighbourKey) -> LearnedNeighbour | None: ...

    def update(self, key: NeighbourKey, value: LearnedNeighbour) -> bool: ...


def coarse_now() -> int:
    """The clock of the tables."""
    return time.clock_gettime_ns(_COARSE)


@dataclass(slots=True)
class _Needed:
    """An entry at an uplink that is kept fresh."""

    again: float
    until: float


@dataclass(slots=True)
class _Asked:
    next: float
    is_needed: bool = False  # by a packet
    asks: int = 0
    why: Drop = Drop.NO_NEIGHBOUR  # frames are dropped, if nobody answers
    frames: list[tuple[int, bytes]] = field(default_factory=list)  # port, frame


class Neighbours:
    def __init__(
        self,
        view: View,
        keys: dict[int, str],
        table: Table,
        pipeline: Pipeline,
        outside: Outside,
        moved: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keys`: objects by key. `moved` is told of a router one of whose neighbours has another MAC."""
        self._view, self._keys, self._table, self._pipeline = view, keys, table, pipeline
        self._outside, self._moved, self._clock = outside, moved, clock
        self._asked: dict[NeighbourKey, _Asked] = {}
        self._needed: dict[NeighbourKey, _Needed] = {}

    # --- asking -------------------------------------------------------------------------------------

    def needed(
        self, segment: int, address: bytes, port: int, frame: bytes, why: Drop = Drop.NO_NEIGHBOUR
    ) -> None:
        """A frame from a port waits for a neighbour; `why` it is dropped if it waits in vain."""
        key = NeighbourKey(segment, address)
        asked = self._asked.get(key)
        if asked is None:
            if len(self._asked) >= MOST:
                return
            asked = self._asked[key] = _Asked(self._clock())
        asked.is_needed, asked.why = True, why
        if frame:
            asked.frames = [*asked.frames[1 - WAITING :], (port, frame)]
        if not asked.asks:
            self._ask(key, asked)

    def tick(self) -> None:
        """Ask again, or give up. To be called when something is `due`."""
        now = self._clock()
        for key, needed in list(self._needed.items()):
            if needed.again <= now:
                del self._needed[key]
                if needed.until > now and key not in self._asked:
                    self._asked[key] = _Asked(now)
                    self._needed[key] = _Needed(now + REFRESH, needed.until)
        for key, asked in list(self._asked.items()):
            if asked.next <= now:
                if asked.asks < ASKS:
                    self._ask(key, asked)
                else:
                    del self._asked[key]
                    self._needed.pop(key, None)
                    self._give_up(key, asked)

    @property
    def due(self) -> float | None:
        """When there is something to do, by the clock."""
        times = [asked.next for asked in self._asked.values()]
        times += [needed.again for needed in self._needed.values()]
        return min(times, default=None)

    def _ask(self, key: NeighbourKey, asked: _Asked) -> None:
        asked.asks += 1
        asked.next = self._clock() + PAUSE
        port = self._view.get(Port, self._keys.get(key.segment))
        frame = _question(self._view, port, plain(key.address)) if port is not None else None
        if frame is None:
            del self._asked[key]
        elif self._outside.is_one(key.segment):
            self._outside.send(key.segment, frame)
        else:
            self._pipeline.send(key.segment, frame, asked.frames[-1][0] if asked.frames else 0)

    def _give_up(self, key: NeighbourKey, asked: _Asked) -> None:
        """What came from another host, or is an answer, has nobody to be told."""
        for origin, frame in asked.frames:
            if not self._is_judged(key, origin):
                self._pipeline.give_up(origin, frame, asked.why)

    def _is_judged(self, key: NeighbourKey, origin: int) -> bool:
        """Whether a packet has been through the pipeline, and lacks but the MAC."""
        leaves = self._outside.is_one(key.segment)
        return leaves and (origin == key.segment or not self._outside.is_here(origin))

    # --- hearing ------------------------------------------------------------------------------------

    def heard(self, segment: int, address: bytes, mac: bytes) -> bool:
        """Somebody said that an address is at a MAC, on a network or to a router's port.

        Whether any router has use for it.
        """
        if mac == _NOBODY or mac[0] & 1:
            return False
        ip = ip_address(plain(address))
        used = False
        for port in self._listeners(segment):
            if any(ip in prefix and ip != own for own, prefix in _prefixes(self._view, port)):
                self._learn(port, NeighbourKey(port.key, address), mac)
                used = True
        return used

    def _learn(self, port: Port, key: NeighbourKey, mac: bytes) -> None:
        before = self._table.lookup(key)
        self._table.update(key, LearnedNeighbour(mac, coarse_now()))
        if before is not None and before.mac not in (mac, _NOBODY) and port.router is not None:
            log.info("a neighbour has moved", address=text(key.address), mac=mac.hex(":"))
            self._moved(port.router)
        asked = self._asked.pop(key, None)
        is_outside = self._outside.is_one(key.segment)
        if is_outside:
            self._keep_fresh(key, asked is not None and asked.is_needed)
        for origin, frame in asked.frames if asked is not None else ():
            if self._is_judged(key, origin):
                self._outside.send(key.segment, between(frame, parse_mac(port.mac), mac))
            else:
                self._pipeline.send(origin, frame)

    def _keep_fresh(self, key: NeighbourKey, is_needed: bool) -> None:
        now, known = self._clock(), self._needed.get(key)
        if is_needed and (known is not None or len(self._needed) < MOST):
            self._needed[key] = _Needed(now + REFRESH, now + NEEDED)
        elif known is not None:
            known.again = now + REFRESH

    def _listeners(self, segment: int) -> Iterator[Port]:
        """The routers' ports that hear what is said on a segment."""
        found = self._view.find(self._keys.get(segment, ""))
        if isinstance(found, Port):
            if found.router is not None:
                yield found
        elif isinstance(found, Network):
            for port in self._view.ports(found.id):
                peer = self._view.peer(port.id) if port.kind == "router" else None
                if peer is not None and peer.router is not None:
                    yield peer


def _question(view: View, port: Port, address: bytes) -> bytes | None:
    """From an address that the router's port has in the same family; None if it has none."""
    if port.router is None or view.get(Router, port.router) is None:
        return None
    wanted = ip_address(address)
    own = [(ip, prefix) for ip, prefix in _prefixes(view, port) if ip.version == wanted.version]
    near = [ip for ip, prefix in own if wanted in prefix] or [ip for ip, _ in own]
    mac = parse_mac(port.mac)
    if near:
        return question(address, mac, near[0].packed)
    if wanted.version == 6:
        return question(address, mac, eui64(_LINK_LOCAL, port.mac).packed)
    return None


def _prefixes(view: View, port: Port) -> Iterator[tuple[Ip, Prefix]]:
    """The addresses of a router's port, each with the prefix that it is on."""
    for address in port.addresses:
        if address.ip is None:
            continue
        subnet = view.get(Subnet, address.subnet)
        prefix = parse_cidr(subnet.cidr) if subnet is not None else transit(address)
        if prefix is not None:
            yield parse_ip(address.ip), prefix
