"""The watch cache: every object of the store in memory, as of one revision, and what changes.

One listing at the start, then the store's watch. After `Compacted`, or when the store turns out to have
another history (it was restored), the cache lists again and tells its subscribers the difference: they
never see a gap, and never the same change twice.

Invariants:
* `view`, `revision` and `revision_of` belong together: they change in one step, between two awaits.
* Subscribers are called in the order of revisions, in the order in which they subscribed, after the view
  has taken the changes. They may not await, and may not write to the view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from onehop.model import Object
from onehop.model.view import Topology
from onehop.store.interface import Revision, Store


class ObjectChange(NamedTuple):
    """What became of one object. Made: `before` is None; gone: `after` is None."""

    id: str
    before: Object | None
    after: Object | None


Subscriber = Callable[[Revision, Sequence[ObjectChange]], None]


class Cache:
    """Open it with `await Cache.open(store)`; close it when done."""

    def __init__(self, store: Store) -> None:
        self.view = Topology()
        self.revision: Revision = 0
        self.incarnation = store.incarnation

    @classmethod
    async def open(cls, store: Store) -> Cache:
        """A cache that holds what the store held at some moment after the call, and follows it."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def revision_of(self, id: str) -> Revision:
        """The revision that last wrote an object; 0 when there is none."""
        raise NotImplementedError

    async def wait_for(self, revision: Revision) -> None:
        """Return once the view holds everything up to a revision (bound it with `asyncio.timeout`)."""
        raise NotImplementedError

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call this with every later revision and its changes. Returns what ends the subscription."""
        raise NotImplementedError
