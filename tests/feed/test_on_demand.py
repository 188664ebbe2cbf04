"""What a host asks to follow besides what its ports reach, of a real controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from onehop.feed.messages import End, Holder
from onehop.feed.needs import END
from onehop.model import Grant, Link, Network, Object, Port, PortAddress, Subnet
from onehop.store import Store
from tests.feed.town import BLUE, H1, H2, H3, RED, TOWN, bound, port, uid
from tests.support.feeding import controller, until, watching, write

pytestmark = pytest.mark.anyio

OUTSIDE = Network(id=uid(6, 9), name="outside", grants=(Grant(allow="external"),), key=9)
MACHINE = Port(
    id=uid(4, 9010),
    name="m",
    network=OUTSIDE.id,
    addresses=(PortAddress(subnet=uid(7, 9), ip="203.0.113.9"),),
)


def at_outside(tenant: int) -> list[Object]:
    """A second leg of a tenant's router, on the network outside."""
    address = PortAddress(subnet=uid(7, 9), ip=f"203.0.113.{tenant}")
    leg = Port(
        id=uid(4, 9000 + tenant),
        name="leg",
        router=uid(3, tenant),
        kind="router",
        addresses=(address, PortAddress(subnet=uid(7, 10), ip=f"2001:db8::{tenant}")),
    )
    switched = Port(id=uid(4, 9100 + tenant), name=f"t{tenant}", network=OUTSIDE.id, kind="router")
    return [leg, switched, Link(id=uid(11, 90 + tenant), name="leg", a=leg.id, b=switched.id)]


SUBNETS = [
    Subnet(id=uid(7, 9), name="v4", network=OUTSIDE.id, cidr="203.0.113.0/24"),
    Subnet(id=uid(7, 10), name="v6", network=OUTSIDE.id, cidr="2001:db8::/64"),
]
WORLD = [*TOWN, OUTSIDE, *SUBNETS, *at_outside(RED), *at_outside(BLUE), MACHINE, bound(MACHINE, H2)]


@pytest.mark.parametrize("ip", [f"203.0.113.{BLUE}", f"2001:db8::{BLUE}", "2001:DB8:0::3"])
async def test_whoever_has_an_address_is_followed_with_what_is_around_it(store: Store, ip: str) -> None:
    await write(store, *WORLD)
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.has(c))
        assert port(BLUE, 10).id not in red.mirror and OUTSIDE.id in red.mirror
        assert await red.follower.follow(Holder(OUTSIDE.id, ip)) == uid(3, BLUE)
        assert red.has(c)
        assert {port(BLUE, 10).id, bound(port(BLUE, 10), H3).id, uid(4, 9100 + BLUE)} <= red.mirror.keys()


async def test_a_machine_at_a_boundary_is_followed_without_its_neighbours(store: Store) -> None:
    await write(store, *WORLD)
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.has(c))
        assert await red.follower.follow(Holder(OUTSIDE.id, "203.0.113.9")) == MACHINE.id
        assert red.has(c)
        assert bound(MACHINE, H2).id in red.mirror and uid(4, 9100 + BLUE) not in red.mirror


@pytest.mark.parametrize("ip", ["203.0.113.200", "203.0.113.300", "", "10.0.3.10"])
async def test_nobody_has_an_address_that_is_not_given(store: Store, ip: str) -> None:
    await write(store, *WORLD)
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.has(c))
        assert await red.follower.follow(Holder(OUTSIDE.id, ip)) is None
        assert red.has(c)


async def test_a_host_may_not_ask_about_networks_that_it_does_not_follow(store: Store) -> None:
    await write(store, *WORLD)
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.has(c))
        assert await red.follower.follow(Holder(uid(6, BLUE), "10.0.3.10")) is None


async def test_of_an_end_a_host_gets_where_it_is_and_no_more(store: Store, tmp_path: Path) -> None:
    await write(store, *WORLD)
    far = port(BLUE, 10)
    async with controller(store) as c:
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
            before = red.mirror.keys() | set()
            assert await red.follower.follow(End(far.key)) == END + far.id
            assert red.mirror.keys() - before == {far.id, bound(far, H3).id, H3}
            assert await red.follower.follow(End(9)) is None, "a network is no end"
            moved = bound(far, H2)
            revision = await write(store, moved)
            await until(lambda: red.follower.position.revision >= revision)
            assert red.mirror[moved.id] == moved and red.has(c)
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
            assert not red.batches and far.id in red.mirror
            red.follower.release([END + far.id])
            await until(lambda: far.id not in red.mirror)
            await until(lambda: red.has(c))
