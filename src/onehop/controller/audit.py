"""Who did what and when: one entry per transaction, written in it. And what is swept away when it is old."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec

from onehop.controller.actor import Actor
from onehop.controller.cache import ObjectChange
from onehop.controller.keys import AUDIT, IDEMPOTENCY, RESTING
from onehop.model import Object, kind_of
from onehop.model.fields import leaves, rewrite
from onehop.store.interface import Delete, Put, Store, Write

AUDIT_KEPT = 30 * 86400.0
ANSWERS_KEPT = 86400.0
HIDDEN = "(hidden)"


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object, before and after: its fields as JSON has them. Secrets are left out."""

    kind: str
    id: str
    name: str
    project: str | None
    before: Any = None
    after: Any = None


class Entry(msgspec.Struct, frozen=True):
    """One transaction. `time` is in seconds since 1970."""

    time: float
    token: str
    actor: str
    changes: tuple[Change, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class _Ticks:
    """Microseconds since 1970, never the same twice: the entries of one controller sort as they came."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last


_ticks = _Ticks()


def entry(actor: Actor, changes: Sequence[ObjectChange]) -> Put:
    now = _ticks.next()
    key = f"{AUDIT}{now:016d}-{secrets.token_hex(4)}"
    told = tuple(_change(change) for change in changes)
    return Put(key, _encoder.encode(Entry(now / 1e6, actor.token, actor.name, told)))


def decode(value: bytes) -> Entry:
    return _decoder.decode(value)


def _change(change: ObjectChange) -> Change:
    obj = change.after or change.before
    assert obj is not None
    return Change(kind_of(obj).name, obj.id, obj.name, obj.project, _raw(change.before), _raw(change.after))


def _raw(obj: Object | None) -> msgspec.Raw | None:
    return None if obj is None else msgspec.Raw(_encoder.encode(redacted(obj)))


@cache
def _secrets(type: type[Object]) -> tuple[tuple[str, ...], ...]:
    return tuple(leaf.path for leaf in leaves(type) if leaf.trait.secret)


def redacted(obj: Object) -> Object:
    """The object without its secrets."""
    for path in _secrets(type(obj)):
        obj = rewrite(obj, path, lambda _, text: HIDDEN if text else text)
    return obj


# --- sweeping -----------------------------------------------------------------------------------------


async def sweep(store: Store, now: float | None = None) -> int:
    """Delete audit entries, answers kept for idempotency keys, and rested values that are past their time.

    A duty: one controller does it, now and then. Gives the number of keys deleted.
    """
    now = time.time() if now is None else now
    oldest = f"{AUDIT}{int((now - AUDIT_KEPT) * 1000):013d}"
    deleted = await _sweep(store, AUDIT, lambda key, _: key < oldest, ordered=True)
    deleted += await _sweep(store, IDEMPOTENCY, lambda _, value: _made(value) < now - ANSWERS_KEPT)
    return deleted + await _sweep(store, RESTING, lambda _, value: float(value) < now)


class _Made(msgspec.Struct):
    time: float


def _made(value: bytes) -> float:
    return msgspec.json.decode(value, type=_Made).time


async def _sweep(
    store: Store, prefix: str, old: Callable[[str, bytes], bool], *, ordered: bool = False
) -> int:
    deleted = 0
    page = await store.list(prefix, limit=500)
    while True:
        gone = [e.key for e in page.entries if old(e.key, e.value)]
        deleted += len(gone)
        await _delete(store, gone)
        if page.next is None or (ordered and len(gone) < len(page.entries)):
            return deleted
        page = await store.list(prefix, start=page.next, limit=500)


async def _delete(store: Store, keys: Iterable[str]) -> None:
    writes: list[Write] = [Delete(key) for key in keys]
    for i in range(0, len(writes), store.max_operations):
        await store.transact((), writes[i : i + store.max_operations])
