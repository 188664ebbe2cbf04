"""Typed maps: keys and values go in and come out as what they mean, by the codecs of `layouts`.

* A map's codecs have the sizes that the kernel has; `Map.typed` refuses others, so that a program and
  a Python that disagree about a struct never get as far as a packet.
* An absent key is None or False, never an exception; everything else that fails is a `BpfError`, and a
  map without room a `MapFull`.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from ctypes import c_uint32
from dataclasses import dataclass
from itertools import islice
from os import PathLike, fspath
from typing import Any, Generic, TypeVar

from onehop.datapath.layouts import Codec, raw
from onehop.datapath.libbpf import BpfError, Handle, MapFull, check, info_of, lib, pinned, possible_cpus
from onehop.datapath.words import Kind

__all__ = ["Kind", "Map", "MapInfo", "Write", "create_map", "open_map"]

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")

# Entries per batch call: a larger chunk saves nothing measurable and holds the buffers longer.
CHUNK = 4096


PER_CPU = {Kind.PERCPU_HASH, Kind.PERCPU_ARRAY, Kind.LRU_PERCPU_HASH}


class Write(enum.IntEnum):
    """What an update may do: BPF_ANY, BPF_NOEXIST, BPF_EXIST."""

    ANY = 0
    NEW = 1
    EXISTING = 2


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel knows of a map."""

    name: str
    kind: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int

    @property
    def value_bytes(self) -> int:
        """What a value takes in user space: one per CPU, if the map is so."""
        if self.kind in PER_CPU:
            return -(-self.value_size // 8) * 8 * possible_cpus()
        return self.value_size


class Map(Handle, Generic[K, V]):
    """A map in the kernel."""

    def __init__(self, fd: int, info: MapInfo, key: Codec[K], value: Codec[V]) -> None:
        super().__init__(fd, info.name)
        self.info, self.key, self.value = info, key, value

    def typed(self, key: Codec[K2], value: Codec[V2]) -> Map[K2, V2]:
        """The same map seen through codecs. It shares this map's descriptor, and takes it over."""
        for what, given, wanted in (
            ("key", key.size, self.info.key_size),
            ("value", value.size, self.info.value_bytes),
        ):
            if given != wanted:
                raise BpfError(
                    errno.EINVAL, f"map {self.name}: its {what} is {wanted} bytes, the codec's {given}"
                )
        fd, self.fd = self.fd, -1
        return Map(fd, self.info, key, value)

    # --- one entry ---

    def lookup(self, key: K) -> V | None:
        buffer = ctypes.create_string_buffer(self.value.size)
        result = lib.lookup(self.fd, self.key.encode(key), buffer)
        if result == 0:
            return self.value.decode(buffer.raw)
        if result == -errno.ENOENT:
            return None
        raise self._error(result, "look up in")

    def update(self, key: K, value: V, write: Write = Write.ANY) -> bool:
        """Write an entry. False if it is there already (NEW), or is not (EXISTING)."""
        result = lib.update(self.fd, self.key.encode(key), self.value.encode(value), write)
        if result == 0:
            return True
        if (write, result) in ((Write.NEW, -errno.EEXIST), (Write.EXISTING, -errno.ENOENT)):
            return False
        raise self._error(result, "write to")

    def delete(self, key: K) -> bool:
        """Remove an entry; False if there was none."""
        result = lib.delete(self.fd, self.key.encode(key))
        if result in (0, -errno.ENOENT):
            return bool(result == 0)
        raise self._error(result, "delete from")

    # --- many entries ---

    def update_many(self, entries: Iterable[tuple[K, V]]) -> int:
        """Write entries in batches, in order; how many. When one fails, those before it are written.

        Into a map of maps this is the way also for a few: each *call* there waits until no program can
        still see what was replaced, which takes milliseconds however many entries it has.
        """
        remaining, done = iter(entries), 0
        while chunk := list(islice(remaining, CHUNK)):
            keys = self.key.encode_all(key for key, _ in chunk)
            values = self.value.encode_all(value for _, value in chunk)
            count = c_uint32(len(chunk))
            result = lib.update_batch(self.fd, keys, values, ctypes.byref(count), None)
            if result < 0:
                raise self._error(result, "write to", done + count.value)
            done += count.value
        return done

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove entries in batches; how many were there."""
        remaining, deleted, size = iter(keys), 0, self.key.size
        while chunk := self.key.encode_all(islice(remaining, CHUNK)):
            buffer, at = ctypes.create_string_buffer(chunk, len(chunk)), 0
            while at < len(chunk):
                count = c_uint32((len(chunk) - at) // size)
                result = lib.delete_batch(self.fd, ctypes.addressof(buffer) + at, ctypes.byref(count), None)
                if result < 0 and result != -errno.ENOENT:
                    raise self._error(result, "delete from")
                deleted += count.value
                # The kernel stops at an absent key: go on behind it.
                at += (count.value + 1) * size if result else len(chunk)
        return deleted

    def keys(self) -> Iterator[K]:
        """The keys, one call each. Entries that others write meanwhile may be missed or seen twice."""
        buffer, previous = ctypes.create_string_buffer(self.key.size), None
        while (result := lib.next_key(self.fd, previous, buffer)) == 0:
            previous = buffer.raw
            yield self.key.decode(previous)
        if result != -errno.ENOENT:
            raise self._error(result, "walk over")

    def items(self) -> Iterator[tuple[K, V]]:
        """The entries, in batches. Others' writes meanwhile may or may not show."""
        for keys, values in self._batches():
            yield from zip(self.key.decode_all(keys), self.value.decode_all(values), strict=True)

    def select(self, wanted: Callable[[bytes, bytes], Iterable[int]]) -> Iterator[tuple[K, V]]:
        """Some of the entries, when there are too many to decode: `wanted` gets the keys and the values of a
        batch as bytes, one behind the other, and names the places of those that it wants."""
        for keys, values in self._batches():
            for at in wanted(keys, values):
                key = keys[at * self.key.size : (at + 1) * self.key.size]
                value = values[at * self.value.size : (at + 1) * self.value.size]
                yield self.key.decode(key), self.value.decode(value)

    def clear(self) -> int:
        """Remove what is there now."""
        return self.delete_many(list(self.keys()))

    def _batches(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values as the kernel gives them, one chunk at a time."""
        room = min(CHUNK, self.info.max_entries)
        cursor = ctypes.create_string_buffer(max(8, self.key.size))
        following, started = ctypes.create_string_buffer(len(cursor)), False
        while True:
            keys = ctypes.create_string_buffer(self.key.size * room)
            values = ctypes.create_string_buffer(self.value.size * room)
            count = c_uint32(room)
            result = lib.lookup_batch(
                self.fd, cursor if started else None, following, keys, values, ctypes.byref(count), None
            )
            if result == -errno.ENOSPC:  # one bucket of a hash holds more than this
                room *= 2
                continue
            if result < 0 and result != -errno.ENOENT:
                raise self._error(result, "read")
            if count.value:
                yield keys.raw[: count.value * self.key.size], values.raw[: count.value * self.value.size]
            if result:
                return
            cursor, following, started = following, cursor, True

    def _error(self, result: int, doing: str, done: int = 0) -> BpfError:
        full = {errno.E2BIG, errno.ENOSPC, errno.ENOMEM}
        if -result in full and doing == "write to" and self.info.kind != Kind.ARRAY:
            return MapFull(
                -result, f"map {self.name} is full: it has room for {self.info.max_entries} entries", done
            )
        return BpfError(-result, f"{doing} map {self.name}")


# --- where maps come from -----------------------------------------------------------------------------

_INFO = struct.Struct("=6I16s")


def describe(fd: int) -> MapInfo:
    kind, number, key, value, most, flags, name = _INFO.unpack(info_of(fd, _INFO.size, "describe a map"))
    return MapInfo(name.rstrip(b"\0").decode(), kind, number, key, value, most, flags)


def adopt_map(fd: int, name: str = "") -> Map[bytes, bytes]:
    """A map of raw bytes around a descriptor, which it owns from now on."""
    info = describe(fd)
    if name:  # the kernel keeps only 15 characters of it
        info = MapInfo(name, info.kind, info.id, info.key_size, info.value_size, info.max_entries, info.flags)
    return Map(fd, info, raw(info.key_size), raw(info.value_bytes))


def open_map(path: PathLike[str] | str) -> Map[bytes, bytes]:
    """A pinned map."""
    return adopt_map(pinned(path), fspath(path).rsplit("/", 1)[-1])


class _CreateOptions(ctypes.Structure):
    """struct bpf_map_create_opts"""

    _fields_ = (
        ("sz", ctypes.c_size_t), ("btf_fd", c_uint32), ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32), ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32), ("map_flags", c_uint32), ("map_extra", ctypes.c_uint64),
        ("numa_node", c_uint32), ("map_ifindex", c_uint32),
    )  # fmt: skip


def create_map(
    kind: Kind, name: str, key: Codec[K], value: Codec[V], max_entries: int, *, flags: int = 0
) -> Map[K, V]:
    """A map that no object declares, such as a new list to swap into an array of maps.

    An array of another size than its outer map's template needs BPF_F_INNER_MAP on both.
    """
    options: Any = _CreateOptions(ctypes.sizeof(_CreateOptions), map_flags=flags)
    size = value.size // possible_cpus() if kind in PER_CPU else value.size
    result = lib.map_create(kind, name.encode()[:15], key.size, size, max_entries, ctypes.byref(options))
    fd = check(result, f"create the map {name} of {max_entries} entries")
    return Map(fd, describe(fd), key, value)
