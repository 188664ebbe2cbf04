"""How the ports that are bound to this host are doing. Pure: from the topology and what is there."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from onehop.feed.messages import PortReport
from onehop.linux.monitor import Link
from onehop.model import Binding, Port
from onehop.model.view import View

__all__ = ["Presence", "interface_of", "local_ports", "report"]


@dataclass(frozen=True, slots=True)
class Presence:
    """What there is on this host."""

    links: Mapping[str, Link] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)  # by interface: why nothing is attached
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by object, from the compiler
    revisions: Mapping[str, int] = field(default_factory=dict)
    # By port, and by what it is about: what the port works in spite of.
    warnings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    underlays: Container[int] = ()  # interfaces that lead to other hosts


def local_ports(view: View, host: str) -> set[str]:
    return {binding.port for binding in view.referring(Binding, host)}


def report(view: View, host: str, port: str, here: Presence) -> PortReport:
    binding = _binding(view, host, port)
    if binding is None:
        return PortReport(port, "gone")
    state, reason = _state(view, host, binding, here)
    return PortReport(port, state, reason[:1024], here.revisions.get(binding.id, 0))  # type: ignore[arg-type]


def _binding(view: View, host: str, port: str) -> Binding | None:
    """The active one, if both are here."""
    here = [binding for binding in view.bindings(port) if binding.host == host]
    return min(here, key=lambda binding: (binding.state != "active", binding.id), default=None)


def _state(view: View, host: str, binding: Binding, here: Presence) -> tuple[str, str]:
    port = view.get(Port, binding.port)
    if port is None:
        return "error", "the port is not known here yet"
    name = interface_of(view, host, binding)
    if name is None:
        return "error", _told(
            here.problems.get(port.id, ())
        ) or "the port that is its trunk is not on this host"
    link = here.links.get(name)
    if link is None:
        return "down", f"interface {name} is not there"
    if link.index in here.underlays:
        return "error", f"interface {name} leads to the other hosts; a port needs another"
    failure = here.failures.get(link.index)
    if failure:
        return "error", failure
    problems = here.problems.get(port.id, ())
    if problems:
        return "error", _told(problems)
    if binding.state != "active":
        return "down", "the binding is on standby"
    if not link.up:
        return "down", f"interface {name} is switched off"
    if not port.admin_up:
        return "down", "the port is switched off"
    return "active", _told(sorted(here.warnings.get(port.id, {}).values()))


def interface_of(view: View, host: str, binding: Binding) -> str | None:
    """The interface of a binding; that of the trunk, if it is on one."""
    if binding.trunk is None:
        return binding.interface
    trunk = next((b for b in view.bindings(binding.trunk) if b.host == host), None)
    return trunk.interface if trunk is not None else None


def _told(problems: Sequence[str]) -> str:
    return "; ".join(problems)
