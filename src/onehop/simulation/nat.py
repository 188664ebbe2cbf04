"""Stage NAT: other addresses for packets that pass a router, as its rules and floating IPs say.

**Destination**, by whichever port the packet came in. Of the router's external addresses:

1. A port forward of this address, protocol and port: to the address and port inside.
2. The longest prefix of floating IPs, `static` rules and whole-address `dnat`, in this order where prefixes
   are equal: to the address inside, with the bits behind the prefix.
3. An address that dynamic rules share, for what can be a reply, and its port lies in a block: the packet
   belongs to the block's port. The walk ends here.
4. Anything else goes on as it is.

What a `dnat` rule has translated finds its way back by its record alone, so that the walk is stateful.

**Source**, of what leaves by a port with rules or floating IPs, did not come in by it, and has not been
given a shared port on this walk. Of the rules whose prefix holds the source address, the longest; of equal
ones, floating IPs before `static` before `snat` before `masquerade`, then the lower id. Floating IPs and
`static` change the address. The others give a port out of the blocks that the walk's origin has for the rule:

* TCP, UDP and echoes. An ICMP error needs a connection; what can only be a reply is refused, and so asked
  about.
* A record's port is kept while it lies in such a block; else the connection ends.
* Without a record, the connection's hash says where to begin, and the first free port of `TRIED` is taken. A
  port is not free where a port forward has it, or a live record that sends to the same destination.
* Few free ports: the agent is told, and has more blocks assigned.

An ICMP error about a connection is translated as that connection's packets are, outside and inside. One of no
connection has its addresses translated by floating IPs, `static` and `dnat` rules, and likewise what it
quotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from onehop.model import FloatingIp, NatRule, Port, SnatBlock
from onehop.model.formats import Prefix, parse_cidr, parse_ip, parse_ports, parse_protocol
from onehop.model.nat import BLOCK
from onehop.model.translation import (
    families,
    floating_ips,
    floating_target,
    inside,
    is_dynamic,
    outside,
    rules,
)
from onehop.model.view import View
from onehop.model.vocabulary import Drop, Stage
from onehop.simulation.connections import is_live, quoted_tuple, reply_tuple, with_source_port
from onehop.simulation.context import Finished, Walk
from onehop.simulation.flow import ECHO_REQUEST
from onehop.simulation.hashing import connection_hash
from onehop.simulation.packet import TCP, UDP, Ip
from onehop.simulation.state import Budget, DeleteRecord, Tuple
from onehop.simulation.verdict import Ask, Request

TRIED = 64  # candidates for a shared port
LOW = 8  # if that many are taken, the agent is told
STRIDE = BLOCK + 1  # from one candidate to the next: another block, for one may be full
EVERYTHING: dict[int, Prefix] = {4: parse_cidr("0.0.0.0/0"), 6: parse_cidr("::/0")}


@dataclass(frozen=True, slots=True)
class Mapping:
    """Addresses of a prefix become those of another, with the bits behind it; or are shared by a rule."""

    prefix: Prefix
    order: int  # among those of equal prefixes
    by: FloatingIp | NatRule
    to: Prefix | None = None  # None: a dynamic rule

    @property
    def rank(self) -> tuple[int, int, str]:
        """The lowest goes first."""
        return (-self.prefix.prefixlen, self.order, self.by.id)

    def translate(self, ip: Ip) -> Ip:
        assert self.to is not None
        number = int(self.to.network_address) | int(ip) & int(self.to.hostmask)
        return IPv4Address(number) if self.to.version == 4 else IPv6Address(number)


def _best(mappings: Iterator[Mapping], ip: Ip) -> Mapping | None:
    return min((m for m in mappings if ip in m.prefix), key=lambda m: m.rank, default=None)


# --- destination --------------------------------------------------------------------------------------------


def destination(walk: Walk) -> None:
    ends = _ends(walk)
    dst = walk.ip.dst
    if ends is not None:
        forward = _forward_of(walk.view, walk.router.id, ends.protocol, dst, ends.dst_port)
        if forward is not None:
            rule, to, port = forward
            walk.stateful = True
            _tell(walk, f"{dst} port {ends.dst_port} is forwarded to {to} port {port}", rule.id)
            walk.become(replace(ends, dst=to, dst_port=port), ends)
            return
    mapping = _best(_leading_in(walk.view, walk.router.id), dst)
    if mapping is not None:
        walk.stateful = walk.stateful or _is_dnat(mapping.by)
        inner = mapping.translate(dst)
        _tell(walk, f"{dst} stands for {inner}", mapping.by.id)
        walk.become(replace(ends or _bare(walk), dst=inner), ends)
        return
    block = _block_of(walk.view, walk.router.id, dst, ends.dst_port) if ends is not None else None
    if block is not None and reply_tuple(walk) is not None:
        _hand_over(walk, block)


def _ends(walk: Walk) -> Tuple | None:
    """The tuple that is looked up: the connection's; for an ICMP error of none, by the packet it quotes."""
    if walk.related or not walk.flow.is_icmp_error:
        return walk.connection
    quoted = quoted_tuple(walk)
    return quoted.reversed() if quoted is not None else None


