"""Questions about packets: `trace` and `reach`, asked of a controller, or offline of a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onehop.cli import output, session
from onehop.cli.spec import Call, Failure, Usage

if TYPE_CHECKING:
    from onehop.model import Port
    from onehop.model.view import View

MAX_FRAMES = 1000  # of a capture
MAX_CAPTURE = 64 << 20


def trace(call: Call) -> int:
    if call.option("port") is None:
        raise Usage("a trace needs --from PORT")
    if (call.argument("packet") is None) == (call.option("pcap") is None):
        raise Usage("a trace needs a packet, such as 'tcp 10.0.1.5:4000 > 10.0.2.7:80', or --pcap FILE")
    answers = _offline_traces(call) if call.option("offline") else _traces(call)
    for number, answer in enumerate(answers):
        if number and not _machine(call):
            print()
        _print(answer, answer["lines"], call)
    return 0


def _traces(call: Call) -> Iterator[dict[str, Any]]:
    with session.connect(call) as client:
        if call.option("pcap") is None:
            yield client.trace({"port": call.option("port"), "packet": call.argument("packet")})
            return
        for frame in _capture(call.option("pcap")):
            yield client.trace({"port": call.option("port"), "frame": frame.hex()})


def reach(call: Call) -> int:
    source, target = call.argument("source"), call.argument("target")
    if call.option("offline"):
        answer = _offline_reach(call, source, target)
    else:
        with session.connect(call) as client:
            answer = client.reach({"from": source, "to": target})
    _print(answer, list(_reach_lines(answer)), call)
    return 0


def _reach_lines(answer: dict[str, Any]) -> Iterator[str]:
    for passage in answer["passages"]:
        yield f"passes: {passage}"
    if not answer["passages"]:
        yield "nothing passes"
    for refusal in answer["refusals"]:
        yield f"the rest is dropped: {refusal['drop'].replace('_', ' ')}, by {refusal['object']}"


def _machine(call: Call) -> bool:
    return call.option("output") in ("json", "yaml")


def _print(answer: dict[str, Any], lines: list[str], call: Call) -> None:
    if _machine(call):
        output.dump(answer, call.option("output"))
    else:
        for line in lines:
            print(output.printable(line))


def _capture(path: str) -> list[bytes]:
    from onehop.simulation.pcap import BadCapture, frames

    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_CAPTURE)
        found = [frame for _, frame in frames(content)]
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}") from None
    except BadCapture as error:
        raise Failure(f"{path}: {error}") from None
    if len(found) > MAX_FRAMES:
        raise Failure(f"{path} holds {len(found)} packets; a trace takes {MAX_FRAMES}")
    return found


# --- without a controller: the simulation itself --------------------------------------------------------


def _document(call: Call) -> View:
    from onehop.cli import documents, retype
    from onehop.model import Invalid
    from onehop.model.document import parse
    from onehop.model.offline import build

    file = documents.load(call.option("offline"))
    try:
        return build(parse({"project": "offline", **retype.document(file.content)}))
    except Invalid as error:
        lines = [f"  {file.place(problem.field)}: {problem}" for problem in error.problems]
        raise Failure("\n".join([f"{file.name} is no document:", *lines])) from None


def _port(view: View, text: str, *, uplinks: bool = False) -> Port:
    from onehop.model import KINDS, Port, Project
    from onehop.model.names import Unresolved, resolve
    from onehop.model.zones import is_uplink

    (project,) = view.all(Project)
    try:
        port = view.get(Port, resolve(text, KINDS["port"], view, project.id))
    except Unresolved as error:
        raise Failure(str(error)) from None
    if port is None or (
        (port.network is None or port.kind == "router") and not (uplinks and is_uplink(view, port))
    ):
        raise Failure(f"{text} is no machine's port" + (", and no uplink" if uplinks else ""))
    return port


def _offline_traces(call: Call) -> Iterator[dict[str, Any]]:
    """The packets of a capture are sent one after the other: each finds what those before it left."""
    from onehop.simulation.packet import build
    from onehop.simulation.packet_text import BadPacketText, read
    from onehop.simulation.state import State
    from onehop.simulation.trace import render
    from onehop.simulation.walk import walk

    view = _document(call)
    port = _port(view, call.option("port"), uplinks=True)
    if call.option("pcap"):
        frames = _capture(call.option("pcap"))
    else:
        try:
            frames = [build(read(view, port, call.argument("packet")))]
        except BadPacketText as error:
            raise Failure(str(error)) from None
    state = State()
    for frame in frames:
        verdict = walk(view, state, port.id, frame)
        state = state.after(verdict.effects)
        drop = verdict.drop.name.lower() if verdict.drop is not None else None
        yield {"lines": render(view, verdict), "drop": drop}


def _offline_reach(call: Call, source: str, target: str) -> dict[str, Any]:
    from onehop.simulation.reach import reach as ask
    from onehop.simulation.trace import name_of

    view = _document(call)
    found = ask(view, _port(view, source).id, _port(view, target).id)
    refusals = [{"drop": d.name.lower(), "object": name_of(view, id)} for d, id in sorted(found.refusals)]
    return {"passages": [str(passage) for passage in found.passages], "refusals": refusals}
