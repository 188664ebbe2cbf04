"""Network namespaces, named in /run/netns as `ip netns` names them.

A namespace belongs to a *thread*. `entered` moves the calling thread there and back, so:

* never await inside of it, since other coroutines would run there too;
* a socket stays in the namespace that it was made in, and a child process in its parent thread's.

Unlike `ip netns exec`, nothing here remounts /sys, so BPF filesystems stay in sight.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from onehop.linux import libc

__all__ = ["FOLDER", "Namespace"]

FOLDER = Path("/run/netns")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by name. Making the value makes nothing: see `create`.

    As a context manager it is deleted at the end:

        with Namespace("lab-vm1").create() as vm, Namespace("lab-host1").create() as host: ...
    """

    name: str

    @property
    def path(self) -> Path:
        return FOLDER / self.name

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def create(self) -> Self:
        """Make it. FileExistsError if the name is taken."""
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"{self.name!r} cannot name a network namespace")
        _share_folder()
        self.path.touch(mode=0o444, exist_ok=False)
        try:
            with _and_back():
                libc.unshare(libc.CLONE_NEWNET)
                libc.mount("/proc/thread-self/ns/net", str(self.path), flags=libc.MS_BIND)
        except BaseException:
            self.path.unlink()
            raise
        return self

    def delete(self) -> None:
        """Remove the name. The namespace goes with its last process, socket or name."""
        if not self.exists:
            return
        with contextlib.suppress(OSError):  # a crash can leave the file without its mount
            libc.umount(str(self.path), libc.MNT_DETACH)
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in here meanwhile."""
        target = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _and_back():
                libc.setns(target, libc.CLONE_NEWNET)
                yield
        finally:
            os.close(target)

    def command(self, *argv: str) -> list[str]:
        """An argument list that runs a command in here, for whoever starts processes otherwise."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process in here."""
        with self.entered():
            return subprocess.Popen(argv, **options)

    def run(self, *argv: str, timeout: float = 30, check: bool = True) -> str:
        """Run a command in here to its end; what it wrote to stdout."""
        with self.entered():
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            said = done.stderr or done.stdout
            raise RuntimeError(f"in {self.name}: {' '.join(argv)}: exit status {done.returncode}\n{said}")
        return done.stdout

    def sysctl(self, name: str, value: str | int) -> None:
        """Set one of the namespace's own settings: `net.ipv4.ip_forward`. Slashes keep dots in a name."""
        parts = name if "/" in name else name.replace(".", "/")
        with self.entered():
            Path("/proc/sys", parts).write_text(str(value))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()


@contextlib.contextmanager
def _and_back() -> Iterator[None]:
    """Return the thread to the namespace that it is in now."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            libc.setns(home, libc.CLONE_NEWNET)
        finally:
            os.close(home)


def _share_folder() -> None:
    """Make the folder a shared mount, as `ip netns` does, so that names reach other mount namespaces."""
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        libc.mount("", str(FOLDER), flags=libc.MS_SHARED | libc.MS_REC)
    except OSError:
        libc.mount(str(FOLDER), str(FOLDER), flags=libc.MS_BIND | libc.MS_REC)
        libc.mount("", str(FOLDER), flags=libc.MS_SHARED | libc.MS_REC)
