"""libbpf through ctypes: only what the loader needs, with errors as exceptions.

libbpf 1.1 (Debian 12) is enough: newer kernel features go through its thin wrappers of `bpf()`.

* Every call here raises `BpfError` on failure, with the errno, what was being done, and what libbpf
  and the verifier had to say.
* Descriptors belong to a `Handle`, which closes them; nothing else does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Self

__all__ = ["BpfError", "Handle", "MapFull", "check", "info_of", "lib", "messages", "possible_cpus"]


class BpfError(OSError):
    """A refused operation. `log` is what libbpf and the verifier said, which may be long."""

    def __init__(self, number: int, what: str, log: str = "") -> None:
        text = f"{what}: {os.strerror(number)}"
        if number == errno.EPERM:
            text += " (this needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
        super().__init__(number, text)
        self.log = log

    def __str__(self) -> str:
        return f"{self.strerror}\n{self.log}" if self.log else str(self.strerror)


class MapFull(BpfError):
    """There is no room for another entry. `done` tells how many of a batch were written before."""

    def __init__(self, number: int, what: str, done: int = 0) -> None:
        super().__init__(number, what)
        self.done = done


def _open() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise ImportError("libbpf.so.1 was not found; install it with: apt-get install libbpf1") from error


class _Library:
    """The functions used, with their C types: `i` for an int that is -errno on failure, `p` for a pointer."""

    def __init__(self, cdll: ctypes.CDLL) -> None:
        def declare(kind: Any, name: str, *arguments: Any) -> Callable[..., Any]:
            function = getattr(cdll, name)
            function.restype, function.argtypes = kind, arguments
            return function  # type: ignore[no-any-return]

        p, u32, u64, text, count = c_void_p, c_uint32, c_uint64, c_char_p, POINTER(c_uint32)
        # objects
        self.open_file = declare(p, "bpf_object__open_file", text, p)
        self.load = declare(c_int, "bpf_object__load", p)
        self.close = declare(None, "bpf_object__close", p)
        self.next_map = declare(p, "bpf_object__next_map", p, p)
        self.next_program = declare(p, "bpf_object__next_program", p, p)
        self.object_btf = declare(p, "bpf_object__btf", p)
        # maps of an object
        self.map_name = declare(text, "bpf_map__name", p)
        self.map_fd = declare(c_int, "bpf_map__fd", p)
        self.map_type = declare(c_int, "bpf_map__type", p)
        self.map_key_size = declare(u32, "bpf_map__key_size", p)
        self.map_value_size = declare(u32, "bpf_map__value_size", p)
        self.map_flags = declare(u32, "bpf_map__map_flags", p)
        self.map_is_internal = declare(c_bool, "bpf_map__is_internal", p)
        self.map_set_max_entries = declare(c_int, "bpf_map__set_max_entries", p, u32)
        self.map_reuse_fd = declare(c_int, "bpf_map__reuse_fd", p, c_int)
        self.map_initial_value = declare(p, "bpf_map__initial_value", p, POINTER(c_size_t))
        # programs of an object
        self.program_name = declare(text, "bpf_program__name", p)
        self.program_fd = declare(c_int, "bpf_program__fd", p)
        self.program_set_autoload = declare(c_int, "bpf_program__set_autoload", p, c_bool)
        # BTF
        self.btf_find = declare(c_int, "btf__find_by_name_kind", p, text, u32)
        self.btf_type = declare(p, "btf__type_by_id", p, u32)
        self.btf_string = declare(text, "btf__name_by_offset", p, u32)
        self.btf_size = declare(ctypes.c_int64, "btf__resolve_size", p, u32)
        # descriptors
        self.pin = declare(c_int, "bpf_obj_pin", c_int, text)
        self.get = declare(c_int, "bpf_obj_get", text)
        self.info = declare(c_int, "bpf_obj_get_info_by_fd", c_int, p, count)
        # map contents
        self.map_create = declare(c_int, "bpf_map_create", c_int, text, u32, u32, u32, p)
        self.update = declare(c_int, "bpf_map_update_elem", c_int, p, p, u64)
        self.lookup = declare(c_int, "bpf_map_lookup_elem", c_int, p, p)
        self.delete = declare(c_int, "bpf_map_delete_elem", c_int, p)
        self.next_key = declare(c_int, "bpf_map_get_next_key", c_int, p, p)
        self.update_batch = declare(c_int, "bpf_map_update_batch", c_int, p, p, count, p)
        self.lookup_batch = declare(c_int, "bpf_map_lookup_batch", c_int, p, p, p, p, count, p)
        self.delete_batch = declare(c_int, "bpf_map_delete_batch", c_int, p, count, p)
        # links, filters, runs, probes
        self.link_create = declare(c_int, "bpf_link_create", c_int, c_int, c_int, p)
        self.link_update = declare(c_int, "bpf_link_update", c_int, c_int, p)
        self.link_detach = declare(c_int, "bpf_link_detach", c_int)
        self.tc_hook_create = declare(c_int, "bpf_tc_hook_create", p)
        self.tc_attach = declare(c_int, "bpf_tc_attach", p, p)
        self.tc_detach = declare(c_int, "bpf_tc_detach", p, p)
        self.tc_query = declare(c_int, "bpf_tc_query", p, p)
        self.test_run = declare(c_int, "bpf_prog_test_run_opts", c_int, p)
        self.query_attached = declare(c_int, "bpf_prog_query", c_int, c_int, u32, count, count, count)
        self.probe_helper = declare(c_int, "libbpf_probe_bpf_helper", c_int, c_int, p)
        self.probe_map_type = declare(c_int, "libbpf_probe_bpf_map_type", c_int, p)
        self.possible_cpus = declare(c_int, "libbpf_num_possible_cpus")
        self.set_print = declare(p, "libbpf_set_print", p)


lib = _Library(_open())


def check(result: int, what: str, log: str = "") -> int:
    """A result that is not an error; else the error."""
    if result < 0:
        raise BpfError(-result, what, log)
    return result


# --- what libbpf says ---------------------------------------------------------------------------------

_said = threading.local()
_libc = ctypes.CDLL(None)


# The third argument is a va_list. On x86-64 and arm64 it is passed as a pointer, which can be handed on.
def _hear(level: int, template: bytes, arguments: int) -> int:
    heard: list[str] | None = getattr(_said, "lines", None)
    if level == 0 and heard is not None:  # LIBBPF_WARN; the verifier's log comes so too
        buffer = ctypes.create_string_buffer(1 << 16)
        _libc.vsnprintf(buffer, c_size_t(len(buffer)), c_char_p(template), c_void_p(arguments))
        heard.append(buffer.value.decode(errors="replace"))
    return 0


_listen = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)(_hear)  # kept: libbpf holds no reference
lib.set_print(_listen)


@contextlib.contextmanager
def messages() -> Iterator[Callable[[], str]]:
    """Collect what libbpf says on this thread meanwhile; elsewhere it says nothing."""
    before, lines = getattr(_said, "lines", None), list[str]()
    _said.lines = lines
    try:
        yield lambda: "".join(lines).strip()
    finally:
        _said.lines = before


# --- descriptors ----------------------------------------------------------------------------------------


class Handle:
    """Owns one descriptor of a map, program or link."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd, self.name = fd, name

    def fileno(self) -> int:
        return self.fd

    def pin(self, path: os.PathLike[str] | str) -> None:
        check(lib.pin(self.fd, os.fsencode(path)), f"pin {self.name} at {os.fspath(path)}")

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, fd={self.fd})"


def pinned(path: os.PathLike[str] | str) -> int:
    """A new descriptor of what is pinned at a path."""
    return check(lib.get(os.fsencode(path)), f"open the pin {os.fspath(path)}")


def info_of(fd: int, size: int, what: str) -> bytes:
    """The first bytes of the kernel's `struct bpf_..._info`; zeros where this kernel has none."""
    buffer, length = ctypes.create_string_buffer(size), c_uint32(size)
    check(lib.info(fd, buffer, ctypes.byref(length)), what)
    return buffer.raw


def possible_cpus() -> int:
    return check(lib.possible_cpus(), "count the CPUs")
