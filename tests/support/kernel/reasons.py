"""Who dropped a packet: the stage, and the rule or route that says so.

Drops that nobody judged (an unknown peer, an interface that is gone) have no stage in the simulation, and
what a host drops that was asked in vain has the reason of who asked. These are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from onehop.datapath.traffic import Verdict as Said
from onehop.model.vocabulary import Drop, Stage, TunnelFlag
from onehop.simulation.cloud import Dropped, Event, Judged
from onehop.simulation.verdict import Verdict

ROUTES = (Drop.BLACKHOLE, Drop.REJECT_ROUTE)
Place = tuple[str, Drop, str | None]  # host, reason, port that is charged
Reason = tuple[Place, str, str | None]  # and the stage, and the rule or route

Numbers = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Decided(Dropped):
    """A drop of the kernel's, with what its verdict says beyond the reason."""

    stage: int = field(default=0, compare=False)
    rule: str | None = field(default=None, compare=False)


def decided(host: str, said: Said, port: str | None, numbers: Numbers) -> Decided:
    """What the programs say of a drop; `numbers` are those of the host's rules and routes."""
    drop = Drop(said.refused or said.drop)
    kind = "routes" if drop in ROUTES else "rules" if said.stage == Stage.ACLS else ""
    names = {number: name for name, number in numbers.get(kind, {}).items()}
    rule = names.get(said.rule, "").rpartition("/")[2] or None
    refused = Drop(said.refused) if said.refused else None
    return Decided(host, drop, port, refused, stage=said.stage, rule=rule)


def differences(spec: Iterable[Event], real: Iterable[Event], words: Callable[[Reason], str]) -> list[str]:
    judged, unjudged = _of_simulation(spec)
    actual: Counter[Reason] = Counter()
    for event in real:
        if isinstance(event, Decided) and event.refused is None:
            place = (event.host, event.reason, event.port)
            if unjudged[place]:
                unjudged[place] -= 1
            else:
                actual[place, Stage(event.stage).name, event.rule] += 1
    return [
        *(f"- only the simulation: {words(one)}" for one in (judged - actual).elements()),
        *(f"+ only the kernel:     {words(one)}" for one in (actual - judged).elements()),
    ]


def _of_simulation(events: Iterable[Event]) -> tuple[Counter[Reason], Counter[Place]]:
    """What was judged, and what was not."""
    judged: Counter[Reason] = Counter()
    unjudged: Counter[Place] = Counter()
    verdict: Verdict | None = None
    asked = False  # by this host itself, with the packet before
    for event in events:
        if isinstance(event, Judged):
            asked = verdict is not None and any(o.flags & TunnelFlag.ASK for o in verdict.outputs)
            verdict = event.verdict
        elif isinstance(event, Dropped) and event.refused is None:
            place = (event.host, event.reason, event.port)
            is_judged = verdict is not None and verdict.drop == event.reason and not asked
            if verdict is not None and verdict.stage is not None and is_judged:
                judged[place, verdict.stage.name, _rule(verdict)] += 1
            else:
                unjudged[place] += 1
            verdict = None
    return judged, unjudged


def _rule(verdict: Verdict) -> str | None:
    if verdict.stage is not Stage.ACLS and verdict.drop not in ROUTES:
        return None
    refused = (step for step in verdict.steps if step.text.startswith("refused"))
    return next(refused, verdict.steps[-1]).rule


__all__ = ["Decided", "Reason", "decided", "differences"]
