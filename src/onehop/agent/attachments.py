"""Which program is at which interface, pinned in BPFFS/links/IFINDEX-DIRECTION."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from onehop.datapath.attach import Attachment, Direction, adopt, attach
from onehop.datapath.libbpf import BpfError
from onehop.datapath.object import Program

__all__ = ["Attachments", "Place"]

log = structlog.get_logger()

Place = tuple[int, Direction]


class Attachments:
    """What an earlier agent attached is taken over."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "links"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._held: dict[Place, Attachment] = {}

    def put(self, ifindex: int, direction: Direction, program: Program) -> None:
        """See to it that this program is there. Raises BpfError, such as when the interface has gone."""
        place, pin = (ifindex, direction), self._pin(ifindex, direction)
        held = self._held.get(place) or adopt(ifindex, direction, pin=pin)
        if held is None:
            pin.unlink(missing_ok=True)  # of an interface that is gone
            held = attach(program, ifindex, direction, pin=pin)
        elif held.program_id != program.id:
            held.update(program)
        self._held[place] = held

    def remove(self, ifindex: int, direction: Direction) -> None:
        """Take off what is there, if the interface still is."""
        pin = self._pin(ifindex, direction)
        held = self._held.pop((ifindex, direction), None)
        try:
            held = held or (adopt(ifindex, direction, pin=pin) if pin.exists() else None)
            if held is not None:
                held.detach()
        except BpfError as error:
            log.info("could not detach", interface=ifindex, reason=str(error))
        pin.unlink(missing_ok=True)

    def keep_only(self, places: Iterable[Place]) -> None:
        """Remove everything else, also what earlier agents left."""
        wanted = {self._pin(*place).name for place in places}
        for pin in list(self._folder.iterdir()):
            if pin.name not in wanted:
                index, _, direction = pin.name.partition("-")
                self.remove(int(index), Direction(direction))
        for place in [place for place in self._held if self._pin(*place).name not in wanted]:
            self.remove(*place)

    def close(self) -> None:
        """Let go without detaching."""
        for held in self._held.values():
            held.close()

    def _pin(self, ifindex: int, direction: Direction) -> Path:
        return self._folder / f"{ifindex}-{direction.value}"
