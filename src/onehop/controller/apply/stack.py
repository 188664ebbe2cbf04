"""Which stack an object belongs to: at most one, told by a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onehop.model import KINDS, Kind, Object, Scope, kind_of
from onehop.model.view import View

LABEL = "onehop/stack"


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of a project (by its id); without a project, of the cloud."""

    name: str
    project: str | None

    def label(self, kind: Kind) -> str:
        """What the label says. Objects of the cloud have no project, so there it names that too."""
        return self.name if kind.scope is Scope.PROJECT else f"{self.project or ''}:{self.name}"

    def holds(self, obj: Object) -> bool:
        kind = kind_of(obj)
        if kind.scope is Scope.PROJECT and obj.project != self.project:
            return False
        return obj.labels.get(LABEL) == self.label(kind)

    def members(self, view: View) -> Iterator[Object]:
        """Its objects, in the order of kinds and ids."""
        for kind in KINDS.values():
            if kind.scope is Scope.CLOUD:
                ids = view.ids_of(kind.name)
            elif self.project is not None:
                ids = view.referrers(self.project, kind.name)
            else:
                continue
            for id in sorted(ids):
                obj = view.find(id)
                if obj is not None and self.holds(obj):
                    yield obj
