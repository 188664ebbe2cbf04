from __future__ import annotations

import contextlib
import uuid

import pytest

from onehop.model import Host
from onehop.store import Store, open_store
from tests.feed.town import BLUE, GATEWAY, H1, H2, H3, RED, TOWN, bound, port, retitled, uid
from tests.support.etcd import EtcdCluster
from tests.support.feeding import controller, until, watching, write

pytestmark = pytest.mark.anyio


async def test_waiting_ends_when_every_concerned_host_has_applied(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store) as c,
        watching(H1, c.url) as one,
        watching(H2, c.url) as two,
        watching(H3, c.url) as blue,
        watching(GATEWAY, c.url) as gateway,
    ):
        hosts = (one, two, blue, gateway)
        await until(lambda: all(host.has(c) for host in hosts))
        two.may_apply.clear()
        blue.may_apply.clear()  # is not concerned
        revision = await write(store, retitled(port(RED, 10), "new"))
        assert (await c.wait(revision, 0.3)).waiting == (H2,)
        two.may_apply.set()
        assert (await c.wait(revision)).done
        assert two.mirror[port(RED, 10).id].title == "new"
        blue.may_apply.set()


async def test_dead_hosts_are_named_and_not_waited_for(store: Store) -> None:
    await write(store, *TOWN)
    async with (
        controller(store, lease=0.3) as c,
        watching(H1, c.url) as one,
        watching(H3, c.url) as blue,
        watching(GATEWAY, c.url) as gateway,
    ):
        async with watching(H2, c.url) as two:
            await until(lambda: all(host.has(c) for host in (one, two, blue, gateway)))
            await until(lambda: c.feed.presence.is_here(H2))
        await until(lambda: H2 in c.feed.presence.dead())
        revision = await write(store, retitled(port(RED, 10), "new"))
        result = await c.wait(revision)
        assert result.done and result.dead == (H2,)


async def test_presence_comes_back_when_only_the_lease_was_lost(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store, name="c", lease=0.5) as c, watching(H1, c.url) as one:
        await until(lambda: one.has(c) and c.feed.presence.is_here(H1))
        first = c.feed.reports.lease
        await store.revoke(first)
        await until(lambda: c.feed.reports.lease != first and c.feed.presence.is_here(H1))
        assert await store.get(f"status/host/{H1}/c") is not None


async def test_hosts_that_never_came_are_named_and_not_waited_for(store: Store) -> None:
    await write(store, *TOWN)
    new = Host(id=uid(2, 77), name="h77")
    async with contextlib.AsyncExitStack() as stack:
        c = await stack.enter_async_context(controller(store))
        hosts = [await stack.enter_async_context(watching(host, c.url)) for host in (H1, H2, H3, GATEWAY)]
        await until(lambda: all(host.has(c) for host in hosts))
        await write(store, new)
        at = port(RED, 40)
        revision = await write(store, at, bound(at, new.id))
        result = await c.wait(revision)
        assert result.done and result.dead == (new.id,)


async def test_a_host_that_is_late_with_something_else_is_not_waited_for(etcd: EtcdCluster) -> None:
    """Whether a controller asks of its own hosts, or of another's."""
    store = await open_store(etcd.url(f"/test-{uuid.uuid4().hex}/"))
    await write(store, *TOWN)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.push_async_callback(store.close)
        one, two = [await enter(controller(store, name=name)) for name in ("one", "two")]
        red = [await enter(watching(host, one.url)) for host in (H1, H2, GATEWAY)]
        blue = await enter(watching(H3, two.url))
        await until(lambda: all(host.has(one) for host in red) and blue.has(two))
        blue.may_apply.clear()
        late = await write(store, retitled(port(BLUE, 10), "late"))
        revision = await write(store, retitled(port(RED, 10), "new"))
        for c in (one, two):
            assert (await c.wait(late, 0.5)).waiting == (H3,)
            assert (await c.wait(revision)).done
        blue.may_apply.set()
        assert (await one.wait(late)).done