def _bare(walk: Walk) -> Tuple:
    return Tuple(walk.ip.protocol, walk.ip.src, walk.ip.dst)


def _is_dnat(by: FloatingIp | NatRule) -> bool:
    return isinstance(by, NatRule) and by.action == "dnat"


def _rules_of(view: View, router: str) -> Iterator[NatRule]:
    for port in view.ports(router):
        yield from rules(view, port.id)


def _forward_of(view: View, router: str, protocol: int, ip: Ip, port: int) -> tuple[NatRule, Ip, int] | None:
    """The port forward of an address, protocol and port: the rule, and where to."""
    fitting = [
        rule
        for rule in _rules_of(view, router)
        if rule.action == "dnat" and rule.ports is not None and rule.protocol is not None
        if parse_protocol(rule.protocol) == protocol
        if any(ip in prefix for prefix in outside(view, rule))
        if _offset(rule.ports, port) is not None
    ]
    rule = min(fitting, key=lambda rule: rule.id, default=None)
    to = inside(rule) if rule is not None else None
    if rule is None or to is None or rule.ports is None:
        return None
    first = parse_ports(rule.ports)[0] if rule.to_port is None else rule.to_port
    return rule, to.network_address, first + (_offset(rule.ports, port) or 0)


def _offset(ports: str, port: int) -> int | None:
    low, high = parse_ports(ports)
    return port - low if low <= port <= high else None


def _leading_in(view: View, router: str) -> Iterator[Mapping]:
    """What leads from outside addresses of a router to single ones inside."""
    for port in view.ports(router):
        yield from (Mapping(ip, 0, floating, to) for floating, ip, to in _floating(view, port))
        for rule in rules(view, port.id):
            to = inside(rule)
            if to is not None and (rule.action == "static" or (rule.action == "dnat" and rule.ports is None)):
                order = 1 if rule.action == "static" else 2
                yield from (Mapping(prefix, order, rule, to) for prefix in outside(view, rule))


def _floating(view: View, port: Port) -> Iterator[tuple[FloatingIp, Prefix, Prefix]]:
    """The floating IPs at a router's port, each with its outside and inside address."""
    for floating in floating_ips(view, port.id):
        target = floating_target(view, floating)
        if target is not None and floating.ip is not None:
            yield floating, parse_cidr(floating.ip), parse_cidr(str(target))


def _block_of(view: View, router: str, ip: Ip, port: int) -> SnatBlock | None:
    """The block of a router that a port of an address lies in."""
    for rule in _rules_of(view, router):
        for block in view.referring(SnatBlock, rule.id) if is_dynamic(rule) else ():
            if parse_ip(block.ip) == ip and block.first <= port < block.first + BLOCK:
                return block
    return None


def _hand_over(walk: Walk, block: SnatBlock) -> None:
    """The packet belongs to the port of a block: it goes there as it came, and the walk ends."""
    port = walk.view.get(Port, block.port)
    _tell(walk, f"{walk.ip.dst} is shared, and this port of it belongs to port {block.port}", block.rule)
    text = "may be a reply to the one who shares the address"
    if walk.choosing:
        walk.reached = port
        raise Finished
    walk.refuse(Stage.NAT, walk.router.id, Drop.UNSOLICITED, text, block.rule)
    walk.reached = port
    assert walk.refused is not None
    raise walk.refused


# --- source -------------------------------------------------------------------------------------------------


def source(walk: Walk) -> None:
    port, src = walk.out_port, walk.ip.src
    if walk.bound or port.id == walk.in_port.id:
        return
    connection = walk.connection
    mapping = _best(_leading_out(walk.view, port), connection.src if connection is not None else src)
    if mapping is None:
        return
    if mapping.to is None:
        if not walk.choosing:
            assert isinstance(mapping.by, NatRule)
            _share(walk, mapping.by)
        return
    ends = _ends(walk)
    before = ends or _bare(walk)
    after = replace(before, src=mapping.translate(before.src)) if before.src in mapping.prefix else before
    _tell(walk, f"{connection.src if connection else src} stands behind {mapping.to}", mapping.by.id)
    walk.become(after, ends, None if connection is not None else mapping.translate(src))


