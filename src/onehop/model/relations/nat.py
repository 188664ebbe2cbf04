"""Rules of NAT rules.

An outside address stands for one thing in a router: it is shared by machines (a pool, or a port's own address
that masquerades), or stands for something inside, whole or port by port. Forwards of single ports go
together with sharing, as long as the address is the same port's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from onehop.model.errors import Problem
from onehop.model.external import MANY, Span, outside, span_of, spans
from onehop.model.formats import parse_cidr, parse_ip, parse_ports
from onehop.model.nat import NatRule
from onehop.model.relations.addressing import unusable, unusual
from onehop.model.switching import Port, Subnet
from onehop.model.view import View

MAX_FORWARDS = 1024  # ports of one rule

_FIELDS = {
    "masquerade": ("family", "source"),
    "snat": ("source", "pools"),
    "dnat": ("family", "external", "internal", "protocol", "ports", "to_port"),
    "static": ("external", "internal"),
}
_NEEDED = {"snat": ("pools",), "dnat": ("internal",), "static": ("external", "internal")}
_ALL = tuple(dict.fromkeys(name for names in _FIELDS.values() for name in names))


def rule(rule: NatRule, before: NatRule | None, view: View) -> list[Problem]:
    problems = list(_fields(rule))
    if not problems:
        problems += _SHAPES[rule.action](rule)
    port = view.get(Port, rule.port)
    assert port is not None
    if port.router is None:
        problems.append(Problem("port", f"port {port.name} is a network's; NAT happens at a router's port"))
    if not problems:
        problems += _place(rule, port, view)
    if not problems:
        problems += _clashes(rule, port, view)
    return problems


def _fields(rule: NatRule) -> Iterator[Problem]:
    for name in _ALL:
        if getattr(rule, name) not in (None, ()) and name not in _FIELDS[rule.action]:
            with_it = [action for action, names in _FIELDS.items() if name in names]
            yield Problem(name, f"goes with {' and '.join(with_it)}, not with {rule.action}")
    for name in _NEEDED.get(rule.action, ()):
        if getattr(rule, name) in (None, ()):
            yield Problem(name, f"is needed for {rule.action}")


# --- a rule by itself ---------------------------------------------------------------------------------


def _masquerade(rule: NatRule) -> Iterator[Problem]:
    if rule.source is not None and rule.family not in (None, _family(rule.source)):
        yield Problem("source", f"{rule.source} is not {_word(rule.family)}, which `family` asks for")


def _snat(rule: NatRule) -> Iterator[Problem]:
    seen: list[Span] = []
    versions = {parse_ip(end).version for pool in rule.pools for end in (pool.first, pool.last)}
    if len(versions) > 1:
        yield Problem("pools", "are of both families; make a rule for each")
        return
    for i, (pool, span) in enumerate(zip(rule.pools, spans(rule), strict=True)):
        if span.size <= 0:
            yield Problem(f"pools[{i}]", "the last address comes before the first")
        for j, other in enumerate(seen):
            if span.meets(other):
                yield Problem(f"pools[{i}]", f"overlaps pools[{j}]")
        why = unusual(parse_ip(pool.first)) or unusual(parse_ip(pool.last))
        if why is not None:
            yield Problem(f"pools[{i}]", why)
        seen.append(span)
    count = sum(span.size for span in seen)
    if count > MANY:
        yield Problem("pools", f"hold {count} addresses; a rule shares {MANY} at most")
    if rule.source is not None and parse_cidr(rule.source).version not in versions:
        yield Problem("source", f"{rule.source} is of the other family than the pools")


def _dnat(rule: NatRule) -> Iterator[Problem]:
    assert rule.internal is not None
    for name in ("external", "internal"):
        cidr = getattr(rule, name)
        if cidr is not None and span_of(cidr).size > 1:
            yield Problem(name, f"{cidr} is more than one address; `static` translates prefixes")
        elif cidr is not None and (why := unusual(parse_cidr(cidr).network_address)) is not None:
            yield Problem(name, why)
    if rule.external is not None and rule.family is not None:
        yield Problem("family", "is told by `external`; leave it out")
    if rule.external is not None and _family(rule.external) != _family(rule.internal):
        yield Problem("internal", f"{rule.internal} is of the other family than {rule.external}")
    if rule.family is not None and rule.family != _family(rule.internal):
        yield Problem("internal", f"{rule.internal} is not {_word(rule.family)}, which `family` asks for")
    yield from _forwards(rule)


def _forwards(rule: NatRule) -> Iterator[Problem]:
    if rule.ports is None:
        for name in ("protocol", "to_port"):
            if getattr(rule, name) is not None:
                yield Problem("ports", f"are needed with `{name}`; without, the whole address is forwarded")
                return
        return
    if rule.protocol is None:
        yield Problem("protocol", "is needed with `ports`: tcp or udp")
    first, last = parse_ports(rule.ports)
    if first == 0:
        yield Problem("ports", "port 0 is nobody's")
    if last - first >= MAX_FORWARDS:
        yield Problem("ports", f"are {last - first + 1}; a rule forwards {MAX_FORWARDS} at most")
    if rule.to_port is not None and rule.to_port + last - first > 65535:
        yield Problem("to_port", f"{last - first + 1} ports from {rule.to_port} on run beyond 65535")


def _static(rule: NatRule) -> Iterator[Problem]:
    assert rule.external is not None and rule.internal is not None
    external, internal = parse_cidr(rule.external), parse_cidr(rule.internal)
    if external.version != internal.version:
        yield Problem("internal", f"{internal} is of the other family than {external}")
    elif external.prefixlen != internal.prefixlen:
        yield Problem("internal", f"{internal} is not as long as {external}: each address has one of its own")
    elif external == internal:
        yield Problem("internal", "is the same as `external`; that translates nothing")
    for name, prefix in (("external", external), ("internal", internal)):
        if (why := unusual(prefix.network_address)) is not None:
            yield Problem(name, why)


_SHAPES = {"masquerade": _masquerade, "snat": _snat, "dnat": _dnat, "static": _static}


def _family(cidr: str) -> str:
    return f"ipv{parse_cidr(cidr).version}"


def _word(family: str | None) -> str:
    return "IPv6" if family == "ipv6" else "IPv4"


# --- a rule where it is -------------------------------------------------------------------------------


def _place(rule: NatRule, port: Port, view: View) -> Iterator[Problem]:
    """What the addresses must be to the port and to the network that it is linked to."""
    if rule.action == "dnat" and rule.external is None and not _own(port, _dnat_version(rule)):
        family = _word(f"ipv{_dnat_version(rule)}")
        yield Problem("external", f"is needed: port {port.name} has no {family} address of its own")
    network = outside(port, view)
    field = "pools" if rule.pools else "external"
    for span in spans(rule):
        if rule.action == "snat" and any(span.meets(own) for own in _own(port, span.version)):
            yield Problem(field, f"hold an address of port {port.name} itself; `masquerade` shares it")
        for subnet in view.subnets(network.id) if network is not None else ():
            why = _in_subnet(span, subnet)
            if why is not None:
                yield Problem(field, why)


def _in_subnet(span: Span, subnet: Subnet) -> str | None:
    """Why addresses cannot be had of a subnet that is on the outside."""
    prefix, wide = parse_cidr(subnet.cidr), span_of(subnet.cidr)
    if not span.meets(wide):
        return None
    if span.size > MANY:
        return (
            f"more than {MANY} addresses inside subnet {subnet.name} ({subnet.cidr}), whose machines ask for "
            "each; take a prefix that is routed to this router"
        )
    some = parse_ip("0.0.0.0" if span.version == 4 else "::")
    for number in {span.first, span.last}:
        if wide.first <= number <= wide.last and (why := unusable(some + number, prefix)) is not None:
            return why
    gateway = span_of(subnet.gateway) if subnet.gateway is not None else None
    if gateway is not None and span.meets(gateway):
        return f"{subnet.gateway} is the gateway of subnet {subnet.name}"
    return None


def _own(port: Port, version: int) -> list[Span]:
    found = [span_of(address.ip) for address in port.addresses if address.ip is not None]
    return [span for span in found if span.version == version]


def _dnat_version(rule: NatRule) -> int:
    return parse_cidr(rule.external or rule.internal or "").version


# --- rules beside each other --------------------------------------------------------------------------


class _Use(NamedTuple):
    """What outside addresses are used for, by a rule."""

    kind: Literal["shared", "static", "whole", "forward"]
    span: Span
    rule: NatRule


def _uses(rule: NatRule, port: Port) -> Iterator[_Use]:
    if rule.action == "masquerade":
        versions = [4, 6] if rule.family is None else [int(rule.family[-1])]
        yield from (_Use("shared", span, rule) for version in versions for span in _own(port, version))
        return
    found = spans(rule)
    if rule.action == "dnat":
        found = found or _own(port, _dnat_version(rule))[:1]
        yield from (_Use("forward" if rule.ports else "whole", span, rule) for span in found)
    else:
        yield from (_Use("static" if rule.action == "static" else "shared", span, rule) for span in found)


def _clashes(rule: NatRule, port: Port, view: View) -> Iterator[Problem]:
    assert port.router is not None
    mine = list(_uses(rule, port))
    for at in view.ports(port.router):
        for other in view.children(NatRule, at.id):
            if other.id == rule.id:
                continue
            for one in mine:
                if any(_clash(one, use) for use in _uses(other, at)):
                    where = f"rule {other.name}" + (f" of port {at.name}" if at.id != port.id else "")
                    field = "ports" if rule.ports and other.ports else _named(rule)
                    yield Problem(field, f"{_called(one.span)}: {where} uses this already")
                    return


def _clash(one: _Use, other: _Use) -> bool:
    if not one.span.meets(other.span):
        return False
    kinds = {one.kind, other.kind}
    if kinds == {"forward"}:
        return one.rule.protocol == other.rule.protocol and _ports_meet(one.rule, other.rule)
    if "forward" in kinds:
        return one.rule.port != other.rule.port
    if kinds <= {"static", "whole"}:
        return one.span == other.span  # else the longer prefix comes first
    # One port's own address may be shared by rules for different sources.
    return not one.rule.action == other.rule.action == "masquerade"


def _ports_meet(one: NatRule, other: NatRule) -> bool:
    (a, b), (c, d) = parse_ports(one.ports or "0"), parse_ports(other.ports or "0")
    return a <= d and c <= b


def _called(span: Span) -> str:
    texts = list(span.texts()) if span.size == 1 else []
    return texts[0] if texts else "some of these addresses"


def _named(rule: NatRule) -> str:
    if rule.pools or rule.external is not None:
        return "pools" if rule.pools else "external"
    return "action"


def rule_sets(rule: NatRule, before: NatRule | None, view: View) -> set[str]:
    """The rules of a router are one set, whatever is done to one of them."""
    port = view.get(Port, rule.port)
    return {f"router/{port.router}"} if port is not None and port.router is not None else set()
