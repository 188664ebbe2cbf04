"""Stage ROUTER, ports of shared addresses: who has which, and what a port of this host has."""

from __future__ import annotations

from onehop.compiler import facts
from onehop.compiler.addresses import packed
from onehop.compiler.nat import SHARED, shared, single, stand
from onehop.compiler.unit import Scope
from onehop.datapath.structs import Block, NatBindingKey, NatBlockKey
from onehop.model import NatRule, Port, SnatBlock
from onehop.model.formats import parse_ip
from onehop.model.nat import BLOCK
from onehop.model.translation import is_dynamic


def block(to: Scope, id: str) -> None:
    """Some ports of an address, and whose they are."""
    block = to.get(SnatBlock, id)
    assert block is not None
    rule = to.get(NatRule, block.rule)
    at = to.get(Port, rule.port) if rule is not None and is_dynamic(rule) else None
    owner = to.get(Port, block.port)
    face = to.one(facts.face(at.router)) if at is not None and at.router is not None else None
    if owner is None or at is None or at.router is None or face is None:
        return
    ip = parse_ip(block.ip)
    to.zone(to.device(owner))
    stand(to, at, single(ip), SHARED)
    to.row("nat_blocks", NatBlockKey(face.number, packed(ip), block.first // BLOCK), owner.key)
    to.say(facts.blocks(owner.id, shared(block.rule, ip.version)), (packed(ip), block.first))
    to.demand("binding", owner.id, shared(block.rule, ip.version))


def binding(to: Scope, port: str, rule: str) -> None:
    """What a port of this host has for a rule, in the order in which it is used."""
    owner, bound = to.get(Port, port), to.active_binding(port)
    if owner is None or bound is None or bound.host != to.host:
        return
    to.zone(to.device(owner))
    number = to.number("block_lists", f"{port} {rule}")
    to.row("nat_bindings", NatBindingKey(owner.key, to.number("shared_rules", rule)), number)
    to.row("block_lists", number, tuple(Block(*one) for one in sorted(to.all_of(facts.blocks(port, rule)))))
