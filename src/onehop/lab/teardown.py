"""Taking a lab down: programs, mounts, namespaces, folder, in this order, whatever state it is in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from onehop.lab.ledger import Ledger
from onehop.linux import libc
from onehop.linux.namespaces import Namespace


def down(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Remove everything that the ledger tells of. May be repeated after a failure."""
    for process in reversed(list(ledger.processes.values())):
        say(f"stopping {process.name}")
        process.stop()
    for mount in reversed(ledger.mounts):
        with contextlib.suppress(OSError):
            libc.umount(mount, libc.MNT_DETACH)
    for name in reversed(ledger.namespaces):
        Namespace(name).delete()
    say("removing the lab's folder")
    ledger.remove()
