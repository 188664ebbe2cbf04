"""The agent's folder on the host's disk: one agent at a time, and the numbers that it has given out.

STATE/lock              held by the running agent
STATE/credential.json   see `join`
STATE/topology.db       see `kept`
STATE/numbers           which name has which number in the tables
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import structlog

from onehop.agent.settings import Refused
from onehop.compiler.ids import Assignment

__all__ = ["Lock", "load_numbers", "save_numbers"]

log = structlog.get_logger()


class Lock:
    """Held while the process lives, however it ends."""

    def __init__(self, state: Path) -> None:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"cannot use {state}: {error.strerror}; choose another --state") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            by = f" (process {owner})" if owner else ""
            raise Refused(
                f"another agent{by} is running on {state}; stop it, or choose another --state"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


def load_numbers(state: Path) -> Assignment | None:
    """The numbers kept from before, if there are any that can be read."""
    path = state / "numbers"
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Assignment)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("the numbers kept cannot be read; giving out new ones", path=str(path), reason=str(error))
        return None


def save_numbers(state: Path, numbers: Assignment) -> None:
    """Whole or not at all. They outlive this process; after a crash of the machine, tables are gone too."""
    path = state / "numbers"
    scratch = path.with_name("numbers.new")
    scratch.write_bytes(msgspec.msgpack.encode(numbers))
    scratch.replace(path)
