"""Packets that need what is not followed here, and those of strangers: they wait while it is asked for.

| needed | asked for | then |
|---|---|---|
| a next hop on an external network, which the model as followed here does not know | who has the address | the packet goes on; if nobody has it, neighbours are asked |
| a port that a walk meets | what is around it, or for a reply just where it is | the packet goes on |
| the port that a packet from the underlay comes from | where it is | it is taken in, if it came from there |

With no controller, and where nothing is found, the packet is dropped by the programs, by name.
"""  # noqa: E501 - a table

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from onehop.agent.demand import Demand, Found
from onehop.agent.host import Host
from onehop.agent.slowpath.frames import plain, text
from onehop.agent.slowpath.inject import Injector
from onehop.datapath.injection import from_port, from_stranger
from onehop.datapath.maps import Map
from onehop.datapath.traffic import Event
from onehop.feed.messages import End, Holder
from onehop.feed.needs import END, object_of
from onehop.model import Host as HostObject
from onehop.model import Network, Port, Subnet
from onehop.model.formats import parse_cidr, parse_ip
from onehop.model.vocabulary import Drop

__all__ = ["Beyond"]

LOOK = 600.0  # seconds between looks at what is unused

Wait = Callable[[Event, bytes, Drop], None]  # for a neighbour; in vain, for this reason


class Beyond:
    def __init__(self, host: Host, demand: Demand, injector: Injector, wait: Wait) -> None:
        self._host, self._demand, self._injector, self._wait = host, demand, injector, wait

    # --- packets ------------------------------------------------------------------------------------

    def resolve(self, event: Event, packet: bytes) -> None:
        """A next hop: somebody's beyond, or a neighbour that is to be asked."""
        network = self._network(event)
        if network is None:
            self._wait(event, packet, Drop.NO_NEIGHBOUR)
            return

        def then(found: Found) -> None:
            if found is Found.FOLLOWED:
                self._send(event.port, packet)
            else:
                nobody = found is Found.NOTHING_NEW
                self._wait(event, packet, Drop.NO_NEIGHBOUR if nobody else Drop.NOT_FOLLOWED)

        self._demand.need(Holder(network.id, text(event.address)), event.port, then)

    def _network(self, event: Event) -> Network | None:
        """The external network that a next hop is on, if it is one of its addresses."""
        view = self._host.view
        peer = view.peer(self._host.keys.get(event.segment, ""))
        network = view.get(Network, peer.network) if peer is not None else None
        if network is None or not view.is_external(network):
            return None
        ip = ip_address(plain(event.address))
        inside = any(ip in parse_cidr(s.cidr) for s in view.children(Subnet, network.id))
        return network if inside else None

    def not_followed(self, event: Event, packet: bytes) -> None:
        def then(found: Found) -> None:
            if found is Found.FOLLOWED:
                self._send(event.port, packet)
            elif packet:
                self._injector.inject(from_port(event.port, gives_up=Drop.NOT_FOLLOWED), packet)

        self._demand.need(End(event.segment) if event.action else event.segment, event.port, then)

    def stranger(self, event: Event, packet: bytes) -> None:
        def then(found: Found) -> None:
            true = found is Found.FOLLOWED and self._is_at(event.segment, text(event.address))
            if packet:
                mark = from_stranger(event.id, event.segment, event.action, gives_up=not true)
                self._injector.inject(mark, packet)

        self._demand.need(End(event.segment), event.id, then)

    def _is_at(self, key: int, address: str) -> bool:
        """Whether a port is bound to the host that has an underlay address."""
        view = self._host.view
        hosts = [view.get(HostObject, b.host) for b in view.bindings(self._host.keys.get(key, ""))]
        return any(str(parse_ip(a.ip)) == address for h in hosts if h is not None for a in h.addresses)

    def _send(self, port: int, packet: bytes) -> None:
        if packet:
            self._injector.send(port, packet)

    # --- what is unused -----------------------------------------------------------------------------

    async def let_go(self, maps: Mapping[str, Map[Any, Any]]) -> None:
        """From time to time, let go of what no connection needs. Reading them all is left to a thread."""
        while True:
            await asyncio.sleep(LOOK)
            if self._demand.idle():
                zones, openers = await asyncio.to_thread(_used, maps)
                self._demand.used(id for id in self._demand.idle() if self._is_used(id, zones, openers))
                self._demand.let_go_idle()

    def _is_used(self, id: str, zones: set[int], openers: set[int]) -> bool:
        found = self._host.view.find(object_of(id))
        if isinstance(found, Port):
            if found.key in openers:
                return True
            if id.startswith(END):
                return False
        device = self._host.view.device(found) if isinstance(found, Port) else id
        return self._host.zone(device) in zones


def _used(maps: Mapping[str, Map[Any, Any]]) -> tuple[set[int], set[int]]:
    """The zones that connections cross, and the ports that replies go back to."""
    zones = {
        crossing.zone for _, record in maps["records"].items() for crossing in record.crossed[: record.zones]
    }
    return zones, {hint.opener for _, hint in maps["hints"].items()}
