"""Stage FLOOD: who hears what is for all on a network, here and on which other hosts."""

from __future__ import annotations

from onehop.compiler import facts, underlay
from onehop.compiler.unit import Scope
from onehop.datapath.structs import MemberKey
from onehop.model import Network, Port


def listener(to: Scope, id: str) -> None:
    """Where a port is that hears floods."""
    port = to.get(Port, id)
    assert port is not None
    if port.network is None or port.kind not in ("vm", "service"):
        return
    binding = to.active_binding(id)
    if binding is not None and binding.host == to.host:
        to.say(facts.members(port.network), (id, port.key))
    elif binding is not None:
        to.say(facts.remotes(port.network), binding.host)


def members(to: Scope, id: str) -> None:
    network = to.get(Network, id)
    assert network is not None
    to.zone(id)
    for index, (_, key) in enumerate(sorted(to.all_of(facts.members(id)))):
        to.row("members", MemberKey(network.key, index), key)


def remotes(to: Scope, id: str) -> None:
    network = to.get(Network, id)
    assert network is not None
    to.zone(id)
    for index, host in enumerate(sorted(to.all_of(facts.remotes(id)))):
        to.row("remotes", MemberKey(network.key, index), underlay.host_id(to, host))
