"""Planning: operations against a view become guards and writes for the store. Pure: no I/O, no waiting.

A `Draft` takes the operations one after the other, each against what the earlier ones left, and refuses
with a sentence what cannot be. `Draft.plan` then compares the end with the beginning: every object that
differs becomes one write, and so do its references and claims; so several operations on one object are
still one write of one key.

The guards hold exactly if the plan would come out the same: objects that change are at the revision that
was looked at, targets of new references exist, nothing refers to what goes away, claims are free, and the
sets that rules are about have not changed.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from onehop.controller import bodies
from onehop.controller.access import Access
from onehop.controller.actor import Actor
from onehop.controller.allocate import Allocator, Choice
from onehop.controller.blocks import drafting
from onehop.controller.blocks.sharing import KnownSharings, matters
from onehop.controller.cache import Cache
from onehop.controller.differences import Plan, guard_sets, planned
from onehop.controller.holders import HoldersOverlay
from onehop.controller.keys import WEAK
from onehop.controller.refusals import Conflict, Forbidden, Malformed, Refusal, Stale, Unprocessable
from onehop.model import KINDS, Binding, Invalid, Kind, Object, Problem, kind_of
from onehop.model.assign import Exhausted, assign
from onehop.model.claims import Claim, claim_field, claim_words, claimants, claims_of
from onehop.model.fields import canonicalise
from onehop.model.formats import is_id
from onehop.model.relations import check, guarded_sets, sets_of_deletion
from onehop.model.view import Overlay, View
from onehop.store.interface import Revision

Verb = Literal["create", "replace", "patch", "delete", "settle"]
MOST_AT_ONCE = 16  # blocks that one operation makes or frees; a stock etcd takes some 120 keys at once
NAMED_USERS = 5  # of what uses an object, how many are named


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do to one object.

    kind      the kind's name: `security-group`
    ref       which object: an id or a name, as in REST; not for `create`
    body      the object (`create`, `replace`) or a JSON merge patch; references may be names
    project   the current project, by id or name: where a new object goes and where names are looked up;
              the caller's only project if left out. A `project` in the body comes first
    if_match  the revision that the object must still have
    trusted   read-only fields that the controller itself sets (`id`, a token's `hash`); never a caller's

    `settle` is for controllers alone: it makes and frees the blocks of shared ports of the port `ref`, and
    with a `rule` and `family` in its `trusted` makes more of these.
    """

    op: Verb
    kind: str
    ref: str | None = None
    body: Mapping[str, Any] | None = None
    if_match: Revision | None = None
    project: str | None = None
    trusted: Mapping[str, Any] | None = None


