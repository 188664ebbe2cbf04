"""Simulation and kernel side by side: each packet goes through both, and all that comes of it is compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from onehop.datapath.words import Action
from onehop.model import Port
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.model.zones import is_uplink
from onehop.simulation import cloud
from onehop.simulation.cloud import Delivered, Dropped, Event, Judged, Left, Logged, Sent
from onehop.simulation.cloud.host import Host
from onehop.simulation.connections import is_live
from onehop.simulation.state import HINT_LIFE, Tuple
from tests.support import network
from tests.support.kernel import cached, reasons
from tests.support.kernel.cloud import Kernel, KernelCloud
from tests.support.kernel.host import KernelHost
from tests.support.kernel.words import packed
from tests.support.simulated import Simulated


class Different(AssertionError):
    """Simulation and kernel disagree."""


class Twin:
    """A `Network` that is both. What it tells is what the kernel did."""

    def __init__(self, kernel: Kernel, view: View, *, use_flows: bool = False) -> None:
        self.simulated = Simulated(view, use_flows=use_flows)
        self.kernel = KernelCloud(kernel, view)
        self.packets = 0  # that have been sent

    @property
    def view(self) -> View:
        return self.simulated.view

    def send(self, port: Port, frame: bytes) -> network.Life:
        self.packets += 1
        spec = self.simulated.cloud.send(port.id, frame)
        real = self.kernel.send(port.id, frame)
        return self._same(f"sent at {port.name}: {frame.hex()}", spec, real)

    def throw(self, envelope: cloud.Envelope) -> network.Life:
        """A packet on the underlay, from wherever. Who is charged for one that is not let in is left open."""
        spec, real = map(_uncharged, (self.simulated.cloud.throw(envelope), self.kernel.throw(envelope)))
        return self._same(f"on the underlay: {envelope.data.hex()}", spec, real)

    def _same(self, what: str, spec: cloud.Life, real: cloud.Life) -> network.Life:
        differences = [*self._compare_lives(spec, real), *self.compare_states()]
        if differences:
            raise Different("\n".join([what, *differences, *self.trace(spec)]))
        return self.simulated.told(spec, real)

    def _compare_lives(self, spec: cloud.Life, real: cloud.Life) -> list[str]:
        wanted, actual = self._counted(spec), self._counted(real)
        missing, surplus = wanted - actual, actual - wanted
        if self._is_cached and cached.left_alike(self.view, spec.events, real.events):
            return []
        return [
            *(f"- only the simulation: {self._words(one)}" for one in missing.elements()),
            *(f"+ only the kernel:     {self._words(one)}" for one in surplus.elements()),
            *reasons.differences(spec.events, real.events, self._reason),
        ]

    @property
    def _is_cached(self) -> bool:
        return any(cached.hit(host) for host in self.kernel.hosts.values())

    def _counted(self, life: cloud.Life) -> Counter[tuple[Any, ...]]:
        told = (_told(event) for event in life.events)
        return Counter(self._comparable(one) for one in told if one is not None)

    def _comparable(self, told: tuple[Any, ...]) -> tuple[Any, ...]:
        """What waits at an uplink lies there as it leaves, or as its port sent it: either will do."""
        interface = self.view.get(Port, told[3]) if told[:1] == ("left",) else None
        return told[:-1] if interface is not None and is_uplink(self.view, interface) else told

    def _reason(self, reason: reasons.Reason) -> str:
        (host, drop, port), stage, rule = reason
        return self._words(("dropped", host, drop.name, port, "at", stage, "by", rule))

    def compare_states(self) -> list[str]:
        found = []
        everywhere = {
            _key(r.owner, r.away)
            for host in self.simulated.cloud.hosts.values()
            for r in host.state.records.values()
        }
        for id, host in self.kernel.hosts.items():
            spec = self.simulated.cloud.hosts[id]
            cached.catch_up(host, records_of(spec), everywhere, self._is_cached)
            for what, (wanted, actual) in states(spec, host).items():
                found.extend(f"{what} of {self._name(id)}: {text}" for text in _unequal(wanted, actual))
        return found

    def trace(self, life: cloud.Life) -> list[str]:
        """What both say of the last packet."""
        lines = ["simulation:"]
        for event in life.events:
            if isinstance(event, Judged):
                verdict = event.verdict
                drop, stage = _word(Drop, verdict.drop), _word(Stage, verdict.stage)
                lines.append(f"  on {self._name(event.host)}: drop {drop}, stage {stage}")
                lines += [f"    {s.stage.name} {self._name(s.device)}: {s.text}" for s in verdict.steps]
            else:
                lines.append(f"  {self._event(event)}")
        lines.append("kernel:")
        for run in self.kernel.runs:
            v = run.verdict
            drop, stage, refused = _word(Drop, v.drop), _word(Stage, v.stage), _word(Drop, v.refused)
            lines.append(
                f"  on {self._name(run.host)}: {Action(v.action).name}, drop {drop}, stage {stage}, "
                f"refused {refused}, {'from the flow cache, ' if v.hit else ''}rule {v.rule}"
            )
            lines += [f"    {self._event(event)}" for event in run.events]
        return lines

    def _event(self, event: Event) -> str:
        return self._words(_told(event) or ())

    def _words(self, told: tuple[Any, ...]) -> str:
        words = [self._name(str(word)) for word in told]
        return " ".join(word if len(word) <= 400 else f"{word[:400]}..." for word in words)

    def _name(self, id: str) -> str:
        found = self.view.find(id)
        return found.name if found is not None else id

    def change(self, view: View) -> None:
        self.simulated.change(view)
        self.kernel.change(view)

    def interface(self, port: Port, up: bool) -> None:
        self.simulated.interface(port, up)
        self.kernel.interface(port.id, up)

    def forget(self, hints: bool, flows: bool) -> None:
        self.simulated.forget(hints, flows)
        self.kernel.forget(hints=hints, flows=flows)

    def wait(self, seconds: float) -> network.Life:
        return self._same("waited", self.simulated.cloud.wait(seconds), self.kernel.wait(seconds))

    def settle(self) -> network.Life:
        return self._same("settled", self.simulated.cloud.settle(), self.kernel.settle())


_AT_THE_GATE = (Drop.UNKNOWN_PEER, Drop.FENCED, Drop.MALFORMED, Drop.UNKNOWN_KEY, Drop.FORGED_SOURCE)


def _uncharged(life: cloud.Life) -> cloud.Life:
    return cloud.Life(
        tuple(
            replace(event, port=None)
            if isinstance(event, Dropped) and event.reason in _AT_THE_GATE
            else event
            for event in life.events
        )
    )


# --- what became of a packet --------------------------------------------------------------------------------


def _told(event: Event) -> tuple[Any, ...] | None:
    match event:
        case Delivered(host, port, frame):
            return "delivered", host, port, frame.hex()
        case Sent(host, envelope, flags):
            return "sent", host, envelope.src, envelope.dst, envelope.data.hex(), int(flags)
        case Dropped(host, reason, port, refused):
            return "dropped", host, (refused or reason).name, port
        case Left(host, request):
            return "left", host, request.what, request.port, request.ip, request.rule, request.data.hex()
        case Logged(host, log):
            return "logged", host, log
    return None


def _word(words: type[Drop] | type[Stage], value: int | None) -> str:
    return words(value).name if value else "none"


# --- what they remember -------------------------------------------------------------------------------------


def states(spec: Host, real: KernelHost) -> dict[str, tuple[dict[Any, Any], dict[Any, Any]]]:
    state = spec.state
    hints = {
        _key(port, replies): hint.opener
        for (port, replies), hint in state.hints.items()
        if state.now - hint.used <= HINT_LIFE
    }
    fragments = {
        (k.port, k.protocol, packed(k.src), packed(k.dst), k.id): (
            f.src_port, f.dst_port, *(f.icmp or (0, 0)), f.end,
        )
        for k, f in state.fragments.items()
    }  # fmt: skip
    neighbours = {(port, packed(ip)): n.mac for (port, ip), n in state.neighbours.items()}
    return {
        "records": (records_of(spec), real.records()),
        "hints": (hints, real.hints()),
        "fragments": (fragments, real.fragments()),
        "macs": (dict(state.macs), real.macs()),
        "neighbours": (neighbours, real.neighbours()),
    }


def records_of(spec: Host) -> dict[Any, Any]:
    return {
        _key(r.owner, r.away): (
            r.opener,
            r.far_port,
            *_key(r.owner, r.home)[2:],
            *r.near_macs,
            *r.far_macs,
            r.tos >> 2,
            r.life,
        )
        for r in spec.state.records.values()
        if is_live(r, spec.state.now)
    }


def _key(port: str, t: Tuple) -> tuple[Any, ...]:
    return port, t.protocol, packed(t.src), packed(t.dst), t.src_port, t.dst_port


def _unequal(wanted: dict[Any, Any], actual: dict[Any, Any]) -> list[str]:
    keys = [*wanted, *(key for key in actual if key not in wanted)]
    return [
        f"{key}: {wanted.get(key)} in the simulation, {actual.get(key)} in the kernel"
        for key in keys
        if wanted.get(key) != actual.get(key)
    ]


__all__ = ["Different", "Twin"]
