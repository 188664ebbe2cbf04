"""Pins: names in a BPF filesystem, through which maps, programs and links outlive the process.

* A set of pins appears whole or not at all: it is made in a folder beside its final one, then renamed
  (`staged`). What a crash leaves half-made is swept by the next `staged`.
* The filesystem is ours: `/sys/fs/bpf` need not be mounted, and namespaces that remount /sys do not hide it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from onehop.datapath.libbpf import Handle
from onehop.linux import libc

__all__ = ["is_bpffs", "mount_bpffs", "pin_all", "remove", "staged", "unmount_bpffs"]

_MAGIC = 0xCAFE4A11
_STAGE = "new-"  # bpffs allows no dots in names


def is_bpffs(path: Path) -> bool:
    return path.exists() and libc.filesystem_magic(str(path)) & 0xFFFFFFFF == _MAGIC


def mount_bpffs(path: Path) -> None:
    """Make sure that a folder is on a BPF filesystem: mount one there unless it is, readable by root only."""
    path.mkdir(parents=True, exist_ok=True)
    if not is_bpffs(path):
        libc.mount("bpf", str(path), "bpf", data="mode=0700")
        # Else each new mount namespace would get a copy that keeps everything pinned here alive.
        libc.mount("", str(path), flags=libc.MS_PRIVATE)


def unmount_bpffs(path: Path) -> None:
    """Undo `mount_bpffs`: every pin goes, and with it what nothing else holds."""
    with contextlib.suppress(FileNotFoundError):
        if is_bpffs(path):
            libc.umount(str(path), libc.MNT_DETACH)
        path.rmdir()


@contextlib.contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A temporary folder that becomes `final` when the block ends well, and goes away when it does not.

    `final` must not exist: what is pinned there already is to be adopted or removed first.
    """
    if final.exists():
        raise FileExistsError(f"there are pins in {final} already; adopt or remove them first")
    for leftover in final.parent.glob(f"{_STAGE}{final.name}-*"):
        remove(leftover)
    folder = final.parent / f"{_STAGE}{final.name}-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
        folder.rename(final)
    except BaseException:
        remove(folder)
        raise


def pin_all(folder: Path, handles: dict[str, Handle]) -> None:
    """Pin each under its name."""
    for name, handle in handles.items():
        handle.pin(folder / name)


def remove(folder: Path) -> None:
    """Remove a folder of pins; what nothing else holds is freed, links detach."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
