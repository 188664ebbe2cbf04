"""The consuming end of a BPF ring buffer, mapped into memory.

    mapped pages:  consumer position (ours) | producer position (kernel's, read-only) | data, twice in a row
    each record:   u32 length, with BUSY and DISCARD bits | u32 of the kernel's | data, padded to 8

* The descriptor can be polled: `loop.add_reader(ring.fileno(), ...)`. It stays readable while there is data,
  so a bounded `consume` loses nothing.
* Records are handed over in place, as views that are valid only during the call. One whose handler raises
  counts as consumed: a bad record must not come back for ever.
* Positions are read with plain loads, which x86-64 orders as the protocol needs. On other machines the
  interpreter's own work lies between them, which is no guarantee; the length is therefore checked.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from typing import Any, Self

from onehop.datapath.maps import Kind, Map

__all__ = ["Ring"]

_BUSY, _DISCARD, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
_HEADER = 8


class Ring:
    """Reads a ring buffer. There can be only one reader at a time."""

    def __init__(self, source: Map[Any, Any]) -> None:
        if source.info.kind != Kind.RINGBUF:
            raise ValueError(f"the map {source.name} is no ring buffer")
        self.size, page = source.info.max_entries, mmap.PAGESIZE
        self._fd = os.dup(source.fd)
        self._own = mmap.mmap(self._fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._theirs = mmap.mmap(self._fd, page + 2 * self.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        whole = memoryview(self._theirs)
        self._consumer, self._producer = memoryview(self._own)[:8].cast("Q"), whole[:8].cast("Q")
        self._data = whole[page:]
        self._headers = self._data.cast("I")

    def fileno(self) -> int:
        return self._fd

    def pending(self) -> int:
        """Bytes waiting, headers included."""
        return self._producer[0] - self._consumer[0]

    def consume(self, handle: Callable[[memoryview], object], limit: int = 256) -> int:
        """Hand over at most `limit` records; how many there were."""
        position, handled, mask = self._consumer[0], 0, self.size - 1
        while handled < limit and position < self._producer[0]:
            at = position & mask
            header = self._headers[at >> 2]
            if header & _BUSY:
                break
            length = header & _LENGTH
            if length > self.size:
                raise RuntimeError(f"the ring buffer holds a record of {length} bytes, more than fit")
            position += (length + _HEADER + 7) & ~7
            try:
                if not header & _DISCARD:
                    handled += 1
                    with self._data[at + _HEADER : at + _HEADER + length] as record:
                        handle(record)
            finally:
                self._consumer[0] = position
        return handled

    def close(self) -> None:
        for view in (self._consumer, self._producer, self._headers, self._data):
            view.release()
        for mapped in (self._own, self._theirs):
            with contextlib.suppress(BufferError):  # somebody kept a record's view: it goes with that
                mapped.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
