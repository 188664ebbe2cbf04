"""What becomes of a port's blocks, planned with a view and a chooser. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Protocol

from onehop.controller.blocks.sharing import MOST, Sharing, had, is_bound, lacking, useless
from onehop.model import Port, SnatBlock
from onehop.model.view import View

Needs = Callable[[Port], list[Sharing]]  # what a machine's port needs blocks of


class Chooser(Protocol):
    def block(self, sharing: Sharing, having: list[SnatBlock]) -> tuple[str, int] | None:
        """The address and first port of a block that nobody has; None, if there is none."""

    def free_blocks(self, sharing: Sharing) -> int:
        """About how many there are."""


def useless_blocks(view: View, port: str, needs: Needs) -> list[SnatBlock]:
    """The blocks of a port that it has no use for: all of them, if the port is gone or not bound."""
    found = view.get(Port, port)
    wanted = needs(found) if found is not None and is_bound(view, port) else []
    return useless(view, port, wanted)


def first_blocks(
    view: View, port: str, needs: Needs, choose: Chooser, *, as_if_bound: bool = False
) -> list[SnatBlock]:
    """A block of each rule and family that a bound port has none of, as far as there are any."""
    found = view.get(Port, port)
    if found is None or found.kind != "vm" or not (as_if_bound or is_bound(view, port)):
        return []
    made = [(sharing, choose.block(sharing, [])) for sharing in lacking(view, port, needs(found))]
    return [_block(found, sharing, at) for sharing, at in made if at is not None]


def more_blocks(
    view: View, port: str, rule: str, family: str, needs: Needs, choose: Chooser
) -> list[SnatBlock]:
    """As many again as a bound port has of a rule and family.

    A port has 64 at most. Who has some already gets a quarter of what is free at most, so that there is
    something for those who have less.
    """
    found = view.get(Port, port)
    if found is None or not is_bound(view, port):
        return []
    sharing = next((s for s in needs(found) if (s.rule, s.family) == (rule, family)), None)
    if sharing is None:
        return []
    having = had(view, port, sharing)
    count = min(len(having), MOST - len(having), choose.free_blocks(sharing) // 4)
    made: list[SnatBlock] = []
    for _ in range(count if having else 1):
        at = choose.block(sharing, having + made)
        if at is None:
            break
        made.append(_block(found, sharing, at))
    return made


def _block(port: Port, sharing: Sharing, at: tuple[str, int]) -> SnatBlock:
    id, (ip, first) = str(uuid.uuid4()), at
    return SnatBlock(
        id=id,
        name=f"snat-block-{id[:8]}",
        project=port.project,
        port=port.id,
        rule=sharing.rule,
        ip=ip,
        within=sharing.within,
        first=first,
    )
