"""What is etcd's own: members that die, TLS, logins, restores. What all drivers do is told beside this."""

from __future__ import annotations

import asyncio
import base64
import shutil
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from onehop.store import (
    Batch,
    Committed,
    Compacted,
    Incompatible,
    Put,
    Store,
    StoreError,
    TooLarge,
    Unavailable,
    list_all,
    open_store,
)
from onehop.store.etcd import EtcdStore, Login, Tls
from tests.support.etcd import EtcdCluster
from tests.support.pki import Authority
from tests.support.relay import Relay

pytestmark = pytest.mark.anyio


@pytest.fixture
def mortal() -> Iterator[EtcdCluster]:
    """One member, for tests that harm it."""
    with EtcdCluster() as cluster:
        yield cluster


async def commit(store: Store, *writes: Put) -> int:
    outcome = await store.transact([], writes)
    assert isinstance(outcome, Committed)
    return outcome.revision


async def follow(store: Store, after: int, seen: list[Batch]) -> None:
    """Collect what a watch delivers until the key `end` is written."""
    async with aclosing(store.watch("", after=after)) as watch:
        async for batch in watch:
            if batch.changes:
                seen.append(batch)
            if any(change.key == "end" for change in batch.changes):
                return


async def write_numbers(store: Store, lane: int, count: int) -> list[str]:
    """Write so many keys, each at its own attempt; what was acknowledged."""
    acknowledged = []
    for n in range(count):
        key = f"obj/{lane}/{n}"
        try:
            await store.transact([], [Put(key, b"")])
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            acknowledged.append(key)
    return acknowledged


async def test_watches_and_writes_go_on_after_etcd_was_killed(mortal: EtcdCluster) -> None:
    store = await open_store(mortal.url())
    start = await store.revision()
    seen: list[Batch] = []
    watching = asyncio.create_task(follow(store, start, seen))
    acknowledged: list[str] = []
    for round_ in range(3):
        writers = [asyncio.create_task(write_numbers(store, round_ * 4 + lane, 100)) for lane in range(4)]
        before = len(seen)
        while len(seen) < before + 20:  # noqa: ASYNC110 - kill it in full flight, whenever that is
            await asyncio.sleep(0.005)
        mortal.kill()
        await asyncio.to_thread(mortal.start)
        for written in await asyncio.gather(*writers):
            acknowledged += written
    await commit(store, Put("end", b""))
    async with asyncio.timeout(30):
        await watching
    entries, revision = await list_all(store, "")
    await store.close()
    assert {entry.key for entry in entries} >= set(acknowledged)
    assert [batch.revision for batch in seen] == list(range(start + 1, revision + 1))
    assert [change.key for batch in seen for change in batch.changes] == [
        entry.key for entry in sorted(entries, key=lambda entry: entry.revision)
    ]


async def written(store: Store, key: str, after: int) -> None:
    async with aclosing(store.watch(key, after=after)) as watch:
        async for batch in watch:
            if batch.changes:
                return


async def test_a_write_whose_answer_is_lost_is_told_and_not_sent_again(etcd: EtcdCluster) -> None:
    prefix = f"/{uuid.uuid4().hex}/"
    async with Relay(etcd.members[0].client) as relay:
        direct = await EtcdStore.open(etcd.endpoints, prefix=prefix)
        store = await EtcdStore.open([f"127.0.0.1:{relay.port}"], prefix=prefix)
        before = await store.revision()
        relay.mute = True
        writing = asyncio.create_task(store.transact([], [Put("obj/a", b"1")]))
        async with asyncio.timeout(5):
            await written(direct, "obj/a", before)
        relay.mute = False
        relay.cut()
        with pytest.raises(Unavailable):
            await writing
        entry = await store.get("obj/a")
        assert entry is not None
        assert entry.created == entry.revision
        await store.close()
        await direct.close()


async def test_an_etcd_that_does_not_answer_is_unavailable(mortal: EtcdCluster) -> None:
    store = await EtcdStore.open(mortal.endpoints, patience=0.5)
    mortal.pause()
    for call in (store.get("a"), store.list(""), store.transact([], [Put("a", b"")]), store.keep_alive(1)):
        with pytest.raises(Unavailable):
            await call
    mortal.resume()
    await write_until(store, "obj/b")
    await store.close()


async def test_an_etcd_that_is_gone_is_unavailable_and_named(mortal: EtcdCluster) -> None:
    store = await EtcdStore.open(mortal.endpoints, patience=0.5)
    mortal.kill()
    for call in (store.get("a"), store.list(""), store.transact([], [Put("a", b"")]), store.grant(5)):
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable, match=rf"etcd at {mortal.endpoints[0]} cannot be reached; check"):
        await EtcdStore.open(mortal.endpoints, patience=0.5)
    await store.close()


