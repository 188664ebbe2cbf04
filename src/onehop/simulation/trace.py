"""A verdict as text: step by step, with the object and the rule that decided.

port web-1      ingress port     enters by port web-1
group web       security groups  allowed: the group lets everything leave
...
delivered at port db-1: tcp 10.0.1.5:4000 > 10.0.2.7:5432 SYN ttl=63
"""

from __future__ import annotations

from typing import Any

from onehop.model import Port
from onehop.model.kinds import kind_of
from onehop.model.view import View
from onehop.model.vocabulary import Stage
from onehop.simulation.packet import Malformed, build, parse
from onehop.simulation.packet_text import describe, read
from onehop.simulation.state import State
from onehop.simulation.verdict import Ask, Output, Verdict
from onehop.simulation.walk import walk

_SHORT = {"security-group": "group"}


def name_of(view: View, id: str) -> str:
    """An object as people call it: kind and name, the parent's name before it."""
    obj = view.find(id)
    if obj is None:
        return id
    kind = kind_of(obj)
    parent = view.find(kind.parent(obj) or "")
    name = f"{parent.name}/{obj.name}" if parent is not None else obj.name
    return f"{_SHORT.get(kind.name, kind.name)} {name}"


def render(view: View, verdict: Verdict) -> list[str]:
    """The lines of a trace."""
    rows = [(name_of(view, s.device), _stage(s.stage), s.text) for s in verdict.steps]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {_named(view, c)}" for a, b, c in rows]
    return [*lines, "", *outcome(view, verdict)]


def outcome(view: View, verdict: Verdict) -> list[str]:
    """What came of it, a line for each thing."""
    lines = [f"delivered at {name_of(view, o.target)}: {_frame(o)}" for o in verdict.outputs]
    lines += [f"answered to {name_of(view, o.target)}: {_frame(o)}" for o in verdict.answers]
    lines += [_request(view, r.what, r.port, str(r.ip)) for r in verdict.requests]
    if verdict.drop is not None:
        reason = verdict.drop.name.lower().replace("_", "-")
        at = f" at {name_of(view, verdict.where)}" if verdict.where else ""
        lines.append(f"dropped{at}: {reason}")
    return lines or ["delivered to nobody: the network has no other members here"]


def as_data(view: View, verdict: Verdict) -> dict[str, Any]:
    """A trace as plain data, for the API."""
    steps = [
        {
            "stage": s.stage.name.lower(),
            "object": s.device,
            "name": name_of(view, s.device),
            "rule": s.rule,
            "text": _named(view, s.text),
        }
        for s in verdict.steps
    ]
    return {
        "steps": steps,
        "outcome": outcome(view, verdict),
        "delivered": [o.target for o in verdict.outputs],
        "answered": bool(verdict.answers),
        "drop": verdict.drop.name.lower() if verdict.drop is not None else None,
        "where": verdict.where if verdict.drop is not None else None,
    }


def trace(view: View, port: Port, text: str) -> Verdict:
    """What would become of a packet, with nothing sent before it. Raises BadPacketText."""
    return walk(view, State(), port.id, build(read(view, port, text)))


def _request(view: View, what: Ask, port: str, ip: str) -> str:
    if what is Ask.RESOLVE:
        return f"waits: {name_of(view, port)} asks who has {ip}"
    if what is Ask.BLOCKS:
        return f"{name_of(view, port)} has few shared ports left: the agent asks for more"
    return f"left to the {what.value.replace('-', ' ')} service"


def _frame(output: Output) -> str:
    frame = parse(output.data)
    return frame.why if isinstance(frame, Malformed) else describe(frame)


def _stage(stage: Stage) -> str:
    return stage.name.lower().replace("_", " ")


def _named(view: View, text: str) -> str:
    """A step's text with the ids of ports replaced by their names."""
    words = text.split(" ")
    return " ".join(name_of(view, w).removeprefix("port ") if view.get(Port, w) else w for w in words)
