"""Small topologies from documents, compiled for host `h1`, with rows found by name."""

from __future__ import annotations

from typing import Any

import yaml

from onehop.compiler.compile import Compiler, Local
from onehop.compiler.desired import Desired
from onehop.compiler.facts import Interface
from onehop.datapath.layouts import ip6, show_ip6
from onehop.datapath.structs import PrefixKey, Rule
from onehop.datapath.tables import OF_IPV6
from onehop.model import Host, Network, Port, Router
from onehop.model.document import parse
from onehop.model.kinds import KINDS
from onehop.model.names import resolve
from onehop.model.offline import build

HOSTS = """
underlays: {u: {mtu: 1500}}
hosts:
  h1: {addresses: [{underlay: u, ip: 192.0.2.1}]}
  h2: {addresses: [{underlay: u, ip: 192.0.2.2}]}
project: demo
"""
LOCAL = Local({"t1": Interface(21), "t2": Interface(22, redirect_peer=True)}, {"192.0.2.1": Interface(2)})


class Small:
    """What host `h1` should have in its tables for a document; hosts and an underlay are added to it."""

    def __init__(self, text: str, local: Local = LOCAL) -> None:
        document = yaml.safe_load(HOSTS) | yaml.safe_load(text)
        self.view = build(parse(document))
        self.project = resolve("demo", KINDS["project"], self.view, None)
        self.compiler = Compiler(self.id(Host, "h1"))
        self.desired: Desired = self.compiler.compile(self.view, local)

    def id(self, type: type[Any], name: str) -> str:
        kind = next(kind for kind in KINDS.values() if kind.type is type)
        return resolve(name, kind, self.view, self.project)

    def get(self, type: type[Any], name: str) -> Any:
        return self.view.find(self.id(type, name))

    def key(self, name: str) -> int:
        """Of a port, or of a network."""
        key: int = self.get(Port if "/" in name else Network, name).key
        return key

    def number(self, space: str, id: str) -> int:
        return self.compiler.assignment().ids[space][id]

    def router(self, name: str) -> int:
        return self.number("routers", self.id(Router, name))

    def table(self, name: str) -> Any:
        return self.desired.tables[name]

    def port(self, name: str) -> Any:
        return self.table("ports")[self.key(name)]

    def list(self, id: int) -> tuple[Rule, ...]:
        found: tuple[Rule, ...] = self.desired.lists["rule_lists"][id]
        return found

    def problems(self, type: type[Any], name: str) -> tuple[str, ...]:
        return self.desired.problems.get(self.id(type, name), ())

    def update(self, *objects: Any) -> Any:
        """Put objects into the topology, and give the difference."""
        for obj in objects:
            self.view.put(obj)
        difference = self.compiler.update([obj.id for obj in objects])
        self.desired = self.compiler.desired()
        return difference

    def remove(self, *ids: str) -> Any:
        for id in ids:
            self.view.remove(id)
        difference = self.compiler.update(ids)
        self.desired = self.compiler.desired()
        return difference


def show(key: PrefixKey) -> str:
    """A prefix as people write it."""
    text = show_ip6(key.address)
    six = bool(key.of & OF_IPV6)
    return f"{text}/{key.prefix - 32 - (0 if six else 96)}"


def prefixes(table: dict[PrefixKey, Any], of: int) -> dict[str, Any]:
    """The rows of one thing in a table of prefixes."""
    return {show(key): row for key, row in table.items() if key.of & ~OF_IPV6 == of}


def ip(text: str) -> bytes:
    return ip6(text)
