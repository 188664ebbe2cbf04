from __future__ import annotations

import asyncio

import pytest

from onehop.controller.actor import Actor
from onehop.controller.engine import Operation
from onehop.controller.refusals import Conflict, Forbidden, Malformed, NotFound, Stale, TooMuch, Unprocessable
from onehop.model import Network, Port, Subnet
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


async def test_what_was_made_is_in_the_cache_at_the_revision_told(desk: Desk) -> None:
    done = await desk.do(create("network", name="web"))
    network = done.results[0].object
    assert desk.cache.view.find(network.id) == network
    assert desk.cache.revision_of(network.id) == done.revision == done.results[0].revision


async def test_later_operations_refer_by_name_to_what_earlier_ones_made(desk: Desk) -> None:
    done = await desk.do(
        create("network", name="web"), subnet("web", "v4", "10.0.1.0/24"), port("web", "web-1")
    )
    made = done.results[2].object
    assert isinstance(made, Port)
    assert made.network == done.results[0].object.id
    assert [address.subnet for address in made.addresses] == [done.results[1].object.id]


async def test_what_is_left_out_is_chosen(desk: Desk) -> None:
    await desk.web()
    made = await desk.make("port", network="web")
    assert made.name == f"port-{made.id[:8]}"
    assert made.mac.startswith("02:")
    assert made.addresses[0].ip.startswith("10.0.1.")
    assert made.key > 0
    assert made.project == desk.mine


async def test_a_bulk_with_one_wrong_operation_writes_nothing(desk: Desk) -> None:
    before = await desk.store.revision()
    with pytest.raises(Unprocessable) as refused:
        await desk.do(create("network", name="web"), create("network", name="db", mtu=1))
    assert refused.value.operation == 1
    assert [p.field for p in refused.value.problems] == ["mtu"]
    assert await desk.store.revision() == before
    assert desk.cache.view.by_name(Network, desk.mine, "web") is None


async def test_every_wrong_field_is_named(desk: Desk) -> None:
    with pytest.raises(Unprocessable) as refused:
        await desk.do(create("network", mtu="big", learning=3, colour="red", grants=[{"allow": "x"}]))
    assert {p.field for p in refused.value.problems} == {"mtu", "learning", "colour", "grants[0].allow"}


async def test_what_the_controller_sets_is_refused_in_a_body(desk: Desk) -> None:
    with pytest.raises(Unprocessable, match="key: is set by the controller"):
        await desk.do(create("network", key=7))


async def test_a_taken_name_is_told_with_who_has_it(desk: Desk) -> None:
    await desk.web()
    with pytest.raises(Conflict, match="name 'web' is taken by network 'web'") as refused:
        await desk.do(create("network", name="web"))
    assert [p.field for p in refused.value.problems] == ["name"]


async def test_a_taken_address_is_told_with_who_has_it(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "a", addresses=[{"ip": "10.0.1.7"}]))
    with pytest.raises(Conflict, match=r"address 10\.0\.1\.7 is taken by port 'a'"):
        await desk.do(port("web", "b", addresses=[{"ip": "10.0.1.7"}]))


async def test_deleting_what_is_in_use_tells_what_uses_it(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "web-1"), port("web", "web-2"))
    with pytest.raises(Conflict) as refused:
        await desk.do(delete("network", "web"))
    assert refused.value.message.startswith("network 'web' is in use by 2 ports: ")
    assert "web-1" in refused.value.message
    assert "1 subnet: v4" in refused.value.message


async def test_parts_and_whole_are_deleted_in_one_bulk(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "a"), port("web", "b"))
    await desk.do(
        delete("port", "web/a"), delete("port", "web/b"), delete("subnet", "web/v4"), delete("network", "web")
    )
    view = await assert_in_order(desk.store)
    assert view.all(Network) == []


async def test_a_patch_keeps_what_it_does_not_name(desk: Desk) -> None:
    await desk.web()
    made = await desk.make("port", network="web", name="a", labels={"tier": "front", "zone": "1"})
    done = await desk.do(patch("port", "web/a", title="A", labels={"zone": None}))
    after = done.results[0].object
    assert isinstance(after, Port)
    assert (after.title, after.labels) == ("A", {"tier": "front"})
    assert (after.mac, after.addresses, after.key) == (made.mac, made.addresses, made.key)


async def test_a_replacement_keeps_what_was_chosen_and_resets_the_rest(desk: Desk) -> None:
    await desk.web()
    made = await desk.make("port", network="web", name="a", title="old")
    done = await desk.do(Operation("replace", "port", "web/a", {"name": "a", "admin_up": False}))
    after = done.results[0].object
    assert isinstance(after, Port)
    assert (after.title, after.admin_up) == ("", False)
    assert (after.mac, after.addresses, after.key, after.network) == (
        made.mac,
        made.addresses,
        made.key,
        made.network,
    )


