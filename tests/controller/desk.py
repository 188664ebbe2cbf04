"""What the tests of the write path share: short ways to write, and the check that the store is in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onehop.controller.actor import CONTROLLER, Actor
from onehop.controller.cache import Cache
from onehop.controller.engine import Done, Engine, Operation
from onehop.controller.keys import claim_key, decode, ref_key
from onehop.model import Object, kind_of
from onehop.model.claims import claims
from onehop.model.view import Topology, targets
from onehop.store import Store, list_all


@dataclass
class Desk:
    """A controller's write path, and two projects."""

    store: Store
    cache: Cache
    engine: Engine
    mine: str
    theirs: str

    @property
    def me(self) -> Actor:
        return Actor(token="me", name="me", projects={self.mine: "member"})

    @property
    def them(self) -> Actor:
        return Actor(token="them", name="them", projects={self.theirs: "member"})

    async def do(self, *operations: Operation, actor: Actor | None = None, key: str | None = None) -> Done:
        return await self.engine.commit(operations, actor or self.me, key)

    async def make(self, kind: str, actor: Actor | None = None, /, **body: Any) -> Any:
        done = await self.do(create(kind, **body), actor=actor)
        return done.results[0].object

    async def web(self) -> None:
        """A network `web` with a subnet `v4`, 10.0.1.0/24."""
        await self.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/24"))

    async def router(self, name: str, *networks: str) -> None:
        """A router linked to networks."""
        await self.do(create("router", name=name))
        for network in networks:
            await self.do(*ends(name, network), link(name, network))


ADMIN = CONTROLLER


def create(kind: str, /, **body: Any) -> Operation:
    return Operation("create", kind, body=body)


def delete(kind: str, ref: str) -> Operation:
    return Operation("delete", kind, ref)


def patch(kind: str, ref: str, /, **body: Any) -> Operation:
    return Operation("patch", kind, ref, body)


def subnet(network: str, name: str, cidr: str, /, **body: Any) -> Operation:
    return create("subnet", network=network, name=name, cidr=cidr, **body)


def port(network: str, name: str, /, **body: Any) -> Operation:
    return create("port", network=network, name=name, **body)


def ends(router: str, network: str) -> list[Operation]:
    """The two ports that a link joins."""
    return [
        create("port", router=router, name=network),
        create("port", network=network, name=router, kind="router"),
    ]


def link(router: str, network: str) -> Operation:
    return create("link", name=f"{router}-{network}", a=f"{router}/{network}", b=f"{network}/{router}")


async def objects(store: Store) -> Topology:
    entries, _ = await list_all(store, "obj/")
    return Topology(decode(entry.key, entry.value) for entry in entries)


async def assert_in_order(store: Store) -> Topology:
    """References and claims in the store are exactly those of the objects in it."""
    view = await objects(store)
    refs, _ = await list_all(store, "ref/")
    held, _ = await list_all(store, "claim/")
    assert {e.key for e in refs} == {key for obj in view for key in _refs(obj)}
    found = {e.key: e.value.decode() for e in held if not e.key.startswith("claim/guard/")}
    expected = [(claim_key(claim), obj.id) for obj in view for claim in claims(obj, view)]
    assert len(dict(expected)) == len(expected), "two objects claim the same"
    assert found == dict(expected)
    assert all(view.find(target) is not None for obj in view for target in targets(obj)), "dangling"
    return view


def _refs(obj: Object) -> list[str]:
    return [ref_key(target, kind_of(obj).name, obj.id) for target in targets(obj)]
