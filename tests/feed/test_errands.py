"""Questions to hosts reach them wherever they are connected, and leave nothing behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onehop.controller.feed import Feed
from onehop.controller.refusals import Busy
from onehop.feed.messages import Ask, Connections, ForgetConnections, Forgotten, ListConnections, Said, Unable
from onehop.store import Store, list_all, open_store
from tests.feed.town import H1, H2, TOWN
from tests.support.feeding import Controller, Watcher, controller, until, watching, write

pytestmark = pytest.mark.anyio
ASK = ListConnections("a-port")
NOTHING = Connections((), more=False)


@pytest.fixture(params=["sqlite", "etcd"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Store]:
    """What controllers that pass questions to each other have in common."""
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path}/store.db"
    else:
        url = request.getfixturevalue("etcd").url(f"/test-{uuid.uuid4().hex}/")
    store = await open_store(url)
    yield store
    await store.close()


def answering(watcher: Watcher, *said: Said) -> list[Ask]:
    """Have a host answer; what it is asked goes into the list."""
    asked: list[Ask] = []

    async def answer(ask: Ask) -> Said:
        asked.append(ask)
        return said[len(asked) - 1]

    watcher.follower.on_question = answer
    return asked


async def keys(store: Store) -> list[str]:
    return [entry.key for entry in (await list_all(store, "errand/"))[0]]


async def left_nothing(store: Store) -> bool:
    async with asyncio.timeout(10):
        while await keys(store):
            pass
    return True


def sees(feed: Feed, host: str, at: Controller) -> bool:
    return feed.presence.where(host) == {at.feed.server.name}


async def test_a_host_is_asked_by_its_own_controller(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here, watching(H1, here.url) as host:
        asked = answering(host, NOTHING, Forgotten(3))
        await until(lambda: host.follower.current)
        assert await here.feed.errands.ask(H1, ASK) == NOTHING
        assert await here.feed.errands.ask(H1, ForgetConnections(7, ("id",))) == Forgotten(3)
        assert asked == [ASK, ForgetConnections(7, ("id",))]
        assert await keys(store) == []


async def test_a_host_is_asked_through_the_controller_that_it_is_connected_to(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store, name="near") as near,
        controller(store, name="far") as far,
        watching(H1, far.url) as host,
    ):
        asked = answering(host, NOTHING)
        await until(lambda: sees(near.feed, H1, far))
        assert await near.feed.errands.ask(H1, ASK) == NOTHING
        assert asked == [ASK]
        assert await left_nothing(store)


async def test_many_questions_get_their_own_answers(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store, name="near") as near,
        controller(store, name="far") as far,
        watching(H1, far.url) as one,
        watching(H2, near.url) as other,
    ):

        async def count(ask: Ask) -> Said:
            assert isinstance(ask, ForgetConnections)
            return Forgotten(ask.key)

        one.follower.on_question = other.follower.on_question = count
        await until(lambda: sees(near.feed, H1, far) and other.follower.current)
        asks = [
            near.feed.errands.ask(host, ForgetConnections(n, ())) for n in range(1, 17) for host in (H1, H2)
        ]
        assert await asyncio.gather(*asks) == [Forgotten(n) for n in range(1, 17) for _ in (H1, H2)]
        assert await left_nothing(store)


async def test_a_host_that_is_connected_nowhere_is_said_to_be_absent(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here:
        said = await here.feed.errands.ask(H1, ASK)
        assert isinstance(said, Unable) and said.absent


async def test_a_host_that_goes_away_is_not_waited_for(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here:
        async with watching(H1, here.url) as host:
            heard = asyncio.Event()

            async def never(ask: Ask) -> Said:
                heard.set()
                await asyncio.Event().wait()
                return NOTHING

            host.follower.on_question = never
            await until(lambda: host.follower.current)
            asking = asyncio.create_task(here.feed.errands.ask(H1, ASK))
            await heard.wait()
        said = await asking
        assert isinstance(said, Unable) and said.absent


async def test_a_host_that_does_not_answer_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onehop.controller.errands.PATIENCE", 0.1)
    await write(store, *TOWN)
    async with (
        controller(store, name="near") as near,
        controller(store, name="far") as far,
        watching(H1, far.url) as host,
    ):

        async def never(ask: Ask) -> Said:
            await asyncio.Event().wait()
            return NOTHING

        host.follower.on_question = never
        await until(lambda: sees(near.feed, H1, far))
        for one in (near, far):
            with pytest.raises(Busy, match="does not answer"):
                await one.feed.errands.ask(H1, ASK)
        assert await left_nothing(store)


async def test_a_host_has_only_so_many_questions_at_a_time(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as here, watching(H1, here.url) as host:
        go_on = asyncio.Event()

        async def late(ask: Ask) -> Said:
            await go_on.wait()
            return NOTHING

        host.follower.on_question = late
        await until(lambda: host.follower.current)
        asking = [asyncio.create_task(here.feed.errands.ask(H1, ASK)) for _ in range(40)]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(task.result(), Unable) for task in done)
        go_on.set()
        assert [task.result() for task in (await asyncio.wait(waiting))[0]] == [NOTHING] * len(waiting)
        assert len(waiting) == 32