def _leading_out(view: View, port: Port) -> Iterator[Mapping]:
    """What gives another source to packets that leave by a port."""
    yield from (Mapping(target, 0, floating, ip) for floating, ip, target in _floating(view, port))
    for rule in rules(view, port.id):
        if rule.action == "static" and rule.internal is not None and rule.external is not None:
            yield Mapping(parse_cidr(rule.internal), 1, rule, parse_cidr(rule.external))
        elif is_dynamic(rule):
            order = 2 if rule.action == "snat" else 3
            prefixes = (
                [parse_cidr(rule.source)] if rule.source else [EVERYTHING[v] for v in families(view, rule)]
            )
            yield from (Mapping(prefix, order, rule) for prefix in prefixes)


def _share(walk: Walk, rule: NatRule) -> None:
    """Give the packet an address and port that the walk's origin has for a rule."""
    walk.stateful = True
    ends = walk.connection
    if walk.flow.is_icmp_error and not walk.related:
        walk.drop(Stage.NAT, walk.router.id, Drop.UNSOLICITED, "an error about no connection", rule.id)
    if ends is None or not _has_port(ends):
        text = "only TCP, UDP and echoes can share an address"
        walk.drop(Stage.NAT, walk.router.id, Drop.UNSUPPORTED, text, rule.id)
    if walk.record is not None:
        bound = _kept(walk, rule)
    elif reply_tuple(walk) is not None and ends.protocol != UDP:
        text = "only a new connection gets a port of a shared address"
        walk.refuse(Stage.NAT, walk.router.id, Drop.UNSOLICITED, text, rule.id)
        return
    else:
        bound = _chosen(walk, rule, ends)
    walk.bound = True
    _tell(walk, f"{ends.src} port {ends.src_port} becomes {bound[0]} port {bound[1]}", rule.id)
    walk.become(with_source(ends, *bound), ends)


def _has_port(ends: Tuple) -> bool:
    """Whether a port, or an echo's id, tells connections apart."""
    return ends.protocol in (TCP, UDP, *ECHO_REQUEST)


def with_source(ends: Tuple, ip: Ip, port: int) -> Tuple:
    return with_source_port(replace(ends, src=ip), port)


def blocks_for(view: View, origin: str, rule: NatRule, version: int) -> list[SnatBlock]:
    """The blocks that a machine's port has for a rule, in the order in which candidates are counted."""
    own = [b for b in view.children(SnatBlock, origin) if b.rule == rule.id]
    fitting = [b for b in own if parse_ip(b.ip).version == version]
    return sorted(fitting, key=lambda b: (parse_ip(b.ip), b.first))


def _kept(walk: Walk, rule: NatRule) -> tuple[Ip, int]:
    """The address and port that the record has, if they are still the origin's."""
    record = walk.record
    assert record is not None
    ip, port = record.far.src, record.far.src_port
    blocks = blocks_for(walk.view, walk.origin, rule, ip.version)
    if not any(parse_ip(b.ip) == ip and b.first <= port < b.first + BLOCK for b in blocks):
        if not walk.probe:
            walk.effects.append(DeleteRecord(record.key))
        text = f"{ip} port {port} is no longer shared with this machine"
        walk.drop(Stage.NAT, walk.router.id, Drop.CONNECTION_ENDED, text, rule.id)
    return ip, port


def _chosen(walk: Walk, rule: NatRule, ends: Tuple) -> tuple[Ip, int]:
    """The first address and port that is free; the agent is told where there are few."""
    blocks = blocks_for(walk.view, walk.origin, rule, ends.src.version)
    tried = enumerate(_candidates(ends, blocks), 1)
    found = next(((number, one) for number, one in tried if _is_free(walk, ends, *one)), None)
    if found is None or found[0] >= LOW:
        _ask_for_more(walk, rule)
    if found is None:
        text = (
            f"none of {TRIED} ports that were tried is free" if blocks else "the machine has no ports of it"
        )
        walk.drop(Stage.NAT, walk.router.id, Drop.NAT_EXHAUSTED, text, rule.id)
    return found[1]


def _candidates(ends: Tuple, blocks: list[SnatBlock]) -> Iterator[tuple[Ip, int]]:
    for i in range(TRIED if blocks else 0):
        x = (connection_hash(ends, 0) + i * STRIDE) % (len(blocks) * BLOCK)
        block = blocks[x // BLOCK]
        yield parse_ip(block.ip), block.first + x % BLOCK


def _is_free(walk: Walk, ends: Tuple, ip: Ip, port: int) -> bool:
    if _forward_of(walk.view, walk.router.id, ends.protocol, ip, port) is not None:
        return False
    record = walk.state.records.get((walk.owner, with_source(ends, ip, port)))
    return record is None or not is_live(record, walk.state.now)


def _ask_for_more(walk: Walk, rule: NatRule) -> None:
    if walk.state.may(walk.origin, Budget.SLOW_PATH):
        walk.spend(Budget.SLOW_PATH)
        walk.requests.append(Request(Ask.BLOCKS, walk.origin, b"", None, rule.id))


def _tell(walk: Walk, text: str, rule: str) -> None:
    walk.step(Stage.NAT, walk.router.id, text, rule)
