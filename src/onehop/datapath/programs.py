"""The datapath's programs and tables in the kernel.

loaded = load(config={"udp_port": 4789}, sizes={"flows": 65536})
loaded.maps["ports"].update(7, Port(...))
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from onehop.datapath.build import object_path
from onehop.datapath.layouts import per_cpu
from onehop.datapath.libbpf import BpfError, possible_cpus
from onehop.datapath.maps import PER_CPU, Map
from onehop.datapath.object import Config, Object, Program, load_object
from onehop.datapath.tables import TABLES, key_codec, value_codec
from onehop.datapath.testrun import run_program

__all__ = ["Datapath", "Maps", "load", "load_programs", "see_tables", "start_sweeping"]

Maps = dict[str, Map[Any, Any]]
_START = "start"  # run once: has the sweeping timer call the programs that were loaded with it


@dataclass(slots=True)
class Datapath:
    """Maps and programs by name. Tables are seen as `tables` declares them."""

    maps: Maps = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)

    def close(self) -> None:
        for handle in [*self.maps.values(), *self.programs.values()]:
            handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(*, config: Config | None = None, sizes: Mapping[str, int] | None = None) -> Datapath:
    """Programs and tables of this process's own, running. `maps` has what is no table, too."""
    loaded = load_programs(config or {}, sizes or {})
    datapath = Datapath(loaded.maps, loaded.programs)
    try:
        start_sweeping(loaded.programs[_START])
        see_tables(loaded.maps)
    except BaseException:
        datapath.close()
        raise
    return datapath


def load_programs(config: Config, sizes: Mapping[str, int], reuse: Maps | None = None) -> Object:
    """The datapath's object as it is. `reuse`: maps to go on with instead of new ones."""
    return load_object(object_path("datapath"), config=config, max_entries=sizes, reuse=reuse)


def start_sweeping(start: Program) -> None:
    """Have records and hints swept from now on, by the programs that `start` was loaded with."""
    if run_program(start, bytes(64)).verdict != 0:
        raise BpfError(errno.EBUSY, "start the timer that sweeps idle connections")


def see_tables(maps: Maps) -> None:
    """Put the tables' codecs on."""
    for one in TABLES:
        value = value_codec(one)
        if one.kind in PER_CPU:
            value = per_cpu(value, possible_cpus())
        maps[one.name] = maps[one.name].typed(key_codec(one), value)
