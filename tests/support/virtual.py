"""A virtual network to send packets through, made of a document, with its hosts seen as one."""

from __future__ import annotations

import yaml

from onehop.model import Port, kind_by_plural
from onehop.model.document import parse as parse_document
from onehop.model.kinds import KINDS, Object
from onehop.model.offline import build as build_topology
from onehop.model.view import Topology, View
from onehop.simulation import walk as walks
from onehop.simulation.packet import Frame, Malformed, build, parse
from onehop.simulation.packet_text import describe, read
from onehop.simulation.state import State
from onehop.simulation.verdict import Output, Verdict


def topology(text: str) -> Topology:
    return build_topology(parse_document(yaml.safe_load(text)))


class Virtual:
    """Packets go in at ports called by name; what machines receive comes out, as (port name, words)."""

    def __init__(self, document: str | View) -> None:
        self.view = topology(document) if isinstance(document, str) else document
        self.state = State()
        self.last: Verdict = Verdict()

    def port(self, name: str) -> Port:
        found = [p for p in self.view.all(Port) if p.name == name and p.kind == "vm"]
        found = found or [p for p in self.view.all(Port) if p.name == name]
        assert len(found) == 1, f"{len(found)} ports are called {name}"
        return found[0]

    def find(self, plural: str, name: str) -> Object:
        kind = kind_by_plural(plural) or KINDS[plural]
        found = [o for o in self.view.all(kind.type) if o.name == name]
        assert len(found) == 1, f"{len(found)} {plural} are called {name}"
        return found[0]

    def frame(self, port: str, text: str) -> Frame:
        return read(self.view, self.port(port), text)

    def send(self, port: str, packet: str | Frame | bytes) -> Verdict:
        """Send a packet, and remember what there is to remember."""
        if isinstance(packet, str):
            packet = self.frame(port, packet)
        data = packet if isinstance(packet, bytes) else build(packet)
        self.last = walks.walk(self.view, self.state, self.port(port).id, data)
        self.state = self.state.after(self.last.effects)
        return self.last

    def pass_time(self, seconds: float) -> None:
        self.state = self.state.at(self.state.now + seconds)

    def got(self, verdict: Verdict | None = None) -> list[tuple[str, str]]:
        """Who received what."""
        return [self._told(o) for o in (verdict or self.last).outputs]

    def answered(self, verdict: Verdict | None = None) -> list[str]:
        return [self._told(o)[1] for o in (verdict or self.last).answers]

    def _told(self, output: Output) -> tuple[str, str]:
        frame = frame_of(output)
        port = self.view.get(Port, output.target)
        return (port.name if port is not None else output.target), describe(frame)


def frame_of(output: Output) -> Frame:
    frame = parse(output.data)
    assert not isinstance(frame, Malformed), frame
    return frame


def why(verdict: Verdict) -> str:
    """The steps, for a failing test."""
    return "\n".join(f"{s.stage.name}: {s.text}" for s in verdict.steps)
