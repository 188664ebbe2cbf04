"""Any sequence of transactions leaves both drivers as it leaves a plain dictionary."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    Write,
    list_all,
    open_store,
)
from tests.support.etcd import EtcdCluster


@dataclass
class Model:
    """What a store is, said as simply as can be. Revisions count from where the real one stood."""

    revision: int
    entries: dict[str, tuple[bytes, int, int]] = field(default_factory=dict)  # value, created, revision
    history: list[tuple[int, dict[str, bytes | None]]] = field(default_factory=list)

    def holds(self, guard: Guard) -> bool:
        match guard:
            case Absent(key):
                return key not in self.entries
            case Exists(key):
                return key in self.entries
            case AtRevision(key, revision):
                return key in self.entries and self.entries[key][2] == revision
            case PrefixEmpty(prefix):
                return not any(key.startswith(prefix) for key in self.entries)
            case RangeEmpty(start, end):
                return not any(start <= key < end for key in self.entries)

    def transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Committed | Refused:
        failed = [guard for guard in guards if not self.holds(guard)]
        if failed:
            return Refused(self.revision, failed)
        changes: dict[str, bytes | None] = {}
        for write in writes:
            if isinstance(write, Put):
                created = self.entries[write.key][1] if write.key in self.entries else self.revision + 1
                self.entries[write.key] = (write.value, created, self.revision + 1)
                changes[write.key] = write.value
            elif self.entries.pop(write.key, None):
                changes[write.key] = None
        if changes:
            self.revision += 1
            self.history.append((self.revision, changes))
        return Committed(self.revision)


keys = st.sampled_from(["a", "a/1", "a/2", "b", "b/1", "é", "é/\U0010ffff"])
# A guard's revision is drawn as an age, since revisions are not known before the run.
guards = st.one_of(
    st.builds(Absent, keys),
    st.builds(Exists, keys),
    st.builds(AtRevision, keys, st.integers(-4, 0)),
    st.builds(RangeEmpty, keys, keys),
    st.builds(PrefixEmpty, st.sampled_from(["a/", "b", "é/", "z", ""])),
)
writes = st.one_of(st.builds(Put, keys, st.binary(max_size=4)), st.builds(Delete, keys))
transactions = st.lists(
    st.tuples(st.lists(guards, max_size=2), st.lists(writes, max_size=4, unique_by=lambda write: write.key)),
    min_size=1,
    max_size=25,
)


@pytest.fixture(params=["sqlite", "etcd"])
def opener(request: pytest.FixtureRequest) -> object:
    """A way to an empty store, for each of the examples."""

    @asynccontextmanager
    async def empty() -> AsyncIterator[Store]:
        with tempfile.TemporaryDirectory() as directory:
            url = f"sqlite://{directory}/store.db"
            if request.param == "etcd":
                cluster: EtcdCluster = request.getfixturevalue("etcd")
                url = cluster.url(f"/model-{uuid.uuid4().hex}/")
            store = await open_store(url)
            try:
                yield store
            finally:
                await store.close()

    return empty


async def agree(store: Store, sequence: list[tuple[list[Guard], list[Write]]]) -> None:
    start = await store.revision()
    model = Model(start)
    states = []
    for drawn, writing in sequence:
        guarding = [
            AtRevision(guard.key, model.revision + guard.revision) if isinstance(guard, AtRevision) else guard
            for guard in drawn
        ]
        assert await store.transact(guarding, writing) == model.transact(guarding, writing)
        states.append((model.revision, dict(model.entries)))
    for revision, entries in states:
        page = await store.list("", revision=revision)
        assert [(e.key, (e.value, e.created, e.revision)) for e in page.entries] == sorted(entries.items())
    listed, _ = await list_all(store, "", limit=2)
    assert [(e.key, (e.value, e.created, e.revision)) for e in listed] == sorted(model.entries.items())
    if model.history:
        assert await replay(store, start, model.revision) == model.history


async def replay(store: Store, start: int, last: int) -> list[tuple[int, dict[str, bytes | None]]]:
    seen: list[tuple[int, dict[str, bytes | None]]] = []
    async with asyncio.timeout(30), aclosing(store.watch("", after=start)) as watch:
        async for batch in watch:
            if batch.changes:
                seen.append((batch.revision, {change.key: change.value for change in batch.changes}))
            if batch.revision >= last:
                break
    return seen


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sequence=transactions)
@pytest.mark.anyio
async def test_any_sequence_of_transactions_agrees_with_a_dictionary(
    opener: object, sequence: list[tuple[list[Guard], list[Write]]]
) -> None:
    async with opener() as store:  # type: ignore[operator]
        await agree(store, sequence)
