"""Rules of what is where: bindings, hosts; and of who may do what: roles."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.errors import Problem
from onehop.model.formats import Format, canonical, parse_ip
from onehop.model.hosts import Host
from onehop.model.identity import Role
from onehop.model.relations.addressing import unusual
from onehop.model.switching import Binding, Port
from onehop.model.view import View


def binding(binding: Binding, before: Binding | None, view: View) -> list[Problem]:
    port = view.get(Port, binding.port)
    assert port is not None
    problems = list(_where(binding))
    if port.kind == "vip":
        problems.append(Problem("port", "the address of a load balancer is everywhere; it is not bound"))
    if view.link(port.id) is not None:
        problems.append(Problem("port", f"port {port.name} is an end of a link; it cannot be bound as well"))
    if not problems and binding.trunk is not None:
        problems += _trunk(binding, binding.trunk, view)
    return problems


def _where(binding: Binding) -> Iterator[Problem]:
    if (binding.interface is None) == (binding.trunk is None):
        yield Problem("interface", "a port is bound to an `interface` or to a `trunk`: give one of the two")
    elif binding.trunk is not None and binding.vlan is None:
        yield Problem("vlan", "is needed with a `trunk`: the tag of this port's frames")


def _trunk(binding: Binding, trunk: str, view: View) -> Iterator[Problem]:
    """Trunks are one level deep: tags within tags are the machine's own affair."""
    if trunk == binding.port:
        yield Problem("trunk", "a port is not its own trunk")
        return
    parent = view.get(Port, trunk)
    assert parent is not None
    if any(b.trunk is not None for b in view.bindings(trunk)):
        yield Problem("trunk", f"port {parent.name} is itself bound to a trunk")
    if any(b.trunk == binding.port for b in view.referring(Binding, binding.port)):
        yield Problem("trunk", "other ports have this one as their trunk")


def binding_sets(binding: Binding, before: Binding | None, view: View) -> set[str]:
    sets = set()
    port = view.get(Port, binding.port)
    if before is None and port is not None and port.kind == "router":
        sets.add(f"port/{binding.port}")  # it may become an end of a link instead
    if binding.trunk is not None and (before is None or before.trunk != binding.trunk):
        sets |= {f"port/{binding.port}", f"port/{binding.trunk}"}
    return sets


def host(host: Host, before: Host | None, view: View) -> list[Problem]:
    problems = []
    for i, address in enumerate(host.addresses):
        why = unusual(parse_ip(address.ip))
        if why is not None:
            problems.append(Problem(f"addresses[{i}].ip", why))
        if any((a.underlay, a.ip) == (address.underlay, address.ip) for a in host.addresses[:i]):
            problems.append(Problem(f"addresses[{i}]", "is there twice"))
    for label, interface in host.physical_networks.items():
        for text, format in ((label, Format.LABEL_KEY), (interface, Format.INTERFACE)):
            try:
                canonical(text, format)
            except ValueError as error:
                problems.append(Problem(f"physical_networks.{label}", str(error)))
    return problems


def role(role: Role, before: Role | None, view: View) -> list[Problem]:
    if role.project is None and role.role == "member":
        return [Problem("project", "is needed: one is a member of a project")]
    if role.project is not None and role.role == "host":
        return [Problem("project", "hosts belong to the cloud, not to a project")]
    return []
