"""The first start and later ones: what is made, what is told, what is refused."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehop.client.api import Client
from onehop.client.contexts import load, select
from onehop.store import Put, open_store
from tests.support.controller import Controller


@pytest.fixture(scope="module")
def secure() -> Iterator[Controller]:
    with Controller() as controller:
        yield controller


def failed(*options: str) -> str:
    """What a controller that does not start says."""
    command = [sys.executable, "-m", "onehop.controller.main", "--listen", "127.0.0.1:0", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    return line


def test_the_first_start_tells_how_to_use_it_and_the_cli_can(secure: Controller) -> None:
    told = secure.output.read_text()
    assert secure.url.startswith("https://127.0.0.1:")
    file = next(line.partition("ONEHOP_CONFIG=")[2] for line in told.splitlines() if "ONEHOP_CONFIG" in line)
    with Client.of(select(load(Path(file)), {})) as client:
        assert client.whoami()["role"] == "admin"
        assert [project["name"] for project in client.list("projects")] == ["default"]


def test_secrets_are_readable_by_their_owner_alone(secure: Controller) -> None:
    for name in ("admin-token", "ca.key", "server.key", "contexts.json", "store.db"):
        assert stat.S_IMODE((secure.directory / name).stat().st_mode) == 0o600, name
    assert secure.admin_token not in secure.output.read_text() + secure.log.read_text()


def test_a_later_start_keeps_token_certificates_and_objects() -> None:
    with Controller() as controller:
        files = ("admin-token", "ca.pem", "server.pem")
        before = {name: (controller.directory / name).read_bytes() for name in files}
        network = controller.api(project="default").create("networks", name="web")
        controller.hang_up()
        assert controller.end() == 0
        controller.start()
        assert {name: (controller.directory / name).read_bytes() for name in files} == before
        assert controller.api(project="default").get("networks", "web") == network
        assert len(controller.api().list("tokens")) == 1


def test_a_first_start_that_was_cut_short_is_begun_again(secure: Controller, tmp_path: Path) -> None:
    """The token's file is there, the store is not yet."""
    (tmp_path / "admin-token").write_text(secure.admin_token + "\n")
    with Controller(directory=tmp_path, options=["--insecure-http"]) as controller:
        assert controller.admin_token == secure.admin_token
        assert controller.api().told("GET", "/v1/whoami")["role"] == "admin"


def test_sigterm_ends_a_controller_with_open_streams() -> None:
    with (
        Controller(options=["--insecure-http"]) as controller,
        controller.api().http.stream("GET", "/v1/watch") as reply,
    ):
        assert next(reply.iter_lines()) == "event: ready"
        assert controller.end() == 0


def test_sigterm_does_not_wait_for_clients_that_do_nothing() -> None:
    """Over TLS a connection ends when both have said goodbye, and an idle client reads nothing."""
    with Controller() as controller:
        clients = [controller.api() for _ in range(5)]
        assert {client.told("GET", "/v1/whoami")["role"] for client in clients} == {"admin"}
        assert controller.end() == 0
        assert "exceeded" not in controller.log.read_text()


def test_what_is_refused_is_a_sentence_and_touches_nothing(tmp_path: Path) -> None:
    assert "--public" in failed("--state", str(tmp_path), "--listen", "0.0.0.0:0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("store", "says"), [("mysql://x", "sqlite:///"), ("sqlite:///nowhere/at/all/store.db", "/nowhere/at/all")]
)
def test_what_is_wrong_with_the_store_is_a_sentence(tmp_path: Path, store: str, says: str) -> None:
    assert says in failed("--state", str(tmp_path), "--store", store)


def test_a_port_that_is_taken_is_told(secure: Controller, tmp_path: Path) -> None:
    taken = secure.url.removeprefix("https://")
    assert "--listen" in failed("--state", str(tmp_path), "--listen", taken)


def test_a_second_controller_on_one_file_is_refused(secure: Controller, tmp_path: Path) -> None:
    store = f"sqlite://{secure.directory / 'store.db'}"
    assert "store.db" in failed("--state", str(tmp_path), "--store", store)


def test_a_corrupt_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    store.write_bytes(b"not a database" * 1000)
    told = failed("--state", str(tmp_path), "--store", f"sqlite://{store}")
    assert "store.db" in told
    assert "backup" in told


def test_a_store_of_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """It holds an object with a field that this version does not know."""
    url = f"sqlite://{tmp_path / 'store.db'}"

    async def write() -> None:
        store = await open_store(url)
        body = {"id": str(uuid.UUID(int=1)), "name": "web", "colour": "blue"}
        await store.transact((), [Put(f"obj/network/{body['id']}", json.dumps(body).encode())])
        await store.close()

    asyncio.run(write())
    told = failed("--state", str(tmp_path), "--store", url)
    assert "newer" in told
    assert "colour" in told
