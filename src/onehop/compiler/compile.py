"""From the topology that a host follows to what its tables should hold. Pure: no I/O, no clock.

`PIPELINE` is the architecture: every unit of computing in the order in which it happens. A step may ask for
what earlier steps say, and demand units of its own or later steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onehop.compiler import (
    acls,
    egress_port,
    facts,
    flood,
    ingress_port,
    nat,
    nat_blocks,
    neighbours,
    router,
    routes,
    rules,
    security_groups,
    switch,
    underlay,
)
from onehop.compiler.desired import LIST_NAMES, TABLE_NAMES, Desired
from onehop.compiler.difference import Difference
from onehop.compiler.facts import Interface, Move, Topic
from onehop.compiler.ids import Assignment, Ids
from onehop.compiler.incremental import Incremental
from onehop.compiler.unit import Step
from onehop.model import (
    KINDS,
    AddressGroupEntry,
    FloatingIp,
    Host,
    Link,
    NatRule,
    Network,
    Port,
    Route,
    Router,
    SnatBlock,
)
from onehop.model.view import View

PIPELINE: tuple[Step, ...] = (
    # what others need to know of an object
    Step("network_face", switch.face, per=Network),
    Step("router_face", router.face, per=Router),
    Step("link", egress_port.link, per=Link),
    Step("uplink", egress_port.uplink, per=Port),
    Step("listener", flood.listener, per=Port),
    # from here on, zones are known
    Step("connected", routes.connected, per=Port),
    Step("route", routes.route, per=Route),
    Step("exit", nat.exit, per=Port),
    # translation: those that come first have their way with a source
    Step("floating_ip", nat.floating_ip, per=FloatingIp),
    Step("static_rule", nat.static_rule, per=NatRule),
    Step("snat_rule", nat.snat_rule, per=NatRule),
    Step("masquerade_rule", nat.masquerade_rule, per=NatRule),
    Step("forward_rule", nat.forward_rule, per=NatRule),
    Step("block", nat_blocks.block, per=SnatBlock),
    Step("binding", nat_blocks.binding),
    Step("external", nat.external),
    # rows
    Step("host", underlay.host, per=Host),
    Step("moved", underlay.moved, per=Port),
    Step("router", router.router, per=Router),
    Step("network", switch.network, per=Network),
    Step("port", ingress_port.port, per=Port),
    Step("sources", ingress_port.sources, per=Port),
    Step("fdb", switch.fdb, per=Port),
    Step("neighbours_on_network", neighbours.on_network, per=Port),
    Step("neighbours_on_link", neighbours.on_link, per=Port),
    Step("answer", neighbours.answer),
    Step("router_addresses", router.addresses, per=Port),
    Step("destination", routes.destination),
    Step("hop_group", routes.hop_group),
    Step("members", flood.members, per=Network),
    Step("remotes", flood.remotes, per=Network),
    # lists, and the sets that they name
    Step(security_groups.STEP, security_groups.security_rules),
    Step(acls.PLACE, acls.acl_place),
    Step(acls.LIST, acls.acl_rules),
    Step("address_set", rules.address_set),
    Step("entry", rules.entry, per=AddressGroupEntry),
    Step("member", rules.member, per=Port),
    Step("shortcomings", security_groups.shortcomings, per=Port),
)
ZONED = "connected"


@dataclass(frozen=True, slots=True)
class Local:
    """What the host itself knows: its interfaces by name, and by each of its own addresses; and which ports
    have lately moved."""

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    addresses: Mapping[str, Interface] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)

    def facts(self) -> dict[Topic[Any], Any]:
        by_name = {facts.interface(name): found for name, found in self.interfaces.items()}
        by_address = {facts.own_address(ip): found for ip, found in self.addresses.items()}
        return {**by_name, **by_address, **{facts.moved(port): move for port, move in self.moves.items()}}


class Compiler:
    """Compiles for one host. `before` is the assignment of numbers that an earlier one kept."""

    def __init__(self, host: str, before: Assignment | None = None) -> None:
        self._host = host
        self._ids = Ids(before)
        self._work: Incremental | None = None

    def compile(self, view: View, local: Local | None = None) -> Desired:
        """Everything, from nothing. From now on `update` follows the view, which others change."""
        self._work = Incremental(view, self._host, PIPELINE, ZONED, self._ids)
        everything = [id for kind in KINDS for id in view.ids_of(kind)]
        self._work.settle(everything, (local or Local()).facts())
        self._work.forget_unheld()
        self._work.claims.take_changes()
        self._work.take_zones()
        self._work.take_troubled()
        return self.desired()

    def update(self, changed: Iterable[str], local: Local | None = None) -> Difference:
        """What follows from changes: these objects of the view may have come, changed or gone.

        `local` is given when it has changed. It does not matter in which order ids come, nor how often.
        """
        work = self._running
        work.settle(changed, None if local is None else local.facts())
        return Difference.of_changes(
            work.claims.take_changes(),
            work.take_zones(),
            {id: work.problems(id) for id in sorted(work.take_troubled())},
        )

    def desired(self) -> Desired:
        """All that the tables should hold by now."""
        work = self._running
        contents = work.claims.contents
        return Desired(
            tables={name: dict(contents[name]) for name in TABLE_NAMES},
            lists={name: dict(contents[name]) for name in LIST_NAMES},
            problems={id: work.problems(id) for id in sorted(work.troubled())},
        )

    def assignment(self) -> Assignment:
        """The numbers given out, to be kept for the next start."""
        return self._ids.assignment()

    def name(self, space: str, number: int) -> str | None:
        """What a number in the tables stands for: an object's id; for a rule of an ACL, `<acl>/<rule>`."""
        return self._ids.name(space, number)

    def zone(self, device: str) -> int | None:
        """The number of a device's zone; None if no row is about it."""
        return self._ids.number("zones", self._running.zone_of(device))

    @property
    def version(self) -> int:
        """Of the assignment: it has changed if this has."""
        return self._ids.version

    @property
    def runs(self) -> int:
        """How many units have been computed so far."""
        return self._running.runs

    @property
    def _running(self) -> Incremental:
        assert self._work is not None, "compile first"
        return self._work
