"""What a host forgets because nobody has used it for a while, and what a packet keeps alive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from onehop.simulation.connections import is_live
from onehop.simulation.state import (
    FRAGMENT_LIFE,
    HINT_LIFE,
    NEIGHBOUR_LIFE,
    HintKey,
    RecordKey,
    State,
)

K = TypeVar("K")
V = TypeVar("V")


def sweep(state: State) -> State:
    """The state without what has been idle for too long."""
    now = state.now
    idle = [key for key, record in state.records.items() if not is_live(record, now)]
    return replace(
        state.without_records(idle),
        hints=_kept(state.hints, lambda hint: now - hint.used <= HINT_LIFE),
        fragments=_kept(state.fragments, lambda first: now - first.seen <= FRAGMENT_LIFE),
        neighbours=_kept(state.neighbours, lambda neighbour: now - neighbour.seen <= NEIGHBOUR_LIFE),
    )


def _kept(table: Mapping[K, V], is_live: Callable[[V], bool]) -> Mapping[K, V]:
    return {key: value for key, value in table.items() if is_live(value)}


def refreshed(state: State, record: RecordKey | None, hint: HintKey | None) -> State | None:
    """The state after another packet of a flow; None if what the flow rested on is gone."""
    records, hints = state.records, state.hints
    if record is not None:
        if record not in records:
            return None
        records = {**records, record: replace(records[record], used=state.now)}
    if hint is not None:
        if hint not in hints:
            return None
        hints = {**hints, hint: replace(hints[hint], used=state.now)}
    return replace(state, records=records, hints=hints)
