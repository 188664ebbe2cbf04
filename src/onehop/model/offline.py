"""Objects made of a document without a controller: for traces on a file, for scenarios, for tests.

The same document always gives the same objects: ids come from paths, everything else is counted up. Blocks of
shared ports, which controllers make, are made here as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from onehop.model.assign import Exhausted, assign
from onehop.model.document import Document, Entry, expand
from onehop.model.errors import Invalid, Problem
from onehop.model.fields import canonicalise, references, rewrite
from onehop.model.formats import is_id, parse_cidr, parse_ip
from onehop.model.identity import Project
from onehop.model.kinds import KINDS, Kind, Object, Scope, kind_of
from onehop.model.names import Unresolved, resolve
from onehop.model.nat import FloatingIp
from onehop.model.switching import Port, Subnet
from onehop.model.translation import first_blocks
from onehop.model.view import Topology, View

_NAMESPACE = uuid5(NAMESPACE_URL, "onehop:document")


def build(document: Document) -> Topology:
    """The topology that a document describes. Raises Invalid with every problem, each at its place."""
    project = _id("project", document.project) if document.project else None
    view = Topology([Project(id=project, name=document.project or "")] if project else [])
    entries = expand(document, view, project)
    ids = {(e.kind.name, e.path): _id(e.kind.name, e.path) for e in entries}
    chooser = Counter(view, entries)
    problems: list[Problem] = []
    for entry in entries:
        try:
            view.put(_object(entry, ids, view, project, chooser))
        except Invalid as error:
            problems.extend(problem.within(entry.where) for problem in error.problems)
    if problems:
        raise Invalid(problems)
    for block in first_blocks(view):
        view.put(block)
    return view


def _id(kind: str, path: str) -> str:
    return str(uuid5(_NAMESPACE, f"{kind}/{path}"))


def _object(
    entry: Entry, ids: Mapping[tuple[str, str], str], view: View, project: str | None, chooser: Counter
) -> Object:
    fields = entry.fields()
    owner = None if entry.kind.scope is Scope.CLOUD else project
    fixed = {"id": ids[entry.kind.name, entry.path], **({"project": owner} if owner else {})}
    obj = decode(entry.kind, {**fields, **fixed})
    obj = resolved(obj, ids, view, project)
    return assign(canonicalise(obj), fields.keys(), view, chooser)


def decode(kind: Kind, fields: Mapping[str, Any]) -> Object:
    """An object from plain data, strictly. Raises Invalid."""
    try:
        return msgspec.convert(fields, kind.type)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise Invalid([Problem(path.strip("`").lstrip("."), message)]) from None


def resolved(obj: Object, ids: Mapping[tuple[str, str], str], view: View, project: str | None) -> Object:
    """The object with references made ids: to what the document holds first, then to what is there."""
    problems: list[Problem] = []

    def change(where: str, text: str) -> str:
        try:
            return _resolve(text, kind, near)
        except Unresolved as error:
            problems.append(Problem(where, str(error)))
            return text

    def _resolve(text: str, kind: str, near: list[str]) -> str:
        if is_id(text):
            return text
        for path in (text, *(f"{parent}/{text}" for parent in near)):
            if (kind, path) in ids:
                return ids[kind, path]
        inside = {id for (k, path), id in ids.items() if k == kind and path.endswith(f"/{text}")}
        if len(inside) == 1:
            return inside.pop()
        if inside:
            raise Unresolved(f"more than one {kind} is called {text!r}; write PARENT/{text}")
        return resolve(text, KINDS[kind], view, project)

    near = [text for text in (getattr(obj, name) for name in kind_of(obj).parents) if text]
    result: Any = obj
    for leaf in references(type(obj)):
        kind = leaf.trait.ref or ""
        result = rewrite(result, leaf.path, change)
    if problems:
        raise Invalid(problems)
    assert isinstance(result, Object)
    return result


class Counter:
    """A chooser that counts up, past everything that the document gives itself."""

    def __init__(self, view: View, entries: tuple[Entry, ...]) -> None:
        self._view = view
        self._taken = {text for entry in entries for text in _texts(entry.body)}
        self._key = 0
        self._mac = 0

    def key(self) -> int:
        self._key += 1
        return self._key

    def mac(self, device: str) -> str:
        while True:
            self._mac += 1
            text = ":".join(f"{byte:02x}" for byte in (0x02 << 40 | self._mac).to_bytes(6, "big"))
            if text not in self._taken:
                return text

    def ip(self, subnet: Subnet) -> str:
        used = {a.ip for port in self._view.all(Port) for a in port.addresses if a.subnet == subnet.id}
        used |= {f.ip for f in self._view.referring(FloatingIp, subnet.id)}
        for text in _candidates(subnet):
            if text not in self._taken and text not in used and text != subnet.gateway:
                return text
        raise Exhausted(f"no address is free in subnet {subnet.name} ({subnet.cidr})")


def _candidates(subnet: Subnet) -> Iterator[str]:
    """The addresses that may be assigned, in order."""
    if subnet.pools:
        for pool in subnet.pools:
            first, last = parse_ip(pool.first), parse_ip(pool.last)
            for number in range(int(first), int(last) + 1):
                yield str(type(first)(number))
        return
    yield from map(str, parse_cidr(subnet.cidr).hosts())


def _texts(body: Any) -> Iterator[str]:
    """Every text anywhere in a body."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, Mapping):
        for value in body.values():
            yield from _texts(value)
    elif isinstance(body, list | tuple):
        for value in body:
            yield from _texts(value)
