"""`POST /v1/trace` and `POST /v1/reach`: what becomes of a packet, and what can pass between two ports.

Both ask the simulation, on the topology as this controller knows it, as if nothing had been sent before.
Whoever asks needs to see the ports; what lies in other projects on the way is not named.
"""

from __future__ import annotations

import asyncio
import binascii
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from litestar import Response, post

from onehop.controller.access import Access
from onehop.controller.answers import AnyRequest, answer
from onehop.controller.calls import Call
from onehop.controller.decode import body, convert, only_parameters
from onehop.controller.openapi import PROJECT, operation
from onehop.controller.refusals import TooMuch, Unprocessable
from onehop.controller.schemas import an_object, nullable, ref
from onehop.model import KINDS, Port, Problem
from onehop.model.extract import TooLarge, extract
from onehop.model.formats import is_id
from onehop.model.view import View
from onehop.model.zones import is_uplink
from onehop.simulation import reach as reaching
from onehop.simulation.packet import build
from onehop.simulation.packet_text import BadPacketText, read
from onehop.simulation.state import State
from onehop.simulation.trace import name_of, render
from onehop.simulation.verdict import Output, Step, Verdict
from onehop.simulation.walk import walk

ELSEWHERE = "(another project)"  # stands where an object's id would
MAX_FRAME = 9300
MOST_OBJECTS = 20_000  # that `reach` looks at


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    """A packet, and the port whose machine sends it."""

    port: str
    packet: Annotated[
        Annotated[str, msgspec.Meta(max_length=500)] | None,
        msgspec.Meta(description="Such as `tcp 10.0.1.5:4000 > 10.0.2.7:80`."),
    ] = None
    frame: Annotated[
        Annotated[str, msgspec.Meta(max_length=2 * MAX_FRAME)] | None,
        msgspec.Meta(description="Instead: an Ethernet frame, in hex."),
    ] = None


class Reach(msgspec.Struct, forbid_unknown_fields=True):
    """Two ports. `from` is the one that opens connections."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")


@post("/v1/trace", status_code=200)
async def trace(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request)
    only_parameters(request, ("project",))
    wanted = convert(await body(request), Trace)
    port = _port(call, wanted.port, "port", uplinks=True)
    view = call.here.engine.as_if_bound(port.id)
    verdict = walk(view, State(), port.id, _frame(view, port, wanted))
    return answer(told(call.view, visible(verdict, call.view, call.access)))


def _port(call: Call, text: str, field: str, *, uplinks: bool = False) -> Port:
    port = call.readable(KINDS["port"], text)
    assert isinstance(port, Port)
    if (port.network is None or port.kind == "router") and not (uplinks and is_uplink(call.view, port)):
        what = "is no machine's port, and no uplink" if uplinks else "is no machine's port"
        raise Unprocessable("no machine is at this port", [Problem(field, what)])
    return port


def _frame(view: View, port: Port, wanted: Trace) -> bytes:
    if (wanted.packet is None) == (wanted.frame is None):
        raise Unprocessable("which packet?", [Problem("packet", "give either `packet` or `frame`")])
    try:
        if wanted.frame is not None:
            return binascii.unhexlify(wanted.frame)
        return build(read(view, port, wanted.packet or ""))
    except BadPacketText as error:
        raise Unprocessable("the packet cannot be read", [Problem("packet", str(error))]) from None
    except ValueError:
        raise Unprocessable("the frame cannot be read", [Problem("frame", "is not hex")]) from None


def visible(verdict: Verdict, view: View, access: Access) -> Verdict:
    """The verdict without what the caller may not know of."""

    def known(id: str) -> bool:
        obj = view.find(id)
        return obj is None or access.sees(obj)

    def step(one: Step) -> Step:
        ids = [one.device, *(word for word in one.text.split(" ") if is_id(word))]
        return one if all(map(known, ids)) else Step(one.stage, ELSEWHERE, "goes on")

    def output(one: Output) -> Output:
        return one if known(one.target) else replace(one, target=ELSEWHERE)

    return replace(
        verdict,
        steps=tuple(map(step, verdict.steps)),
        outputs=tuple(map(output, verdict.outputs)),
        answers=tuple(map(output, verdict.answers)),
        where=verdict.where if verdict.where is None or known(verdict.where) else ELSEWHERE,
    )


def told(view: View, verdict: Verdict) -> dict[str, Any]:
    steps = [
        {"stage": s.stage.name.lower(), "object": s.device, "rule": s.rule, "text": s.text}
        for s in verdict.steps
    ]
    return {
        "lines": render(view, verdict),
        "steps": steps,
        "outputs": [{"port": o.target, "frame": o.data.hex()} for o in verdict.outputs],
        "answers": [{"port": o.target, "frame": o.data.hex()} for o in verdict.answers],
        "drop": verdict.drop.name.lower() if verdict.drop is not None else None,
        "where": verdict.where,
    }


@post("/v1/reach", status_code=200)
async def reach(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request)
    only_parameters(request, ("project",))
    wanted = convert(await body(request), Reach)
    source, target = _port(call, wanted.source, "from"), _port(call, wanted.target, "to")
    try:
        # A part of its own: what is tried takes a while, and the cache goes on meanwhile.
        part = extract(call.view, {call.view.device(source), call.view.device(target)}, MOST_OBJECTS)
    except TooLarge as error:
        raise TooMuch(f"{error}; ask `trace` about one packet") from None
    found = await asyncio.to_thread(reaching.reach, part, source.id, target.id)
    refusals = [
        {"drop": drop.name.lower(), "object": _told(id, call.view, call.access)}
        for drop, id in sorted(found.refusals)
    ]
    return answer({"passages": [str(passage) for passage in found.passages], "refusals": refusals})


def _told(id: str, view: View, access: Access) -> str:
    obj = view.find(id)
    return name_of(view, id) if obj is not None and access.sees(obj) else ELSEWHERE


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_FRAMES = {"type": "array", "items": an_object({"port": _TEXT, "frame": _TEXT})}
_STEP = an_object({"stage": _TEXT, "object": _TEXT, "rule": nullable(_TEXT), "text": _TEXT})
_TRACE = an_object(
    {"lines": _TEXTS, "steps": {"type": "array", "items": _STEP}, "outputs": _FRAMES, "answers": _FRAMES}
    | {"drop": nullable(_TEXT), "where": nullable(_TEXT)}
)
_REFUSALS = {"type": "array", "items": an_object({"drop": _TEXT, "object": _TEXT})}
_REACH = an_object({"passages": _TEXTS, "refusals": _REFUSALS})

PATHS = {
    "/v1/trace": {
        "post": operation("What becomes of a packet", _TRACE, parameters=[PROJECT], body=ref("Trace"))
    },
    "/v1/reach": {
        "post": operation(
            "What can pass from one port to another", _REACH, parameters=[PROJECT], body=ref("Reach")
        )
    },
}
TYPES = (Trace, Reach)
HANDLERS = [trace, reach]
