"""What the running kernel offers the datapath, and what it lacks, in plain sentences."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from onehop.datapath.attach import tcx_works
from onehop.datapath.libbpf import lib, messages
from onehop.datapath.maps import Kind

__all__ = ["Features", "probe"]

OLDEST = (6, 1)
_SCHED_CLS = 3  # BPF_PROG_TYPE_SCHED_CLS
_HELPERS = {"bpf_loop": 181, "bpf_timer_init": 169, "bpf_redirect_neigh": 152, "bpf_redirect_peer": 155}


@dataclass(frozen=True, slots=True)
class Features:
    """A host that lacks something in `missing` cannot run the datapath."""

    release: str
    tcx: bool
    missing: tuple[str, ...]


def probe() -> Features:
    """Ask the kernel. Nothing is attached, and nothing stays behind."""
    release = os.uname().release
    with messages():
        missing = [*_release(release), *_files(), *_helpers(), *_ring()]
        tcx = tcx_works()
    return Features(release, tcx, tuple(missing))


def too_old(release: str) -> bool:
    match = re.match(r"(\d+)\.(\d+)", release)
    return match is not None and (int(match[1]), int(match[2])) < OLDEST


def _release(release: str) -> list[str]:
    wanted = ".".join(map(str, OLDEST))
    return [f"The kernel is {release}; {wanted} or later is needed."] if too_old(release) else []


def _files() -> list[str]:
    lacks = []
    if not Path("/sys/kernel/btf/vmlinux").exists():
        lacks.append("The kernel has no type information (/sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF).")
    if "bpf" not in Path("/proc/filesystems").read_text().split():
        lacks.append("The kernel has no BPF filesystem, in which state outlives the agent.")
    return lacks


def _helpers() -> list[str]:
    lacks = []
    for name, number in _HELPERS.items():
        result = lib.probe_helper(_SCHED_CLS, number, None)
        if result < 0:
            why = os.strerror(-result)
            needs = "this needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
            return [f"The kernel refuses to load eBPF programs here ({why}): {needs}."]
        if result == 0:
            lacks.append(f"The kernel has no {name} for programs at interfaces.")
    return lacks


def _ring() -> list[str]:
    return ["The kernel has no BPF ring buffer."] if lib.probe_map_type(Kind.RINGBUF, None) == 0 else []
