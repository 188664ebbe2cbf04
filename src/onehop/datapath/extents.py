"""Which parts of an array are free. Pure.

What is given back rests first: a program that read where a list stood may still be reading the list.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable

__all__ = ["Extents"]

REST = 1.0  # seconds; a packet takes microseconds


class Extents:
    """Runs of free places, first fit."""

    def __init__(self, size: int, used: Iterable[tuple[int, int]] = ()) -> None:
        """`used`: base and count of what is taken; runs that do not fit or overlap are an error."""
        self._free: list[tuple[int, int]] = []
        self._resting: deque[tuple[float, int, int]] = deque()
        at = 0
        for base, count in sorted(run for run in used if run[1]):
            if base < at or base + count > size:
                raise ValueError(f"a run of {count} at {base} overlaps another, or the end")
            if base > at:
                self._free.append((at, base - at))
            at = base + count
        if at < size:
            self._free.append((at, size - at))

    def take(self, count: int, now: float) -> int | None:
        """The base of a free run; None if none is long enough."""
        while self._resting and self._resting[0][0] <= now:
            _, base, length = self._resting.popleft()
            self._join(base, length)
        for i, (base, length) in enumerate(self._free):
            if length >= count:
                self._free[i : i + 1] = [(base + count, length - count)] if length > count else []
                return base
        return None

    def give(self, base: int, count: int, now: float) -> None:
        if count:
            self._resting.append((now + REST, base, count))

    def _join(self, base: int, length: int) -> None:
        insort(self._free, (base, length))
        joined: list[tuple[int, int]] = []
        for start, count in self._free:
            if joined and joined[-1][0] + joined[-1][1] == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + count)
            else:
                joined.append((start, count))
        self._free = joined
