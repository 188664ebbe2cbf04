from __future__ import annotations

import time

import pytest

from onehop.controller import audit
from onehop.controller.engine import Operation
from onehop.store import list_all
from tests.controller.desk import ADMIN, Desk, create, delete, patch, port

pytestmark = pytest.mark.anyio


async def entries(desk: Desk) -> list[audit.Entry]:
    return [audit.decode(entry.value) for entry in (await list_all(desk.store, "audit/"))[0]]


async def test_each_transaction_tells_who_changed_what(desk: Desk) -> None:
    await desk.do(create("network", name="web"))
    await desk.do(patch("network", "web", mtu=1400))
    await desk.do(delete("network", "web"))
    made, changed, gone = (await entries(desk))[-3:]
    assert (made.actor, made.token) == ("me", "me")
    assert [(c.kind, c.name, c.project) for c in made.changes] == [("network", "web", desk.mine)]
    assert made.changes[0].before is None and made.changes[0].after is not None
    assert changed.changes[0].before is not None and changed.changes[0].after is not None
    assert changed.changes[0].after["mtu"] == 1400
    assert "mtu" not in changed.changes[0].before
    assert gone.changes[0].after is None


async def test_an_entry_is_of_the_same_revision_as_the_change(desk: Desk) -> None:
    done = await desk.do(create("network", name="web"))
    assert (await list_all(desk.store, "audit/"))[0][-1].revision == done.revision


async def test_secrets_are_in_no_entry_and_in_no_answer(desk: Desk) -> None:
    digest = "5ec3e7" * 10
    await desk.do(
        Operation("create", "token", body={"name": "t"}, trusted={"hash": digest}), actor=ADMIN, key="k"
    )
    for prefix in ("audit/", "idem/"):
        found, _ = await list_all(desk.store, prefix)
        assert found
        assert all(digest.encode() not in entry.value for entry in found)


async def test_what_is_past_its_time_is_swept(desk: Desk) -> None:
    await desk.web()
    await desk.do(port("web", "a"), key="k")
    await desk.do(delete("port", "web/a"))
    assert await audit.sweep(desk.store) == 0
    assert await audit.sweep(desk.store, time.time() + 40 * 86400) > 0
    for prefix in ("audit/", "idem/", "rest/"):
        assert (await list_all(desk.store, prefix))[0] == []
    assert (await list_all(desk.store, "obj/"))[0]
