"""The system calls that Python 3.11 lacks, each raising OSError as the built-in ones do."""

from __future__ import annotations

import ctypes
import os

__all__ = [
    "CLONE_NEWNET", "MNT_DETACH", "MS_BIND", "MS_PRIVATE", "MS_REC", "MS_SHARED",
    "filesystem_magic", "mount", "setns", "umount", "unshare",
]  # fmt: skip

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
]  # fmt: skip


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def setns(fd: int, kind: int) -> None:
    """Move the calling *thread* into the namespace behind a descriptor."""
    _check(_libc.setns(fd, kind), "setns")


def unshare(kind: int) -> None:
    """Give the calling *thread* a namespace of its own."""
    _check(_libc.unshare(kind), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    packed = [text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*packed, flags, data.encode() or None), f"mount {kind or source} on {target}")


def umount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def filesystem_magic(path: str) -> int:
    """What kind of filesystem a path is on (`os.statvfs` does not tell)."""
    buffer = (ctypes.c_long * 64)()  # struct statfs begins with it, and is far smaller than this
    _check(_libc.statfs(path.encode(), buffer), f"statfs {path}")
    return buffer[0]
