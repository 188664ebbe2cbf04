"""Blocks of shared ports: given with the binding, made up for later, and never given too soon.

Network `web` is at router `edge`, whose port `out` on `street` has 203.0.113.10 and 2001:db8::10, and
masquerades. The hosts are `h1` and `h2`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from onehop.controller.actor import CONTROLLER
from onehop.controller.allocate import Resting
from onehop.controller.blocks.keeper import BlockKeeper
from onehop.controller.blocks.resting import REST, RestingBlocks
from onehop.controller.blocks.sharing import MOST, PER_ADDRESS
from onehop.controller.cache import Cache
from onehop.controller.engine import Engine, Operation
from onehop.controller.refusals import Forbidden
from onehop.controller.reports import Reports
from onehop.controller.status import Statuses
from onehop.model import NatRule, SnatBlock
from onehop.model.formats import parse_ip
from onehop.store import Put, Store, list_all
from tests.controller.desk import ADMIN, Desk, assert_in_order, create, delete, link, patch, port, subnet
from tests.support.feeding import until

pytestmark = pytest.mark.anyio


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(store: Store, clock: Clock) -> AsyncIterator[Desk]:
    cache = await Cache.open(store)
    engine = Engine(store, cache, Resting(), RestingBlocks(clock))
    made = [create("project", name="mine"), create("project", name="theirs")]
    hosts = [create("host", name="h1"), create("host", name="h2")]
    done = await engine.commit([*made, *hosts], CONTROLLER)
    mine, theirs = (result.object.id for result in done.results[:2])
    yield Desk(store, cache, engine, mine, theirs)
    await cache.close()


@pytest.fixture
async def keeper(desk: Desk) -> AsyncIterator[BlockKeeper]:
    statuses, reports = await Statuses.open(desk.store), await Reports.open(desk.store, 10)
    keeper = await BlockKeeper.open(desk.store, desk.cache, desk.engine, statuses, reports)
    yield keeper
    await keeper.close()
    await reports.close()
    await statuses.close()


@pytest.fixture
async def duty(keeper: BlockKeeper) -> AsyncIterator[BlockKeeper]:
    """The keeper, doing its duty."""
    task = asyncio.create_task(keeper.do())
    yield keeper
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def cloud(desk: Desk, *rules: Operation) -> None:
    await desk.do(
        create("network", name="street", grants=[{"allow": "external"}]),
        subnet("street", "v4", "203.0.113.0/24"),
        subnet("street", "v6", "2001:db8::/64"),
        actor=desk.them,
    )
    await desk.web()
    await desk.router("edge", "web")
    outer = ("203.0.113.10", "v4"), ("2001:db8::10", "v6")
    addresses = [{"subnet": f"theirs:street/{name}", "ip": ip} for ip, name in outer]
    await desk.do(
        create("port", router="edge", name="out", addresses=addresses),
        create("port", network="theirs:street", name="edge", kind="router"),
        create("link", name="edge-out", a="edge/out", b="theirs:street/edge"),
        *(rules or [masquerade()]),
    )


def masquerade(**fields: str) -> Operation:
    return create("nat-rule", **{"name": "m", "port": "edge/out", "action": "masquerade", **fields})


def pooled(first: str, last: str) -> Operation:
    pools = [{"first": first, "last": last}]
    return create("nat-rule", name="p", port="edge/out", action="snat", pools=pools)


def bind(name: str, host: str = "h1", **fields: str) -> Operation:
    return create("binding", port=f"mine:web/{name}", host=host, interface=f"tap-{name}", **fields)


async def machines(desk: Desk, *names: str) -> None:
    await desk.do(*(port("web", name, addresses=[]) for name in names))
    await desk.do(*(bind(name) for name in names), actor=ADMIN)


def blocks(desk: Desk, name: str) -> list[SnatBlock]:
    view = desk.cache.view
    web = view.named("network", desk.mine, "web")
    found = view.named("port", web, name)
    return view.children(SnatBlock, found) if found is not None else []


def addresses(desk: Desk, name: str) -> list[str]:
    return sorted(block.ip for block in blocks(desk, name))


async def settle(desk: Desk, name: str, **more: str) -> None:
    web = desk.cache.view.named("network", desk.mine, "web")
    found = desk.cache.view.named("port", web, name)
    await desk.do(Operation("settle", "snat-block", found, trusted=more or None), actor=CONTROLLER)


async def double(desk: Desk, name: str, family: str = "ipv4") -> int:
    rule = desk.cache.view.all(NatRule)[0].id
    await settle(desk, name, rule=rule, family=family)
    return sum(parse_ip(block.ip).version == int(family[-1]) for block in blocks(desk, name))


async def test_the_first_blocks_come_with_the_binding(desk: Desk) -> None:
    await cloud(desk)
    await desk.do(port("web", "vm"))
    assert blocks(desk, "vm") == []
    done = await desk.do(bind("vm"), actor=ADMIN)
    assert addresses(desk, "vm") == ["2001:db8::10", "203.0.113.10"]
    assert {desk.cache.revision_of(block.id) for block in blocks(desk, "vm")} == {done.revision}
    assert all(block.project == desk.mine and block.first % 128 == 0 for block in blocks(desk, "vm"))
    await assert_in_order(desk.store)


async def test_what_is_made_and_bound_in_one_bulk_has_blocks(desk: Desk) -> None:
    await cloud(desk)
    await desk.do(port("mine:web", "vm"), bind("vm"), actor=ADMIN)
    assert len(blocks(desk, "vm")) == 2


async def test_a_port_has_blocks_of_what_its_zone_shares_and_nothing_else(desk: Desk) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    await desk.do(create("network", name="alone"), port("alone", "lone"), port("web", "vm"))
    lone = create("binding", port="mine:alone/lone", host="h1", interface="tap")
    await desk.do(bind("vm"), lone, actor=ADMIN)
    assert addresses(desk, "vm") == ["203.0.113.10"]
    assert len(desk.cache.view.all(SnatBlock)) == 1


async def test_the_next_binding_knows_of_what_has_changed_since_the_last(desk: Desk) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    await machines(desk, "a")
    await desk.do(masquerade(name="m6", family="ipv6"))
    await machines(desk, "b")
    assert (len(blocks(desk, "a")), len(blocks(desk, "b"))) == (1, 2)
    await desk.do(delete("link", "edge-out"), delete("nat-rule", "out/m"))
    await machines(desk, "c")
    assert addresses(desk, "c") == ["2001:db8::10"]
    await desk.do(delete("link", "edge-web"))
    await machines(desk, "d")
    assert blocks(desk, "d") == []


async def test_nobody_but_controllers_writes_blocks(desk: Desk) -> None:
    await cloud(desk)
    await machines(desk, "vm")
    (block, _) = blocks(desk, "vm")
    body = {"port": block.port, "rule": block.rule, "ip": block.ip, "first": 2048}
    for operation in (
        create("snat-block", **body),
        patch("snat-block", block.id, title="mine"),
        delete("snat-block", block.id),
    ):
        with pytest.raises(Forbidden, match="made and freed by controllers"):
            await desk.do(operation, actor=ADMIN)


async def test_blocks_double_up_to_a_bound_at_the_same_address(desk: Desk) -> None:
    await cloud(desk, pooled("203.0.113.20", "203.0.113.29"))
    await machines(desk, "vm")
    counts = [await double(desk, "vm") for _ in range(12)]
    assert counts[:4] == [2, 4, 8, 16]  # beyond, sixteen at once
    assert counts[-1] == MOST
    assert len({block.ip for block in blocks(desk, "vm")}) == 1
    assert len({block.first for block in blocks(desk, "vm")}) == MOST
    await assert_in_order(desk.store)


async def test_the_last_blocks_are_for_those_who_have_none(desk: Desk) -> None:
    """Eight ports that take all they can get leave some for a ninth."""
    await cloud(desk, masquerade(family="ipv4"))
    names = [f"vm{n}" for n in range(9)]
    await machines(desk, *names)
    for _ in range(12):
        for name in names:
            await double(desk, name)
    assert 0 < PER_ADDRESS - len(desk.cache.view.all(SnatBlock)) < 4
    await machines(desk, "late")
    assert len(blocks(desk, "late")) == 1
    await assert_in_order(desk.store)


async def test_two_controllers_give_no_block_twice(desk: Desk, other: Desk) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    names = [f"vm{n}" for n in range(16)]
    await desk.do(*(port("web", name) for name in names))
    await other.cache.wait_for(desk.cache.revision)
    at = [desk, other]
    await asyncio.gather(*(at[n % 2].do(bind(name), actor=ADMIN) for n, name in enumerate(names)))
    for here in at:
        await here.cache.wait_for(max(desk.cache.revision, other.cache.revision))
    await asyncio.gather(*(double(at[n % 2], name) for n, name in enumerate(names * 3)))
    view = await assert_in_order(desk.store)
    found = [(block.ip, block.first) for block in view.all(SnatBlock)]
    assert len(found) == len(set(found)) > 16


async def test_a_moved_port_keeps_its_blocks(desk: Desk) -> None:
    await cloud(desk)
    await machines(desk, "vm")
    before = blocks(desk, "vm")
    web_vm = before[0].port
    (old,) = desk.cache.view.bindings(web_vm)
    await desk.do(bind("vm", "h2", state="standby"), actor=ADMIN)
    await desk.do(delete("binding", old.id), actor=ADMIN)
    await settle(desk, "vm")
    assert blocks(desk, "vm") == before


@pytest.mark.parametrize("kind", ["port", "nat-rule"])
async def test_blocks_hold_nothing_back_from_being_deleted(desk: Desk, duty: BlockKeeper, kind: str) -> None:
    await cloud(desk)
    await machines(desk, "vm")
    (binding,) = desk.cache.view.bindings(blocks(desk, "vm")[0].port)
    if kind == "port":
        await desk.do(delete("binding", binding.id), delete("port", "mine:web/vm"), actor=ADMIN)
    else:
        await desk.do(delete("nat-rule", "out/m"))
    await until(lambda: not desk.cache.view.all(SnatBlock))
    await assert_in_order(desk.store)


async def test_an_unbound_port_gives_its_blocks_up(desk: Desk, duty: BlockKeeper) -> None:
    await cloud(desk)
    await machines(desk, "vm", "other")
    (binding,) = desk.cache.view.bindings(blocks(desk, "vm")[0].port)
    await desk.do(delete("binding", binding.id), actor=ADMIN)
    await until(lambda: not blocks(desk, "vm"))
    assert len(blocks(desk, "other")) == 2


async def test_a_rule_that_comes_later_gives_blocks_to_what_is_bound(desk: Desk, duty: BlockKeeper) -> None:
    await cloud(desk, masquerade(action="static", external="203.0.113.9", internal="10.0.1.9", name="s"))
    await machines(desk, *(f"vm{n}" for n in range(40)))
    assert desk.cache.view.all(SnatBlock) == []
    await desk.do(masquerade())
    await until(lambda: len(desk.cache.view.all(SnatBlock)) == 80)
    await assert_in_order(desk.store)


async def test_a_link_that_comes_later_gives_blocks_and_takes_them_when_it_goes(
    desk: Desk, duty: BlockKeeper
) -> None:
    await cloud(desk)
    await desk.do(create("network", name="db"), subnet("db", "v4", "10.0.2.0/24"), port("db", "vm"))
    await desk.do(create("binding", port="mine:db/vm", host="h1", interface="t"), actor=ADMIN)
    await desk.do(
        create("port", router="edge", name="db"),
        create("port", network="db", name="edge", kind="router"),
        link("edge", "db"),
    )
    await until(lambda: len(desk.cache.view.all(SnatBlock)) == 2)
    await desk.do(delete("link", "edge-db"))
    await until(lambda: not desk.cache.view.all(SnatBlock))


async def test_another_address_to_share_means_other_blocks(desk: Desk, duty: BlockKeeper) -> None:
    await cloud(desk, pooled("203.0.113.20", "203.0.113.20"))
    await machines(desk, "vm")
    await desk.do(patch("nat-rule", "out/p", pools=[{"first": "203.0.113.21", "last": "203.0.113.21"}]))
    await until(lambda: addresses(desk, "vm") == ["203.0.113.21"])


async def test_masquerade_follows_the_ports_own_address(desk: Desk, duty: BlockKeeper) -> None:
    await cloud(desk)
    await machines(desk, "vm")
    own = [{"subnet": "theirs:street/v4", "ip": "203.0.113.11"}]
    await desk.do(patch("port", "edge/out", addresses=own))
    await until(lambda: addresses(desk, "vm") == ["203.0.113.11"])


async def test_what_changed_while_nobody_looked_is_made_up_for(desk: Desk, keeper: BlockKeeper) -> None:
    await cloud(desk)
    await machines(desk, "gone", "kept")
    (binding,) = desk.cache.view.bindings(blocks(desk, "gone")[0].port)
    await desk.do(delete("binding", binding.id), actor=ADMIN)
    task = asyncio.create_task(keeper.do())
    await until(lambda: not blocks(desk, "gone"))
    assert len(blocks(desk, "kept")) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_host_that_needs_more_gets_more_once(desk: Desk, keeper: BlockKeeper) -> None:
    await cloud(desk)
    await machines(desk, "vm")
    rule = desk.cache.view.all(NatRule)[0].id
    vm = blocks(desk, "vm")[0].port
    for _ in range(5):
        keeper.need(vm, rule, "ipv4")
    await until(lambda: len(blocks(desk, "vm")) == 3)
    await desk.make("network", name="later")  # whatever else was under way came before this
    assert len(blocks(desk, "vm")) == 3


async def test_a_rule_tells_that_its_addresses_are_used_up(desk: Desk, duty: BlockKeeper) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    (rule,) = desk.cache.view.all(NatRule)
    for start in range(0, PER_ADDRESS, 63):
        await machines(desk, *(f"vm{n}" for n in range(start, start + 63)))

    async def told() -> object:
        entry = await desk.store.get(f"status/nat-rule/{rule.id}/blocks")
        return msgspec.json.decode(entry.value) if entry is not None else None

    async def is_told(state: str | None) -> None:
        async with asyncio.timeout(20):
            while (found := await told()) is None or found["state"] != state:  # type: ignore[index]
                if found is None and state is None:
                    return
                await asyncio.sleep(0.01)

    await is_told("exhausted")
    await machines(desk, "late")
    assert blocks(desk, "late") == []
    pool = [{"first": "203.0.113.20", "last": "203.0.113.21"}]
    more = create("nat-rule", port="edge/out", name="more", action="snat", pools=pool)
    await desk.do(delete("nat-rule", "out/m"), more)
    await until(lambda: len(blocks(desk, "late")) == 1)
    await is_told(None)


# --- resting ------------------------------------------------------------------------------------------


async def resting(desk: Desk) -> dict[str, dict[str, object]]:
    entries, _ = await list_all(desk.store, "blocks/resting/")
    return {entry.key: msgspec.json.decode(entry.value) for entry in entries}


async def applied(desk: Desk, keeper: BlockKeeper, host: str, revision: int) -> None:
    """A host says that it has come so far."""
    id = desk.cache.view.named("host", None, host) or ""
    said = msgspec.json.encode({"applied": revision})
    await desk.store.transact([], [Put(f"status/host/{id}/c", said)])
    await until(lambda: keeper._has_applied(id, revision))


async def give_up(desk: Desk, name: str) -> None:
    (binding,) = desk.cache.view.bindings(blocks(desk, name)[0].port)
    await desk.do(delete("binding", binding.id), actor=ADMIN)
    await settle(desk, name)
    assert blocks(desk, name) == []


async def look(desk: Desk, keeper: BlockKeeper) -> None:
    """The keeper looks, having heard of all there is, and hears of what it wrote."""
    known = desk.engine.resting_blocks
    for _ in range(2):
        entries, _ = await list_all(desk.store, "blocks/")
        there = {entry.key: entry.revision for entry in entries}
        await until(lambda there=there: known.revisions() == there)
        await keeper.let_rest()


async def test_a_block_rests_until_its_host_knows_and_ten_minutes_more(
    desk: Desk, keeper: BlockKeeper, clock: Clock
) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    await machines(desk, "vm")
    await give_up(desk, "vm")
    clock.now += 10 * REST
    await look(desk, keeper)
    (told,) = (await resting(desk)).values()
    assert told.get("until") is None
    await applied(desk, keeper, "h1", desk.cache.revision)
    await look(desk, keeper)
    (told,) = (await resting(desk)).values()
    assert told.get("until") == clock.now + REST
    clock.now += REST - 1
    await look(desk, keeper)
    assert len(await resting(desk)) == 1
    clock.now += 1
    await look(desk, keeper)
    assert await resting(desk) == {}
    await assert_in_order(desk.store)


async def test_a_fenced_host_is_not_waited_for(desk: Desk, keeper: BlockKeeper, clock: Clock) -> None:
    await cloud(desk, masquerade(family="ipv4"))
    await machines(desk, "vm")
    await give_up(desk, "vm")
    await desk.do(patch("host", "h1", fenced=True), actor=ADMIN)
    await look(desk, keeper)
    (told,) = (await resting(desk)).values()
    assert told.get("until") == clock.now + REST


async def test_a_block_waits_for_a_host_that_its_port_has_left_before(
    desk: Desk, keeper: BlockKeeper
) -> None:
    """h1 is cut off while the port moves to h2, which then gives it up: h1 may still use its blocks."""
    await cloud(desk, masquerade(family="ipv4"))
    await machines(desk, "vm")
    (old,) = desk.cache.view.bindings(blocks(desk, "vm")[0].port)
    await desk.do(bind("vm", "h2", state="standby"), actor=ADMIN)
    await desk.do(delete("binding", old.id), actor=ADMIN)
    await give_up(desk, "vm")
    await applied(desk, keeper, "h2", desk.cache.revision)
    await look(desk, keeper)
    (told,) = (await resting(desk)).values()
    assert told.get("until") is None
    await applied(desk, keeper, "h1", desk.cache.revision)
    await look(desk, keeper)
    (told,) = (await resting(desk)).values()
    assert told.get("until") is not None


async def test_nobody_gets_a_block_that_rests_from_any_controller(
    desk: Desk, keeper: BlockKeeper, other: Desk
) -> None:
    """All but one of the blocks of an address rest: the next port gets that one, the one after it none."""
    await cloud(desk, masquerade(family="ipv4"))
    names = [f"vm{n}" for n in range(PER_ADDRESS - 1)]
    for start in range(0, len(names), 100):
        await machines(desk, *names[start : start + 100])
    before = {block.first for block in desk.cache.view.all(SnatBlock)}
    assert len(before) == PER_ADDRESS - 1
    for name in names:
        await give_up(desk, name)
    cache = await Cache.open(desk.store)
    later = Desk(desk.store, cache, await Engine.open(desk.store, cache), desk.mine, desk.theirs)
    await desk.do(port("web", "next"), port("web", "none"))
    await cache.wait_for(desk.cache.revision)
    await later.do(bind("next"), actor=ADMIN)
    (block,) = blocks(later, "next")
    assert block.first not in before
    for at in (desk, later, other):
        await at.cache.wait_for(cache.revision)
    await desk.do(bind("none"), actor=ADMIN)
    assert blocks(desk, "none") == []
    await cache.close()
