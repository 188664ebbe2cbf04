"""Frames for hosts, made once for all that get the same."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Raw

from onehop.controller.cache import Cache
from onehop.feed.codec import deltas, encode_item

ENCODED = 1 << 17  # objects whose encoding is kept, some 600 bytes each: many hosts ask for much at once


class Frames:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._encoded: OrderedDict[str, tuple[int, Raw]] = OrderedDict()
        self._last: tuple[object, list[bytes]] = (None, [])

    def of(self, revision: int, puts: list[str], removes: list[str]) -> list[bytes]:
        """The frames of a delta. Most hosts that a change concerns are owed just the same."""
        wanted = (revision, puts, removes)
        if self._last[0] != wanted:
            self._last = (wanted, list(deltas(revision, map(self._item, puts), removes)))
        return self._last[1]

    def part(self, revision: int, puts: list[str], removes: list[str]) -> list[bytes]:
        """The frames of a part of a delta that goes on."""
        return list(deltas(revision, map(self._item, puts), removes, last=False))

    def _item(self, id: str) -> Raw:
        revision = self._cache.revision_of(id)
        known = self._encoded.get(id)
        if known is not None and known[0] == revision:
            return known[1]
        obj = self._cache.view.find(id)
        assert obj is not None
        item = encode_item(obj, revision)
        self._encoded[id] = (revision, item)
        if len(self._encoded) > ENCODED:
            self._encoded.popitem(last=False)
        return item
