"""What machines share: the addresses of the rules that their network needs blocks of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onehop.controller.cache import ObjectChange
from onehop.model import Binding, Link, NatRule, Network, Object, Port, SnatBlock
from onehop.model.external import outside
from onehop.model.formats import parse_ip
from onehop.model.nat import BLOCK, FIRST_SHARED
from onehop.model.translation import FAMILIES, dynamic_rules_of, families, shared_addresses
from onehop.model.view import View

PER_ADDRESS = (0x10000 - FIRST_SHARED) // BLOCK
MOST = 64  # blocks that a port has of one rule and family


@dataclass(frozen=True, slots=True)
class Sharing:
    """The addresses of one family that a rule shares. `within` is the network or router that they are on."""

    rule: str
    version: int
    within: str
    addresses: tuple[str, ...]

    @property
    def family(self) -> str:
        return FAMILIES[self.version]

    @property
    def blocks(self) -> int:
        """How many blocks there are in all."""
        return PER_ADDRESS * len(self.addresses)

    def holds(self, block: SnatBlock) -> bool:
        """Whether a block is one of these. Blocks made without a controller do not say where they are."""
        return (block.rule, block.within) == (self.rule, self.within) and block.ip in self.addresses


def of_network(view: View, network: str) -> list[Sharing]:
    """What all machines of a network need blocks of."""
    return [made for rule in dynamic_rules_of(view, network) for made in of_rule(view, rule)]


def of_rule(view: View, rule: NatRule) -> list[Sharing]:
    at = view.get(Port, rule.port)
    if at is None or at.router is None:
        return []
    network = outside(at, view)
    within = network.id if network is not None else at.router
    by_version: dict[int, list[str]] = {version: [] for version in families(view, rule)}
    for ip in shared_addresses(view, rule):
        by_version[ip.version].append(str(ip))
    return [Sharing(rule.id, v, within, tuple(ips)) for v, ips in by_version.items() if ips]


class KnownSharings:
    """What networks need blocks of, remembered while nothing changes that it depends on.

    To find it takes a walk over links, among all ports of the networks; machines that come and go change
    nothing of it.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[Sharing]] = {}

    def note(self, changes: Iterable[ObjectChange], view: View) -> None:
        if any(matters(obj, view) for change in changes for obj in change[1:] if obj is not None):
            self._known.clear()

    def of(self, view: View, network: str) -> list[Sharing]:
        found = self._known.get(network)
        if found is None:
            found = self._known[network] = of_network(view, network)
        return found


def matters(obj: Object, view: View) -> bool:
    """Whether what machines share may depend on an object: anything of routers, links and rules."""
    if isinstance(obj, Binding):
        port = view.get(Port, obj.port)
        return port is None or port.kind == "router"
    return isinstance(obj, Link | NatRule | Network) or (isinstance(obj, Port) and obj.kind == "router")


def had(view: View, port: str, sharing: Sharing) -> list[SnatBlock]:
    """The blocks that a port has of a rule."""
    return [block for block in view.children(SnatBlock, port) if sharing.holds(block)]


def useless(view: View, port: str, wanted: Iterable[Sharing]) -> list[SnatBlock]:
    """The blocks of a port that are of no use any more."""
    wanted = list(wanted)
    return [b for b in view.children(SnatBlock, port) if not any(sharing.holds(b) for sharing in wanted)]


def is_bound(view: View, port: str) -> bool:
    return any(True for _ in view.bindings(port))


def lacking(view: View, port: str, wanted: Iterable[Sharing]) -> list[Sharing]:
    """What a port has no block of."""
    return [sharing for sharing in wanted if not had(view, port, sharing)]


def in_order(addresses: Iterable[str], having: Iterable[SnatBlock], start: int) -> list[str]:
    """The addresses to look for a block at: those that the port has already, then from a start on."""
    own = dict.fromkeys(block.ip for block in having)
    rest = [ip for ip in sorted(addresses, key=lambda ip: int(parse_ip(ip))) if ip not in own]
    start %= max(1, len(rest))
    return [*(ip for ip in own if ip in set(addresses)), *rest[start:], *rest[:start]]
