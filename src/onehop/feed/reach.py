"""Reach: what each connected host follows, kept up to date change by change.

From its bound ports a host walks over links, and stops at boundaries: networks granted as external, and
routers with uplinks (an *uplink* is a router's port of kind `router` with a binding and without a link).

* A host follows its own object, its bound ports, and the whole zones that these are in.
* With a zone come the shells of the boundaries it is linked to: their devices, subnets, routes and uplinks,
  the links among them, and from the zone's side the links by which the walk arrives. Not the other tenants.
* A host with an uplink (a gateway) follows its boundaries whole, and every zone behind them.
* What a host asks for (a port, network or router) is followed like a bound port's surroundings; a port as an
  *end* (`needs.END` and its id) only with where it is.

What hangs on these, down to the underlays of the hosts where the ports are, is said by `needs`.

`Reach` reads a `View` that is changed before `apply` is told; `apply` looks at it through an overlay that it
takes from before to after, one object at a time. The result depends on the view and the connected hosts
alone, never on the order of changes. The work follows the change and the hosts concerned: nothing is ever
computed anew for a host, and nothing at all for hosts that are not connected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from onehop.feed.areas import Area, Areas
from onehop.feed.bundles import Bundle, Bundles
from onehop.feed.needs import END, SHELL, edges, object_of
from onehop.model import Binding, Host, Link, Network, Object, Port, Router
from onehop.model.view import Overlay, View

_NOTHING: Mapping[str, Object | None] = {}


@dataclass(frozen=True, slots=True)
class Delta:
    """What changes for a host: ids of objects to send, and of objects to forget."""

    puts: frozenset[str]
    removes: frozenset[str]


class _Stand(NamedTuple):
    """A host stands at a port or device: it is bound there, or asked for it."""

    host: str
    port: str | None  # or a port as an end
    device: str | None
    gateway: bool


class Reach:
    def __init__(self, view: View) -> None:
        self._live = view
        self._bundles = Bundles(view)
        self._areas = Areas(self._moved)
        self._own: dict[str, Bundle] = {}  # connected host -> what it follows for itself
        self._stands: dict[str, _Stand] = {}  # binding, or host and target of an ask -> where
        self._stands_of: dict[str, set[str]] = {}  # host -> its keys in the above
        self._at: dict[str, dict[str, _Stand]] = {}  # device -> the stands there, by their keys
        self._asks: dict[str, set[str]] = {}  # target -> hosts that asked for it
        self._asks_of: dict[str, set[str]] = {}
        self._uplinks: dict[str, str] = {}  # port -> router
        self._uplinks_of: dict[str, int] = {}  # router -> how many
        self._ends: dict[str, tuple[str, str]] = {}  # link -> the devices that it joins
        self._start()

    @property
    def _view(self) -> View:
        return self._bundles.view

    def _start(self) -> None:
        for kind in ("network", "router"):
            for id in self._view.ids_of(kind):
                self._settle_device(id)
        for id in self._view.ids_of("binding"):
            binding = self._view.get(Binding, id)
            port = self._view.get(Port, binding.port) if binding else None
            if port is not None and port.router is not None:
                self._settle_port(port.id)
        for id in self._view.ids_of("link"):
            self._settle_link(id)

    # --- hosts --------------------------------------------------------------------------------------

    def hosts(self) -> Iterable[str]:
        return self._own.keys()

    def connect(self, host: str, asks: Iterable[str] = ()) -> None:
        """Start to follow for a host; `holdings` then says what it should have."""
        own = self._own[host] = Bundle()
        self._stands_of[host] = set()
        self._asks_of[host] = set()
        with self._bundles.quietly():
            self._bundles.root(own, host, 1)
            self._bundles.follow(host, own, 1)
            for id in list(self._view.referrers(host, "binding")):
                self._settle_binding(id)
            for target in asks:
                self._ask(host, target)

    def disconnect(self, host: str) -> None:
        with self._bundles.quietly():
            for key in list(self._stands_of[host]):
                self._stand(key, None)
            self._bundles.follow(host, self._own[host], -1)
        for target in list(self._asks_of[host]):
            self._forget_ask(host, target)
        del self._own[host], self._stands_of[host], self._asks_of[host]

    def holdings(self, host: str) -> set[str]:
        """The ids of the objects that a connected host follows."""
        return {id for id in self._bundles.objects_of(host) if self._live.find(id) is not None}

    def follows(self, host: str, id: str) -> bool:
        return self._bundles.has(host, id)

    def followers(self, id: str) -> set[str]:
        """The connected hosts that follow an object."""
        return self._bundles.hosts_with(id)

    def ask(self, host: str, targets: Iterable[str]) -> Delta:
        """Follow ports, networks, routers, ends or hosts, until told to let go of them."""
        for target in targets:
            self._ask(host, target)
        return self._noted().get(host, Delta(frozenset(), frozenset()))

    def let_go(self, host: str, targets: Iterable[str]) -> Delta:
        for target in targets:
            if target in self._asks_of[host]:
                self._stand(f"{host} {target}", None)
                self._forget_ask(host, target)
        return self._noted().get(host, Delta(frozenset(), frozenset()))

    def asks(self, host: str) -> frozenset[str]:
        """What a connected host asked for."""
        return frozenset(self._asks_of[host])

    def ask_anew(self, host: str, targets: Iterable[str]) -> None:
        """Put these in the place of all that a host asked for; `holdings` then says what it should have."""
        wanted = set(targets)
        self.let_go(host, self._asks_of[host] - wanted)
        self.ask(host, wanted - self._asks_of[host])

    def _ask(self, host: str, target: str) -> None:
        self._asks.setdefault(target, set()).add(host)
        self._asks_of[host].add(target)
        self._settle_ask(host, target)

    def _forget_ask(self, host: str, target: str) -> None:
        self._asks_of[host].discard(target)
        self._asks[target].discard(host)
        if not self._asks[target]:
            del self._asks[target]

    # --- changes ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[tuple[Object | None, Object | None]]) -> dict[str, Delta]:
        """What changes mean for each host concerned. They are (before, after), and the view has them already.

        An object may be named once.
        """
        overlay = Overlay(self._live)
        before: dict[str, Object | None] = {}
        for old, new in changes:
            some = old or new
            if some is not None and old != new:
                before[some.id] = old
                overlay.put(old) if old is not None else overlay.remove(some.id)
        self._bundles.view = overlay
        for old, new in changes:
            if old != new:
                self._exchange(overlay, old, new)
        self._bundles.view = self._live
        return self._noted(before)

    def _noted(self, before: Mapping[str, Object | None] = _NOTHING) -> dict[str, Delta]:
        notes = self._bundles.take_notes()
        for id in before:
            for host in self._bundles.hosts_with(id):
                notes.setdefault(host, {}).setdefault(id, 0)
        deltas = {}
        for host, noted in notes.items():
            puts, removes = set(), set()
            for id, gained in noted.items():
                now = self._live.find(id)
                then = before.get(id, now)
                has = gained > 0 or (gained == 0 and id in before and self._bundles.has(host, id))
                had = gained < 0 or (has and gained == 0)
                if has and now is not None:
                    puts.add(id)
                elif had and then is not None:
                    removes.add(id)
            if puts or removes:
                deltas[host] = Delta(frozenset(puts), frozenset(removes))
        return deltas

    def _exchange(self, overlay: Overlay, old: Object | None, new: Object | None) -> None:
        """One object from before to after: first the edges that go, then those that come."""
        old_edges = dict.fromkeys(edges(old)) if old is not None else {}
        new_edges = dict.fromkeys(edges(new)) if new is not None else {}
        self._bundles.drop_edges([edge for edge in old_edges if edge not in new_edges])
        if new is not None:
            overlay.put(new)
        elif old is not None:
            overlay.remove(old.id)
        self._bundles.add_edges([edge for edge in reversed(new_edges) if edge not in old_edges])
        for obj in (old, new):
            self._settle(obj)

    # --- what follows from more than one object -----------------------------------------------------

    def _settle(self, obj: Object | None) -> None:
        match obj:
            case Port():
                self._settle_port(obj.id)
            case Binding():
                self._settle_port(obj.port)
                self._settle_binding(obj.id)
            case Link():
                self._settle_link(obj.id)
                self._settle_port(obj.a)
                self._settle_port(obj.b)
            case Network() | Router():
                self._settle_device(obj.id)
            case Host():
                for host in list(self._asks.get(obj.id, ())):
                    self._settle_ask(host, obj.id)

    def _settle_port(self, id: str) -> None:
        port = self._view.get(Port, id)
        bindings = [b for b in self._view.referrers(id, "binding") if self._is_of(b, id)]
        router = None
        if port is not None and port.kind == "router" and bindings and not self._linked(id):
            router = port.router
        was = self._uplinks.get(id)
        if router != was:
            if was is not None:
                self._count_uplink(id, was, -1)
            if router is not None:
                self._count_uplink(id, router, 1)
        for link in list(self._view.referrers(id, "link")):
            self._settle_link(link)
        for binding in bindings:
            self._settle_binding(binding)
        for target in (id, END + id):
            for host in list(self._asks.get(target, ())):
                self._settle_ask(host, target)

    def _is_of(self, binding: str, port: str) -> bool:
        found = self._view.get(Binding, binding)
        return found is not None and found.port == port

    def _linked(self, port: str) -> bool:
        return any(True for _ in self._view.referrers(port, "link"))

    def _count_uplink(self, port: str, router: str, by: int) -> None:
        if by > 0:
            self._uplinks[port] = router
            self._bundles.tie(router, port)
        else:
            del self._uplinks[port]
            self._bundles.untie(router, port)
        count = self._uplinks_of.get(router, 0) + by
        if count:
            self._uplinks_of[router] = count
        else:
            del self._uplinks_of[router]
        self._settle_device(router)

    def _settle_device(self, id: str) -> None:
        """Create the area of a device, exchange it when the device changes its class, or drop it."""
        boundary = self._is_boundary(id)
        area = self._areas.of(id)
        if area is None:
            self._contribute(id, self._areas.place(id, boundary), 1)
        elif area.boundary != boundary:
            self._reclassify(id, boundary)
        for host in list(self._asks.get(id, ())):
            self._settle_ask(host, id)
        self._drop_if_unused(id)

    def _is_boundary(self, id: str) -> bool:
        network = self._view.get(Network, id)
        return id in self._uplinks_of or (network is not None and self._view.is_external(network))

    def _reclassify(self, id: str, boundary: bool) -> None:
        links = dict(self._areas.joined(id))
        for link, other in links.items():
            self._part(link, id, other)
        area = self._areas.of(id)
        assert area is not None and len(area.devices) == 1
        self._contribute(id, area, -1)
        self._areas.remove(id)
        self._contribute(id, self._areas.place(id, boundary), 1)
        for link, other in links.items():
            self._join(link, id, other)

    def _drop_if_unused(self, id: str) -> None:
        area = self._areas.of(id)
        if area is None or self._view.find(id) is not None or id in self._at:
            return
        if not self._areas.joined(id) and id not in self._uplinks_of:
            self._contribute(id, area, -1)
            self._areas.remove(id)

    def _settle_link(self, id: str) -> None:
        link = self._view.get(Link, id)
        ends = (self._device(link.a), self._device(link.b)) if link is not None else (None, None)
        now = (ends[0], ends[1]) if ends[0] and ends[1] and ends[0] != ends[1] else None
        was = self._ends.get(id)
        if now == was:
            return
        if was is not None:
            del self._ends[id]
            self._part(id, *was)
            for device in was:
                self._drop_if_unused(device)
        if now is not None:
            self._ends[id] = now
            for device in now:
                self._area_of(device)
            self._join(id, *now)

    def _device(self, port: str) -> str | None:
        found = self._view.get(Port, port)
        return (found.network or found.router) if found is not None else None

    def _area_of(self, device: str) -> Area:
        area = self._areas.of(device)
        if area is None:
            area = self._areas.place(device, self._is_boundary(device))
            self._contribute(device, area, 1)
        return area

    # --- devices and their areas --------------------------------------------------------------------

    def _join(self, link: str, a: str, b: str) -> None:
        one, other = self._area_of(a), self._area_of(b)
        self._areas.join(link, a, b)
        if one.boundary != other.boundary:
            self._neighbours(one, other, 1)
        elif one.boundary:
            self._bundles.tie(a, link)
            self._bundles.tie(b, link)

    def _part(self, link: str, a: str, b: str) -> None:
        one, other = self._area_of(a), self._area_of(b)
        if one.boundary != other.boundary:
            self._neighbours(one, other, -1)
        elif one.boundary:
            self._bundles.untie(a, link)
            self._bundles.untie(b, link)
        self._areas.part(link, a, b)

    def _neighbours(self, one: Area, other: Area, ways: int) -> None:
        zone, boundary = (other, one) if one.boundary else (one, other)
        self._bundles.include(zone.whole, boundary.shell, ways)
        self._bundles.include(boundary.whole, zone.whole, ways)

    def _moved(self, device: str, old: Area, new: Area) -> None:
        # First in, then out: hosts that follow both lose nothing in between.
        self._contribute(device, new, 1)
        self._contribute(device, old, -1)

    def _contribute(self, device: str, area: Area, sign: int) -> None:
        """All that a device means for the area that it enters or leaves."""
        self._bundles.root(area.whole, device, sign)
        if area.boundary:
            self._bundles.root(area.shell, SHELL + device, sign)
        for stand in self._at.get(device, {}).values():
            self._attach(stand, area, sign)
        for other in self._areas.joined(device).values():
            beyond = self._area_of(other)
            if beyond.boundary != area.boundary:
                self._neighbours(area, beyond, sign)

    # --- where hosts stand --------------------------------------------------------------------------

    def _settle_binding(self, id: str) -> None:
        binding = self._view.get(Binding, id)
        now = None
        if binding is not None and binding.host in self._own:
            gateway = binding.port in self._uplinks
            now = _Stand(binding.host, binding.port, self._device(binding.port), gateway)
        self._stand(id, now)

    def _settle_ask(self, host: str, target: str) -> None:
        now: _Stand | None = None
        match self._view.find(object_of(target)):
            case Port() if target != object_of(target):
                now = _Stand(host, target, None, False)
            case Port():
                now = _Stand(host, target, self._device(target), False)
            case Network() | Router():
                now = _Stand(host, None, target, False)
            case Host():
                now = _Stand(host, target, None, False)
        self._stand(f"{host} {target}", now)

    def _stand(self, key: str, now: _Stand | None) -> None:
        was = self._stands.get(key)
        if was == now:
            return
        if was is not None:
            del self._stands[key]
            self._stands_of[was.host].discard(key)
            self._leave(key, was)
        if now is not None:
            self._stands[key] = now
            self._stands_of[now.host].add(key)
            self._arrive(key, now)

    def _arrive(self, key: str, stand: _Stand) -> None:
        area = self._area_of(stand.device) if stand.device is not None else None
        if stand.device is not None:
            self._at.setdefault(stand.device, {})[key] = stand
        self._attach(stand, area, 1)

    def _leave(self, key: str, stand: _Stand) -> None:
        area = self._area_of(stand.device) if stand.device is not None else None
        self._attach(stand, area, -1)
        if stand.device is not None:
            at = self._at[stand.device]
            del at[key]
            if not at:
                del self._at[stand.device]
            self._drop_if_unused(stand.device)

    def _attach(self, stand: _Stand, area: Area | None, by: int) -> None:
        """What a host follows from where it stands. A zone has its ports; others come one by one."""
        own = self._own[stand.host]
        if area is not None:
            self._bundles.include(own, area.shell if area.boundary else area.whole, by)
            if stand.gateway and area.boundary:
                self._bundles.include(own, area.whole, by)
        if stand.port is not None and (area is None or area.boundary):
            self._bundles.root(own, stand.port, by)


__all__ = ["Delta", "Reach"]
