"""Makes this host what the topology says: compile, write the tables, attach the programs, say how ports are.

    changes of the topology ─┐
    interfaces that come, go ┴─► compiler ─► difference ─► tables ─► epochs ─► attachments ─► reports

Nothing here waits or knows of controllers. Each method takes one change in whole; they are called one at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import structlog

from onehop.agent.apply import Applier
from onehop.agent.attachments import Attachments, Place
from onehop.agent.devices import Sort
from onehop.agent.ports import Presence, local_ports, report
from onehop.compiler.compile import Compiler, Local
from onehop.compiler.difference import Difference
from onehop.compiler.facts import Interface, Move
from onehop.compiler.ids import Assignment
from onehop.datapath.attach import Direction
from onehop.datapath.libbpf import BpfError
from onehop.datapath.pinned import PinnedDatapath
from onehop.datapath.structs import InterfaceKey
from onehop.feed.messages import PortReport
from onehop.linux.monitor import Link
from onehop.model import Binding, Network, Object, Port
from onehop.model import Host as HostObject
from onehop.model.formats import parse_ip
from onehop.model.view import View

__all__ = ["Host", "Surroundings"]

Changes = Mapping[str, tuple[Object | None, Object | None]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The host's own interfaces and addresses. `own` are devices of the datapath itself."""

    links: Mapping[int, Link] = field(default_factory=dict)
    addresses: frozenset[tuple[int, str]] = frozenset()
    own: frozenset[str] = frozenset()
    underlay: tuple[str, ...] = ()  # by name; found by the host's addresses, if none is named

    def underlays(self, view: View, host: str) -> set[int]:
        """The interfaces that lead to other hosts."""
        if self.underlay:
            return {link.index for link in self.links.values() if link.name in self.underlay}
        this = view.get(HostObject, host)
        ours = {str(parse_ip(a.ip)) for a in this.addresses} if this is not None else set()
        return {index for index, ip in self.addresses if ip in ours and index in self.links}

    def local(self, underlays: set[int]) -> Local:
        """What the compiler is to know. No port is plugged into the underlay or our own devices."""
        own = {
            index: ip
            for index, ip in sorted(self.addresses, reverse=True)
            if not ip_address(ip).is_link_local
        }
        plugs = {
            link.name: Interface(
                link.index, link.kind == "veth" and link.peer_elsewhere, own.get(link.index, "")
            )
            for link in self.links.values()
            if link.index not in underlays and link.name not in self.own and link.name != "lo"
        }
        return Local(plugs, {ip: Interface(index) for index, ip in self.addresses if index in underlays})