async def test_a_watch_whose_revisions_were_compacted_while_etcd_was_away_says_so(
    mortal: EtcdCluster,
) -> None:
    store = await open_store(mortal.url())
    start = await store.revision()
    first = await commit(store, Put("obj/a", b""))
    async with asyncio.timeout(30), aclosing(store.watch("obj/", after=start)) as watch:
        assert (await anext(watch)).revision == first
        mortal.kill()
        await asyncio.to_thread(mortal.start)
        await write_until(store, "obj/b")
        await store.compact(await store.revision())
        with pytest.raises(Compacted):
            await anext(watch)
    await store.close()


# --- several members --------------------------------------------------------------------------------


async def test_a_cluster_goes_on_without_any_one_member() -> None:
    with EtcdCluster(3) as cluster:
        store = await open_store(cluster.url())
        seen: list[Batch] = []
        start = await store.revision()
        watching = asyncio.create_task(follow(store, start, seen))
        written = []
        for number in range(3):
            written += await write_until(store, f"obj/before/{number}")
            await asyncio.to_thread(cluster.kill, number)
            written += await write_until(store, f"obj/without/{number}")
            await asyncio.to_thread(cluster.start, number)
        await write_until(store, "end")
        async with asyncio.timeout(30):
            await watching
        assert [change.key for batch in seen for change in batch.changes] == [*written, "end"]
        await asyncio.to_thread(cluster.kill, 0)
        await asyncio.to_thread(cluster.kill, 1)
        with pytest.raises(Unavailable):
            await store.transact([], [Put("no/quorum", b"")])
        await store.close()


async def write_until(store: Store, key: str) -> list[str]:
    """Write a key, once: until it is there."""
    async with asyncio.timeout(60):
        while True:
            try:
                if await store.get(key) is None:
                    await store.transact([], [Put(key, b"")])
                return [key]
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_one_dead_endpoint_of_several_is_passed_over(etcd: EtcdCluster) -> None:
    dead = "127.0.0.1:9"
    for endpoints in ([dead, *etcd.endpoints], [*etcd.endpoints, dead]):
        store = await EtcdStore.open(endpoints, prefix=f"/{uuid.uuid4().hex}/")
        revision = await commit(store, Put("obj/a", b""))
        assert (await store.list("obj/")).revision >= revision
        await store.close()


# --- TLS and logins ---------------------------------------------------------------------------------


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    files, stranger = Authority("ours").files(tmp_path / "a"), Authority("theirs").files(tmp_path / "b")
    with EtcdCluster(tls=files) as cluster:
        query = f"ca={files.ca}&cert={files.client_cert}&key={files.client_key}"
        store = await open_store(cluster.url(query=query))
        revision = await commit(store, Put("obj/a", b""))
        async with asyncio.timeout(30), aclosing(store.watch("", after=revision - 1)) as watch:
            assert (await anext(watch)).revision == revision
        await store.close()
        ca, cert, key = (path.read_bytes() for path in (files.ca, files.client_cert, files.client_key))
        for wrong in (
            Tls(ca),
            Tls(ca, stranger.client_cert.read_bytes(), stranger.client_key.read_bytes()),
            Tls(stranger.ca.read_bytes(), cert, key),
            None,
        ):
            with pytest.raises(Unavailable):
                await EtcdStore.open(cluster.endpoints, tls=wrong, patience=0.5)


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_a_login_is_renewed_when_etcd_forgot_it(mortal: EtcdCluster) -> None:
    mortal.post("auth/user/add", {"name": "root", "password": "r"})
    mortal.post("auth/user/add", {"name": "onehop", "password": "secret"})
    mortal.post("auth/user/add", {"name": "nobody", "password": "n"})
    mortal.post("auth/role/add", {"name": "root"})
    mortal.post("auth/role/add", {"name": "keys"})
    prefix = {"permType": "READWRITE", "key": in_base64("/onehop/"), "range_end": in_base64("/onehop0")}
    mortal.post("auth/role/grant", {"name": "keys", "perm": prefix})
    mortal.post("auth/user/grant", {"user": "root", "role": "root"})
    mortal.post("auth/user/grant", {"user": "onehop", "role": "keys"})
    mortal.post("auth/enable", {})

    store = await EtcdStore.open(mortal.endpoints, login=Login("onehop", "secret"))
    start = await commit(store, Put("obj/a", b""))
    seen: list[Batch] = []
    watching = asyncio.create_task(follow(store, start, seen))
    lease = await store.grant(60)
    mortal.kill()  # etcd keeps its tokens in memory
    await asyncio.to_thread(mortal.start)
    assert await store.keep_alive(lease)
    await write_until(store, "obj/b")
    await write_until(store, "end")
    async with asyncio.timeout(30):
        await watching
    assert [change.key for batch in seen for change in batch.changes] == ["obj/b", "end"]
    await store.close()

    with pytest.raises(StoreError, match="refuses the user 'onehop'") as caught:
        await EtcdStore.open(mortal.endpoints, login=Login("onehop", "wrong-guess"))
    assert "wrong-guess" not in str(caught.value)
    with pytest.raises(StoreError, match="refuses the user"):
        await EtcdStore.open(mortal.endpoints, login=Login("nobody", "n"))
    with pytest.raises(StoreError):
        await EtcdStore.open(mortal.endpoints)


