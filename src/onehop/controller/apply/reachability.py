"""What applying a plan would make possible or impossible between machines, for `dry_run`.

The plan is carried out on an overlay, by the engine's own planning, and thrown away. What is compared are
parts of the cloud of their own, so that it can be done beside the controller's other work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from onehop.controller.access import Access
from onehop.controller.apply.execute import Executor
from onehop.controller.apply.order import phases
from onehop.controller.apply.plan import Plan, blamed
from onehop.controller.refusals import Forbidden, Refusal
from onehop.model.extract import TooLarge, devices_of, extract
from onehop.model.view import Topology, View
from onehop.simulation.difference import Change, Difference, difference
from onehop.simulation.trace import name_of

MOST_ACTIONS = 500  # of a plan that is looked at
MOST_OBJECTS = 5000  # in the part of the cloud that it concerns
MOST_PAIRS = 60  # of kinds of machines
NAMED = 3  # machines named of those that a change concerns alike


async def reachability(plan: Plan, executor: Executor) -> dict[str, Any] | None:
    """The event that tells it; None where nothing changes. Raises a Refusal that applying would meet."""
    if not plan.actions:
        return None
    if len(plan.actions) > MOST_ACTIONS:
        return _left_out(f"the plan has more than {MOST_ACTIONS} actions")
    before = executor.cache.view
    actions = [action for phase in phases(plan, before) for action in phase]
    try:
        after = executor.engine.imagine(map(executor.operation, actions), executor.actor)
    except Forbidden as refusal:  # whoever may only read may still ask for the plan
        return _left_out(refusal.message)
    except Refusal as refusal:
        raise blamed(refusal, actions[refusal.operation or 0]) from None
    changed = [action.id for action in plan.actions]
    try:
        parts = (_part(before, before, after, changed), _part(after, before, after, changed))
    except TooLarge as error:
        return _left_out(str(error))
    found = await asyncio.to_thread(difference, parts[0], parts[1], changed, MOST_PAIRS)
    return _told(found, parts, Access(after, executor.actor))


def _part(view: View, before: View, after: View, changed: Sequence[str]) -> Topology:
    devices = devices_of(before, changed) | devices_of(after, changed)
    return extract(view, sorted(devices), MOST_OBJECTS)


def _left_out(why: str) -> dict[str, Any]:
    return {"event": "reachability", "appears": [], "vanishes": [], "complete": False, "why": why}


def _told(found: Difference, parts: Sequence[View], access: Access) -> dict[str, Any]:
    before, after = parts
    return {
        "event": "reachability",
        "appears": _lines(found.gained, after, access),
        "vanishes": _lines(found.lost, before, access),
        "complete": found.complete,
    }


def _seen(change: Change, view: View, access: Access) -> bool:
    """Whether the caller may know of both ends."""
    ends = (view.find(id) for id in (*change.sources, *change.targets))
    return all(obj is None or access.sees(obj) for obj in ends)


def _lines(changes: Iterable[Change], view: View, access: Access) -> list[str]:
    return sorted(_line(change, view) for change in changes if _seen(change, view, access))


def _line(change: Change, view: View) -> str:
    return f"{_named(change.sources, view)} -> {_named(change.targets, view)}: {change.passage}"


def _named(ids: Iterable[str], view: View) -> str:
    names = [name_of(view, id).removeprefix("port ") for id in ids]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
