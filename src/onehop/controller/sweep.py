"""Keys that outlive what they are about, and are swept away: a duty.

What hosts said of objects and bindings that are gone (a report may come late, or its controller die), and
guards of sets that went with their object. Each key is deleted under guards that say why it may go, so that
nothing is lost to a race: whatever is refused is looked at again the next time.
"""

from __future__ import annotations

from collections.abc import Iterator

from onehop.controller.cache import Cache
from onehop.controller.keys import GUARDED, GUARDS, STATUS, object_key
from onehop.model import KINDS
from onehop.store.interface import Absent, AtRevision, Committed, Delete, Entry, Guard, Store

PAGE = 500
BOUND = ("port", "port-learned")  # status that only a host with a binding of the port may have


async def sweep(store: Store, cache: Cache) -> int:
    """Gives the number of keys deleted."""
    return await _sweep(store, cache, STATUS) + await _sweep(store, cache, GUARDS)


async def _sweep(store: Store, cache: Cache, prefix: str) -> int:
    deleted, start = 0, prefix
    while True:
        page = await store.list(prefix, start=start, limit=PAGE)
        for entry in page.entries:
            gone = reason(entry.key, cache)
            deleted += gone is not None and await _delete(store, entry, gone)
        if page.next is None:
            return deleted
        start = page.next


async def _delete(store: Store, entry: Entry, gone: Guard) -> bool:
    guards = [AtRevision(entry.key, entry.revision), gone]
    return isinstance(await store.transact(guards, [Delete(entry.key)]), Committed)


def reason(key: str, cache: Cache) -> Guard | None:
    """What has to be absent for a key to be stale, if it is absent as far as the cache knows."""
    return next(_stale(key, cache), None)


def _stale(key: str, cache: Cache) -> Iterator[Absent]:
    if key.startswith(GUARDS):
        set_, _, id = key.removeprefix(GUARDS).partition("/")
        kind = next((kind for kind, name in GUARDED.items() if name == set_), None)
        if kind is not None and cache.view.find(id) is None:
            yield Absent(object_key(kind, id))
        return
    kind, id, reporter = (*key.removeprefix(STATUS).split("/", 2), "", "")[:3]
    about = "port" if kind in BOUND else kind
    if about in KINDS and cache.view.find(id) is None:
        yield Absent(object_key(about, id))
    if kind in BOUND and all(binding.host != reporter for binding in cache.view.bindings(id)):
        yield Absent(f"claim/binding/{id}/{reporter}")
