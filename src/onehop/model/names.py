"""References as people write them, and the ids they stand for.

0b7e4a52-...     an id
web              a name, among what the project has (or the cloud, for kinds that belong to it)
web/web-1        a name in its parent: the port `web-1` of the network or router `web`
other:web        a name in another project
"""

from __future__ import annotations

import typing
from typing import cast

from onehop.model.fields import trait_of
from onehop.model.formats import is_id
from onehop.model.kinds import KINDS, Kind, Object, Scope
from onehop.model.view import View

MAX_REFERENCE = 200  # three names and their separators


class Unresolved(ValueError):
    """A reference that stands for nothing, or for more than one thing."""


def resolve(text: str, kind: Kind, view: View, project: str | None, near: typing.Iterable[str] = ()) -> str:
    """The id that a reference stands for; existence of a bare id is left to the caller.

    `project` is where names are looked up. `near` are parents to look in first: a port's subnet is
    searched in the port's network. Raises Unresolved with a sentence.
    """
    if is_id(text):
        return text
    if len(text) > MAX_REFERENCE:
        raise Unresolved(f"a reference is at most {MAX_REFERENCE} characters")
    elsewhere, colon, path = text.rpartition(":")
    if colon:
        project = _project(elsewhere, view)
    parent, slash, name = path.rpartition("/")
    if slash:
        found = _in_parent(kind, parent, name, view, project)
    elif kind.parents:
        found = _in_any_parent(kind, name, view, project, near)
    else:
        found = view.named(kind.name, None if kind.scope is Scope.CLOUD else project, name)
    if found is None:
        raise Unresolved(f"there is no {kind.name} {text!r}")
    return found


def parent_kinds(kind: Kind) -> list[Kind]:
    """The kinds that an object of this kind may belong to."""
    return [KINDS[cast(str, trait_of(kind.type, field).ref)] for field in kind.parents]


def _project(name: str, view: View) -> str:
    id = name if is_id(name) else view.named("project", None, name)
    if id is None:
        raise Unresolved(f"there is no project {name!r}")
    return id


def _in_parent(kind: Kind, parent: str, name: str, view: View, project: str | None) -> str | None:
    if not kind.parents:
        raise Unresolved(f"a {kind.name} belongs to nothing; write its name without '/'")
    found = []
    for parent_kind in parent_kinds(kind):
        try:
            scope = resolve(parent, parent_kind, view, project)
        except Unresolved:
            continue
        found.append(view.named(kind.name, scope, name))
    ids = list({id for id in found if id is not None})
    if len(ids) > 1:
        raise Unresolved(f"{parent}/{name} is the name of more than one {kind.name}; give the id")
    return ids[0] if ids else None


def _in_any_parent(
    kind: Kind, name: str, view: View, project: str | None, near: typing.Iterable[str]
) -> str | None:
    for parent in near:
        found = view.named(kind.name, parent, name)
        if found is not None:
            return found
    # All that is a project's refers to it: so this looks at one project's objects, not at the cloud's.
    owned = kind.scope is not Scope.CLOUD and project is not None
    candidates = view.referrers(project or "", kind.name) if owned else view.ids_of(kind.name)
    matches = [
        id
        for id in candidates
        if (obj := cast(Object, view.find(id))).name == name
        and (kind.scope is Scope.CLOUD or obj.project == project)
    ]
    if len(matches) > 1:
        raise Unresolved(f"more than one {kind.name} is called {name!r}; write PARENT/{name}")
    return matches[0] if matches else None
