"""Which object each entry of a document is, and what the references in the document stand for.

An entry is the object of its name in its parent or project, if there is one. If not, an id is chosen for
the object to come, so that everything else can refer to it before it exists.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from onehop.controller.access import Access
from onehop.controller.refusals import NotFound
from onehop.model import KINDS, Invalid, Kind, Object, Problem, Scope, kind_of
from onehop.model.document import Entry
from onehop.model.fields import references, rewrite, trait_of
from onehop.model.formats import is_id
from onehop.model.view import View


class Identities:
    """The ids of a document's entries. A reference means an entry first, then what is there."""

    def __init__(self, entries: Sequence[Entry], view: View, access: Access, project: str | None) -> None:
        self._view = view
        self._access = access
        self._project = project
        self._by_path: dict[tuple[str, str], str] = {}
        self._by_name: dict[tuple[str, str], set[str]] = {}
        self._paths: dict[str, str] = {}
        self.problems: list[Problem] = []
        for entry in entries:
            self._add(entry)

    def id_of(self, entry: Entry) -> str:
        return self._by_path[entry.kind.name, entry.path]

    def path_of(self, id: str) -> str | None:
        return self._paths.get(id)

    def _add(self, entry: Entry) -> None:
        place = (entry.kind.name, entry.path)
        if place in self._by_path:
            sentence = f"{entry.kind.name} {entry.path} is here twice"
            if len(entry.kind.parents) > 1:
                sentence += "; a network and a router of one name cannot both have one of this name"
            self.problems.append(Problem(entry.where, sentence))
            return
        id = self._existing(entry) or str(uuid.uuid4())
        self._by_path[place] = id
        self._paths[id] = entry.path
        for field in entry.kind.parents if entry.parent is None else ():
            if isinstance(parent := entry.body.get(field), str):
                self._by_path.setdefault((entry.kind.name, f"{parent}/{entry.name}"), id)
        self._by_name.setdefault((entry.kind.name, entry.name), set()).add(id)

    def _existing(self, entry: Entry) -> str | None:
        try:
            scope = self._scope(entry)
        except NotFound:
            return None  # told when the entry's references are resolved
        id = self._view.named(entry.kind.name, scope, entry.name)
        found = self._view.find(id) if id is not None else None
        return id if found is not None and self._access.sees(found) else None

    def _scope(self, entry: Entry) -> str | None:
        """The id of what the entry's name is unique in."""
        parent = entry.parent or next(
            ((field, text) for field in entry.kind.parents if isinstance(text := entry.body.get(field), str)),
            None,
        )
        if parent is not None:
            field, path = parent
            return self._resolve(path, KINDS[trait_of(entry.kind.type, field).ref or ""], [])
        return None if entry.kind.scope is Scope.CLOUD else self._project

    def resolved(self, obj: Object) -> Object:
        """The object with its references made ids. Raises Invalid."""
        problems: list[Problem] = []
        near = [text for text in (getattr(obj, name) for name in kind_of(obj).parents) if text]

        def change(where: str, text: str) -> str:
            try:
                return self._resolve(text, kind, near)
            except NotFound as refusal:
                problems.append(Problem(where, refusal.message))
                return text

        result: Any = obj
        for leaf in references(type(obj)):
            if leaf.path != ("project",):
                kind = KINDS[leaf.trait.ref or ""]
                result = rewrite(result, leaf.path, change)
        if problems:
            raise Invalid(problems)
        assert isinstance(result, Object)
        return result

    def _resolve(self, text: str, kind: Kind, near: Sequence[str]) -> str:
        if is_id(text):
            return text
        for path in (text, *(f"{parent}/{text}" for parent in near)):
            if (kind.name, path) in self._by_path:
                return self._by_path[kind.name, path]
        inside = self._by_name.get((kind.name, text), set())
        if len(inside) == 1:
            return next(iter(inside))
        if inside:
            raise NotFound(f"more than one {kind.name} is called {text!r}; write PARENT/{text}")
        return self._access.readable(kind, self._near(text, kind, near), self._project).id

    def _near(self, text: str, kind: Kind, near: Sequence[str]) -> str:
        """A name that may stand for something in the object's own parent, written so."""
        if kind.parents and "/" not in text and ":" not in text:
            for parent in near:
                for field in kind.parents:
                    found = self._child(parent, KINDS[trait_of(kind.type, field).ref or ""], kind, text)
                    if found is not None:
                        return found
        return text

    def _child(self, parent: str, parent_kind: Kind, kind: Kind, name: str) -> str | None:
        try:
            scope = self._resolve(parent, parent_kind, [])
        except NotFound:
            return None
        return self._view.named(kind.name, scope, name)