def test_a_login_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(Login("me", "hunter2"))


# --- what store it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [128, 300])
async def test_the_limit_of_etcd_is_found_out(limit: int) -> None:
    with EtcdCluster(options=["--max-txn-ops", str(limit)]) as cluster:
        store = await open_store(cluster.url())
        assert store.max_operations == limit
        writes = [Put(f"obj/{n}", b"") for n in range(limit + 1)]
        await commit(store, *writes[:limit])
        with pytest.raises(TooLarge, match="raise etcd's --max-txn-ops"):
            await commit(store, *writes)
        await store.close()


async def test_prefixes_are_stores_apart(etcd: EtcdCluster) -> None:
    name = uuid.uuid4().hex
    one, two = await open_store(etcd.url(f"/{name}/")), await open_store(etcd.url(f"/{name}/data/obj/"))
    await commit(one, Put("obj/a", b"1"))
    assert (await two.list("")).entries == []
    assert one.incarnation != two.incarnation
    await one.close()
    await two.close()


async def test_a_newer_format_is_refused_with_the_way_out(etcd: EtcdCluster) -> None:
    prefix = f"/{uuid.uuid4().hex}/"
    await (await open_store(etcd.url(prefix))).close()
    etcd.post("kv/put", {"key": in_base64(f"{prefix}meta/format"), "value": in_base64("99")})
    with pytest.raises(Incompatible, match=r"newer Onehop \(store format 99.*restore a backup"):
        await open_store(etcd.url(prefix))


async def test_the_same_data_in_another_cluster_is_another_incarnation(mortal: EtcdCluster) -> None:
    store = await open_store(mortal.url())
    name = store.incarnation.split("-")[0]
    await store.close()
    with EtcdCluster() as restored:
        for key, value in (("format", "1"), ("incarnation", name)):
            restored.post("kv/put", {"key": in_base64(f"/onehop/meta/{key}"), "value": in_base64(value)})
        copy = await open_store(restored.url())
        assert copy.incarnation.split("-")[0] == name
        assert copy.incarnation != store.incarnation
        await copy.close()


async def test_a_restore_under_a_running_watch_is_noticed(mortal: EtcdCluster) -> None:
    store = await EtcdStore.open(mortal.endpoints)
    mortal.kill()
    shutil.copytree(mortal.data(), mortal.directory / "backup")
    await asyncio.to_thread(mortal.start)
    await write_until(store, "obj/a")
    last, before = await store.revision(), store.incarnation
    async with asyncio.timeout(30), aclosing(store.watch("", after=last)) as watch:
        waiting = asyncio.ensure_future(anext(watch))
        mortal.kill()
        shutil.rmtree(mortal.data())
        (mortal.directory / "backup").rename(mortal.data())
        await asyncio.to_thread(mortal.start)
        with pytest.raises(Compacted):
            await waiting
    assert store.incarnation != before
    other = await EtcdStore.open(mortal.endpoints)
    assert other.incarnation == store.incarnation
    await other.close()
    await store.close()


async def test_a_history_can_be_given_a_new_name(etcd: EtcdCluster) -> None:
    prefix = f"/{uuid.uuid4().hex}/"
    store = await EtcdStore.open(etcd.endpoints, prefix=prefix)
    before = store.incarnation
    after = await store.new_incarnation()
    other = await EtcdStore.open(etcd.endpoints, prefix=prefix)
    assert before != after == store.incarnation == other.incarnation
    await other.close()
    await store.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("etcd://localhost/", "HOST:PORT"),
        ("etcd://", "HOST:PORT"),
        ("etcd://me:secret@localhost:2379/", "holds no password"),
        ("etcd://localhost:2379/?ca=x", "etcds://"),
        ("etcds://localhost:2379/?cert=x", "both cert and key"),
        ("etcd://localhost:2379/?user=x", "both user and password_file"),
        ("etcd://localhost:2379/?colour=blue", "no 'colour'"),
    ],
)
async def test_a_url_with_a_mistake_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        await open_store(url)
    assert "secret" not in str(caught.value)


async def test_a_missing_certificate_file_is_named() -> None:
    with pytest.raises(StoreError, match=r"/nowhere/ca.pem cannot be read"):
        await open_store("etcds://localhost:2379/?ca=/nowhere/ca.pem")
