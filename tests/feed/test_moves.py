"""A port moves: who is told, who follows what for a while, and how its records get across."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from onehop.feed.messages import Ask, Connections, GiveRecords, Moved, Records, Said, Unable
from onehop.model import Binding, Host, Port
from onehop.store import Store
from tests.feed.town import BLUE, GATEWAY, H1, H2, H3, RED, TOWN, bound, port
from tests.support.feeding import Controller, Watcher, controller, until, watching, write

pytestmark = pytest.mark.anyio
MOVING = port(RED, 10)  # the only port of red on H1; another is on H2
ROWS = Records("shape", 5, True, b"rows", False)


def moved_to(host: str) -> Binding:
    return msgspec.structs.replace(bound(MOVING, host), id=bound(MOVING, host).id[:-1] + "f", host=host)


async def move(store: Store, host: str = H3) -> int:
    """From H1 to a host that has nothing else of red."""
    return await write(store, moved_to(host), gone=[bound(MOVING, H1)])


def hearing(*hosts: Watcher) -> dict[str, list[Moved]]:
    """What each host is told of moves."""
    heard: dict[str, list[Moved]] = {host.host: [] for host in hosts}
    for host in hosts:
        host.follower.on_moved = heard[host.host].append
    return heard


def moves(heard: Iterable[Moved]) -> list[tuple[str, str, str]]:
    return [(one.port, one.former, one.now) for one in heard]


def serving(host: Watcher, said: Said = ROWS) -> list[Ask]:
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Said:
        asked.append(ask)
        return said

    host.follower.on_question = answer
    return asked


async def test_all_hosts_that_follow_the_port_hear_of_its_move(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store) as here,
        watching(H1, here.url) as one,
        watching(H2, here.url) as two,
        watching(H3, here.url) as three,
    ):
        heard = hearing(one, two, three)
        await until(lambda: all(host.has(here) for host in (one, two, three)))
        await move(store)
        await until(lambda: all(heard.values()))
        assert [moves(told) for told in heard.values()] == [[(MOVING.id, H1, H3)]] * 3
        assert all(0 < told.seconds <= 60 for (told,) in heard.values())


async def test_a_host_hears_of_a_move_before_the_change_and_again_when_it_comes_back(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here:
        async with watching(H3, here.url) as host:
            known: list[bool] = []
            host.follower.on_moved = lambda moved: known.append(MOVING.id in host.mirror)
            await until(lambda: host.has(here))
            await move(store)
            await until(lambda: MOVING.id in host.mirror)
            assert known == [False]
        async with watching(H3, here.url) as again:
            heard = hearing(again)
            await until(lambda: heard[H3])
            assert moves(heard[H3]) == [(MOVING.id, H1, H3)]


async def test_for_a_while_the_former_host_knows_where_the_port_is_and_the_new_one_where_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onehop.controller.moves.LASTS", 1.0)
    await write(store, *TOWN)
    async with controller(store) as here, watching(H1, here.url) as one, watching(H3, here.url) as three:
        await until(lambda: one.has(here) and three.has(here))
        assert H1 not in three.mirror
        gaps: list[bool] = []
        revision = await move(store)
        await until(lambda: one.batches and one.batches[-1].revision >= revision)
        gaps += [MOVING.id not in one.mirror, H3 not in one.mirror]
        await until(lambda: {MOVING.id, H1} <= three.mirror.keys())
        active = one.follower.topology.active_binding(MOVING.id)
        assert active is not None and active.host == H3
        assert gaps == [False, False], "it never loses sight of the port"
        assert isinstance(one.mirror[H3], Host) and isinstance(one.mirror[MOVING.id], Port)
        await until(lambda: one.has(here) and three.has(here))
        assert MOVING.id not in one.mirror


async def test_a_port_that_is_bound_nowhere_for_a_moment_has_moved_as_well(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here, watching(H2, here.url) as two:
        heard = hearing(two)
        await until(lambda: two.has(here))
        await write(store, gone=[bound(MOVING, H1)])
        await write(store, moved_to(H3))
        await until(lambda: heard[H2])
        assert moves(heard[H2]) == [(MOVING.id, H1, H3)]


@pytest.mark.parametrize("apart", [False, True])
async def test_the_new_host_gets_the_records_from_the_former_one(store: Store, apart: bool) -> None:
    await write(store, *TOWN)
    async with (
        controller(store, name="one") as near,
        controller(store, name="other") as far,
        watching(H3, near.url) as new,
        watching(H1, (far if apart else near).url) as former,
    ):
        asked = serving(former)
        at: Controller = far if apart else near
        await until(lambda: new.follower.current)
        await until(lambda: near.feed.presence.where(H1) == {at.feed.server.name})
        await move(store)
        await until(lambda: MOVING.id in new.mirror)
        assert await new.follower.fetch(MOVING.id, 7, b"after") == ROWS
        assert asked == [GiveRecords(MOVING.key, 7, b"after")]


async def test_a_host_on_standby_gets_them_from_where_the_port_is_active(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here, watching(H1, here.url) as active, watching(H3, here.url) as standby:
        serving(active)
        await until(lambda: active.follower.current and standby.follower.current)
        await write(store, msgspec.structs.replace(moved_to(H3), state="standby"))
        await until(lambda: MOVING.id in standby.mirror)
        assert await standby.follower.fetch(MOVING.id, 0, b"") == ROWS


async def test_records_are_given_to_nobody_else(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store) as here,
        watching(H1, here.url) as former,
        watching(H2, here.url) as other,
        watching(H3, here.url) as new,
        watching(GATEWAY, here.url) as gateway,
    ):
        asked = serving(former)
        hosts = (former, other, new, gateway)
        await until(lambda: all(host.follower.current for host in hosts))
        blue = port(BLUE, 10).id
        for host, wanted in ((other, MOVING.id), (gateway, MOVING.id), (former, MOVING.id), (new, blue)):
            assert isinstance(await host.follower.fetch(wanted, 0, b""), Unable)
        await move(store)
        await until(lambda: MOVING.id in new.mirror)
        for host in (other, gateway, former):
            assert isinstance(await host.follower.fetch(MOVING.id, 0, b""), Unable)
        assert isinstance(await new.follower.fetch("nobody", 0, b""), Unable)
        assert asked == []


async def test_a_former_host_that_is_gone_is_not_waited_for(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here, watching(H3, here.url) as new:
        await until(lambda: new.follower.current)
        await move(store)
        await until(lambda: MOVING.id in new.mirror)
        async with asyncio.timeout(5):
            said = await new.follower.fetch(MOVING.id, 0, b"")
        assert isinstance(said, Unable) and said.absent


async def test_an_answer_that_is_none_is_passed_on_as_it_is(store: Store) -> None:
    await write(store, *TOWN)
    nothing = Connections((), more=False)
    async with controller(store) as here, watching(H3, here.url) as new, watching(H1, here.url) as former:
        serving(former, nothing)
        await until(lambda: new.follower.current and former.follower.current)
        await move(store)
        await until(lambda: MOVING.id in new.mirror)
        assert await new.follower.fetch(MOVING.id, 0, b"") == nothing
