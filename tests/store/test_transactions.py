"""Guards and writes: whole or absent, on both drivers."""

from __future__ import annotations

import asyncio

import pytest

from onehop.store import (
    Absent,
    AtRevision,
    Committed,
    Delete,
    Exists,
    Guard,
    PrefixEmpty,
    Put,
    RangeEmpty,
    Refused,
    Store,
    TooLarge,
    list_all,
    open_store,
)

pytestmark = pytest.mark.anyio


async def commit(store: Store, *writes: Put | Delete) -> int:
    outcome = await store.transact([], writes)
    assert isinstance(outcome, Committed)
    return outcome.revision


async def test_a_key_tells_which_revisions_made_and_last_wrote_it(store: Store) -> None:
    first = await commit(store, Put("obj/a", b"1"))
    second = await commit(store, Put("obj/a", b"2"))
    entry = await store.get("obj/a")
    assert entry is not None
    assert (entry.key, entry.value, entry.created, entry.revision) == ("obj/a", b"2", first, second)
    assert second == first + 1 == await store.revision()


async def test_a_key_made_again_has_a_new_creation(store: Store) -> None:
    await commit(store, Put("obj/a", b"1"))
    await commit(store, Delete("obj/a"))
    assert await store.get("obj/a") is None
    again = await commit(store, Put("obj/a", b"2"))
    entry = await store.get("obj/a")
    assert entry is not None
    assert entry.created == entry.revision == again


async def test_values_are_any_bytes_and_keys_any_text(store: Store) -> None:
    value = bytes(range(256))
    keys = ["obj/\N{LATIN SMALL LETTER E WITH ACUTE}", "obj/\U0010ffff", "obj/a b%\\", "obj/" + "k" * 900]
    await commit(store, *(Put(key, value) for key in keys), Put("obj/empty", b""))
    page = await store.list("obj/")
    assert {entry.key: entry.value for entry in page.entries} == dict.fromkeys(keys, value) | {
        "obj/empty": b""
    }


async def test_the_writes_of_a_transaction_share_one_revision(store: Store) -> None:
    await commit(store, Put("obj/a", b"1"))
    revision = await commit(store, Put("obj/b", b""), Put("obj/c", b""), Delete("obj/a"))
    page = await store.list("obj/")
    assert [(entry.key, entry.revision) for entry in page.entries] == [
        ("obj/b", revision),
        ("obj/c", revision),
    ]


async def test_what_changes_nothing_raises_no_revision(store: Store) -> None:
    before = await store.revision()
    assert await store.transact([], []) == Committed(before)
    assert await store.transact([Absent("obj/a")], [Delete("obj/a")]) == Committed(before)
    assert await store.revision() == before


@pytest.mark.parametrize(
    ("guard", "holds"),
    [
        (Absent("obj/none"), True),
        (Absent("obj/a"), False),
        (Absent("obj"), True),
        (Exists("obj/a"), True),
        (Exists("obj/none"), False),
        (Exists("obj/"), False),
        (PrefixEmpty("ref/"), True),
        (PrefixEmpty("obj/aa"), True),
        (PrefixEmpty("obj/"), False),
        (PrefixEmpty("obj/a"), False),
        (PrefixEmpty(""), False),
        (RangeEmpty("obj/", "obj/a"), True),
        (RangeEmpty("obj/", "obj/b"), False),
        (RangeEmpty("obj/a", "obj/b"), False),
        (RangeEmpty("obj/b", "obj/z"), True),
        (RangeEmpty("obj/z", "obj/"), True),
    ],
)
async def test_a_guard_holds_or_not(store: Store, guard: Guard, holds: bool) -> None:
    await commit(store, Put("obj/a", b"1"))
    outcome = await store.transact([guard], [Put("new", b"")])
    assert isinstance(outcome, Committed) == holds
    assert (await store.get("new") is not None) == holds


async def test_at_revision_holds_for_the_last_write_only(store: Store) -> None:
    first = await commit(store, Put("obj/a", b"1"))
    second = await commit(store, Put("obj/a", b"2"))
    assert isinstance(await store.transact([AtRevision("obj/a", first)], [Put("x", b"")]), Refused)
    assert isinstance(await store.transact([AtRevision("obj/none", first)], [Put("x", b"")]), Refused)
    assert isinstance(await store.transact([AtRevision("obj/a", second)], [Put("x", b"")]), Committed)


