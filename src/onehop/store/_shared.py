"""What the drivers share: the bounds of a transaction and the end of a prefix."""

from __future__ import annotations

from collections.abc import Sequence

from onehop.store.interface import Guard, PrefixEmpty, Put, RangeEmpty, TooLarge, Write

# etcd refuses a request of 1.5 MiB. Both drivers stay below it, so that nothing depends on the driver.
MAX_BYTES = 1_400_000
MAX_KEY = 1024
_PER_OPERATION = 64  # what a guard or a write costs on the wire besides key and value, at most


def check(guards: Sequence[Guard], writes: Sequence[Write], most: int, way_out: str = "split it") -> None:
    """Refuse a transaction that no store would take, before it is sent."""
    if len(guards) > most or len(writes) > most:
        raise TooLarge(
            f"a transaction of {len(guards)} guards and {len(writes)} writes is beyond the {most} of each "
            f"that this store takes; {way_out}"
        )
    keys = [write.key for write in writes]
    if len(set(keys)) < len(keys):
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"a transaction writes the key {twice!r} twice")
    size = 0
    for guard in guards:
        size += sum(map(check_key, _keys(guard))) + _PER_OPERATION
    for write in writes:
        size += check_key(write.key) + _PER_OPERATION
        if isinstance(write, Put):
            if not isinstance(write.value, bytes):
                raise TypeError(f"the value of {write.key!r} is {type(write.value).__name__}, not bytes")
            size += len(write.value)
    if size > MAX_BYTES:
        raise TooLarge(f"a transaction of {size:,} bytes is beyond the {MAX_BYTES:,} a store takes; split it")


def _keys(guard: Guard) -> tuple[str, ...]:
    if isinstance(guard, PrefixEmpty):
        return (guard.prefix,)
    return (guard.start, guard.end) if isinstance(guard, RangeEmpty) else (guard.key,)


def check_key(key: str) -> int:
    """The key's size, if it is one that every store takes."""
    size = len(key) if key.isascii() else len(key.encode())
    if size > MAX_KEY:
        raise TooLarge(f"a key of {size} bytes is beyond {MAX_KEY}: {key[:64]!r}...")
    return size


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with the prefix. (No byte of UTF-8 is 0xff.)"""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1]) if raw else b"\xff"