async def test_renaming_and_taking_the_old_name_go_in_one_bulk(desk: Desk) -> None:
    await desk.do(create("network", name="a"))
    await desk.do(patch("network", "a", name="b"), create("network", name="a"))
    view = await assert_in_order(desk.store)
    assert {network.name for network in view.all(Network)} == {"a", "b"}


async def test_an_address_moves_between_ports_in_one_bulk(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "a", addresses=[{"ip": "10.0.1.7"}]), port("web", "b", addresses=[]))
    await desk.do(
        patch("port", "web/a", addresses=[]), patch("port", "web/b", addresses=[{"ip": "10.0.1.7"}])
    )
    await assert_in_order(desk.store)


async def test_what_changes_nothing_writes_nothing(desk: Desk) -> None:
    await desk.web()
    before = await desk.store.revision()
    done = await desk.do(patch("network", "web", mtu=1450))
    assert await desk.store.revision() == before
    assert done.results[0].revision == desk.cache.revision_of(done.results[0].object.id)


async def test_what_never_changes_is_refused(desk: Desk) -> None:
    await desk.web()
    with pytest.raises(Unprocessable, match="cidr: cannot be changed"):
        await desk.do(patch("subnet", "web/v4", cidr="10.0.2.0/24"))


async def test_an_older_revision_is_stale(desk: Desk) -> None:
    first = await desk.do(create("network", name="web"))
    await desk.do(patch("network", "web", title="x"))
    with pytest.raises(Stale):
        await desk.do(
            Operation("patch", "network", "web", {"title": "y"}, if_match=first.results[0].revision)
        )


async def test_a_bulk_beyond_128_names_apply(desk: Desk) -> None:
    with pytest.raises(TooMuch, match="apply"):
        await desk.do(*[create("network", name=f"n{i}") for i in range(129)])


async def test_a_bulk_that_the_store_cannot_take_is_refused_whole(desk: Desk) -> None:
    room = desk.store.max_operations // 4
    if room > 128:  # this store takes a whole bulk
        done = await desk.do(*[create("network", name=f"n{i}") for i in range(128)])
        assert len(done.results) == 128
        return
    with pytest.raises(TooMuch, match="apply"):
        await desk.do(*[create("network", name=f"n{i}") for i in range(128)])
    assert desk.cache.view.all(Network) == []


@pytest.mark.parametrize(
    "operation",
    [
        create("nonsense", name="x"),
        Operation("create", "network"),
        Operation("delete", "network"),
        Operation("upsert", "network", "x", {}),  # type: ignore[arg-type]
    ],
)
async def test_what_makes_no_sense_is_malformed(desk: Desk, operation: Operation) -> None:
    with pytest.raises((Malformed, NotFound)):
        await desk.do(operation)


# --- who may do what ----------------------------------------------------------------------------------


async def test_another_projects_object_is_not_found(desk: Desk) -> None:
    await desk.web()
    network = desk.cache.view.by_name(Network, desk.mine, "web")
    assert network is not None
    for ref in (network.id, "web", "mine:web"):
        with pytest.raises(NotFound):
            await desk.do(delete("network", ref), actor=desk.them)
        with pytest.raises(Unprocessable, match="there is no network"):
            await desk.do(port(ref, "p"), actor=desk.them)


async def test_two_projects_use_the_same_names_and_addresses(desk: Desk) -> None:
    for actor in (desk.me, desk.them):
        await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/24"), actor=actor)
        await desk.do(port("web", "a", addresses=[{"ip": "10.0.1.7"}]), actor=actor)
    await assert_in_order(desk.store)


async def test_a_granted_network_is_used_by_its_name_in_the_other_project(desk: Desk) -> None:
    await desk.do(
        create("network", name="web", grants=[{"allow": "use", "project": "theirs"}]),
        subnet("web", "v4", "10.0.1.0/24"),
    )
    made = await desk.make("port", desk.them, network="mine:web")
    assert made.project == desk.theirs
    assert made.addresses


async def test_a_granted_network_is_read_but_not_changed(desk: Desk) -> None:
    await desk.do(create("network", name="web", grants=[{"allow": "use"}]))
    with pytest.raises(Forbidden):
        await desk.do(patch("network", "mine:web", mtu=1400), actor=desk.them)


async def test_readers_write_nothing(desk: Desk) -> None:
    reader = Actor(token="r", name="r", projects={desk.mine: "reader"})
    await desk.web()
    for operation in (create("network"), patch("network", "web", mtu=1400), delete("network", "web")):
        with pytest.raises(Forbidden):
            await desk.do(operation, actor=reader)


