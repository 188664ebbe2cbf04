"""Taking a lab down: programs, mounts, namespaces, folder, in this order, whatever state it is in.

The ledger tells of namespaces before they are made. Programs and mounts are found by them and by the lab's
folder, too, so that nothing stays that was cut short between being made and being written down.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from onehop.lab.ledger import Ledger, Process, start_time
from onehop.linux import libc
from onehop.linux.namespaces import Namespace


def down(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Remove everything that is the lab's. May be repeated after a failure."""
    for process in reversed(list(ledger.processes.values())):
        say(f"stopping {process.name}")
        process.stop()
    for process in list(_inside(ledger)):
        say(f"stopping {process.name} (pid {process.pid})")
        process.stop(patience=1, group=False)
    for mount in {*ledger.mounts, *_mounts_below(ledger.folder)}:
        with contextlib.suppress(OSError):
            libc.umount(mount, libc.MNT_DETACH)
    for name in reversed(ledger.namespaces):
        Namespace(name).delete()
    say("removing the lab's folder")
    ledger.remove()


def _inside(ledger: Ledger) -> Iterator[Process]:
    """Whatever still runs in the lab's namespaces: programs that the ledger missed, people's shells."""
    namespaces = {}
    for name in ledger.namespaces:
        with contextlib.suppress(OSError):
            found = Namespace(name).path.stat()
            namespaces[found.st_dev, found.st_ino] = name
    outside = Path("/proc/self/ns/net").stat()
    namespaces.pop((outside.st_dev, outside.st_ino), None)  # a name that was never mounted over
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            found = (entry / "ns/net").stat()
            inside = namespaces.get((found.st_dev, found.st_ino))
            started = start_time(int(entry.name))
            if inside is not None and started is not None:
                program = (entry / "comm").read_text().strip()
                yield Process(program, int(entry.name), started, (), inside)


def _mounts_below(folder: Path) -> Iterator[str]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if Path(place).is_relative_to(folder):
            yield place
