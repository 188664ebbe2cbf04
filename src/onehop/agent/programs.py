"""The datapath's maps and programs in the kernel: loaded once, pinned, and gone on with by the next agent.

    BPFFS/
      tables-LAYOUT/NAME           the tables; LAYOUT names the shape of all of them
      code-LAYOUT-CONTENT/NAME     programs, and the maps that are theirs alone; CONTENT names object and
                                   configuration
      links/IFINDEX-DIRECTION      what is attached

* A folder appears whole or not at all. Whatever is there is current by its name, or is somebody's of before.
* Other programs over the same tables take the place of those before them link by link, between two packets.
  Tables of another shape begin empty, and are filled before the first link leads to them.
* Programs find each other through `steps`, which is their own: a packet never crosses from old to new ones.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import structlog

from onehop.datapath import pins
from onehop.datapath.attach import Attachment, Direction, adopt, attach
from onehop.datapath.build import object_path
from onehop.datapath.generate import headers
from onehop.datapath.layouts import per_cpu
from onehop.datapath.libbpf import BpfError, Handle, possible_cpus
from onehop.datapath.maps import PER_CPU, Map, open_map
from onehop.datapath.object import Config, Object, Program, load_object, open_program
from onehop.datapath.tables import EVENTS, TABLES, key_codec, value_codec
from onehop.datapath.testrun import run_program

__all__ = ["Attachments", "Datapath"]

OBJECT = "datapath"
START = "start"  # run once: has the sweeping timer call these programs
ENTRIES = ("from_port", "inject", "from_underlay", START)
STEPS = "steps"  # its programs stay in it only while somebody holds it: it is pinned with them
# The timer that sweeps idle connections goes on while somebody holds `sweepers`.
SHARED = (*(table.name for table in TABLES), EVENTS, "sweepers")

log = structlog.get_logger()


@dataclass(slots=True)
class Datapath:
    """Tables and entry programs, pinned. `adopted` tells whether the tables were there before."""

    root: Path
    tables: Path
    code: Path
    adopted: bool
    maps: dict[str, Map[Any, Any]] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, config: Config, sizes: Mapping[str, int] | None = None) -> Self:
        sizes = sizes or {}
        layout = _digest(*headers().values(), *SHARED, repr(sorted(sizes.items())))
        tables = root / f"tables-{layout}"
        self = cls(root, tables, root, tables.exists())
        if self.adopted:
            self.maps = {name: open_map(tables / name) for name in SHARED}
            self.load(config)
        else:
            self._make(config, sizes)
        self._see_through_codecs()
        return self

    def load(self, config: Config) -> None:
        """Have programs with this configuration over the same tables: those pinned, else new ones."""
        code = self._code(config)
        if not code.exists():
            with load_object(object_path(OBJECT), config=config, reuse=self.maps) as loaded:
                _pin_code(code, loaded)
        self._take(code)

    def close(self) -> None:
        for handle in [*self.maps.values(), *self.programs.values()]:
            handle.close()

    def remove_others(self) -> None:
        """Let go of what earlier agents pinned, once nothing leads there any more."""
        for folder in [*self.root.glob("tables-*"), *self.root.glob("code-*")]:
            if folder not in (self.tables, self.code):
                log.info("removing what an earlier version left", folder=folder.name)
                pins.remove(folder)

    def _code(self, config: Config) -> Path:
        content = object_path(OBJECT).read_bytes().hex()
        return self.root / f"code-{self.tables.name[7:]}-{_digest(content, repr(sorted(config.items())))}"

    def _make(self, config: Config, sizes: Mapping[str, int]) -> None:
        code = self._code(config)
        with load_object(object_path(OBJECT), config=config, max_entries=sizes) as loaded:
            with pins.staged(self.tables) as folder:
                pins.pin_all(folder, {name: loaded.maps[name] for name in SHARED})
            _pin_code(code, loaded)
            self.maps = {name: loaded.maps.pop(name) for name in SHARED}
        self._take(code)

    def _take(self, code: Path) -> None:
        before, self.programs = self.programs, {name: open_program(code / name) for name in ENTRIES}
        self.code = code
        if run_program(self.programs[START], bytes(64)).verdict != 0:
            raise BpfError(errno.EBUSY, "start the timer that sweeps idle connections")
        for program in before.values():
            program.close()

    def _see_through_codecs(self) -> None:
        for table in TABLES:
            value = value_codec(table)
            if table.kind in PER_CPU:
                value = per_cpu(value, possible_cpus())
            self.maps[table.name] = self.maps[table.name].typed(key_codec(table), value)


def _pin_code(code: Path, loaded: Object) -> None:
    handles: dict[str, Handle] = {**loaded.programs, STEPS: loaded.maps[STEPS]}
    with pins.staged(code) as folder:
        pins.pin_all(folder, handles)


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:12]


# --- attachments ------------------------------------------------------------------------------------------

Place = tuple[int, Direction]


class Attachments:
    """Which program is at which interface. What an earlier agent attached is taken over."""

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
