"""A host, a controller and a real store, over a real WebSocket."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from onehop.feed.messages import PortReport
from onehop.store import Delete, Store, open_store
from onehop.store.backup import back_up, restore
from tests.feed.town import BLUE, GATEWAY, H1, H2, H3, HOSTS, RED, TOWN, bound, port, retitled, tenant, uid
from tests.support.feeding import Watcher, controller, until, watching, write
from tests.support.pki import Authority

pytestmark = pytest.mark.anyio


async def test_a_host_gets_what_it_reaches_and_nothing_else(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H1, c.url) as red, watching(GATEWAY, c.url) as gateway:
        await until(lambda: red.has(c) and gateway.has(c))
        assert port(RED, 11).id in red.mirror and port(BLUE, 10).id not in red.mirror
        assert port(RED, 11).id in gateway.mirror and port(BLUE, 10).id in gateway.mirror


async def test_changes_reach_the_hosts_that_they_concern_and_no_others(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H1, c.url) as red, watching(H3, c.url) as blue:
        await until(lambda: red.has(c) and blue.has(c))
        before = len(blue.batches)
        new = port(RED, 12)
        revision = await write(store, new, bound(new, H2), gone=[bound(port(RED, 11), H2), port(RED, 11)])
        await until(lambda: red.follower.position.revision == revision)
        assert red.has(c)
        assert set(red.batches[-1].changes) == {
            new.id,
            bound(new, H2).id,
            port(RED, 11).id,
            bound(port(RED, 11), H2).id,
        }
        assert len(blue.batches) == before


async def test_a_feed_resumes_with_just_what_changed_meanwhile(store: Store, tmp_path: Path) -> None:
    await write(store, *TOWN)
    async with controller(store) as c:
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
        await until(lambda: not c.sessions)
        changed = retitled(port(RED, 11), "changed")
        new = port(RED, 12)
        await write(store, changed, new, gone=[bound(port(RED, 11), H2)])
        await store.compact(await store.revision())
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            assert len(red.mirror) > 10
            await until(lambda: red.has(c))
            assert [set(batch.changes) for batch in red.batches] == [
                {changed.id, new.id, bound(port(RED, 11), H2).id, H2}  # nothing of red is on 2 any more
            ]


async def test_a_feed_that_missed_nothing_repeats_nothing(store: Store, tmp_path: Path) -> None:
    await write(store, *TOWN)
    for expected in (1, 0):  # batches: all at first, then none, at a new controller too
        async with controller(store) as c, watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
            assert len(red.batches) == expected


async def test_a_restarted_agent_has_its_topology_without_a_controller(store: Store, tmp_path: Path) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H1, c.url, kept=tmp_path / "kept") as red:
        await until(lambda: red.has(c))
        held = red.mirror
    again = Watcher(H1, ["ws://127.0.0.1:1/v1/feed"], tmp_path / "kept")
    assert {obj.id: obj for obj in again.follower.topology} == held
    again.kept.close()


async def test_a_damaged_file_is_set_aside_and_filled_again(store: Store, tmp_path: Path) -> None:
    await write(store, *TOWN)
    kept = tmp_path / "kept"
    kept.write_bytes(b"not a database" * 1000)
    async with controller(store) as c, watching(H1, c.url, kept=kept) as red:
        await until(lambda: red.has(c))
    assert (tmp_path / "kept.unreadable").read_bytes().startswith(b"not a database")


async def test_after_a_restore_hosts_hold_what_the_store_holds_now(tmp_path: Path) -> None:
    """The history that was lost and the one that took its place used the same revisions."""
    path, backup, kept = tmp_path / "store.db", tmp_path / "backup.db", tmp_path / "kept"
    store = await open_store(f"sqlite://{path}")
    await write(store, *TOWN)
    back_up(path, backup)
    lost = port(RED, 12)
    await write(store, retitled(port(RED, 10), "lost"), lost)
    async with controller(store) as c, watching(H1, c.url, kept=kept) as red:
        await until(lambda: red.has(c))
    await store.close()
    restore(backup, path)
    store = await open_store(f"sqlite://{path}")
    kept_port = retitled(port(RED, 10), "kept")
    await write(store, kept_port)
    async with controller(store) as c, watching(H1, c.url, kept=kept) as red:
        assert red.mirror[port(RED, 10).id].title == "lost"
        await until(lambda: red.has(c))
        assert [set(batch.changes) for batch in red.batches] == [{port(RED, 10).id, lost.id}]
        assert red.mirror[port(RED, 10).id] == kept_port and lost.id not in red.mirror
    await store.close()


async def test_a_host_may_follow_more_on_demand_and_let_go(store: Store, tmp_path: Path) -> None:
    await write(store, *TOWN)
    far = port(BLUE, 10)
    async with controller(store) as c:
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
            assert await red.follower.follow(far.key) == far.id
            assert far.id in red.mirror and bound(far, H3).id in red.mirror
            assert await red.follower.follow(999_999) is None
            assert await red.follower.follow(uid(99, 1)) is None
        async with watching(H1, c.url, kept=tmp_path / "kept") as red:
            await until(lambda: red.has(c))
            assert not red.batches and far.id in red.mirror
            red.follower.release([far.id])
            await until(lambda: far.id not in red.mirror)
            await until(lambda: red.has(c))


async def test_a_host_that_takes_nothing_is_owed_each_object_once(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.has(c))
        red.may_apply.clear()
        for n in range(300):
            await write(store, retitled(port(RED, 10), "x" * 200 + str(n)), retitled(port(RED, 11), str(n)))
        revision = await write(store, retitled(port(RED, 10), "last"))
        await c.cache.wait_for(revision)
        assert len(c.sessions[H1].dirty) <= 2
        red.may_apply.set()
        await until(lambda: red.has(c))
        assert red.mirror[port(RED, 10).id].title == "last"


async def test_a_large_snapshot_takes_effect_as_one_change(store: Store) -> None:
    await write(store, *TOWN)
    many = [retitled(port(RED, n), "y" * 200) for n in range(100, 3100)]
    for start in range(0, len(many), 1000):
        await write(store, *many[start : start + 1000])
    async with controller(store) as c, watching(H1, c.url) as red:
        await until(lambda: red.follower.current)
        assert len(red.batches) == 1 and {obj.id for obj in many} <= red.batches[0].changes.keys()


async def test_a_host_that_is_removed_is_sent_away(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H2, c.url) as red:
        await until(lambda: red.has(c))
        await write(store, gone=[HOSTS[2]])
        await until(lambda: red.follower.refused)
        assert "removed" in str(red.follower.refused)
        assert port(RED, 11).id in red.mirror  # what is there keeps working


async def test_a_second_feed_of_a_host_takes_the_place_of_the_first(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(H1, c.url) as first:
        await until(lambda: first.has(c))
        session = c.sessions[H1]
        async with watching(H1, c.url) as second:
            await until(lambda: second.follower.current and session.ended.done())


async def test_a_new_tenant_reaches_the_gateway_as_it_is_built(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store) as c, watching(GATEWAY, c.url) as gateway, watching(H1, c.url) as red:
        await until(lambda: gateway.has(c) and red.has(c))
        for obj in tenant(4, [H1]):
            revision = await write(store, obj)
        await c.cache.wait_for(revision)
        await until(lambda: gateway.has(c) and red.has(c))
        assert port(4, 10).id in red.mirror
        for obj in reversed(tenant(4, [H1])):
            revision = await write(store, gone=[obj])
        await c.cache.wait_for(revision)
        await until(lambda: gateway.has(c) and red.has(c))
        assert port(4, 10).id not in red.mirror


async def test_only_a_controller_of_the_pinned_authority_is_believed(store: Store, tmp_path: Path) -> None:
    ours, other = (Authority(name).files(tmp_path / name) for name in ("ours", "other"))
    await write(store, *TOWN)
    async with (
        controller(store, cert=ours.cert, key=ours.key) as c,
        watching(H1, c.url, ca=str(other.ca)) as fooled,
        watching(H1, c.url, ca=str(ours.ca)) as red,
    ):
        await until(lambda: red.has(c))
        assert not fooled.mirror


async def test_how_ports_do_is_said_again_to_whoever_comes_next(store: Store) -> None:
    """However long the controller was away, and whatever became of what it wrote."""
    await write(store, *TOWN)
    here, key = port(RED, 10), f"status/port/{port(RED, 10).id}/{H1}"

    async def told() -> bool:
        return await store.get(key) is not None

    async with contextlib.AsyncExitStack() as stack:
        async with controller(store) as c:
            host = await stack.enter_async_context(watching(H1, c.url))
            await until(lambda: host.has(c))
            host.follower.report_ports(
                [PortReport(here.id, "active"), PortReport(port(BLUE, 10).id, "active")]
            )
            while not await told():
                pass
            url_port = int(c.url.rpartition(":")[2].partition("/")[0])
        await store.transact([], [Delete(key)])
        async with controller(store, port=url_port) as c:
            while not await told():
                pass
            assert await store.get(f"status/port/{port(BLUE, 10).id}/{H1}") is None
