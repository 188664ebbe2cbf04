"""Hosts that say when they are told of a block: a line with the block's port, the host, the time in ns.

Started as `bench.control.hosts` is.
"""

from __future__ import annotations

import msgspec

from bench.control.hosts import LightHost, main
from onehop.feed.messages import Delta, Item
from onehop.model import SnatBlock

_item = msgspec.msgpack.Decoder(Item)
_block = msgspec.msgpack.Decoder(SnatBlock)


class BlockHost(LightHost):
    def hear(self, delta: Delta, now: int) -> None:
        for raw in delta.puts:
            item = _item.decode(raw)
            if item.kind == "snat-block":
                print(_block.decode(item.value).port, self.id, now)


if __name__ == "__main__":
    main(BlockHost)
