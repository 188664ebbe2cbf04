"""What was last applied of a stack can be read again, whoever wrote it at the same time."""

from __future__ import annotations

import asyncio
import random

import pytest

from onehop.controller.apply import record
from onehop.controller.apply.record import Record
from onehop.controller.apply.stack import Stack
from onehop.store import Store, list_all

pytestmark = pytest.mark.anyio

STACK = Stack("shop", None)


def some(number: int, size: int) -> Record:
    """A record that takes a part for each 256 KiB: noise does not shrink."""
    return Record(document={"number": number, "noise": random.Random(number).randbytes(size).hex()})


async def test_of_records_written_at_once_one_is_kept_whole(store: Store) -> None:
    written = [some(number, size) for number, size in enumerate((700_000, 10, 400_000, 10))]

    async def write_twice(one: Record) -> None:
        await record.write(store, STACK, one)
        await record.write(store, STACK, one)

    await asyncio.gather(*map(write_twice, written))
    assert await record.read(store, STACK) in written


async def test_nothing_is_left_of_older_records(store: Store) -> None:
    for number in range(3):
        await record.write(store, STACK, some(number, 400_000))
    entries, _ = await list_all(store, "stack/")
    assert sorted(entry.key.rpartition("/")[2] for entry in entries) == ["000000", "000001", "head"]
    await record.remove(store, STACK)
    assert await record.read(store, STACK) is None
