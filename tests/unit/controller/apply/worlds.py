"""Topologies as they are after documents were applied, made without a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from onehop.controller.access import Access
from onehop.controller.actor import CONTROLLER
from onehop.controller.apply.merge import stated
from onehop.controller.apply.plan import Plan, Planner
from onehop.controller.apply.stack import LABEL, Stack
from onehop.model import Object, Project, kind_of
from onehop.model.document import expand, parse
from onehop.model.offline import build

Document = dict[str, Any]
Stated = dict[str, dict[str, list[str]]]


class World:
    """A project in which one document was applied."""

    def __init__(self, document: Document) -> None:
        self.document = {"stack": "s", "project": "p", **document}
        self.view = build(parse(self.document))
        project = self.view.named("project", None, "p")
        assert project is not None
        self.project = project
        self.stack = Stack("s", project)
        for obj in list(self.view):
            if not isinstance(obj, Project):
                self.put(obj, labels={**obj.labels, LABEL: self.stack.label(kind_of(obj))})

    def put(self, obj: Object, **changes: Any) -> None:
        self.view.put(msgspec.structs.replace(obj, **changes))

    def find(self, kind: str, name: str) -> Object:
        (obj,) = (o for o in self.view if kind_of(o).name == kind and o.name == name)
        return obj

    def stated(self) -> Stated:
        """What the document that was applied gave."""
        told: Stated = {}
        for entry in expand(parse(self.document), self.view, self.project):
            told.setdefault(entry.kind.name, {})[entry.path] = sorted(stated(entry.body))
        return told

    def plan(self, document: Mapping[str, Any], *, adopt: bool = False, before: Stated | None = None) -> Plan:
        """What it takes to go on to another document."""
        parsed = parse({"stack": "s", "project": "p", **document})
        entries = expand(parsed, self.view, self.project)
        stack = Stack(parsed.stack or "", self.project)
        access = Access(self.view, CONTROLLER)
        before = self.stated() if before is None else before
        return Planner(entries, stack, self.view, access, before, adopt=adopt).run()


def told(plan: Plan) -> list[str]:
    """A plan in short: `+ network web`."""
    marks = {"create": "+", "update": "~", "delete": "-"}
    return [f"{marks[action.op]} {action.kind} {action.path}" for action in plan.actions]
