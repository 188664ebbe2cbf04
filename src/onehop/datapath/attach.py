"""Attaching programs to interfaces: a TCX link where the kernel has them (6.6), a clsact filter elsewhere.

Both are called an attachment, and both outlive the process: a link through its pin, a filter by itself.
A new process takes either over (`adopt`) and swaps its program (`update`) without a packet passing by
unseen. Interfaces are named by index in the calling thread's network namespace.

    attach ── Attachment ── update(program)*  ── detach      the interface is bare again
                  └─ close: forget it here; it stays attached if it is pinned, or is a filter
"""

from __future__ import annotations

import ctypes
import enum
import errno
import struct
from ctypes import c_int, c_size_t, c_uint32
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Protocol

from onehop.datapath.libbpf import BpfError, Handle, check, info_of, lib, messages, pinned
from onehop.datapath.object import Program

__all__ = ["Attachment", "ClsactFilter", "Direction", "TcxLink", "adopt", "attach", "tcx_works"]

# Where our filter sits among others of the same hook.
HANDLE, PRIORITY = 1, 1


class Direction(enum.Enum):
    """As the interface sees it: what comes in from the wire or the VM, what goes out to it."""

    INGRESS = "ingress"
    EGRESS = "egress"


_TCX = {Direction.INGRESS: 46, Direction.EGRESS: 47}  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
_POINT = {Direction.INGRESS: 1, Direction.EGRESS: 2}  # BPF_TC_INGRESS, BPF_TC_EGRESS


class Attachment(Protocol):
    """A program at an interface, in one direction."""

    @property
    def ifindex(self) -> int:
        """The interface; 0 once it is gone."""

    @property
    def program_id(self) -> int: ...

    def update(self, program: Program) -> None:
        """Put another program in its place, between two packets."""

    def detach(self) -> None:
        """Take the program off the interface, pin and all."""

    def close(self) -> None:
        """Let go of it without detaching, unless nothing else holds it."""


def attach(
    program: Program,
    ifindex: int,
    direction: Direction,
    *,
    pin: PathLike[str] | str | None = None,
    tcx: bool | None = None,
) -> Attachment:
    """Attach a program. `pin` is where a link lives on (a filter needs none); `tcx` forces the kind."""
    if tcx_works() if tcx is None else tcx:
        return _attach_tcx(program, ifindex, direction, Path(pin) if pin is not None else None)
    return _attach_clsact(program, ifindex, direction)


def adopt(ifindex: int, direction: Direction, *, pin: PathLike[str] | str | None = None) -> Attachment | None:
    """What an earlier process attached here: the pinned link if its interface is this one, else a filter."""
    if pin is not None and Path(pin).exists():
        link = TcxLink(pinned(pin), Path(pin))
        if (link.ifindex, link.direction) == (ifindex, direction):
            return link
        link.close()
    found = ClsactFilter(ifindex, direction)
    return found if found.program_id else None


def tcx_works() -> bool:
    """Whether the kernel has TCX: it can say what is attached to the loopback interface, or not."""
    count = c_uint32(0)
    result = lib.query_attached(1, _TCX[Direction.INGRESS], 0, None, None, ctypes.byref(count))
    return result not in (-errno.EINVAL, -errno.ENOTSUP)


# --- TCX --------------------------------------------------------------------------------------------------

_LINK_INFO = struct.Struct("=IIIxxxxII")  # struct bpf_link_info: type, id, program; tcx: ifindex, direction


class TcxLink(Handle):
    """A link, which detaches its program when neither a descriptor nor a pin holds it any more."""

    def __init__(self, fd: int, path: Path | None) -> None:
        super().__init__(fd, str(path or "a TCX link"))
        self.path = path

    @property
    def ifindex(self) -> int:
        return self._info()[3]

    @property
    def direction(self) -> Direction | None:
        return {number: direction for direction, number in _TCX.items()}.get(self._info()[4])

    @property
    def program_id(self) -> int:
        return self._info()[2]

    def update(self, program: Program) -> None:
        check(lib.link_update(self.fd, program.fd, None), f"put {program.name} into the link {self.name}")

    def detach(self) -> None:
        result = lib.link_detach(self.fd)
        if result not in (0, -errno.ENOLINK):  # the interface went first
            check(result, f"detach {self.name}")
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def _info(self) -> tuple[int, ...]:
        return _LINK_INFO.unpack(info_of(self.fd, _LINK_INFO.size, f"describe {self.name}"))


def _attach_tcx(program: Program, ifindex: int, direction: Direction, pin: Path | None) -> TcxLink:
    what = f"attach {program.name} to the {direction.value} of interface {ifindex}"
    link = TcxLink(check(lib.link_create(program.fd, ifindex, _TCX[direction], None), what), pin)
    if pin is not None:
        try:
            link.pin(pin)
        except BpfError:
            link.close()
            raise
    return link


# --- clsact -----------------------------------------------------------------------------------------------


class _Hook(ctypes.Structure):
    """struct bpf_tc_hook"""

    _fields_ = (("sz", c_size_t), ("ifindex", c_int), ("point", c_int), ("parent", c_uint32))


class _Filter(ctypes.Structure):
    """struct bpf_tc_opts"""

    _fields_ = (
        ("sz", c_size_t), ("program_fd", c_int), ("flags", c_uint32), ("program_id", c_uint32),
        ("handle", c_uint32), ("priority", c_uint32),
    )  # fmt: skip


_REPLACE = 1  # BPF_TC_F_REPLACE: swapped under RCU, so no packet passes by meanwhile


@dataclass(frozen=True, slots=True)
class ClsactFilter:
    """Our filter in the clsact qdisc of an interface. It is found by its place, so holds nothing."""

    ifindex: int
    direction: Direction

    @property
    def program_id(self) -> int:
        """The program attached; 0 if there is no such filter."""
        wanted = _place()
        with messages():
            result = lib.tc_query(ctypes.byref(self.hook()), ctypes.byref(wanted))
        if result in (-errno.ENOENT, -errno.ENODEV, -errno.EINVAL):  # no filter, interface or qdisc
            return 0
        check(result, f"look for our filter on interface {self.ifindex}")
        return int(wanted.program_id)

    def update(self, program: Program) -> None:
        wanted = _place()
        wanted.program_fd, wanted.flags = program.fd, _REPLACE
        what = f"attach {program.name} to the {self.direction.value} of interface {self.ifindex} by clsact"
        with messages() as said:
            check(lib.tc_attach(ctypes.byref(self.hook()), ctypes.byref(wanted)), what, said())

    def detach(self) -> None:
        """The qdisc stays, since others may have filters there; it goes with the interface."""
        with messages():
            result = lib.tc_detach(ctypes.byref(self.hook()), ctypes.byref(_place()))
        if result not in (-errno.ENOENT, -errno.ENODEV, -errno.EINVAL):
            check(result, f"take our filter off interface {self.ifindex}")

    def close(self) -> None:
        pass

    def hook(self) -> _Hook:
        return _Hook(ctypes.sizeof(_Hook), self.ifindex, _POINT[self.direction], 0)


def _place() -> _Filter:
    return _Filter(ctypes.sizeof(_Filter), handle=HANDLE, priority=PRIORITY)


def _attach_clsact(program: Program, ifindex: int, direction: Direction) -> ClsactFilter:
    attachment = ClsactFilter(ifindex, direction)
    with messages() as said:
        result = lib.tc_hook_create(ctypes.byref(attachment.hook()))
        if result != -errno.EEXIST:
            check(result, f"create the clsact qdisc of interface {ifindex}", said())
    attachment.update(program)
    return attachment
