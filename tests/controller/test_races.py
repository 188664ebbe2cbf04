"""Two controllers on one store. Whatever they race for, the store stays in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable

import pytest

from onehop.controller.engine import Done, Operation
from onehop.controller.refusals import Busy, Conflict, Refusal, Unprocessable
from onehop.model import Acl, Link, Network, Port, Subnet
from onehop.model.claims import claims
from tests.controller.desk import (
    ADMIN,
    Desk,
    assert_in_order,
    create,
    delete,
    ends,
    link,
    patch,
    port,
    subnet,
)

pytestmark = pytest.mark.anyio


async def race(*commits: Awaitable[Done]) -> tuple[list[Done], list[Refusal]]:
    """Those that happened, and why the others did not."""
    ended = await asyncio.gather(*commits, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refusal):
            raise outcome
    return (
        [outcome for outcome in ended if isinstance(outcome, Done)],
        [outcome for outcome in ended if isinstance(outcome, Refusal)],
    )


async def test_one_of_two_gets_the_name(desk: Desk, other: Desk) -> None:
    done, refused = await race(*(at.do(create("network", name="web")) for at in (desk, other, desk, other)))
    assert len(done) == 1
    assert all(isinstance(r, Conflict) and "name 'web' is taken" in r.message for r in refused)
    await assert_in_order(desk.store)


async def test_nothing_is_handed_out_twice(desk: Desk, other: Desk) -> None:
    """More ports than the subnet has addresses, from both sides at once."""
    await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/26"))
    await other.cache.wait_for(desk.cache.revision)
    done, refused = await race(*((desk, other)[i % 2].do(port("web", f"p{i % 50}-{i}")) for i in range(80)))
    assert len(done) == 61  # 64 without the network's, the broadcast and the gateway's
    assert all(isinstance(r, Unprocessable) and "no address is free" in r.message for r in refused)
    view = await assert_in_order(desk.store)
    ports = view.all(Port)
    for what in ([a.ip for p in ports for a in p.addresses], [p.mac for p in ports], [p.key for p in ports]):
        assert len(set(what)) == len(what) == 61


async def test_nothing_refers_to_what_was_deleted_meanwhile(desk: Desk, other: Desk) -> None:
    for i in range(15):
        await desk.do(create("network", name=f"n{i}"))
        await other.cache.wait_for(desk.cache.revision)
        done, refused = await race(desk.do(delete("network", f"n{i}")), other.do(port(f"n{i}", "p")))
        assert (len(done), len(refused)) == (1, 1)
    await assert_in_order(desk.store)


async def test_a_whole_is_not_deleted_from_under_a_new_part(desk: Desk, other: Desk) -> None:
    """Here the bulk deletes some of what refers to the network itself, so the guard is not simply none."""
    for i in range(15):
        await desk.do(create("network", name=f"n{i}"), port(f"n{i}", "old"))
        await other.cache.wait_for(desk.cache.revision)
        done, refused = await race(
            desk.do(delete("port", f"n{i}/old"), delete("network", f"n{i}")), other.do(port(f"n{i}", "new"))
        )
        assert (len(done), len(refused)) == (1, 1)
    await assert_in_order(desk.store)


async def test_subnets_that_overlap_do_not_slip_past_each_other(desk: Desk, other: Desk) -> None:
    await desk.do(create("network", name="web"))
    await other.cache.wait_for(desk.cache.revision)
    done, refused = await race(
        *((desk, other)[i % 2].do(subnet("web", f"s{i}", f"10.0.0.0/{8 + i}")) for i in range(8))
    )
    assert len(done) == 1
    assert all(isinstance(r, Unprocessable) and "overlaps" in r.message for r in refused)
    assert len((await assert_in_order(desk.store)).all(Subnet)) == 1


async def test_what_a_part_belongs_to_may_go_while_it_waits_for_its_turn(desk: Desk) -> None:
    """Subnets of a network take turns; deleting the network waits for none of them."""
    for i in range(5):
        await desk.do(create("network", name=f"n{i}"))
        done, refused = await race(
            *(desk.do(subnet(f"n{i}", f"s{k}", f"10.{k}.0.0/16")) for k in range(3)),
            desk.do(delete("network", f"n{i}")),
        )
        assert done
        assert len(done) + len(refused) == 4
    await assert_in_order(desk.store)


async def test_a_link_and_a_subnet_that_overlap_do_not_slip_past_each_other(desk: Desk, other: Desk) -> None:
    for i in range(6):
        web, db, edge = f"web{i}", f"db{i}", f"edge{i}"
        await desk.do(
            create("network", name=web), create("network", name=db), subnet(web, "v4", "10.0.1.0/24")
        )
        await desk.router(edge, web)
        await desk.do(*ends(edge, db))
        await other.cache.wait_for(desk.cache.revision)
        done, refused = await race(desk.do(link(edge, db)), other.do(subnet(db, "v4", "10.0.0.0/16")))
        assert len(done) == 1
        assert "overlaps" in refused[0].message
    await assert_in_order(desk.store)


async def test_jumps_do_not_close_a_circle_from_two_sides(desk: Desk, other: Desk) -> None:
    await desk.do(create("acl", name="a"), create("acl", name="b"))
    await other.cache.wait_for(desk.cache.revision)

    def jump(at: str, to: str) -> Operation:
        return patch("acl", at, rules=[{"id": "r", "action": "jump", "jump": to}])

    done, refused = await race(desk.do(jump("a", "b")), other.do(jump("b", "a")))
    assert len(done) == 1
    assert "circle" in refused[0].message
    assert sum(len(acl.rules) for acl in (await assert_in_order(desk.store)).all(Acl)) == 1


async def test_jumps_across_projects_do_not_close_a_circle_either(desk: Desk, other: Desk) -> None:
    """Administrators may jump into other projects. Here each side closes one that leads through both."""
    for name in ("a", "b"):
        await desk.do(create("acl", name=name))
        await desk.do(create("acl", name=name), actor=desk.them)

    def jump(at: str, to: str) -> Operation:
        return patch("acl", at, rules=[{"id": "r", "action": "jump", "jump": to}])

    await desk.do(jump("mine:b", "theirs:a"), jump("theirs:b", "mine:a"), actor=ADMIN)
    await other.cache.wait_for(desk.cache.revision)
    done, refused = await race(desk.do(jump("a", "b")), other.do(jump("a", "b"), actor=desk.them))
    assert len(done) == 1
    assert "circle" in refused[0].message


async def test_a_port_is_an_end_of_one_link(desk: Desk, other: Desk) -> None:
    await desk.do(create("network", name="n"), create("router", name="r"), create("router", name="s"))
    await desk.do(*ends("r", "n"), create("port", router="s", name="n"))
    await other.cache.wait_for(desk.cache.revision)
    done, _ = await race(
        desk.do(create("link", a="r/n", b="n/r")), other.do(create("link", a="s/n", b="n/r"))
    )
    assert len(done) == 1
    assert len((await assert_in_order(desk.store)).all(Link)) == 1


async def test_changes_of_one_object_are_all_kept(desk: Desk, other: Desk) -> None:
    """A merge patch is made anew on what the other one left."""
    await desk.do(create("network", name="web"))
    await other.cache.wait_for(desk.cache.revision)
    await race(*((desk, other)[i % 2].do(patch("network", "web", labels={f"l{i}": "x"})) for i in range(6)))
    network = (await assert_in_order(desk.store)).by_name(Network, desk.mine, "web")
    assert network is not None
    assert len(network.labels) == 6


async def test_a_port_has_one_active_binding(desk: Desk, other: Desk) -> None:
    await desk.do(*[create("host", name=f"h{i}") for i in range(4)], actor=ADMIN)
    await desk.web()
    await desk.do(port("web", "p"))
    await other.cache.wait_for(desk.cache.revision)
    done, refused = await race(
        *(
            (desk, other)[i % 2].do(
                create("binding", port="mine:web/p", host=f"h{i}", interface="tap0"), actor=ADMIN
            )
            for i in range(4)
        )
    )
    assert len(done) == 1
    assert all("active binding" in r.message for r in refused)


async def test_a_port_is_linked_or_bound(desk: Desk, other: Desk) -> None:
    await desk.do(create("host", name="h"), actor=ADMIN)
    for i in range(8):
        await desk.do(
            create("network", name=f"n{i}"), create("router", name=f"r{i}"), *ends(f"r{i}", f"n{i}")
        )
        await other.cache.wait_for(desk.cache.revision)
        for_uplink = create("binding", port=f"mine:r{i}/n{i}", host="h", interface=f"eth{i}")
        done, refused = await race(desk.do(link(f"r{i}", f"n{i}")), other.do(for_uplink, actor=ADMIN))
        assert (len(done), len(refused)) == (1, 1)
    await assert_in_order(desk.store)


@pytest.mark.parametrize("seed", [random.randrange(1 << 32) for _ in range(2)])
async def test_after_anything_the_store_is_in_order(desk: Desk, other: Desk, seed: int) -> None:
    """Random bulks from both sides at once: references and claims are those of the objects, no more."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(25):
        bulks = [[_random(dice) for _ in range(dice.randint(1, 4))] for _ in range(4)]
        await race(*((desk, other)[i % 2].do(*bulk) for i, bulk in enumerate(bulks)))
    view = await assert_in_order(desk.store)
    assert {obj.id for obj in view} == {obj.id for obj in desk.cache.view}
    for obj in view:
        assert all(desk.cache.holders.owner(claim) == obj.id for claim in claims(obj, view))


def _random(dice: random.Random) -> Operation:
    net, name = f"n{dice.randint(0, 2)}", f"p{dice.randint(0, 3)}"
    ip = f"10.{dice.randint(0, 1)}.0.{dice.randint(2, 6)}"
    return dice.choice(
        [
            create("network", name=net),
            subnet(net, f"s{dice.randint(0, 1)}", f"10.{dice.randint(0, 1)}.0.0/24"),
            port(net, name),
            port(net, name, addresses=[{"ip": ip}]),
            patch("port", f"{net}/{name}", addresses=[{"ip": ip}]),
            patch("port", f"{net}/{name}", name=f"p{dice.randint(0, 3)}"),
            create("port", router="r", name=net),
            create("router", name="r"),
            link("r", net),
            delete("port", f"{net}/{name}"),
            delete("subnet", f"{net}/s{dice.randint(0, 1)}"),
            delete("network", net),
            delete("link", f"r-{net}"),
            create("security-group", name="g"),
            patch("port", f"{net}/{name}", security_groups=["g"]),
            delete("security-group", "g"),
        ]
    )


def test_giving_up_is_told_as_something_that_may_be_tried_again() -> None:
    assert Busy.status == 503
