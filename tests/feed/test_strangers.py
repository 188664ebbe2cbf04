"""What comes over the feed is hostile until it is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from onehop.feed.codec import decode_down, encode
from onehop.feed.messages import (
    Alive,
    Applied,
    Goodbye,
    Held,
    Hello,
    PortReport,
    Report,
    Up,
    Welcome,
)
from onehop.store import Store
from tests.feed.town import H1, H2, RED, TOWN, port
from tests.support.feeding import Controller, controller, write

pytestmark = pytest.mark.anyio

HELLO = Hello(1, H1, "test", "", (), ())


@pytest.fixture
async def c(store: Store) -> AsyncIterator[Controller]:
    await write(store, *TOWN)
    async with controller(store) as c:
        yield c


def stranger(c: Controller, token: str = H1) -> connect:
    return connect(c.url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None)


async def goodbye(connection: ClientConnection) -> str:
    """The reason with which the controller closes."""
    try:
        while True:
            frame = await connection.recv()
            assert isinstance(frame, bytes)
            message = decode_down(frame)
            if isinstance(message, Goodbye):
                return message.reason
    except ConnectionClosed:
        return ""


async def test_a_stranger_without_a_credential_is_not_let_in(c: Controller) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with stranger(c, "nobody"):
            pass


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"garbage"], "no message"),
        ([encode(Alive())], "begins with a hello"),
        ([encode(Hello(99, H1, "test", "", (), ()))], "version 99"),
        ([encode(Hello(1, H2, "test", "", (), ()))], "credential"),
        ([encode(Hello(1, H1, "test", "", (1, 2, 3), ()))], "256 digests"),
        ([encode(HELLO), b"\xc1"], "no message"),
        ([encode(HELLO), encode(HELLO)], "comes once"),
        ([encode(HELLO), encode(Applied(1 << 40))], "cannot be in effect"),
        ([encode(HELLO), encode(Held((), True))], "compared once"),
    ],
)
async def test_nonsense_is_told_why_it_is_refused(c: Controller, frames: list[bytes], reason: str) -> None:
    async with stranger(c) as connection:
        for frame in frames:
            await connection.send(frame)
        assert reason in await goodbye(connection)


async def test_a_text_frame_ends_the_feed(c: Controller) -> None:
    async with stranger(c) as connection:
        await connection.send("hello")
        assert await goodbye(connection) == ""


async def test_a_silent_host_is_given_up(store: Store) -> None:
    await write(store, *TOWN)
    async with controller(store, lease=0.5) as c, stranger(c) as connection:
        await connection.send(encode(HELLO))
        welcome = decode_down(await connection.recv(decode=False))
        assert isinstance(welcome, Welcome) and welcome.lease == 0.5
        assert await goodbye(connection) == ""
        assert not c.sessions


async def test_a_host_speaks_for_its_own_ports_only(c: Controller, store: Store) -> None:
    mine, other = port(RED, 10), port(RED, 11)
    about: Up = Report((PortReport(other.id, "error", "forged"), PortReport(mine.id, "active", "", 1)))
    async with stranger(c) as connection:
        await connection.send(encode(HELLO))
        await connection.send(encode(about))
        key = f"status/port/{mine.id}/{H1}"
        while (entry := await store.get(key)) is None:
            pass
        assert b'"active"' in entry.value
        page = await store.list("status/port/")
        assert [entry.key for entry in page.entries] == [key]
