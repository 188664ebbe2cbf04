"""Which machines' ports a change may concern: those whose blocks may be too few now, or of no use. Pure.

Told by what changed, in proportion to what that reaches: a binding concerns its port, a rule or a link the
machines of the zones at its router.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from onehop.controller.cache import ObjectChange
from onehop.model import Binding, Link, NatRule, Network, Object, Port, SnatBlock
from onehop.model.view import View
from onehop.model.zones import beside, zone


class Concerned:
    """Collects what changes concern, until somebody looks after it."""

    def __init__(self) -> None:
        self._ports: set[str] = set()
        self._devices: set[str] = set()  # whose zones are concerned
        self._around: set[str] = set()  # devices of which also the zones beside are

    def __bool__(self) -> bool:
        return bool(self._ports or self._devices or self._around)

    def add(self, ports: Iterable[str]) -> None:
        self._ports.update(ports)

    def note(self, changes: Sequence[ObjectChange], view: View) -> None:
        known = {change.id: change.after or change.before for change in changes}

        def port(id: str) -> Port | None:
            found = known[id] if id in known else view.find(id)
            return found if isinstance(found, Port) else None

        for change in changes:
            for obj in (change.before, change.after):
                if obj is not None:
                    self._note(obj, change, port, view)

    def _note(
        self, obj: Object, change: ObjectChange, port: Callable[[str], Port | None], view: View
    ) -> None:
        match obj:
            case SnatBlock():
                self._ports.add(obj.port)
            case Binding():
                self._bound(obj.port, port(obj.port))
            case Port():
                self._port(obj, change)
            case NatRule():
                self._router_of(port(obj.port))
                blocks = (view.get(SnatBlock, id) for id in view.referrers(obj.id, "snat-block"))
                if change.after is None:
                    self._ports.update(block.port for block in blocks if block is not None)
            case Link():
                ends = (port(obj.a), port(obj.b))
                self._devices.update(view.device(end) for end in ends if end is not None)
            case Network():
                if len({view.is_external(n) for n in change[1:] if isinstance(n, Network)}) == 2:
                    self._around.add(obj.id)

    def _bound(self, id: str, port: Port | None) -> None:
        self._ports.add(id)
        if port is not None and port.kind == "router":
            self._router_of(port)  # an uplink: it makes its router a provider's

    def _port(self, port: Port, change: ObjectChange) -> None:
        if port.kind == "vm" and change.after is None:
            self._ports.add(port.id)
        elif len({p.addresses for p in change[1:] if isinstance(p, Port)}) == 2:
            self._router_of(port)  # a machine has none

    def _router_of(self, port: Port | None) -> None:
        if port is not None and port.router is not None:
            self._around.add(port.router)

    def ports(self, view: View) -> Iterator[str]:
        """The ports concerned that are bound or have blocks; none twice."""
        seen: set[str] = set()
        devices: set[str] = set()
        beyond = (other for device in self._around for other in beside(view, device))
        for device in chain(self._devices, self._around, beyond):
            if device not in devices and view.find(device) is not None:
                devices |= zone(view, device)
        inside = (id for device in devices for id in view.referrers(device, "port"))
        for id in chain(self._ports, inside):
            if id not in seen and (_any(view, id, "binding") or _any(view, id, "snat-block")):
                seen.add(id)
                yield id


def _any(view: View, port: str, kind: str) -> bool:
    return any(True for _ in view.referrers(port, kind))
