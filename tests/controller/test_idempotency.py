from __future__ import annotations

import asyncio

import pytest

from onehop.controller.refusals import Malformed, Unprocessable
from onehop.model import Network
from tests.controller.desk import Desk, assert_in_order, create, patch

pytestmark = pytest.mark.anyio


async def test_the_same_request_with_the_same_key_gets_the_same_answer(desk: Desk) -> None:
    first = await desk.do(create("network"), key="k1")
    again = await desk.do(create("network"), key="k1")
    assert again.results == first.results
    assert (again.revision, again.repeated) == (first.revision, True)
    assert len((await assert_in_order(desk.store)).all(Network)) == 1


async def test_at_another_controller_too_and_at_the_same_time(desk: Desk, other: Desk) -> None:
    answers = await asyncio.gather(*(at.do(create("network"), key="k") for at in (desk, other, desk, other)))
    assert len({answer.results[0].object.id for answer in answers}) == 1
    assert [answer.repeated for answer in answers].count(False) == 1


async def test_another_request_with_the_same_key_is_refused(desk: Desk) -> None:
    await desk.do(create("network"), key="k1")
    with pytest.raises(Unprocessable, match="another request"):
        await desk.do(create("router"), key="k1")


async def test_keys_of_different_callers_have_nothing_to_do_with_each_other(desk: Desk) -> None:
    await desk.do(create("network", name="a"), key="k1")
    made = await desk.do(create("network", name="a"), key="k1", actor=desk.them)
    assert made.results[0].object.project == desk.theirs


async def test_a_request_that_was_refused_may_be_mended_under_its_key(desk: Desk) -> None:
    with pytest.raises(Unprocessable):
        await desk.do(create("network", mtu=1), key="k1")
    assert not (await desk.do(create("network", mtu=1400), key="k1")).repeated


async def test_a_request_that_changed_nothing_is_answered_alike(desk: Desk) -> None:
    made = await desk.do(create("network", name="web"))
    first = await desk.do(patch("network", "web", mtu=1450), key="k1")
    again = await desk.do(patch("network", "web", mtu=1450), key="k1")
    assert first.results == again.results == made.results


@pytest.mark.parametrize("key", ["", "x" * 129, "a\nb", "é"])
async def test_a_key_is_short_and_printable(desk: Desk, key: str) -> None:
    with pytest.raises(Malformed):
        await desk.do(create("network"), key=key)
