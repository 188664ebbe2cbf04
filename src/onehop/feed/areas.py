"""Areas: devices that links join, cut at the boundaries between tenants and the world.

An area is a connected component of the devices of one class: the tenants' devices (a *zone*), or boundaries
(networks granted as external, routers with uplinks). A link between the classes joins no areas; they are
neighbours.

Joining moves the devices of the smaller area, parting those of the smaller half, which a search from both
ends at once finds. `moved(device, old, new)` is told of each device that changes its area.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from onehop.feed.bundles import Bundle


class Area:
    """Compared by identity. `whole` is all there is in it; `shell` is what tenants see of a boundary."""

    __slots__ = ("boundary", "devices", "shell", "whole")

    def __init__(self, boundary: bool) -> None:
        self.boundary = boundary
        self.devices: set[str] = set()
        self.whole = Bundle()
        self.shell = Bundle()


class Areas:
    def __init__(self, moved: Callable[[str, Area, Area], None]) -> None:
        self._moved = moved
        self._area: dict[str, Area] = {}
        self._joined: dict[str, dict[str, str]] = {}  # device -> link -> the device at its other end

    def of(self, device: str) -> Area | None:
        return self._area.get(device)

    def joined(self, device: str) -> dict[str, str]:
        """The links of a device, each with the device at the other end."""
        return self._joined.get(device, {})

    def place(self, device: str, boundary: bool) -> Area:
        """Put a device that is in no area into one of its own."""
        area = Area(boundary)
        area.devices.add(device)
        self._area[device] = area
        return area

    def remove(self, device: str) -> None:
        """Forget a device that nothing is joined to."""
        self._area.pop(device).devices.discard(device)

    def join(self, link: str, a: str, b: str) -> None:
        """Join two devices that both have an area."""
        self._joined.setdefault(a, {})[link] = b
        self._joined.setdefault(b, {})[link] = a
        one, other = self._area[a], self._area[b]
        if one is other or one.boundary != other.boundary:
            return
        small, large = sorted((one, other), key=lambda area: len(area.devices))
        for device in list(small.devices):
            self._move(device, small, large)

    def part(self, link: str, a: str, b: str) -> None:
        for device in (a, b):
            joined = self._joined[device]
            del joined[link]
            if not joined:
                del self._joined[device]
        area = self._area[a]
        if area is not self._area[b]:
            return
        half = self._half(a, b)
        if half:
            new = Area(area.boundary)
            for device in half:
                self._move(device, area, new)

    def _move(self, device: str, old: Area, new: Area) -> None:
        self._area[device] = new
        new.devices.add(device)
        old.devices.discard(device)
        self._moved(device, old, new)

    def _half(self, a: str, b: str) -> set[str]:
        """The smaller of the parts around two devices; nothing, if they are still joined."""
        seen = ({a}, {b})
        ahead = (deque([a]), deque([b]))
        while True:
            for mine, theirs, queue in zip(seen, reversed(seen), ahead, strict=True):
                if not queue:
                    return mine
                for device in self._beside(queue.popleft()):
                    if device in theirs:
                        return set()
                    if device not in mine:
                        mine.add(device)
                        queue.append(device)

    def _beside(self, device: str) -> Iterator[str]:
        area = self._area[device]
        return (other for other in self.joined(device).values() if self._area[other] is area)