class Host:
    def __init__(
        self,
        id: str,
        view: View,
        datapath: PinnedDatapath,
        attachments: Attachments,
        numbers: Assignment | None,
        keep: Callable[[Assignment], None],
        revisions: Mapping[str, int],
        prepare: Callable[[str, Sort], None] = lambda name, sort: None,
    ) -> None:
        """`keep` puts numbers on disk; `prepare` readies an interface that a port is plugged into."""
        self.id, self.view = id, view
        self.datapath, self.attachments = datapath, attachments
        self.applier = Applier(datapath.maps)
        self.problems: dict[str, tuple[str, ...]] = {}
        self.keys: dict[int, str] = {}  # ports and networks by key
        self._compiler = Compiler(id, numbers)
        self._keep, self._revisions, self._prepare = keep, revisions, prepare
        self._kept_version = 0
        self._around = Surroundings()
        self._moves: Mapping[str, Move] = {}
        self._underlays: set[int] = set()
        self._plugged: dict[int, set[int]] = {}  # interface -> VLANs
        self._failures: dict[int, str] = {}
        self._warnings: dict[str, dict[str, str]] = {}  # by port
        self._said: dict[str, PortReport] = {}

    # --- what happens -------------------------------------------------------------------------------

    def start(self, around: Surroundings) -> list[PortReport]:
        """Bring tables and attachments, whatever they are like, to what they should be. May be repeated."""
        self._look_around(around)
        self._compiler = Compiler(self.id, self._compiler.assignment())
        self._kept_version = 0
        self._plugged = {}
        self.keys.clear()
        for obj in (*self.view.all(Port), *self.view.all(Network)):
            self._index(None, obj)
        desired = self._compiler.compile(self.view, self._local())
        self._keep_numbers()
        self.problems = dict(desired.problems)
        written = self.applier.reconcile(desired)
        log.info(
            "tables filled",
            written=sum(map(len, written.puts.values())),
            removed=sum(map(len, written.removes.values())),
            adopted=self.datapath.adopted,
        )
        for key in desired.tables.get("interfaces", {}):
            self._plugged.setdefault(key.ifindex, set()).add(key.vlan)
        self.attach_all()
        self.datapath.remove_others()
        return self._report(local_ports(self.view, self.id))

    def change(self, changes: Changes) -> list[PortReport]:
        """The topology has changed."""
        concerned = set()
        for before, after in changes.values():
            for obj in (before, after):
                if isinstance(obj, Binding) and obj.host == self.id:
                    concerned.add(obj.port)
                if isinstance(obj, Port):
                    concerned.add(obj.id)
            self._index(before, after)
        around = None
        if not self._around.underlay and self.id in changes:
            self._look_around(self._around)
            around = self._around
        difference = self._compiler.update(changes, self._local() if around else None)
        concerned |= self._put_into_effect(difference)
        if around:
            self._attach_underlay()
        return self._report(concerned)

    def surroundings(self, around: Surroundings) -> list[PortReport]:
        """Interfaces or addresses have come or gone."""
        gone = self._around.links.keys() - around.links.keys()
        self._look_around(around)
        self._put_into_effect(self._compiler.update((), self._local()))
        for ifindex in gone:
            self._failures.pop(ifindex, None)
            self.attachments.remove(ifindex, Direction.INGRESS)
        self._attach_underlay()
        return self._report(local_ports(self.view, self.id) | self._said.keys())

    def moved(self, moves: Mapping[str, Move]) -> None:
        """These are the ports that have lately moved."""
        self._moves = dict(moves)
        self._put_into_effect(self._compiler.update((), self._local()))

    def has(self, port: str) -> bool:
        """Whether a port is bound here, be it on standby."""
        return any(binding.host == self.id for binding in self.view.bindings(port))

    def warn(self, port: str, about: str, text: str) -> list[PortReport]:
        """Have a port's status say something that does not keep it from working; nothing, if it is over."""
        warnings = self._warnings.setdefault(port, {})
        if text:
            warnings[about] = text
        else:
            warnings.pop(about, None)
        if not warnings:
            del self._warnings[port]
        return self._report({port})

    def judge_anew(self, device: str) -> None:
        """What cached flows of a device's zone were decided by has changed besides the topology."""
        zone = self.zone(device)
        if zone is not None:
            self.applier.bump({zone})

    def zone(self, device: str) -> int | None:
        """The number of a device's zone."""
        return self._compiler.zone(device)

    def judge_ports_anew(self, keys: Iterable[int]) -> None:
        """The same, of the devices that ports are on."""
        ports = [self.view.get(Port, self.keys.get(key, "")) for key in keys]
        zones = {self._compiler.zone(self.view.device(port)) for port in ports if port is not None}
        self.applier.bump(zone for zone in zones if zone is not None)

    def number_name(self, space: str, number: int) -> str:
        """Whose number it is, in the tables."""
        return self._compiler.name(space, number) or str(number)

    def all_reports(self) -> list[PortReport]:
        """What has been said last of every port."""
        return list(self._said.values())

    def health(self) -> dict[str, str]:
        """What is wrong here besides ports, by part."""
        found = {}
        if self.applier.full:
            told = (
                f"{name} is full, {count} entries wait for room" for name, count in self.applier.full.items()
            )
            found["tables"] = "; ".join(sorted(told))
        others = {id: why for id, why in self.problems.items() if not isinstance(self.view.find(id), Port)}
        if others:
            some = [f"{self._name(id)}: {'; '.join(why)}" for id, why in sorted(others.items())[:5]]
            more = f" (and {len(others) - 5} more)" if len(others) > 5 else ""
            found["topology"] = ("; ".join(some) + more)[:1024]
        missing = set(self._around.underlay) - {link.name for link in self._around.links.values()}
        if missing:
            found["underlay"] = f"interface {', '.join(sorted(missing))} is not there"
        return found

    # --- attachments --------------------------------------------------------------------------------

    def attach_all(self) -> None:
        """Every program where it belongs, in the version that `datapath` has now; no program elsewhere."""
        for ifindex in list(self._plugged):
            self._plug(ifindex)
        self._attach_underlay()
        places = {(ifindex, Direction.INGRESS) for ifindex in (*self._plugged, *self._underlays)}
        self.attachments.keep_only(places | self._fixed())

    def _fixed(self) -> set[Place]:
        """Places on the datapath's own devices."""
        by_name = {link.name: link.index for link in self._around.links.values()}
        return {
            (by_name[name], direction)
            for name in self._around.own
            if name in by_name
            for direction in Direction
        }

    def _attach_underlay(self) -> None:
        for ifindex in self._underlays:
            try:
                self.attachments.put(ifindex, Direction.INGRESS, self.datapath.programs["from_underlay"])
            except BpfError as error:
                log.warning("cannot attach to the underlay", interface=ifindex, reason=str(error))

    def _plug(self, ifindex: int) -> None:
        link = self._around.links.get(ifindex)
        try:
            if link is not None:
                self._prepare(link.name, self._sort(ifindex))
            self.attachments.put(ifindex, Direction.INGRESS, self.datapath.programs["from_port"])
            self._failures.pop(ifindex, None)
        except BpfError as error:
            log.warning("cannot attach to a port's interface", interface=ifindex, reason=str(error))
            self._failures[ifindex] = f"the datapath cannot be attached: {error.strerror}"

    def _sort(self, ifindex: int) -> Sort:
        """What an interface is to its ports."""
        vlans = self._plugged.get(ifindex, set())
        keys = (self.datapath.maps["interfaces"].lookup(InterfaceKey(ifindex, vlan)) for vlan in vlans)
        ports = (self.view.get(Port, self.keys.get(key)) for key in keys if key is not None)
        if all(port is None or port.router is None for port in ports):
            return Sort.MACHINE
        return Sort.UPLINK if 0 in vlans else Sort.SHARED_UPLINK

    def _unplug(self, ifindex: int) -> None:
        del self._plugged[ifindex]
        self._failures.pop(ifindex, None)
        self.attachments.remove(ifindex, Direction.INGRESS)

    # --- one change ---------------------------------------------------------------------------------

    def _put_into_effect(self, difference: Difference) -> set[str]:
        """Write it; the objects whose problems it changes."""
        self._keep_numbers()  # before the tables have them
        self.applier.apply(difference)
        self._note_problems(difference.problems)
        self._replug(difference.puts.get("interfaces", {}), difference.removes.get("interfaces", ()))
        return set(difference.problems)

    def _replug(self, puts: Iterable[InterfaceKey], removes: Iterable[InterfaceKey]) -> None:
        touched = set()
        for key in puts:
            self._plugged.setdefault(key.ifindex, set()).add(key.vlan)
            touched.add(key.ifindex)
        for key in removes:
            self._plugged.get(key.ifindex, set()).discard(key.vlan)
            touched.add(key.ifindex)
        for ifindex in touched:
            if self._plugged.get(ifindex):
                self._plug(ifindex)
            elif ifindex in self._plugged:
                self._unplug(ifindex)

    def _note_problems(self, problems: Mapping[str, tuple[str, ...]]) -> None:
        for id, texts in problems.items():
            if texts:
                self.problems[id] = texts
            else:
                self.problems.pop(id, None)

    def _keep_numbers(self) -> None:
        if self._compiler.version != self._kept_version:
            self._keep(self._compiler.assignment())
            self._kept_version = self._compiler.version

    def _local(self) -> Local:
        return replace(self._around.local(self._underlays), moves=self._moves)

    def _look_around(self, around: Surroundings) -> None:
        self._around = around
        self._underlays = around.underlays(self.view, self.id)

    def _index(self, before: Any, after: Any) -> None:
        for obj in (before, after):
            if isinstance(obj, Port | Network):
                self.keys.pop(obj.key, None)
        if isinstance(after, Port | Network):
            self.keys[after.key] = after.id

    def _report(self, ports: Iterable[str]) -> list[PortReport]:
        """What is new to be said of these."""
        here = Presence(
            {link.name: link for link in self._around.links.values()},
            self._failures,
            self.problems,
            self._revisions,
            self._warnings,
            self._underlays,
        )
        new = []
        for port in sorted(ports):
            said = report(self.view, self.id, port, here)
            if said.state == "gone":
                if self._said.pop(port, None) is not None:
                    new.append(said)
            elif self._said.get(port) != said:
                new.append(said)
                self._said[port] = said
        return new

    def _name(self, id: str) -> str:
        found = self.view.find(id)
        return found.name if found is not None else id
