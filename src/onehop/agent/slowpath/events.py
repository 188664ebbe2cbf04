"""Reads what the programs tell through the ring `events`, a bounded number at a time, and sees to each.

Every kind has one function. What a kind needs is bounded there: packets wait in small numbers, and a port
that floods the ring is held back by its budget in the programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from onehop.agent.demand import Demand
from onehop.agent.follow import Follower
from onehop.agent.host import Host
from onehop.agent.slowpath.beyond import Beyond
from onehop.agent.slowpath.frames import text
from onehop.agent.slowpath.inject import Injector
from onehop.agent.slowpath.neighbours import PAUSE, Neighbours, coarse_now
from onehop.agent.slowpath.shares import Share, Shares
from onehop.agent.slowpath.uplinks import Uplinks
from onehop.datapath.layouts import codec, ip6
from onehop.datapath.programs import Datapath
from onehop.datapath.ringbuf import Ring
from onehop.datapath.structs import FdbKey, LearnedMac
from onehop.datapath.tables import EVENTS
from onehop.datapath.traffic import CounterKey, Event
from onehop.datapath.words import EventKind
from onehop.feed.messages import Learned, Told
from onehop.model import Network, Port
from onehop.model.formats import parse_mac
from onehop.model.vocabulary import Drop

__all__ = ["SlowPath"]

BATCH = 64  # events per turn of the loop: the feed gets its turn, too
MAX_SAID = 65536  # addresses of which it is known that this host told of them
TOLD_FULL = 60.0  # seconds for which a full port shows in its status and the host's health

log = structlog.get_logger()
_EVENT = codec(Event)
Handler = Callable[[Event, bytes], None]


class SlowPath:
    def __init__(self, host: Host, follower: Follower, datapath: Datapath, device: str) -> None:
        self._host, self._follower = host, follower
        self._ring = Ring(datapath.maps[EVENTS])
        self._injector = Injector(device)
        self._uplinks = Uplinks(datapath.maps["ports"])
        self._neighbours = Neighbours(
            host.view,
            host.keys,
            datapath.maps["learned_neighbours"],
            self._injector,
            self._uplinks,
            host.judge_anew,
        )
        self._demand = Demand(follower, time.monotonic)
        self._beyond = Beyond(host, self._demand, self._injector, self._wait)
        self._maps = datapath.maps
        self._shares = Shares(host.view, self._ask_for_blocks, self._refused, self._warn)
        self._macs = datapath.maps["learned_macs"]
        self._counters = datapath.maps["counters"]
        self._told: dict[str, frozenset[Learned]] = {}  # by port
        self._said: dict[tuple[str, str], str] = {}  # by network and address or MAC: the port
        self._looking: asyncio.Task[None] | None = None
        self._full: dict[int, float] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: dict[EventKind, Handler] = {
            EventKind.RESOLVE: self._resolve,
            EventKind.LEARNED_NEIGHBOUR: self._learned_neighbour,
            EventKind.LEARNED_MAC: self._learned_mac,
            EventKind.NOT_FOLLOWED: self._not_followed,
            EventKind.STRANGER: self._stranger,
            EventKind.LOG: self._log,
            EventKind.TABLE_FULL: self._table_full,
            EventKind.NAT_LOW: self._nat_low,
        }

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._follower.on_told = self.told
        loop.add_reader(self._ring.fileno(), self._read)
        self._looking = loop.create_task(self._beyond.let_go(self._maps), name="let go of what is unused")

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._ring.fileno())
        if self._ticking is not None:
            self._ticking.cancel()
        if self._looking is not None:
            self._looking.cancel()
        self._demand.close()
        self._ring.close()
        self._injector.close()
        self._uplinks.close()

    def health(self) -> dict[str, str]:
        """Ports that may open no more connections."""
        now = self._time()
        for port in [port for port, until in self._full.items() if until <= now]:
            del self._full[port]
            self._tell_full(port, "")
        if not self._full:
            return {}
        names = sorted(self._name(port) for port in self._full)
        return {"connections": f"no more connections for {', '.join(names[:10])}"}

    def _read(self) -> None:
        self._ring.consume(self._take, BATCH)

    def _take(self, record: memoryview) -> None:
        try:
            event = _EVENT.decode(record[: _EVENT.size])
            handler = self._handlers.get(event.kind)
            if handler is not None:
                handler(event, bytes(record[_EVENT.size : _EVENT.size + event.captured]))
        except Exception:  # one bad event must not end the reading of others
            log.exception("an event could not be seen to")

    # --- the kinds ----------------------------------------------------------------------------------

    def _resolve(self, event: Event, packet: bytes) -> None:
        self._beyond.resolve(event, _whole(event, packet))

    def _wait(self, event: Event, packet: bytes, why: Drop) -> None:
        """Ask neighbours for a next hop."""
        self._neighbours.needed(event.segment, event.address, event.port, packet, why)
        self._tick_on()

    def _learned_neighbour(self, event: Event, packet: bytes) -> None:
        heard = self._neighbours.heard(event.segment, event.address, event.mac)
        if heard and not self._uplinks.is_one(event.segment):
            self._report(event.port, "neighbour", text(event.address), event.mac.hex(":"))

    def _learned_mac(self, event: Event, packet: bytes) -> None:
        self._report(event.port, "mac", event.mac.hex(":"), "")

    def _not_followed(self, event: Event, packet: bytes) -> None:
        self._beyond.not_followed(event, _whole(event, packet))

    def _stranger(self, event: Event, packet: bytes) -> None:
        self._beyond.stranger(event, _whole(event, packet))

    def _log(self, event: Event, packet: bytes) -> None:
        log.info(
            "a rule matched",
            port=self._name(event.port),
            rule=self._host.number_name("rules", event.id),
            action=event.action,
        )

    def _table_full(self, event: Event, packet: bytes) -> None:
        if event.port not in self._full:
            log.warning("a port may open no more connections", port=self._name(event.port))
            self._tell_full(event.port, "has as many connections as it may have, and opens no more")
        self._full[event.port] = self._time() + TOLD_FULL

    def _tell_full(self, key: int, text: str) -> None:
        port = self._host.keys.get(key)
        if port is not None:
            self._follower.report_ports(self._host.warn(port, "connections", text))

    # --- ports of shared addresses ------------------------------------------------------------------

    def _nat_low(self, event: Event, packet: bytes) -> None:
        port = self._host.keys.get(event.port)
        rule, _, version = self._host.number_name("shared_rules", event.id).partition("/")
        if port is not None and version:
            self._shares.low(Share(port, rule, "ipv4" if version == "4" else "ipv6"))
            self._tick_on()

    def _ask_for_blocks(self, share: Share) -> None:
        self._follower.need_blocks(share.port, share.rule, share.family)

    def _refused(self, port: str) -> int:
        """How many packets of a port found no shared port free."""
        found = self._host.view.get(Port, port)
        key = CounterKey(found.key, Drop.NAT_EXHAUSTED) if found is not None else None
        counted = self._counters.lookup(key) if key is not None else None
        return sum(one.packets for one in counted) if counted is not None else 0

    def _warn(self, port: str, text: str) -> None:
        self._follower.report_ports(self._host.warn(port, "shares", text))

    # --- what other hosts learned -------------------------------------------------------------------

    def told(self, told: Told) -> None:
        """Go by what other hosts learned at a port, and take back what we said of the same before."""
        port = self._host.view.get(Port, told.port)
        network = self._host.view.get(Network, port.network) if port is not None else None
        if port is None or network is None:
            return
        known = self._told.get(port.id, frozenset())
        self._told[port.id] = frozenset(told.entries)
        for entry in told.entries:
            if entry not in known:
                self._withdraw(network.id, port.id, entry)
            with contextlib.suppress(ValueError):  # of a newer agent, perhaps
                self._learn(network, port, entry)

    def _learn(self, network: Network, port: Port, entry: Learned) -> None:
        if entry.what == "neighbour":
            self._neighbours.heard(network.key, ip6(entry.key), parse_mac(entry.via))
        elif entry.what == "mac":
            key = FdbKey(network.key, parse_mac(entry.key))
            before = self._macs.lookup(key)
            self._macs.update(key, LearnedMac(port.key, coarse_now()))
            if before is not None and before.port != port.key:
                self._host.judge_anew(network.id)

    def _withdraw(self, network: str, port: str, entry: Learned) -> None:
        """The address has moved to another port."""
        ours = self._said.get((network, entry.key))
        if entry.what == "neighbour" and ours is not None and ours != port:
            del self._said[network, entry.key]
            self._follower.report_learned([Learned(ours, "neighbour", entry.key, "")])

    # --- parts --------------------------------------------------------------------------------------

    def _tick_on(self) -> None:
        """Wake up when there is something to do, and not too often."""
        due = [at for at in (self._neighbours.due, self._shares.due) if at is not None]
        if self._loop is None or not due:
            return
        at = max(min(due), time.monotonic() + PAUSE / 4)
        if self._ticking is not None:
            if self._tick_at <= at:
                return
            self._ticking.cancel()
        self._tick_at = at
        self._ticking = self._loop.call_later(at - time.monotonic(), self._tick)

    def _tick(self) -> None:
        self._ticking = None
        self._neighbours.tick()
        self._shares.tick()
        self._tick_on()

    def _report(self, port: int, what: str, key: str, via: str) -> None:
        id = self._host.keys.get(port)
        found = self._host.view.get(Port, id)
        if found is not None and id is not None:
            if found.network is not None and len(self._said) < MAX_SAID:
                self._said[found.network, key] = id
            self._follower.report_learned([Learned(id, what, key, via)])  # type: ignore[arg-type]

    def _name(self, key: int) -> str:
        found = self._host.view.get(Port, self._host.keys.get(key))
        return found.name if found is not None else str(key)

    def _time(self) -> float:
        return self._loop.time() if self._loop is not None else 0.0


def _whole(event: Event, packet: bytes) -> bytes:
    """The packet, if all of it has come; the rest is not to be had."""
    return packet if event.captured == event.length else b""
