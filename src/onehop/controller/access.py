"""Whose things are whose: what an actor sees and may write, and what the names in a request stand for.

What an actor may not see does not exist for it: the answer is the same as for something that is not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from onehop.controller.actor import Actor
from onehop.controller.refusals import Forbidden, Malformed, NotFound, Refusal
from onehop.model import (
    KINDS,
    Invalid,
    Kind,
    Network,
    Object,
    Problem,
    Project,
    Role,
    Scope,
    Subnet,
    kind_of,
)
from onehop.model.fields import Leaf, gather, references, rewrite, trait_of
from onehop.model.formats import is_id
from onehop.model.names import MAX_REFERENCE, Unresolved, resolve
from onehop.model.relations.references import granted
from onehop.model.view import View

ObjectT = TypeVar("ObjectT", bound=Object)


class Access:
    """A view with the eyes of an actor."""

    def __init__(self, view: View, actor: Actor) -> None:
        self._view = view
        self._actor = actor

    def sees(self, obj: Object) -> bool:
        """Whether the actor may read an object: its project's, one that is granted, its own project."""
        if kind_of(obj).scope is Scope.CLOUD:
            project = obj.id if isinstance(obj, Project) else None
            return self._actor.may_read(project)
        if self._actor.may_read(obj.project):
            return True
        return any(granted(obj, project, self._view) for project in self._actor.projects)

    def candidates(self, kind: Kind) -> Iterable[str]:
        """The ids of a kind among which are all that the actor sees."""
        if kind.scope is Scope.CLOUD or self._actor.may_read(None) or kind.type in (Network, Subnet):
            return self._view.ids_of(kind.name)
        owned = (self._view.referrers(project, kind.name) for project in self._actor.projects)
        return itertools.chain.from_iterable(owned)

    # --- projects -----------------------------------------------------------------------------------

    def current_project(self, ref: str | None) -> str | None:
        """The id of the project that a request is about; the actor's only one, if it names none."""
        if ref is None:
            return self._actor.only_project
        try:
            id = resolve(ref, KINDS["project"], self._view, None)
        except Unresolved:
            id = ref
        if self._view.get(Project, id) is None or not self._actor.may_read(id):
            raise NotFound(f"there is no project {ref!r}")
        return id

    def project_of_new(self, kind: Kind, body: Mapping[str, Any], current: str | None) -> str | None:
        """The project that a new object goes to. Refuses who may not write there."""
        ref = body.get("project")
        if ref is not None and not isinstance(ref, str):
            raise Invalid([Problem("project", "is the id or the name of a project")])
        if kind.scope is Scope.CLOUD:
            if not self._actor.is_admin:
                raise Forbidden(f"only administrators of the cloud write {kind.plural}")
            if ref is not None and kind.type is not Role:
                raise Invalid([Problem("project", f"a {kind.name} belongs to the cloud, not to a project")])
            return None if ref is None else self.current_project(ref)
        project = self.current_project(ref or current)
        if project is None:
            project = self._project_of_parent(kind, body)
        if project is None:
            raise Invalid([Problem("project", "is needed: say which project it is to belong to")])
        if not self._actor.may_write(project):
            raise Forbidden(f"you may read this project, but not write its {kind.plural}")
        return project

    def _project_of_parent(self, kind: Kind, body: Mapping[str, Any]) -> str | None:
        """With no project named, a part goes to the project of what it belongs to."""
        for field in kind.parents:
            ref = body.get(field)
            if isinstance(ref, str):
                try:
                    id = resolve(ref, KINDS[trait_of(kind.type, field).ref or ""], self._view, None)
                except Unresolved:
                    continue
                parent = self._view.find(id)
                if parent is not None and self._actor.may_read(parent.project):
                    return parent.project
        return None

    def with_project_resolved(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        ref = body.get("project")
        if not isinstance(ref, str) or is_id(ref):
            return body
        return {**body, "project": self.current_project(ref)}

    # --- objects ------------------------------------------------------------------------------------

    def readable(self, kind: Kind, ref: str | None, project: str | None) -> Object:
        """The object that a reference stands for. Raises NotFound."""
        if not isinstance(ref, str) or not ref:
            raise Malformed(f"which {kind.name}? Give its id or name")
        if kind.scope is Scope.CLOUD and kind.type is not Project and not self._actor.may_read(None):
            raise NotFound(f"there is no {kind.name} {ref[:MAX_REFERENCE]!r}")
        try:
            id = self._resolve(ref, kind, project)
        except Unresolved as error:
            raise NotFound(str(error)) from None
        obj = self._view.get(kind.type, id)
        if obj is None or not self.sees(obj):
            raise NotFound(f"there is no {kind.name} {ref!r}")
        return obj

    def writable(self, kind: Kind, ref: str | None, project: str | None) -> Object:
        """The same, of an object that the actor may also change."""
        if kind.scope is Scope.CLOUD and not self._actor.is_admin:
            raise Forbidden(f"only administrators of the cloud write {kind.plural}")
        obj = self.readable(kind, ref, project)
        if kind.scope is not Scope.CLOUD and not self._actor.may_write(obj.project):
            raise Forbidden(f"you may read {kind.name} {obj.name!r}, but not change it")
        return obj

    def _resolve(self, text: str, kind: Kind, project: str | None, near: Iterable[str] = ()) -> str:
        """The id that a reference stands for. Why it stands for nothing is told of what the actor may read:
        that a name is ambiguous in another project would tell what is there."""
        try:
            # Every project's objects have one, so without any, no name is looked for.
            return resolve(text, kind, self._view, project or "", near)
        except Unresolved:
            elsewhere, colon, _ = text.rpartition(":")
            if not colon or self._reads(elsewhere):
                raise
            raise Unresolved(f"there is no {kind.name} {text[:MAX_REFERENCE]!r}") from None

    def _reads(self, project: str) -> bool:
        id = project if is_id(project) else self._view.named("project", None, project)
        return id is not None and self._actor.may_read(id)

    def resolved(self, obj: ObjectT, project: str | None) -> ObjectT:
        """The object with its references made ids. Raises Invalid."""
        problems: list[Problem] = []
        result: Any = obj
        near: list[str] = []
        for leaf in references(type(obj)):
            if not all(map(is_id, gather(result, (leaf,)))):
                result = rewrite(result, leaf.path, self._resolver(leaf, project, near, problems))
            if leaf.trait.parent:
                near.extend(gather(result, (leaf,)))
        if problems:
            raise Invalid(problems)
        return result  # type: ignore[no-any-return]

    def _resolver(self, leaf: Leaf, project: str | None, near: list[str], problems: list[Problem]) -> Any:
        kind = KINDS[leaf.trait.ref or ""]

        def change(path: str, text: str) -> str:
            try:
                id = self._resolve(text, kind, project, near)
            except (Unresolved, Refusal) as error:
                problems.append(Problem(path, str(error)))
                return text
            found = self._view.find(id)
            if found is not None and not is_id(text) and not self._may_name(found):
                problems.append(Problem(path, f"there is no {kind.name} {text!r}"))
            return id

        return change

    def _may_name(self, obj: Object) -> bool:
        """Projects may be named by whoever knows their name: a grant is for another project."""
        return isinstance(obj, Project) or self.sees(obj)
