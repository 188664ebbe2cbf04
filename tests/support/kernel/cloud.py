"""All hosts of a cloud, each with programs and tables of its own, and the underlay between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from onehop.model import Binding, Object, Port
from onehop.model import Host as HostObject
from onehop.model.kinds import KINDS
from onehop.model.view import Topology, View
from onehop.model.vocabulary import Drop, TunnelFlag
from onehop.simulation.cloud import Dropped, Envelope, Event, Life
from onehop.simulation.cloud.places import by_address, host_of
from tests.support.kernel.floor import Floor, Tap
from tests.support.kernel.host import Carried, KernelHost, Run, wrapped

MAX_EVENTS = 10_000


class Kernel:
    """What is loaded: a floor, and hosts to be used by one cloud after another."""

    def __init__(self) -> None:
        self.floor = Floor()
        self._hosts: list[KernelHost] = []

    def host(self, number: int) -> KernelHost:
        while len(self._hosts) <= number:
            self._hosts.append(KernelHost(self.floor, len(self._hosts)))
        return self._hosts[number]

    def close(self) -> None:
        for host in self._hosts:
            host.close()
        self.floor.close()


class Plugs(dict[str, Tap]):
    """A tap for each interface that a binding names, when it is first asked for."""

    def __init__(self, floor: Floor) -> None:
        super().__init__()
        self._floor = floor

    def __missing__(self, name: str) -> Tap:
        tap = self[name] = self._floor.tap(f"t{len(self)}")
        return tap


class KernelCloud:
    """The same calls as the simulation's `Cloud`."""

    def __init__(self, kernel: Kernel, view: View) -> None:
        self._kernel = kernel
        self.view = Topology(_plugged(obj) for kind in KINDS for obj in _objects(view, kind))
        self._plugs = Plugs(kernel.floor)
        self.hosts: dict[str, KernelHost] = {}
        self._add_hosts()

    def _add_hosts(self) -> None:
        for host in self.view.all(HostObject):
            if host.id not in self.hosts:
                found = self._kernel.host(len(self.hosts))
                found.begin(host.id, self.view, self._plugs)
                self.hosts[host.id] = found

    # --- packets ----------------------------------------------------------------------------------------

    def send(self, port: str, frame: bytes) -> Life:
        host = host_of(self.view, port)
        if host is None:
            raise LookupError(f"port {port} is on no host")
        self._forget_runs()
        return self._follow(self.hosts[host].from_port(port, frame))

    def throw(self, envelope: Envelope) -> Life:
        self._forget_runs()
        return self._follow(self._carry(envelope, wrapped(envelope)))

    def _follow(self, events: Iterable[Event]) -> Life:
        done: list[Event] = []
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            done.append(event)
            if len(done) > MAX_EVENTS:
                raise RuntimeError("a storm: packets beget packets without end")
            if isinstance(event, Carried):
                carried = self._carry(event.envelope, event.outer)
                waiting.extend(_because(event.refused, e) for e in carried)
        return Life(tuple(done))

    def _carry(self, envelope: Envelope, outer: bytes) -> list[Event]:
        to = by_address(self.view, envelope.dst)
        return self.hosts[to.id].from_underlay(outer) if to is not None else []

    def _forget_runs(self) -> None:
        for host in self.hosts.values():
            host.runs.clear()

    @property
    def runs(self) -> list[Run]:
        """What the last packet did, host by host."""
        return [run for host in self.hosts.values() for run in host.runs]

    # --- changes ----------------------------------------------------------------------------------------

    def change(self, view: View) -> None:
        ids = {id for one in (self.view, view) for kind in KINDS for id in one.ids_of(kind)}
        before = {p.id: host_of(self.view, p.id) for p in self.view.all(Port)}
        changed = sorted(id for id in ids if self._take(id, view.find(id)))
        self._add_hosts()
        for port in self.view.all(Port):
            was, now = before.get(port.id), host_of(self.view, port.id)
            if was is not None and now is not None and was != now:
                self.hosts[was].move_records(port, self.hosts[now])
                for host in self.hosts.values():
                    host.note_move(port.id, was, now)
        for host in self.hosts.values():
            host.follow(changed)

    def _take(self, id: str, obj: Object | None) -> bool:
        """Take over an object; whether it is another than before."""
        after = _plugged(obj) if obj is not None else None
        if after == self.view.find(id):
            return False
        if after is None:
            self.view.remove(id)
        else:
            self.view.put(after)
        return True

    def interface(self, port: str, up: bool) -> None:
        host = self.hosts[host_of(self.view, port) or ""]
        (host.absent.discard if up else host.absent.add)(port)
        host.follow(())

    def wait(self, seconds: float) -> Life:
        self._forget_runs()
        return self._follow([event for host in self.hosts.values() for event in host.wait(seconds)])

    def settle(self) -> Life:
        """What each host learned reaches the others, and packets that waited for it go on."""
        self._forget_runs()
        told = {id: tuple(host.learned) for id, host in self.hosts.items()}
        for id, host in self.hosts.items():
            host.learned.clear()
            for other, learned in told.items():
                if other != id:
                    host.hear(learned)
        return self._follow([event for host in self.hosts.values() for event in host.resume()])

    def forget(self, *, hints: bool = False, flows: bool = False) -> None:
        """Flows go with hints: for a second, a cached flow would do without writing a lost hint again."""
        for host in self.hosts.values():
            host.tables.forget(*(["hints", "flows"] if hints else ["flows"] if flows else []))


def _objects(view: View, kind: str) -> list[Object]:
    return [obj for id in view.ids_of(kind) if (obj := view.find(id)) is not None]


def _plugged(obj: Object) -> Object:
    """A binding with an interface that no other has: two ports of one name may be on one host here."""
    if isinstance(obj, Binding) and obj.interface is not None and obj.vlan is None:
        return msgspec.structs.replace(obj, interface=f"{obj.host} {obj.port}")
    return obj


def _because(refused: Drop | None, event: Event) -> Event:
    return replace(event, refused=refused) if isinstance(event, Dropped) else event


__all__ = ["Kernel", "KernelCloud", "TunnelFlag"]
