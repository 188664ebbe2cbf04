"""What security groups and ACLs have in common: rule lists, and sets of addresses that rules name."""

from __future__ import annotations

from onehop.compiler import facts
from onehop.compiler.addresses import addresses_of, packed, prefix_key
from onehop.compiler.unit import Scope
from onehop.datapath.structs import PrefixKey
from onehop.datapath.tables import OF_IPV6
from onehop.model import AddressGroupEntry, Port
from onehop.model.formats import parse_cidr

IN_SET = 1
MAX_RULES = 4096  # of one list


def list_id(to: Scope, step: str, *of: str) -> int:
    """The number of a list that another unit makes."""
    to.demand(step, *of)
    return to.number("rule_lists", name(step, *of))


def name(step: str, *of: str) -> str:
    return " ".join((step, *of))


def set_id(to: Scope, group: str) -> int:
    """The set of the addresses of a group: an address group's entries, or a security group's members."""
    to.demand("address_set", group)
    return to.number("address_sets", group)


def address_set(to: Scope, group: str) -> None:
    to.say(facts.address_set(group), to.number("address_sets", group))


def entry(to: Scope, id: str) -> None:
    """An entry of an address group that some rule names."""
    entry = to.get(AddressGroupEntry, id)
    assert entry is not None
    number = to.one(facts.address_set(entry.address_group))
    if number is not None:
        to.part_of("address_set", entry.address_group)
        to.row("address_sets", prefix_key(number, parse_cidr(entry.cidr)), IN_SET)


def member(to: Scope, id: str) -> None:
    """The addresses of a member of security groups that some rule names as remote."""
    port = to.get(Port, id)
    assert port is not None
    for group in port.security_groups:
        number = to.one(facts.address_set(group))
        if number is None:
            continue
        to.part_of("address_set", group)
        for ip in addresses_of(port):
            whose = number | OF_IPV6 if ip.version == 6 else number
            to.row("address_sets", PrefixKey(32 + 128, whose, packed(ip)), IN_SET)
