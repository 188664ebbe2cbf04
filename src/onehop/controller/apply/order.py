"""A plan as phases. The operations of one phase do not depend on each other and may happen in any order.

1. Deletions of what nothing that stays refers to, users before what they use: names and addresses that they
   give up can be taken by what comes. Rules of ACLs that are about something deleted go before.
2. Kind after kind, what is made and then what is changed: a port needs its network's subnets, and a route
   the links of its router, without referring to them. Within a kind, each after what it refers to.
3. What refers the other way. An ACL and a port may refer to each other, so an ACL whose rules name something
   new is made, or left, without them until now.
4. The other deletions, whose last users have just been changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from onehop.controller.apply.merge import plain
from onehop.controller.apply.plan import Action, Plan
from onehop.model import KINDS, Acl, Object
from onehop.model.document import rank
from onehop.model.view import View, targets

Phases = list[list[Action]]


def phases(plan: Plan, view: View) -> Phases:
    by_op: dict[str, list[Action]] = {"create": [], "update": [], "delete": []}
    for action in plan.actions:
        by_op[action.op].append(action)
    new = {action.id for action in by_op["create"]}
    created, rules_later = _without_cycles(by_op["create"], new)
    changed = [action for action in by_op["update"] if not _waits(action, new)]
    changed_later = [action for action in by_op["update"] if _waits(action, new)]
    trimmed = _trimmed(by_op["update"], {action.id for action in by_op["delete"]}, view)
    first, last = _divided(by_op["delete"], view, {action.id for action in trimmed})
    ordered = [
        trimmed,
        *_deletions(first, view),
        *_by_kind(created, changed),
        [*rules_later, *changed_later],
        *_deletions(last, view),
    ]
    return [phase for phase in ordered if phase]


# --- making -------------------------------------------------------------------------------------------


def _waits(action: Action, new: set[str]) -> bool:
    """Whether an action is about an ACL that names something new, which may name it in turn."""
    return isinstance(action.object, Acl) and bool(targets(action.object) & new)


def _by_kind(created: list[Action], changed: list[Action]) -> Phases:
    found: Phases = []
    ranks = {action.kind: rank(KINDS[action.kind]) for action in (*created, *changed)}
    for kind in sorted(ranks, key=lambda kind: ranks[kind]):
        found += _creations([action for action in created if action.kind == kind])
        found.append([action for action in changed if action.kind == kind])
    return found


def _without_cycles(creations: list[Action], new: set[str]) -> tuple[list[Action], list[Action]]:
    """ACLs whose rules refer to something new become an empty ACL now, and a change of its rules later."""
    now: list[Action] = []
    later: list[Action] = []
    for action in creations:
        if _waits(action, new):
            bare = {name: value for name, value in action.body.items() if name != "rules"}
            now.append(replace(action, body=bare))
            later.append(replace(action, op="update", body={"rules": action.body["rules"]}))
        else:
            now.append(action)
    return now, later


def _creations(actions: list[Action]) -> Phases:
    """Each action in the phase after the last of those that it refers to."""
    by_id = {action.id: action for action in actions}
    levels: dict[str, int] = {}
    for action in actions:
        _level(action, by_id, levels)
    found: Phases = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for action in actions:
        found[levels[action.id]].append(action)
    return found


def _level(action: Action, by_id: Mapping[str, Action], levels: dict[str, int]) -> int:
    """The longest way down over references. It is short: kinds refer to kinds, and ACLs are cut off."""
    if action.id not in levels:
        levels[action.id] = 0  # whatever comes back to it has been refused by the model, or will be
        wanted = action.object
        below = _wanted_targets(wanted, action) if wanted is not None else set()
        inner = [_level(by_id[id], by_id, levels) + 1 for id in below if id in by_id and id != action.id]
        levels[action.id] = max(inner, default=0)
    return levels[action.id]


def _wanted_targets(wanted: Object, action: Action) -> set[str]:
    return set() if isinstance(wanted, Acl) and "rules" not in action.body else targets(wanted)


# --- deleting -----------------------------------------------------------------------------------------


def _trimmed(updates: list[Action], gone: set[str], view: View) -> list[Action]:
    """The changes of ACLs, begun by taking out the rules that name something to be deleted."""
    found = []
    for action in updates:
        acl = view.get(Acl, action.id)
        if acl is not None and targets(acl) & gone:
            rules = [
                rule for rule in acl.rules if not targets(msgspec.structs.replace(acl, rules=(rule,))) & gone
            ]
            found.append(replace(action, body={"rules": plain(rules)}))
    return found


def _divided(deletions: list[Action], view: View, trimmed: set[str]) -> tuple[list[Action], list[Action]]:
    """Those that can be deleted before anything else, and those that something that stays still uses."""
    gone = {action.id for action in deletions}
    held = {id for id in gone if any(user not in gone | trimmed for _, user in view.users(id))}
    waiting = list(held)
    while waiting:
        obj = view.find(waiting.pop())
        more = (targets(obj) & gone) - held if obj is not None else set()
        held |= more
        waiting.extend(more)
    return [a for a in deletions if a.id not in held], [a for a in deletions if a.id in held]


def _deletions(deletions: list[Action], view: View) -> Phases:
    """Users first. What uses each other in a circle is cut open by taking the rules out of its ACLs."""
    left = {action.id: action for action in deletions}
    users = {id: {user for _, user in view.users(id) if user in left and user != id} for id in left}
    found: Phases = []
    while left:
        free = [action for id, action in left.items() if not users[id]]
        if not free:
            emptied = [_emptied(action) for action in left.values() if action.kind == "acl"]
            if not emptied:
                return [*found, list(left.values())]  # let the engine say what is wrong
            found.append(emptied)
            _forget(users, {action.id for action in emptied})
            continue
        found.append(free)
        for action in free:
            del left[action.id]
        _forget(users, {action.id for action in free})
    return found


def _emptied(action: Action) -> Action:
    return replace(action, op="update", body={"rules": []})


def _forget(users: Mapping[str, set[str]], gone: Iterable[str]) -> None:
    gone = set(gone)
    for using in users.values():
        using -= gone
