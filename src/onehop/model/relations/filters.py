"""Rules of security group rules and of ACLs: a match means something, and jumps come to an end."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.model.errors import Problem
from onehop.model.firewall import Acl, AclRule, Match, SecurityGroupRule
from onehop.model.formats import parse_cidr
from onehop.model.view import View

WITH_PORTS = ("tcp", "udp", "sctp")
ICMP = {"icmp": "ipv4", "icmpv6": "ipv6"}
ETHERTYPES = {0x0800: "ipv4", 0x86DD: "ipv6"}
IP_FIELDS = ("src", "dst", "src_group", "dst_group", "protocol", "dscp", "fragment")


def _family(cidr: str) -> str:
    return f"ipv{parse_cidr(cidr).version}"


# --- security group rules -----------------------------------------------------------------------------


def group_rule(rule: SecurityGroupRule, before: SecurityGroupRule | None, view: View) -> list[Problem]:
    return [*_transport(rule), *_remote(rule), *_families(rule)]


def _transport(rule: SecurityGroupRule) -> Iterator[Problem]:
    if rule.ports is not None and rule.protocol not in WITH_PORTS:
        yield Problem("ports", f"need a `protocol` that has ports: {', '.join(WITH_PORTS)}")
    for name in ("icmp_type", "icmp_code"):
        if getattr(rule, name) is not None and rule.protocol not in ICMP:
            yield Problem(name, "needs the `protocol` icmp or icmpv6")
    if rule.icmp_code is not None and rule.icmp_type is None:
        yield Problem("icmp_code", "needs an `icmp_type`")


def _remote(rule: SecurityGroupRule) -> Iterator[Problem]:
    given = [
        n for n in ("remote_cidr", "remote_group", "remote_address_group") if getattr(rule, n) is not None
    ]
    for name in given[1:]:
        yield Problem(name, f"give this or `{given[0]}`, not both; two rules allow either")


def _families(rule: SecurityGroupRule) -> Iterator[Problem]:
    told = {}
    if rule.family is not None:
        told["family"] = str(rule.family)
    if rule.protocol in ICMP:
        told["protocol"] = ICMP[rule.protocol]
    if rule.remote_cidr is not None:
        told["remote_cidr"] = _family(rule.remote_cidr)
    yield from _disagreeing(told)


def _disagreeing(told: dict[str, str]) -> Iterator[Problem]:
    """One problem if fields stand for different families."""
    first = next(iter(told), None)
    for name, family in told.items():
        if first is not None and family != told[first]:
            yield Problem(name, f"is about {family}, but `{first}` about {told[first]}: nothing would match")
            return


# --- ACLs ---------------------------------------------------------------------------------------------


def acl(acl: Acl, before: Acl | None, view: View) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for i, rule in enumerate(acl.rules):
        found = list(_acl_rule(acl, rule))
        if rule.id in seen:
            found.append(Problem("id", f"{rule.id!r} is the id of another rule of this ACL"))
        seen.add(rule.id)
        problems += [problem.within(f"rules[{i}]") for problem in found]
    if not problems:
        problems += _cycles(acl, view)
    return problems


def _acl_rule(acl: Acl, rule: AclRule) -> Iterator[Problem]:
    if rule.action == "jump" and rule.jump is None:
        yield Problem("jump", "is needed for the action `jump`: the ACL to go through")
    if rule.action != "jump" and rule.jump is not None:
        yield Problem("jump", f"is only for the action `jump`, not for `{rule.action}`")
    if rule.match.state and not acl.stateful:
        yield Problem("match.state", "is known only in a stateful ACL")
    for problem in _match(rule.match):
        yield problem.within("match")


def _match(match: Match) -> Iterator[Problem]:
    for i, name in enumerate(match.invert):
        if name in match.invert[:i]:
            yield Problem(f"invert[{i}]", f"`{name}` is there twice")
        elif getattr(match, name) in (None, ()):
            yield Problem(f"invert[{i}]", f"`{name}` is not given, so it cannot be inverted")
    sure = match.protocol if "protocol" not in match.invert else None
    for name in ("src_ports", "dst_ports"):
        if getattr(match, name) is not None and sure not in WITH_PORTS:
            yield Problem(name, f"need a `protocol` that has ports: {', '.join(WITH_PORTS)}")
    for name in ("icmp_type", "icmp_code"):
        if getattr(match, name) is not None and sure not in ICMP:
            yield Problem(name, "needs the `protocol` icmp or icmpv6")
    if match.icmp_code is not None and match.icmp_type is None:
        yield Problem("icmp_code", "needs an `icmp_type`")
    yield from _match_families(match)


def _match_families(match: Match) -> Iterator[Problem]:
    plain = {name for name in ("ethertype", "src", "dst", "protocol") if name not in match.invert}
    told = {}
    if match.ethertype is not None and "ethertype" in plain:
        of_ip = [name for name in IP_FIELDS if getattr(match, name) is not None]
        if match.ethertype in ETHERTYPES:
            told["ethertype"] = ETHERTYPES[match.ethertype]
        elif of_ip:
            yield Problem("ethertype", f"is not IP, but `{of_ip[0]}` is about IP: nothing would match")
            return
    for name in ("src", "dst"):
        cidr = getattr(match, name)
        if cidr is not None and name in plain:
            told[name] = _family(cidr)
    if match.protocol in ICMP and "protocol" in plain:
        told["protocol"] = ICMP[match.protocol]
    yield from _disagreeing(told)


def _cycles(acl: Acl, view: View) -> Iterator[Problem]:
    """Jumps may meet again, but never lead back here."""
    for i, rule in enumerate(acl.rules):
        if rule.jump is not None and (way := _way_back(rule.jump, acl.id, view)) is not None:
            names = [acl.name, *(_name(id, view) for id in way[:-1]), acl.name]
            yield Problem(f"rules[{i}].jump", f"jumps in a circle: {' > '.join(names)}")


def _way_back(start: str, home: str, view: View) -> list[str] | None:
    """The ACLs from one to another along jumps, if there is a way."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == home:
            return way
        here = view.get(Acl, way[-1])
        for rule in here.rules if here is not None else ():
            if rule.jump is not None and rule.jump not in seen:
                seen.add(rule.jump)
                ways.append([*way, rule.jump])
    return None


def _name(id: str, view: View) -> str:
    found = view.get(Acl, id)
    return found.name if found is not None else id


def acl_sets(acl: Acl, before: Acl | None, view: View) -> set[str]:
    """The jumps of a project's ACLs are one set. Administrators' lead on into other projects: each ACL that
    is looked at for a circle counts."""
    jumps = {rule.jump for rule in acl.rules if rule.jump is not None}
    old = {rule.jump for rule in before.rules if rule.jump is not None} if before is not None else set()
    if not jumps - old:
        return set()
    return {f"acl/{acl.project}", *(f"acl/{found.project}" for found in _led_to(jumps, view))}


def _led_to(jumps: set[str], view: View) -> Iterator[Acl]:
    seen, ahead = set(jumps), list(jumps)
    while ahead:
        here = view.get(Acl, ahead.pop())
        if here is None:
            continue
        yield here
        more = {rule.jump for rule in here.rules if rule.jump is not None} - seen
        seen |= more
        ahead.extend(more)