class Draft:
    """Operations being planned."""

    def __init__(self, cache: Cache, allocator: Allocator, actor: Actor) -> None:
        self._cache = cache
        self._actor = actor
        self._view = Overlay(cache.view)
        self._holders = HoldersOverlay(cache.holders)
        self._access = Access(self._view, actor)
        self._results: list[Object] = []
        self.choice: Choice = allocator.chooser(self._holders)
        self._resting_until = allocator.resting_until
        self._sharings = allocator.sharings
        self.sets: set[str] = set()  # that rules have looked at: their guards are to be written

    @property
    def view(self) -> View:
        """What would be there."""
        return self._view

    def shared_sets(self) -> set[str]:
        """Of the sets, those that others may write as well: all but those of what this plan makes."""
        made = {id for id in self._view.changed() if self._cache.view.find(id) is None}
        return {name for name in self.sets if name.partition("/")[2] not in made}

    # --- operations ---------------------------------------------------------------------------------

    def take(self, operations: Sequence[Operation]) -> None:
        """Plan the operations in order. Raises a Refusal that says which one is wrong."""
        for index, operation in enumerate(operations):
            try:
                if operation.op == "settle":
                    self._settle(operation)
                else:
                    self._results.append(self._take(operation))
            except Refusal as refusal:
                refusal.operation = index
                raise
        self._first_blocks()

    def _settle(self, operation: Operation) -> None:
        """Blocks that a port is to have, and no others."""
        port, more = operation.ref or "", operation.trusted or {}
        for block in drafting.useless_blocks(self._view, port, self._needs())[:MOST_AT_ONCE]:
            self._delete(block)
        made = drafting.first_blocks(self._view, port, self._needs(), self.choice)
        if more:
            rule, family = more["rule"], more["family"]
            made += drafting.more_blocks(self._view, port, rule, family, self._needs(), self.choice)
        for block in made[:MOST_AT_ONCE]:
            self._place(block, None)

    def _first_blocks(self) -> None:
        """What is bound here has its first blocks with that."""
        made = ((id, obj) for id, obj in self._view.changed().items() if isinstance(obj, Binding))
        bound = [obj.port for id, obj in made if self._cache.view.find(id) is None]
        needs = self._needs() if bound else None
        for port in bound:
            assert needs is not None
            for block in drafting.first_blocks(self._view, port, needs, self.choice):
                self._place(block, None)

    def _needs(self) -> drafting.Needs:
        """What machines need blocks of: as is known of the cache, unless something of that changes here."""
        known = self._sharings
        view: View = self._cache.view
        changed = (obj for pair in self._pairs() for obj in pair if obj is not None)
        if any(matters(obj, self._view) for obj in changed):
            known, view = KnownSharings(), self._view
        return lambda port: known.of(view, port.network) if port.kind == "vm" and port.network else []

    def _pairs(self) -> Iterator[tuple[Object | None, Object | None]]:
        """What is changed here, before and after."""
        return ((self._cache.view.find(id), after) for id, after in self._view.changed().items())

    def as_if_bound(self, port: str) -> None:
        """Give a port the blocks that it would have if it were bound."""
        for block in drafting.first_blocks(self._view, port, self._needs(), self.choice, as_if_bound=True):
            self._place(block, None)

    def _take(self, operation: Operation) -> Object:
        kind = KINDS.get(operation.kind)
        if kind is None:
            raise Malformed(f"there is no kind {operation.kind!r}; there are: {', '.join(KINDS)}")
        if kind.name in WEAK:
            raise Forbidden(
                f"{kind.plural} are made and freed by controllers: a machine's port has some while bound"
            )
        if operation.op == "create":
            return self._create(kind, operation)
        if operation.op == "replace" and self._is_new(operation):
            return self._create(kind, replace(operation, trusted={"id": operation.ref}))
        project = self._access.current_project(operation.project)
        before = self._access.writable(kind, operation.ref, project)
        self._match(before, operation.if_match)
        if operation.op == "delete":
            return self._delete(before)
        if operation.op in ("replace", "patch"):
            return self._change(kind, before, operation)
        raise Malformed(f"there is no operation {operation.op!r}; there are: create, replace, patch, delete")

    def _is_new(self, operation: Operation) -> bool:
        """Whether it names an id that nothing has: replacing makes the object, so that it can be repeated."""
        ref = operation.ref
        return operation.if_match is None and ref is not None and is_id(ref) and self._view.find(ref) is None

    def _match(self, before: Object, if_match: Revision | None) -> None:
        if if_match is None:
            return
        revision = self._cache.revision_of(before.id)
        if revision != if_match:
            raise Stale(
                f"{_called(before)} is at revision {revision}, not {if_match}; read it again and decide anew"
            )

    def _create(self, kind: Kind, operation: Operation) -> Object:
        body = dict(_body(operation))
        trusted = operation.trusted or {}
        try:
            fixed = {"id": str(uuid.uuid4()), **trusted}
            project = self._access.project_of_new(kind, body, operation.project)
            if project is not None:
                fixed["project"] = project
            body.pop("project", None)
            obj = bodies.new(kind, body, fixed)
            obj = self._access.resolved(obj, project)
            obj = assign(canonicalise(obj), body.keys(), self._view, self.choice)
        except Invalid as error:
            raise _unprocessable(error, kind) from None
        except Exhausted as error:
            raise Conflict(str(error)) from None
        if self._view.find(obj.id) is not None:
            raise Conflict(f"there is an object with the id {obj.id} already")
        self._put(obj, None)
        return obj

    def _change(self, kind: Kind, before: Object, operation: Operation) -> Object:
        body, trusted = _body(operation), operation.trusted or {}
        decode = bodies.replaced if operation.op == "replace" else bodies.patched
        given = [name for name, value in body.items() if value is not None]
        try:
            body = self._access.with_project_resolved(body)
            obj = self._access.resolved(decode(kind, body, before, trusted), before.project)
            obj = assign(canonicalise(obj), given, self._view, self.choice, before)
            problems = bodies.changed_immutables(before, obj)
            if problems:
                raise Invalid(problems)
        except Invalid as error:
            raise _unprocessable(error, kind) from None
        except Exhausted as error:
            raise Conflict(str(error)) from None
        if obj == before:
            return before
        self._put(obj, before)
        return obj

    def _put(self, obj: Object, before: Object | None) -> None:
        problems = check(obj, before, self._view, anywhere=self._actor.is_admin)
        if problems:
            raise _unprocessable(Invalid(problems), kind_of(obj))
        self._place(obj, before)

    def _place(self, obj: Object, before: Object | None) -> None:
        self.sets.update(guarded_sets(obj, before, self._view))
        changed = [*claimants(obj), *(claimants(before) if before is not None else ())]
        self._give_up(changed)
        self._view.put(obj)
        for id, made in claims_of(changed, self._view).items():
            for claim in made:
                owner = self._holders.owner(claim)
                if owner is not None and owner != id:
                    raise self._taken(claim, obj, owner)
            self._holders.add(made, id)

    def _give_up(self, ids: Iterable[str]) -> None:
        for id, made in claims_of(ids, self._view).items():
            self._holders.drop(made, id)

    def _taken(self, claim: Claim, obj: Object, owner: str) -> Conflict:
        holder = self._view.find(owner)
        by = f"{_called(holder)}" if holder is not None and self._access.sees(holder) else "another project"
        sentence = f"{claim_words(claim)} is taken by {by}"
        return Conflict(sentence, [Problem(claim_field(claim, obj), sentence)])

    def _delete(self, before: Object) -> Object:
        users = [u for u in self._view.users(before.id) if u[1] != before.id and u[0] not in WEAK]
        if users:
            raise Conflict(self._in_use(before, users))
        self.sets.update(sets_of_deletion(before, self._view))
        self._give_up(claimants(before))
        self._view.remove(before.id)
        for id, made in claims_of(claimants(before), self._view).items():
            self._holders.add(made, id)
        return before

    def _in_use(self, before: Object, users: Sequence[tuple[str, str]]) -> str:
        told = []
        for name, group in itertools.groupby(users, key=lambda user: user[0]):
            found = [self._view.find(id) for _, id in group]
            names = sorted(obj.name for obj in found if obj is not None and self._access.sees(obj))
            count, kind = len(found), KINDS[name]
            shown = ", ".join(names[:NAMED_USERS]) + (", ..." if count > NAMED_USERS else "")
            word = kind.name if count == 1 else kind.plural
            if not names:
                shown = "of other projects"
            told.append(f"{count} {word}: {shown}")
        return f"{_called(before)} is in use by {'; '.join(told)}"

    # --- the plan -----------------------------------------------------------------------------------

    def plan(self, known_sets: Mapping[str, Revision]) -> Plan:
        """Guards and writes. `known_sets` are the revisions of the guards of `shared_sets()`; 0, if never
        written."""
        plan = planned(self._cache, self._view, self._resting_until)
        guard_sets(plan, self.sets, known_sets)
        changed = {change.id for change in plan.changes}
        plan.results.extend((obj, obj.id in changed) for obj in self._results)
        return plan


def _body(operation: Operation) -> Mapping[str, Any]:
    if not isinstance(operation.body, Mapping):
        raise Malformed(f"a {operation.op} needs a body: the fields of the object")
    return operation.body


def _called(obj: Object) -> str:
    return f"{kind_of(obj).name} {obj.name!r}"


def _unprocessable(error: Invalid, kind: Kind) -> Unprocessable:
    return Unprocessable(f"the {kind.name} is refused: {_first(error.problems)}", error.problems)


def _first(problems: Iterable[Problem]) -> str:
    told = [str(problem) for problem in problems]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return f"{told[0]}{more}" if told else "it is not valid"
