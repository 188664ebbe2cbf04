"""What was last applied of each stack, kept in the store.

    stack/<project or ->/<stack>/head                 which generation is valid, and how many parts it has
    stack/<project or ->/<stack>/part/<generation>/n  the record, compressed, in parts that any store takes

A record is written before an apply begins (with what the document gave before and what it gives now, so that
a later document knows of both, should this apply be cut short) and again when it is done.
"""

from __future__ import annotations

import secrets
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from onehop.controller.apply.plan import Stated
from onehop.controller.apply.stack import Stack
from onehop.controller.refusals import Busy
from onehop.store.interface import (
    Absent,
    AtRevision,
    Delete,
    Put,
    Refused,
    Store,
    Write,
    list_all,
)

PART = 256 << 10
TRIES = 8  # to write a record, while others write it too
MAX_RECORD = 512 << 20  # beyond any document that the API takes


@dataclass(frozen=True, slots=True)
class Record:
    """`stated`: what the document gave, by kind and path. `done`: whether it was applied to the end."""

    stated: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    done: bool = True


def _prefix(stack: Stack) -> str:
    return f"stack/{stack.project or '-'}/{stack.name}/"


async def read(store: Store, stack: Stack) -> Record | None:
    """The record of a stack; None if it was never applied."""
    entries, _ = await list_all(store, _prefix(stack), limit=64)
    values = {entry.key.removeprefix(_prefix(stack)): entry.value for entry in entries}
    if "head" not in values:
        return None
    head = msgspec.json.decode(values["head"])
    parts = [values.get(f"part/{head['generation']}/{n:06}", b"") for n in range(head["parts"])]
    content = zlib.decompressobj().decompress(b"".join(parts), MAX_RECORD)
    return msgspec.json.decode(content, type=Record)


async def write(store: Store, stack: Stack, record: Record) -> None:
    """Put the parts of a new generation, then the head that makes it valid, then drop the old parts.

    Of two who write at once, each has parts of its own, and the head is put only if nobody else's has come
    since: or one could drop, as old, the parts that the other's head is about to name.
    """
    content = zlib.compress(msgspec.json.encode(record), 1)
    parts = [content[i : i + PART] for i in range(0, len(content), PART)]
    for _ in range(TRIES):
        if await _write(store, _prefix(stack), parts):
            return
    raise Busy("others keep applying this stack at the same time. Try again")


async def _write(store: Store, prefix: str, parts: list[bytes]) -> bool:
    old, _ = await list_all(store, prefix, limit=64)
    guard: Absent | AtRevision = Absent(f"{prefix}head")
    for entry in old:
        if entry.key == guard.key:
            guard = AtRevision(entry.key, entry.revision)
    generation = secrets.token_hex(8)
    names = [f"{prefix}part/{generation}/{n:06}" for n in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        await store.transact([], [Put(name, part)])
    head = msgspec.json.encode({"generation": generation, "parts": len(parts)})
    outcome = await store.transact([guard], [Put(f"{prefix}head", head)])
    if isinstance(outcome, Refused):
        await _delete(store, names)
        return False
    await _delete(store, [e.key for e in old if not e.key.endswith("/head")])
    return True


async def remove(store: Store, stack: Stack) -> None:
    entries, _ = await list_all(store, _prefix(stack), limit=64)
    await _delete(store, [entry.key for entry in entries])


async def _delete(store: Store, keys: list[str]) -> None:
    for i in range(0, len(keys), 32):
        writes: list[Write] = [Delete(key) for key in keys[i : i + 32]]
        await store.transact([], writes)


def union(before: Stated, now: Stated) -> dict[str, dict[str, list[str]]]:
    """What either of two documents gave."""
    result: dict[str, dict[str, list[str]]] = {}
    for stated in (before, now):
        for kind, paths in stated.items():
            for path, fields in paths.items():
                told = result.setdefault(kind, {})
                told[path] = sorted({*told.get(path, ()), *fields})
    return result
