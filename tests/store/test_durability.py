"""What was acknowledged is there, whatever happens to the process that wrote it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from onehop.store import list_all, open_store

pytestmark = pytest.mark.anyio

# Each transaction writes a pair; its number is printed once it is acknowledged.
WRITER = """
import asyncio, sys
from onehop.store import Put, open_store

async def main():
    store = await open_store(sys.argv[1])
    async def write(lane):
        for n in range(10**6):
            key = f"{lane}/{n}"
            await store.transact([], [Put("left/" + key, b"x"), Put("right/" + key, b"x")])
            print(key, flush=True)
    await asyncio.gather(*(write(lane) for lane in range(16)))

asyncio.run(main())
"""


def write_and_be_killed(url: str, acknowledged: int) -> list[str]:
    """The keys that a writer was told are written, before it was killed in full flight."""
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            told = [writer.stdout.readline().strip() for _ in range(acknowledged)]
        finally:
            writer.kill()
        return told + writer.stdout.read().split("\n")[:-1]


@pytest.mark.parametrize("acknowledged", [1, 50, 2000])
async def test_a_killed_sqlite_writer_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    told = await asyncio.to_thread(write_and_be_killed, url, acknowledged)
    store = await open_store(url)
    left = [entry.key.removeprefix("left/") for entry in (await list_all(store, "left/"))[0]]
    right = [entry.key.removeprefix("right/") for entry in (await list_all(store, "right/"))[0]]
    await store.close()
    assert len(told) >= acknowledged
    assert set(told) <= set(left)
    assert left == right
