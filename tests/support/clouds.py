"""A simulated cloud from a scenario's base, for tests that look at hosts one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from onehop.model import Host as HostObject
from onehop.model import Network, Port
from onehop.model.formats import Ip
from onehop.simulation.cloud import Cloud, Host, Life
from onehop.simulation.cloud.places import address_of
from onehop.simulation.packet import Frame, build
from tests.support.families import Family, in_family
from tests.support.packet_text import sent, source_port
from tests.support.scenario import ROOT, Outside, add_hosts, bind, machines, merge, path_of, read_base
from tests.support.scenario_runner import view_of
from tests.support.world import World

SHUT: dict[str, Any] = {"security_groups": []}  # a port that only replies may enter


class Clouds:
    """A cloud, driven by names. `hosts` says which machines are where; each is on its own host otherwise."""

    def __init__(
        self,
        base: str = "two-networks",
        topology: Mapping[str, Any] | None = None,
        hosts: Mapping[str, Sequence[str]] | None = None,
        family: Family = "v4",
        **options: bool,
    ) -> None:
        document = merge(read_base(base, ROOT), {"project": "demo", **(topology or {})})
        self.document = in_family(document, family)
        self.family = family
        self.outside = msgspec.convert(self.document.pop("outside", {}), Outside)
        where = {path_of(self.document, p): host for host, ports in (hosts or {}).items() for p in ports}
        for path in [*machines(self.document), *self.outside.neighbours]:
            bind(self.document, path, where.setdefault(path, f"host-{path.partition('/')[2]}"))
        add_hosts(self.document, sorted({*where.values(), *(hosts or {})}))
        self.cloud = Cloud(view_of(self.document), **options)
        self._renew()

    def _renew(self) -> None:
        self.world = World(self.cloud.view, self.family, self.outside)

    def port(self, name: str) -> Port:
        return self.world.port(name)

    def host(self, name: str) -> Host:
        """A host, by its name or by that of a machine on it."""
        for found in self.cloud.view.all(HostObject):
            if found.name == name:
                return self.cloud.hosts[found.id]
        binding = self.cloud.view.active_binding(self.port(name).id)
        assert binding is not None
        return self.cloud.hosts[binding.host]

    def address(self, name: str) -> Ip:
        """Where a host is on the underlay, or the host of a machine."""
        found = address_of(self.cloud.view, self.host(name).id)
        assert found is not None
        return found

    def network(self, name: str) -> Network:
        return next(n for n in self.cloud.view.all(Network) if n.name == name)

    def frame(self, text: str, at: str | None = None) -> Frame:
        """A packet by its text, written in IPv4."""
        return sent(in_family(text, self.family), self.world, self.port(at or source_port(text)))

    def send(self, text: str, at: str | None = None) -> Life:
        return self.cloud.send(self.port(at or source_port(text)).id, build(self.frame(text, at)))

    def reached(self, life: Life) -> list[str]:
        """The machines that something was delivered to."""
        names = {p.id: p.name for p in self.cloud.view.all(Port)}
        return [names[d.port] for d in life.delivered]

    def change(self, patch: Mapping[str, Any], hosts: Sequence[str] | None = None) -> None:
        """A merge patch to the document, written in IPv4; it reaches all hosts, or some."""
        self.document = merge(self.document, in_family(patch, self.family))
        ids = None if hosts is None else [self.host(name).id for name in hosts]
        self.cloud.change(view_of(self.document, self.cloud.view), ids)
        self._renew()

    def move(self, port: str, host: str) -> None:
        self.document = merge(self.document, {})
        bind(self.document, path_of(self.document, port), host)
        self.change({})
