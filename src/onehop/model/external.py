"""The outside addresses that routers' ports stand for: their own, and those of their NAT rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from onehop.model.formats import parse_cidr, parse_ip
from onehop.model.nat import NatRule
from onehop.model.switching import Network, Port
from onehop.model.view import View

# Prefixes of more addresses than this are reached by routes: nobody answers for each address of them.
MANY = 256


class Span(NamedTuple):
    """Addresses from the first to the last, as numbers."""

    version: int
    first: int
    last: int

    def meets(self, other: Span) -> bool:
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def texts(self) -> Iterator[str]:
        some = parse_ip("0.0.0.0" if self.version == 4 else "::")
        return (str(some + number) for number in range(self.first, self.last + 1))


def span_of(cidr: str) -> Span:
    prefix = parse_cidr(cidr)
    return Span(prefix.version, int(prefix.network_address), int(prefix.broadcast_address))


def spans(rule: NatRule) -> list[Span]:
    """The outside addresses that a rule names; those of the port are not named."""
    found = [span_of(rule.external)] if rule.external is not None else []
    for pool in rule.pools:
        first, last = parse_ip(pool.first), parse_ip(pool.last)
        found.append(Span(first.version, int(first), int(last)))
    return found


def outside(port: Port, view: View) -> Network | None:
    """The network that a router's port is linked to."""
    peer = view.peer(port.id) if port.router is not None else None
    return view.get(Network, peer.network) if peer is not None else None


def neighbourly(port: Port, view: View) -> Iterator[str]:
    """The addresses for which a router's port answers on its network because of its rules."""
    for rule in view.children(NatRule, port.id):
        for span in spans(rule):
            if span.size <= MANY:
                yield from span.texts()
