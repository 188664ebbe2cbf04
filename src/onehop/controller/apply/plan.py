"""What has to be made, changed and deleted, so that a document is so. Pure.

The plan is made in steps, so that a large one can let others have their turn in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onehop.controller import bodies
from onehop.controller.access import Access
from onehop.controller.apply.identity import Identities
from onehop.controller.apply.merge import LABELS, FieldChange, immutable, merge, plain, stated
from onehop.controller.apply.stack import LABEL, Stack
from onehop.controller.keys import WEAK
from onehop.controller.refusals import Conflict, Refusal, Unprocessable
from onehop.model import Invalid, Object, Problem, Scope, kind_of
from onehop.model.document import Entry, rank
from onehop.model.fields import canonicalise
from onehop.model.formats import is_id
from onehop.model.view import View

STEP = 64  # entries that are planned in one go

# What was applied before: the fields that the document gave, by kind and path.
Stated = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. `body` is the object to make, or the merge patch."""

    op: Literal["create", "update", "delete"]
    kind: str
    path: str
    id: str
    where: str
    changes: tuple[FieldChange, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    adopted: bool = False
    object: Object | None = None  # as it is to be made; or as it was, when it is deleted

    def told(self) -> dict[str, Any]:
        """As it is shown to people."""
        told: dict[str, Any] = {"op": self.op, "kind": self.kind, "path": self.path, "id": self.id}
        if self.changes:
            told["changes"] = [change._asdict() for change in self.changes]
        if self.adopted:
            told["adopted"] = True
        return told


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    unchanged: int
    stated: dict[str, dict[str, list[str]]]  # what the document gives, to be compared with the next time

    def count(self, op: str) -> int:
        return sum(action.op == op for action in self.actions)


class Planner:
    """Plans one document. Run `steps` to the end, then take `plan`."""

    def __init__(
        self,
        entries: tuple[Entry, ...],
        stack: Stack,
        view: View,
        access: Access,
        before: Stated,
        *,
        adopt: bool = False,
    ) -> None:
        self._entries = entries
        self._stack = stack
        self._view = view
        self._access = access
        self._before = before
        self._adopt = adopt
        self._actions: list[Action] = []
        self._unchanged = 0
        self._stated: dict[str, dict[str, list[str]]] = {}
        self._kept: set[str] = set()
        self._problems: list[Problem] = []
        self._foreign: list[Problem] = []

    def steps(self) -> Iterator[None]:
        """Plan a little more at each step. Raises Unprocessable or Conflict with every problem there is."""
        identities = Identities(self._entries, self._view, self._access, self._stack.project)
        self._problems.extend(identities.problems)
        for number, entry in enumerate(self._entries):
            try:
                self._entry(entry, identities)
            except Invalid as error:
                self._problems.extend(problem.within(entry.where) for problem in error.problems)
            if number % STEP == STEP - 1:
                yield
        self._deletions()
        if self._problems:
            raise Unprocessable("the document cannot be applied", [*self._problems, *self._foreign])
        if self._foreign:
            raise Conflict("the document names objects that are not of its stack", self._foreign)

    @property
    def plan(self) -> Plan:
        return Plan(tuple(self._actions), self._unchanged, self._stated)

    def run(self) -> Plan:
        for _ in self.steps():
            pass
        return self.plan

    # --- entries --------------------------------------------------------------------------------------

    def _entry(self, entry: Entry, identities: Identities) -> None:
        if entry.kind.name == "token":
            sentence = "cannot stand in a document: `onehop token create` makes it and shows its secret"
            raise Invalid([Problem("", sentence)])
        if entry.kind.name in WEAK:
            raise Invalid([Problem("", "cannot stand in a document: controllers make and free it")])
        id = identities.id_of(entry)
        there = self._view.find(id)
        wanted = self._wanted(entry, id, identities)
        given = stated(entry.body)
        self._stated.setdefault(entry.kind.name, {})[entry.path] = sorted(given)
        if there is None:
            self._create(entry, wanted)
        else:
            self._update(entry, wanted, given, there, identities)

    def _wanted(self, entry: Entry, id: str, identities: Identities) -> Object:
        """The object that the entry describes; what it leaves out is not yet filled in."""
        fields = entry.fields()
        self._refuse_odd(entry, fields)
        fields.pop("project", None)
        labels = fields.get("labels", {})
        if isinstance(labels, Mapping):
            if LABEL in labels:
                raise Invalid([Problem(LABELS + LABEL, "is set by `apply`; leave it out")])
            fields["labels"] = {**labels, LABEL: self._stack.label(entry.kind)}
        fixed = {"id": id}
        if entry.kind.scope is Scope.PROJECT and self._stack.project is not None:
            fixed["project"] = self._stack.project
        return canonicalise(identities.resolved(bodies.new(entry.kind, fields, fixed)))

    def _refuse_odd(self, entry: Entry, fields: Mapping[str, Any]) -> None:
        if entry.kind.scope is Scope.PROJECT and self._stack.project is None:
            raise Invalid([Problem("", "needs a project: give `project` in the document, or --project")])
        if "project" in fields:
            raise Invalid([Problem("project", "is told by the document's `project`")])

    def _create(self, entry: Entry, wanted: Object) -> None:
        body = plain(wanted)
        del body["id"]
        for name in entry.body:
            body.setdefault(name, plain(getattr(wanted, name)))
        told = tuple(FieldChange(name, None, value) for name, value in entry.body.items())
        action = Action(
            "create", entry.kind.name, entry.path, wanted.id, entry.where, told, body, object=wanted
        )
        self._actions.append(action)

    def _update(
        self, entry: Entry, wanted: Object, given: frozenset[str], there: Object, identities: Identities
    ) -> None:
        self._kept.add(there.id)
        ours = self._stack.holds(there)
        if not ours and not self._adopt:
            self._foreign.append(Problem(entry.where, self._told_foreign(there)))
            return
        before = self._before.get(entry.kind.name, {}).get(entry.path, ()) if ours else ()
        merged = merge(wanted, given, before, there)
        problems = immutable(merged, there)
        if problems:
            raise Invalid(problems)
        if not merged.patch:
            self._unchanged += 1
            return
        changes = tuple(
            FieldChange(field, self._readable(was, identities), self._readable(will, identities))
            for field, was, will in merged.changes
            if field != LABELS + LABEL
        )
        action = Action(
            "update",
            entry.kind.name,
            entry.path,
            there.id,
            entry.where,
            changes,
            merged.patch,
            adopted=not ours,
            object=wanted,
        )
        self._actions.append(action)

    def _readable(self, value: Any, identities: Identities) -> Any:
        """A value with paths in the place of ids."""
        if isinstance(value, list):
            return [self._readable(element, identities) for element in value]
        if isinstance(value, dict):
            return {key: self._readable(element, identities) for key, element in value.items()}
        if not isinstance(value, str) or not is_id(value):
            return value
        there = self._view.find(value)
        if there is not None and self._access.sees(there):
            return self._path(there)
        return identities.path_of(value) or value

    def _told_foreign(self, there: Object) -> str:
        other = there.labels.get(LABEL)
        whose = f"belongs to stack {other.rpartition(':')[2]!r}" if other else "belongs to no stack"
        return (
            f"{kind_of(there).name} {there.name!r} is there already and {whose}; leave it out and refer to "
            "it, or take it over with --adopt"
        )

    # --- deletions ------------------------------------------------------------------------------------

    def _deletions(self) -> None:
        gone = {obj.id: obj for obj in self._stack.members(self._view) if obj.id not in self._kept}
        changed = {action.id for action in self._actions}
        for obj in sorted(gone.values(), key=lambda o: (-rank(kind_of(o)), self._path(o))):
            kind = kind_of(obj).name
            self._actions.append(
                Action("delete", kind, self._path(obj), obj.id, f"{kind} {self._path(obj)}", object=obj)
            )
            self._refuse_use(obj, gone, changed)

    def _refuse_use(self, obj: Object, gone: Mapping[str, Object], changed: set[str]) -> None:
        """What would be deleted but is used by others, who stay as they are."""
        for kind, id in self._view.users(obj.id):
            if id not in gone and id not in changed and kind not in WEAK:
                user = self._view.find(id)
                name = f" {self._path(user)}" if user is not None and self._access.sees(user) else ""
                sentence = (
                    f"{kind_of(obj).name} {self._path(obj)} is gone from the document, but in use by "
                    f"{kind}{name}, which is not of this stack"
                )
                self._foreign.append(Problem("", sentence))
                return

    def _path(self, obj: Object) -> str:
        parent = kind_of(obj).parent(obj)
        above = self._view.find(parent) if parent is not None else None
        return obj.name if above is None else f"{self._path(above)}/{obj.name}"


def blamed(refusal: Refusal, action: Action) -> Refusal:
    """The engine's refusal of one action, with its fields told as places in the document."""
    refusal.problems = tuple(p.within(action.where) for p in refusal.problems) or (
        Problem(action.where, refusal.message),
    )
    return refusal
