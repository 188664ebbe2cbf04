"""A key with a lease goes away with it, by an ordinary change that watches see."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from onehop.store import Change, Committed, LeaseGone, Put, Store

pytestmark = pytest.mark.anyio


async def wait_for_change(store: Store, prefix: str, after: int) -> Change:
    async with asyncio.timeout(30), aclosing(store.watch(prefix, after=after)) as watch:
        async for batch in watch:
            if batch.changes:
                return batch.changes[0]
    raise AssertionError("a watch goes on for ever")


async def leased(store: Store, ttl: float) -> tuple[int, int]:
    lease = await store.grant(ttl)
    outcome = await store.transact([], [Put("duty/x", b"me", lease)])
    assert isinstance(outcome, Committed)
    return lease, outcome.revision


async def test_a_key_vanishes_when_its_lease_expires(store: Store) -> None:
    lease, revision = await leased(store, 1)
    assert await wait_for_change(store, "duty/", revision) == Change("duty/x", None, 0)
    assert await store.get("duty/x") is None
    assert await store.revision() == revision + 1
    assert not await store.keep_alive(lease)


async def test_a_lease_that_is_kept_alive_outlives_one_that_is_not(store: Store) -> None:
    left, kept = await store.grant(2), await store.grant(2)
    await store.transact([], [Put("duty/left", b"", left), Put("duty/kept", b"", kept)])
    while await store.get("duty/left") is not None:
        assert await store.keep_alive(kept)
        await asyncio.sleep(0.1)
    assert await store.get("duty/kept") is not None
    await store.revoke(kept)


async def test_a_revoked_lease_takes_its_keys_at_once(store: Store) -> None:
    lease, revision = await leased(store, 60)
    await store.revoke(lease)
    assert await store.get("duty/x") is None
    assert await wait_for_change(store, "duty/", revision) == Change("duty/x", None, 0)
    assert not await store.keep_alive(lease)
    await store.revoke(lease)


async def test_a_put_without_the_lease_keeps_the_key(store: Store) -> None:
    lease, _ = await leased(store, 60)
    await store.transact([], [Put("duty/x", b"for good")])
    await store.revoke(lease)
    assert await store.get("duty/x") is not None


async def test_a_put_with_a_lease_that_is_gone_writes_nothing(store: Store) -> None:
    lease, _ = await leased(store, 60)
    await store.revoke(lease)
    with pytest.raises(LeaseGone, match="grant a new one"):
        await store.transact([], [Put("duty/y", b""), Put("duty/z", b"", lease)])
    assert await store.get("duty/y") is None


async def test_a_lease_that_lasts_no_time_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="longer than 0"):
        await store.grant(0)
