"""Lists: filters, and pages of one revision.

The first page comes from the watch cache. Its cursor holds the revision and the last id, so later pages are
of the same revision: from the cache while nothing has changed, else from the store's history. When that
has been compacted away the reply says to begin again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop
from typing import NamedTuple

from onehop.controller.access import Access
from onehop.controller.answers import AnyRequest, Gone
from onehop.controller.decode import only_parameters, parameter, whole_number
from onehop.controller.keys import OBJECTS, decode
from onehop.controller.parts import Parts
from onehop.controller.refusals import Malformed, NotFound
from onehop.model import KINDS, Kind, Object, Problem, Scope
from onehop.model.fields import Leaf, references, values
from onehop.model.formats import is_id
from onehop.store import Compacted

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
GENERAL = ("project", "name", "label", "limit", "cursor")

Predicate = Callable[[Object], bool]


class Cursor(NamedTuple):
    """Where the next page begins: after this id, at this revision."""

    revision: int
    after: str

    def text(self) -> str:
        return base64.urlsafe_b64encode(f"{self.revision}.{self.after}".encode()).decode().rstrip("=")

    @staticmethod
    def read(text: str) -> Cursor:
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            revision, _, after = plain.partition(".")
            if len(text) > 128 or not is_id(after) or not revision.isdigit() or len(revision) > 18:
                raise ValueError
            return Cursor(int(revision), after)
        except ValueError:
            raise ValueError("is not a cursor; give back `next` of the page before as it was") from None


@dataclass(frozen=True, slots=True)
class Query:
    """What a list is asked for. `within` are objects that all items refer to: their indexes make it short."""

    kind: Kind
    predicates: tuple[Predicate, ...]
    within: tuple[str, ...]
    limit: int
    cursor: Cursor | None


class Item(NamedTuple):
    object: Object
    revision: int


class Listed(NamedTuple):
    items: list[Item]
    next: str | None
    revision: int


@cache
def reference_filters(kind: Kind) -> dict[str, Leaf]:
    """The fields that a list of this kind can be filtered by: what its objects refer to at the top."""
    return {
        leaf.path[0]: leaf
        for leaf in references(kind.type)
        if leaf.path[0] != "project" and leaf.path[1:] in ((), ("[]",))
    }


def read_query(request: AnyRequest, kind: Kind, access: Access) -> Query:
    filters = reference_filters(kind)
    only_parameters(request, (*GENERAL, *filters))
    predicates: list[Predicate] = []
    within: list[str] = []
    named = parameter(request, "project", str)
    project = access.current_project(named)
    if named is not None and project is not None and kind.scope is Scope.PROJECT:
        predicates.append(lambda obj: obj.project == project)
        within.append(project)
    name = parameter(request, "name", str)
    if name is not None:
        predicates.append(lambda obj: obj.name == name)
    predicates.extend(_label(text) for text in request.query_params.getall("label", []))
    for field, leaf in filters.items():
        text = parameter(request, field, str)
        if text is not None:
            within.append(_target(text, field, leaf, access, project))
            predicates.append(_refers(leaf, within[-1]))
    limit = parameter(request, "limit", whole_number(1, MAX_LIMIT))
    cursor = parameter(request, "cursor", Cursor.read)
    return Query(kind, tuple(predicates), tuple(within), limit or DEFAULT_LIMIT, cursor)


def _label(text: str) -> Predicate:
    key, equals, value = text.partition("=")
    if not key:
        raise Malformed("a parameter of the query is wrong", [Problem("label", "write KEY or KEY=VALUE")])
    if not equals:
        return lambda obj: key in obj.labels
    return lambda obj: obj.labels.get(key) == value


def _target(text: str, field: str, leaf: Leaf, access: Access, project: str | None) -> str:
    try:
        return access.readable(KINDS[str(leaf.trait.ref)], text, project).id
    except NotFound as error:
        raise NotFound(error.message, [Problem(field, "is not there")]) from None


def _refers(leaf: Leaf, target: str) -> Predicate:
    return lambda obj: any(value == target for _, value in values(obj, leaf))


async def read_page(query: Query, access: Access, parts: Parts) -> Listed:
    cursor = query.cursor
    if cursor is None or cursor.revision == parts.cache.revision:
        return _from_cache(query, access, parts)
    if cursor.revision > parts.cache.revision:
        raise Gone("the cursor is of a revision that this store does not have; begin the list again")
    return await _from_store(query, cursor, access, parts)


def _from_cache(query: Query, access: Access, parts: Parts) -> Listed:
    held = parts.cache
    view, kind = held.view, query.kind.name
    indexes = [list(view.referrers(target, kind)) for target in query.within] or [
        list(access.candidates(query.kind))
    ]
    after = query.cursor.after if query.cursor else ""
    ids = [id for id in min(indexes, key=len) if id > after]
    found = ((id, view.find(id)) for id in _in_order(ids))
    objects = (Item(obj, held.revision_of(id)) for id, obj in found if obj is not None)
    items, more = _fill(query, [], objects, access)
    return _listed(items, more, held.revision)


def _in_order(ids: list[str]) -> Iterator[str]:
    """Sorted as far as somebody asks: a page needs the first hundred of perhaps a hundred thousand."""
    heapify(ids)
    while ids:
        yield heappop(ids)


async def _from_store(query: Query, cursor: Cursor, access: Access, parts: Parts) -> Listed:
    prefix = f"{OBJECTS}{query.kind.name}/"
    # The successor of the last key in the store's order of keys.
    start: str | None = f"{prefix}{cursor.after}\x00"
    items: list[Item] = []
    more = False
    try:
        while start is not None and not more:
            page = await parts.store.list(prefix, start=start, revision=cursor.revision, limit=MAX_LIMIT)
            objects = (Item(decode(e.key, e.value), e.revision) for e in page.entries)
            items, more = _fill(query, items, objects, access)
            start = page.next
    except Compacted:
        raise Gone("the list's revision has been forgotten meanwhile; begin the list again") from None
    return _listed(items, more, cursor.revision)


def _fill(
    query: Query, items: list[Item], objects: Iterable[Item], access: Access
) -> tuple[list[Item], bool]:
    """Take what passes until the page is full; whether there was more."""
    for item in objects:
        if all(passes(item.object) for passes in query.predicates) and access.sees(item.object):
            if len(items) == query.limit:
                return items, True
            items.append(item)
    return items, False


def _listed(items: list[Item], more: bool, revision: int) -> Listed:
    return Listed(items, Cursor(revision, items[-1].object.id).text() if more else None, revision)