async def test_a_refusal_names_what_failed_and_writes_nothing(store: Store) -> None:
    revision = await commit(store, Put("obj/a", b"1"), Put("ref/a/b", b""))
    failing: list[Guard] = [
        Absent("obj/a"),
        PrefixEmpty("ref/a/"),
        AtRevision("obj/a", 1),
        Exists("obj/none"),
        RangeEmpty("ref/", "ref0"),
    ]
    holding: list[Guard] = [
        Exists("obj/a"),
        Absent("obj/none"),
        AtRevision("obj/a", revision),
        PrefixEmpty("z"),
        RangeEmpty("s", "z"),
    ]
    mixed = [guard for pair in zip(holding, failing, strict=True) for guard in pair]
    outcome = await store.transact(mixed, [Put("obj/b", b""), Delete("obj/a"), Delete("ref/a/b")])
    assert isinstance(outcome, Refused)
    assert list(outcome.failed) == failing
    assert outcome.revision == revision == await store.revision()
    assert [entry.key for entry in (await list_all(store, ""))[0]] == ["obj/a", "ref/a/b"]


async def test_a_key_may_be_written_once_in_a_transaction(store: Store) -> None:
    for twice in ([Put("a", b"1"), Put("a", b"2")], [Put("a", b"1"), Delete("a")]):
        with pytest.raises(ValueError, match="'a' twice"):
            await store.transact([], twice)


async def test_a_value_that_is_no_bytes_is_refused(store: Store) -> None:
    with pytest.raises(TypeError, match="not bytes"):
        await store.transact([], [Put("a", "text")])  # type: ignore[arg-type]


async def test_no_update_is_lost(store: Store) -> None:
    await commit(store, Put("count", b"0"))

    async def add(times: int) -> None:
        while times:
            entry = await store.get("count")
            assert entry is not None
            value = b"%d" % (int(entry.value) + 1)
            outcome = await store.transact([AtRevision("count", entry.revision)], [Put("count", value)])
            times -= isinstance(outcome, Committed)

    await asyncio.gather(*(add(10) for _ in range(8)))
    entry = await store.get("count")
    assert entry is not None
    assert entry.value == b"80"


async def test_of_many_claimants_one_wins(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.transact([Absent("claim/x")], [Put("claim/x", b"%d" % n)]) for n in range(50))
    )
    assert [isinstance(outcome, Committed) for outcome in outcomes].count(True) == 1


async def test_revisions_are_given_once_each_under_concurrency(store: Store) -> None:
    start = await store.revision()
    revisions = await asyncio.gather(*(commit(store, Put(f"obj/{n:03}", b"")) for n in range(200)))
    assert sorted(revisions) == list(range(start + 1, start + 201))


async def test_a_full_transaction_is_taken_and_one_more_is_refused(store: Store) -> None:
    most = store.max_operations
    assert most >= 128
    guards: list[Guard] = [Absent(f"obj/{n}") for n in range(most)]
    writes = [Put(f"obj/{n}", b"") for n in range(most)]
    assert isinstance(await store.transact(guards, writes), Committed)
    refused = await store.transact(guards, writes)
    assert isinstance(refused, Refused)
    assert len(refused.failed) == most
    with pytest.raises(TooLarge, match="split it"):
        await store.transact([], [*writes, Put("one more", b"")])
    with pytest.raises(TooLarge, match="split it"):
        await store.transact([*guards, Absent("one more")], [])


async def test_a_megabyte_is_taken_and_two_are_refused(store: Store) -> None:
    await commit(store, *(Put(f"obj/{n}", b"x" * 100_000) for n in range(10)))
    with pytest.raises(TooLarge, match="split it"):
        await store.transact([], [Put("large", b"x" * 2_000_000)])
    with pytest.raises(TooLarge, match="key of 5000 bytes"):
        await store.transact([], [Put("k" * 5000, b"")])
    assert await store.get("large") is None


async def test_a_store_opened_again_is_the_same_history(url: str, anyio_backend: str) -> None:
    first = await open_store(url)
    revision = await commit(first, Put("obj/a", b"1"))
    await first.close()
    second = await open_store(url)
    assert second.incarnation == first.incarnation
    assert await second.revision() == revision
    await second.close()
