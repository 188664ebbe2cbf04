"""Keeps what was assigned to objects when their document is read again: keys, MACs, blocks of shared ports.

A document that is read anew counts both from the start; a cloud gives each object a value once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from onehop.model import Network, Port, SnatBlock
from onehop.model.translation import first_blocks, is_valid
from onehop.model.view import Topology, View


def stable(view: Topology, document: Mapping[str, Any], before: View | None) -> Topology:
    """The topology with keys and MACs as they were `before`; new objects get ones that nobody has."""
    given = set(_texts(document))
    keys = {o.id: o.key for o in _keyed(before)} if before else {}
    macs = {p.id: p.mac for p in before.all(Port) if p.mac not in given} if before else {}
    free_key = max(keys.values(), default=0)
    for obj in _keyed(view) if before else ():
        if obj.id not in keys:
            free_key += 1
        changes: dict[str, Any] = {"key": keys.get(obj.id, free_key)}
        if isinstance(obj, Port) and obj.mac not in given:
            changes["mac"] = macs.get(obj.id) or f"02:00:00:01:{free_key >> 8:02x}:{free_key & 255:02x}"
        view.put(msgspec.structs.replace(obj, **changes))
    return _with_blocks(view, before) if before else view


def _with_blocks(view: Topology, before: View) -> Topology:
    """As controllers do it: a port keeps its blocks while they are of use, and gets those that it lacks."""
    for block in view.all(SnatBlock):
        view.remove(block.id)
    for block in before.all(SnatBlock):
        if is_valid(view, block):
            view.put(block)
    for block in first_blocks(view):
        view.put(block)
    return view


def _keyed(view: View) -> list[Port | Network]:
    return [*view.all(Port), *view.all(Network)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
