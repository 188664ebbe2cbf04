"""A view that notes what is asked of it, and which of those notes a change makes stale.

Both sit here because they have to agree: whatever can make an answer differ must be among what `concerned`
gives for the change.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from onehop.model import Object, kind_of
from onehop.model.view import NameKey, View, name_key, targets

Read = Hashable  # the id of an object, or one of those below


class Relation(NamedTuple):
    """The objects of a kind that refer to an object. No target: all of the kind. No kind: which kinds do."""

    target: str
    kind: str


class Name(NamedTuple):
    key: NameKey


class Tracked(View):
    """Another view's answers, with a note of each question."""

    def __init__(self, base: View) -> None:
        self._base = base
        self.reads: set[Read] = set()

    def find(self, id: str) -> Object | None:
        self.reads.add(id)
        return self._base.find(id)

    def ids_of(self, kind: str) -> Iterable[str]:
        self.reads.add(Relation("", kind))
        return self._base.ids_of(kind)

    def named(self, kind: str, scope: str | None, name: str) -> str | None:
        self.reads.add(Name((kind, scope, name)))
        return self._base.named(kind, scope, name)

    def referrers(self, target: str, kind: str) -> Iterable[str]:
        self.reads.add(Relation(target, kind))
        return self._base.referrers(target, kind)

    def referrer_kinds(self, target: str) -> Iterable[str]:
        self.reads.add(Relation(target, ""))
        return self._base.referrer_kinds(target)


def concerned(before: Object | None, after: Object | None) -> Iterator[Read]:
    """What was read of an object that has changed."""
    obj = after or before
    if obj is None:
        return
    yield obj.id
    kind = kind_of(obj).name
    old = targets(before) if before is not None else set()
    new = targets(after) if after is not None else set()
    for target in old ^ new:
        yield Relation(target, kind)
        yield Relation(target, "")
    if before is None or after is None:
        yield Relation("", kind)
    names = {name_key(one) for one in (before, after) if one is not None}
    if len(names) > 1 or before is None or after is None:
        yield from map(Name, names)
