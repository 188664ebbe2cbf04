"""Opening and loading a compiled eBPF object.

`load_object` gives maps and programs that own their descriptors; nothing of libbpf's object stays
behind. What it loads is decided before it touches the kernel: sizes, configuration, pinned maps to
go on with, and which programs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from collections.abc import Collection, Iterator, Mapping
from ctypes import c_size_t
from dataclasses import dataclass, field
from os import PathLike, fsencode, fspath
from typing import Any, Self, TypeVar

from onehop.datapath.layouts import Codec
from onehop.datapath.libbpf import BpfError, Handle, check, info_of, lib, messages, pinned
from onehop.datapath.maps import Map, adopt_map

__all__ = ["LoadError", "Object", "Program", "load_object", "open_program"]

K = TypeVar("K")
V = TypeVar("V")
Config = Mapping[str, int | bytes]


class LoadError(BpfError):
    """An object that the kernel or libbpf refused; `log` holds the verifier's words."""


class Program(Handle):
    """A loaded program."""

    @property
    def id(self) -> int:
        _, number = struct.unpack("=II", info_of(self.fd, 8, f"describe the program {self.name}"))
        return int(number)


@dataclass(slots=True)
class Object:
    """What an object became in the kernel. Pins and attachments outlive it; the rest goes with `close`."""

    maps: dict[str, Map[Any, Any]] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)

    def map(self, name: str, key: Codec[K], value: Codec[V]) -> Map[K, V]:
        """A map by name, seen through codecs, which have to fit."""
        if name not in self.maps:
            raise KeyError(f"no map {name}; there are {', '.join(sorted(self.maps))}")
        self.maps[name] = typed = self.maps[name].typed(key, value)
        return typed

    def close(self) -> None:
        for handle in [*self.maps.values(), *self.programs.values()]:
            handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_program(path: PathLike[str] | str) -> Program:
    """A pinned program."""
    return Program(pinned(path), fspath(path).rsplit("/", 1)[-1])


def load_object(
    path: PathLike[str] | str,
    *,
    config: Config | None = None,
    max_entries: Mapping[str, int] | None = None,
    reuse: Mapping[str, Map[Any, Any]] | None = None,
    programs: Collection[str] | None = None,
) -> Object:
    """Load an object's maps and programs into the kernel.

    config       values of its `const volatile` variables, by name
    max_entries  sizes of maps, by name
    reuse        maps to go on with instead of new ones; they keep their size
    programs     load only these; all, if None
    """
    with messages() as said:
        opened = lib.open_file(fsencode(path), None)
        if not opened:
            raise LoadError(ctypes.get_errno(), f"open {fspath(path)}", said())
        try:
            maps, loadable = _walk(opened, lib.next_map), _walk(opened, lib.next_program)
            by_map = {lib.map_name(one).decode(): one for one in maps}
            by_program = {lib.program_name(one).decode(): one for one in loadable}
            _configure(opened, by_map, config or {})
            _resize(by_map, max_entries or {})
            _reuse(by_map, reuse or {})
            _select(by_program, programs)
            result = lib.load(opened)
            if result < 0:
                raise LoadError(-result, f"load {fspath(path)}", said())
            return _taken(by_map, by_program)
        finally:
            lib.close(opened)


def _walk(opened: int, following: Any) -> list[int]:
    found, one = [], None
    while one := following(opened, one):
        found.append(one)
    return found


def _taken(maps: Mapping[str, int], programs: Mapping[str, int]) -> Object:
    """Descriptors of our own, since libbpf closes its own with the object."""
    taken = Object()
    try:
        for name, one in maps.items():
            if not lib.map_is_internal(one):
                taken.maps[name] = adopt_map(_duplicate(lib.map_fd(one)), name)
        for name, one in programs.items():
            if lib.program_fd(one) >= 0:
                taken.programs[name] = Program(_duplicate(lib.program_fd(one)), name)
    except BaseException:
        taken.close()
        raise
    return taken


def _duplicate(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)


def _known(what: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise LoadError(errno.EINVAL, f"the object has no {what} {name}; it has {', '.join(sorted(known))}")


def _resize(maps: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        _known("map", name, maps)
        check(lib.map_set_max_entries(maps[name], size), f"size {name} for {size} entries")


def _select(programs: Mapping[str, int], wanted: Collection[str] | None) -> None:
    for name in wanted or ():
        _known("program", name, programs)
    for name, one in programs.items():
        check(lib.program_set_autoload(one, wanted is None or name in wanted), f"select the program {name}")


def _reuse(maps: Mapping[str, int], existing: Mapping[str, Map[Any, Any]]) -> None:
    for name, kept in existing.items():
        _known("map", name, maps)
        one, info = maps[name], kept.info
        wanted = (lib.map_type(one), lib.map_key_size(one), lib.map_value_size(one), lib.map_flags(one))
        have = (info.kind, info.key_size, info.value_size, info.flags)
        if wanted != have:
            raise LoadError(
                errno.EINVAL,
                f"the existing map {name} does not fit: its (type, key, value, flags) are {have}, "
                f"the object's {wanted}; start with a new map",
            )
        check(lib.map_reuse_fd(one, kept.fd), f"go on with the map {name}")


# --- configuration: `const volatile` variables, found through the object's BTF ---------------------------

_SECTION = 15  # BTF_KIND_DATASEC


def _configure(opened: int, maps: Mapping[str, int], config: Config) -> None:
    if not config:
        return
    variables = dict(_variables(lib.object_btf(opened)))
    section = next((one for name, one in maps.items() if name.endswith(".rodata")), None)
    size = c_size_t()
    image = lib.map_initial_value(section, ctypes.byref(size)) if section else None
    for name, value in config.items():
        _known("constant", name, variables)
        offset, length = variables[name]
        if image is None or offset + length > size.value:
            raise LoadError(errno.EINVAL, f"the constant {name} lies outside of the object's .rodata")
        ctypes.memmove(image + offset, _constant(name, value, length), length)


def _constant(name: str, value: int | bytes, length: int) -> bytes:
    if isinstance(value, bytes):
        if len(value) != length:
            raise LoadError(errno.EINVAL, f"the constant {name} is {length} bytes, {len(value)} were given")
        return value
    code = {1: "b", 2: "h", 4: "i", 8: "q"}.get(length)
    if code is None:
        raise LoadError(errno.EINVAL, f"the constant {name} is no number; give its {length} bytes")
    try:
        return struct.pack("=" + (code if value < 0 else code.upper()), value)
    except struct.error as error:
        raise LoadError(errno.EINVAL, f"the constant {name} of {length} bytes cannot hold {value}") from error


def _variables(btf: int | None) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names with offset and size, from the section's entry in BTF."""
    number = lib.btf_find(btf, b".rodata", _SECTION) if btf else -1
    if number < 0:
        return
    address = lib.btf_type(btf, number)  # struct btf_type, then a struct btf_var_secinfo each
    _, flags, _ = struct.unpack("=3I", ctypes.string_at(address, 12))
    entries = ctypes.string_at(address + 12, (flags & 0xFFFF) * 12)
    for variable, offset, _ in struct.iter_unpack("=3I", entries):
        (name,) = struct.unpack("=I", ctypes.string_at(lib.btf_type(btf, variable), 4))
        yield lib.btf_string(btf, name).decode(), (offset, lib.btf_size(btf, variable))
