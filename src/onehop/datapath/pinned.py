"""The datapath's maps and programs, pinned: loaded once, and gone on with by the next process.

    BPFFS/
      tables-LAYOUT/NAME           the tables; LAYOUT names the shape of all of them
      code-LAYOUT-CONTENT/NAME     programs, and the maps that are theirs alone; CONTENT names object and
                                   configuration

* A folder appears whole or not at all. Whatever is there is current by its name, or is somebody's of before.
* Other programs over the same tables take the place of those before them link by link, between two packets.
  Tables of another shape begin empty, and are filled before the first link leads to them.
* Programs find each other through `steps`, which is their own: a packet never crosses from old to new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from onehop.datapath import pins
from onehop.datapath.build import object_path
from onehop.datapath.generate import headers
from onehop.datapath.libbpf import Handle
from onehop.datapath.maps import open_map
from onehop.datapath.object import Config, Object, open_program
from onehop.datapath.programs import Datapath, load_programs, see_tables, start_sweeping
from onehop.datapath.tables import EVENTS, TABLES

__all__ = ["PinnedDatapath"]

START = "start"
ENTRIES = ("from_port", "inject", "from_underlay", START, "put_record", "forget_record")
STEPS = "steps"  # its programs stay in it only while somebody holds it: it is pinned with them
# The timer that sweeps idle connections goes on while somebody holds `sweepers`.
SHARED = (*(table.name for table in TABLES), EVENTS, "sweepers")

log = structlog.get_logger()


@dataclass(slots=True)
class PinnedDatapath(Datapath):
    """Tables, and the programs that are attached. `adopted`: the tables were there before."""

    root: Path = Path()
    tables: Path = Path()
    code: Path = Path()
    adopted: bool = False

    @classmethod
    def open(cls, root: Path, config: Config, sizes: Mapping[str, int] | None = None) -> PinnedDatapath:
        sizes = sizes or {}
        layout = _digest(*headers().values(), *SHARED, repr(sorted(sizes.items())))
        tables = root / f"tables-{layout}"
        self = cls(root=root, tables=tables, adopted=tables.exists())
        if self.adopted:
            self.maps = {name: open_map(tables / name) for name in SHARED}
            self.load(config)
        else:
            self._make(config, sizes)
        see_tables(self.maps)
        return self

    def load(self, config: Config) -> None:
        """Have programs with this configuration over the same tables: those pinned, else new ones."""
        code = self._code(config)
        if not code.exists():
            with load_programs(config, {}, self.maps) as loaded:
                _pin_code(code, loaded)
        self._take(code)

    def remove_others(self) -> None:
        """Let go of what earlier processes pinned, once nothing leads there any more."""
        for folder in [*self.root.glob("tables-*"), *self.root.glob("code-*")]:
            if folder not in (self.tables, self.code):
                log.info("removing what an earlier version left", folder=folder.name)
                pins.remove(folder)

    def _code(self, config: Config) -> Path:
        content = object_path("datapath").read_bytes().hex()
        return self.root / f"code-{self.tables.name[7:]}-{_digest(content, repr(sorted(config.items())))}"

    def _make(self, config: Config, sizes: Mapping[str, int]) -> None:
        code = self._code(config)
        with load_programs(config, sizes) as loaded:
            with pins.staged(self.tables) as folder:
                pins.pin_all(folder, {name: loaded.maps[name] for name in SHARED})
            _pin_code(code, loaded)
            self.maps = {name: loaded.maps.pop(name) for name in SHARED}
        self._take(code)

    def _take(self, code: Path) -> None:
        before, self.programs = self.programs, {name: open_program(code / name) for name in ENTRIES}
        self.code = code
        start_sweeping(self.programs[START])
        for program in before.values():
            program.close()


def _pin_code(code: Path, loaded: Object) -> None:
    handles: dict[str, Handle] = {**loaded.programs, STEPS: loaded.maps[STEPS]}
    with pins.staged(code) as folder:
        pins.pin_all(folder, handles)


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:12]
