"""Tables as plain dicts, to apply differences to."""

from __future__ import annotations

from typing import Any

from onehop.compiler.desired import Contents, Desired
from onehop.compiler.difference import Difference, Put


def write(before: Desired, difference: Difference) -> tuple[Contents, Contents]:
    """Tables and lists after a difference has been applied, step by step."""
    state: dict[str, dict[Any, Any]] = {
        name: dict(rows) for name, rows in {**before.tables, **before.lists}.items()
    }
    for step in difference.steps():
        if isinstance(step, Put):
            state[step.table].update(step.entries)
        else:
            for key in step.keys:
                del state[step.table][key]
    return {name: state[name] for name in before.tables}, {name: state[name] for name in before.lists}
