"""Zones: the parts of the topology whose cached flows are dropped together.

A zone is a connected component of the devices between boundaries; a boundary (a network granted as external,
a router with uplinks) is a zone of its own. A zone goes by the least id of its devices.

`update` looks again at the zones that a change touches, and at no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Zones:
    """`beside` gives the devices at the other ends of a device's links, `is_boundary` is asked of each."""

    def __init__(self, beside: Callable[[str], Iterable[str]], is_boundary: Callable[[str], bool]) -> None:
        self._beside, self._is_boundary = beside, is_boundary
        self._name: dict[str, str] = {}  # only of devices in zones of more than one
        self._devices: dict[str, set[str]] = {}

    def of(self, device: str) -> str:
        """The zone of a device, by its name."""
        return self._name.get(device, device)

    def update(self, touched: Iterable[str]) -> set[str]:
        """Take in that links or boundaries at these devices have changed; which devices change zone."""
        before: dict[str, str] = {}
        for device in touched:
            for other in (device, *self._beside(device)):
                name = self.of(other)
                before.update((member, name) for member in self._devices.get(name, {name, other}))
        for device, name in before.items():
            self._devices.pop(name, None)
            self._name.pop(device, None)
        seen: set[str] = set()
        for device in before:
            if device not in seen:
                seen |= self._settle(device)
        return {device for device, name in before.items() if self.of(device) != name}

    def _settle(self, start: str) -> set[str]:
        """Find the zone around a device."""
        zone, ahead = {start}, [start]
        while ahead:
            device = ahead.pop()
            if self._is_boundary(device):
                continue
            for other in self._beside(device):
                if other not in zone and not self._is_boundary(other):
                    zone.add(other)
                    ahead.append(other)
        if len(zone) > 1:
            name = min(zone)
            self._devices[name] = zone
            self._name.update((device, name) for device in zone)
        return zone