async def test_only_administrators_write_what_belongs_to_the_cloud(desk: Desk) -> None:
    for operation in (create("host", name="h1"), create("project", name="p"), delete("project", "mine")):
        with pytest.raises(Forbidden):
            await desk.do(operation)
    await desk.do(create("host", name="h1"), actor=ADMIN)


async def test_an_administrator_says_which_project(desk: Desk) -> None:
    with pytest.raises(Unprocessable, match="project: is needed"):
        await desk.do(create("network", name="web"), actor=ADMIN)
    made = await desk.make("network", ADMIN, name="web", project="mine")
    assert made.project == desk.mine
    part = await desk.make("subnet", ADMIN, name="v4", network=made.id, cidr="10.0.1.0/24")
    assert part.project == desk.mine


# --- rules over sets ----------------------------------------------------------------------------------


async def test_a_router_is_linked_and_routes(desk: Desk) -> None:
    await desk.web()
    await desk.router("edge", "web")
    await desk.do(
        create("route", name="out", router="edge", destination="0.0.0.0/0", next_hops=[{"ip": "10.0.1.9"}])
    )
    await assert_in_order(desk.store)


async def test_overlapping_subnets_meet_at_no_router(desk: Desk) -> None:
    await desk.web()
    await desk.do(create("network", name="db"), subnet("db", "v4", "10.0.1.0/25"))
    await desk.router("edge", "web")
    with pytest.raises(Unprocessable, match="overlaps subnet v4"):
        await desk.do(*ends("edge", "db"), link("edge", "db"))


async def test_a_full_subnet_is_told(desk: Desk) -> None:
    await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/30"))
    await desk.do(port("web", "a"))
    with pytest.raises(Unprocessable, match="no address is free in subnet v4"):
        await desk.do(port("web", "b"))


async def test_the_gateway_is_not_handed_out(desk: Desk) -> None:
    await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/29"))
    await desk.do(*[port("web", f"p{i}") for i in range(5)])
    used = {a.ip for p in desk.cache.view.all(Port) for a in p.addresses}
    assert used == {f"10.0.1.{i}" for i in range(2, 7)}
    assert [s.gateway for s in desk.cache.view.all(Subnet)] == ["10.0.1.1"]


async def test_a_chosen_address_rests_when_it_is_given_up_but_may_be_asked_for(desk: Desk) -> None:
    await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/30"))
    made = await desk.make("port", network="web", name="a")
    await desk.do(delete("port", "web/a"))
    with pytest.raises(Unprocessable, match="no address is free"):
        await desk.do(port("web", "b"))
    again = await desk.make("port", network="web", name="b", addresses=[{"ip": made.addresses[0].ip}])
    assert again.addresses == made.addresses


async def test_what_rests_is_known_to_a_controller_that_starts_later(desk: Desk) -> None:
    from onehop.controller.engine import Engine

    await desk.do(create("network", name="web"), subnet("web", "v4", "10.0.1.0/30"))
    await desk.do(port("web", "a"))
    await desk.do(delete("port", "web/a"))
    later = await Engine.open(desk.store, desk.cache)
    with pytest.raises(Unprocessable, match="no address is free"):
        await later.commit([port("web", "b")], desk.me)


async def test_many_bulks_that_make_networks_with_their_parts_get_along(desk: Desk) -> None:
    """Sets of what a plan itself makes are nobody else's: such plans need not wait for each other."""
    bulks = [
        [create("network", name=f"n{i}"), subnet(f"n{i}", "v4", "10.0.1.0/24"), port(f"n{i}", "p")]
        for i in range(12)
    ]
    done = await asyncio.gather(*(desk.do(*bulk) for bulk in bulks))
    assert len({result.object.id for one in done for result in one.results}) == 36
    await assert_in_order(desk.store)


async def test_a_plan_is_made_anew_when_an_object_it_changes_was_written_meanwhile(desk: Desk) -> None:
    await desk.web()
    await desk.do(create("router", name="edge"), create("port", router="edge", name="p", kind="router"))
    address = [{"ip": "192.0.2.1", "prefix": 24}]
    await asyncio.gather(
        desk.do(patch("port", "edge/p", addresses=address)),  # changes a set, so it waits for its guard
        *(desk.do(patch("port", "edge/p", labels={f"l{i}": "x"})) for i in range(6)),
    )
    (found,) = desk.cache.view.all(Port)
    assert set(found.labels) == {f"l{i}" for i in range(6)}
    assert [a.ip for a in found.addresses] == ["192.0.2.1"]
