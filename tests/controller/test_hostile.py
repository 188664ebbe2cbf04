"""Whatever a body holds, planning ends in a plan or in a refusal with a sentence, never in anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onehop.controller.actor import Actor
from onehop.controller.cache import Cache
from onehop.controller.engine import Engine, Operation
from onehop.controller.refusals import Refusal
from onehop.model import KINDS
from onehop.store.sqlite import SqliteStore
from tests.controller.desk import ADMIN, Desk, create, link, port

TEXTS = [
    *(
        "",
        "web",
        "web/v4",
        "web/a",
        "edge",
        "edge/web",
        "theirs:web",
        "mine:web",
        ":",
        "/",
        "a/b/c:d",
        "x" * 300,
    ),
    *(
        "10.0.1.0/24",
        "10.0.1.7",
        "fd00::/64",
        "fd00::1",
        "10.0.0.1/8",
        "0.0.0.0/0",
        "::ffff:1.2.3.4",
        "fe80::1%e",
    ),
    *("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "80", "9-1", "1-65536", "tcp", "icmp", "256", "eth0", "a b"),
    *(
        "vm",
        "router",
        "allow",
        "jump",
        "forward",
        "active",
        "use",
        "ingress",
        "2030-01-01T00:00:00Z",
        "\x00",
        "é",
    ),
    "00000000-0000-0000-0000-000000000000",
]
FIELDS = sorted({name for kind in KINDS.values() for name in kind.type.__struct_fields__} | {"nope", "", "$"})
INNER = [
    "ip",
    "subnet",
    "prefix",
    "cidr",
    "mac",
    "first",
    "last",
    "action",
    "match",
    "jump",
    "id",
    "port",
    "allow",
]
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(TEXTS),
    st.sampled_from([-1, 0, 1, 24, 33, 128, 1400, 4095, 1 << 24, 1 << 64, 10**30, 1.5, 1e300]),
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(INNER), inner, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(sorted(KINDS)))
    declared = [*KINDS[kind].type.__struct_fields__]
    names = st.one_of(st.sampled_from(declared), st.sampled_from(declared), st.sampled_from(FIELDS))
    body: dict[str, Any] = draw(st.dictionaries(names, values, max_size=6))
    op = draw(st.sampled_from(["create", "create", "replace", "patch", "delete"]))
    ref = None if op == "create" else draw(st.sampled_from(TEXTS))
    return Operation(op, kind, ref, body, project=draw(st.sampled_from([None, "mine", "theirs", "", "x:y"])))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A small cloud. Planning waits for nothing, so no loop runs in the tests."""
    path: Path = tmp_path_factory.mktemp("hostile") / "store.db"

    async def build() -> Desk:
        store = await SqliteStore.open(path)
        cache = await Cache.open(store)
        engine = await Engine.open(store, cache)
        done = await engine.commit([create("project", name=n) for n in ("mine", "theirs")], ADMIN)
        desk = Desk(store, cache, engine, *(result.object.id for result in done.results))
        await desk.web()
        await desk.router("edge", "web")
        await desk.do(port("web", "a"), create("acl", name="allow"), create("security-group", name="web"))
        await desk.do(create("network", name="web"), actor=desk.them)
        await cache.close()
        await store.close()
        return desk

    yield asyncio.run(build())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations(), min_size=1, max_size=3), st.booleans())
def test_planning_ends_in_a_plan_or_a_refusal(desk: Desk, bulk: list[Operation], admin: bool) -> None:
    actor = ADMIN if admin else Actor("t", "t", projects={desk.mine: "member", desk.theirs: "reader"})
    try:
        draft = desk.engine._draft(bulk, actor)
    except Refusal as refusal:
        assert refusal.message
        assert all(problem.message for problem in refusal.problems)
        return
    plan = draft.plan(dict.fromkeys(draft.sets, 0))
    draft.choice.forget()
    keys = [write.key for write in plan.writes]
    assert len(set(keys)) == len(keys)
    assert len(plan.results) == len(bulk)


def test_a_link_is_planned(desk: Desk) -> None:
    """That the cloud above is one in which something can be planned at all."""
    bulk = [
        create("router", name="r"),
        create("network", name="n"),
        create("port", router="r", name="n"),
        create("port", network="n", name="r", kind="router"),
        link("r", "n"),
    ]
    assert len(desk.engine._draft(bulk, desk.me).sets) == 4  # of both devices, and of both ends
