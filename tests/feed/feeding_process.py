"""A controller that only feeds, as a process of its own: `python -m tests.feed.feeding_process STORE NAME`.

It prints its URL when it is ready.
"""

from __future__ import annotations

import asyncio
import sys

from onehop.store import open_store
from tests.support.feeding import controller


async def main(url: str, name: str) -> None:
    store = await open_store(url)
    async with controller(store, name=name, lease=2.0) as c:
        print(c.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
