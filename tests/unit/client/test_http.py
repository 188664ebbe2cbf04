"""The connection to a controller, against a real server on loopback."""

from __future__ import annotations

import json
import select
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from onehop.client import ApiError, Client, ClientError, ProtocolError, Unreachable
from onehop.client.api import events


class Server(ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str, bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.hang_up = 0
        self.let_go = False  # of connections, once they have been answered

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, body: Any, status: int = 200, type: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, type, content))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        if self.server.hang_up:
            self.server.hang_up -= 1
            self.close_connection = True
            return
        status, type, content = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.server.let_go

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, "secret", project="demo") as client:
        yield client


def test_a_request_carries_token_and_project(server: Server, client: Client) -> None:
    server.answer({"id": "1"})
    assert client.get("networks", "web") == {"id": "1"}
    method, path, headers, _ = server.requests[0]
    assert (method, path) == ("GET", "/v1/networks/web?project=demo")
    assert headers["Authorization"] == "Bearer secret"


def test_a_listing_is_read_to_its_end(server: Server, client: Client) -> None:
    server.answer({"items": [{"id": "1"}], "next": "c", "revision": 1})
    server.answer({"items": [{"id": "2"}], "next": None, "revision": 1})
    assert [item["id"] for item in client.list("networks", name="web")] == ["1", "2"]
    assert "cursor=c" in server.requests[1][1]
    assert "name=web" in server.requests[1][1]


def test_a_write_says_at_which_revision_and_how_long_to_wait(server: Server, client: Client) -> None:
    server.answer({})
    client.update("networks", "web", {"mtu": 1500}, if_match=7, wait=5)
    method, path, headers, body = server.requests[0]
    assert (method, body) == ("PATCH", {"mtu": 1500})
    assert headers["If-Match"] == '"7"'
    assert "wait=5" in path


def test_a_refusal_is_an_error_with_its_problems(server: Server, client: Client) -> None:
    problems = [{"field": "mtu", "message": "too small"}]
    server.answer({"error": {"code": "invalid", "message": "no", "problems": problems}}, 422)
    with pytest.raises(ApiError) as refused:
        client.create("networks", {"mtu": 1})
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert [str(p) for p in refused.value.problems] == ["mtu: too small"]


def test_a_kept_connection_that_was_closed_is_made_anew(server: Server, client: Client) -> None:
    server.answer({"n": 1})
    server.answer({"n": 2})
    client.get("networks", "a")
    server.hang_up = 1
    assert client.create("networks", {}) == {"n": 2}
    first, second = server.requests[1][2], server.requests[2][2]
    assert first["Idempotency-Key"] == second["Idempotency-Key"]


def test_a_kept_connection_that_the_server_let_go_of_is_not_used(server: Server, client: Client) -> None:
    server.let_go = True
    server.answer({"n": 1})
    server.answer({"n": 2})
    client.get("networks", "a")
    kept = client._connection._http
    assert kept is not None and select.select([kept.sock], [], [], 10)[0]
    assert client.update("networks", "a", {"mtu": 1500}) == {"n": 2}


def test_a_change_that_may_not_be_repeated_is_not(server: Server, client: Client) -> None:
    server.answer({"n": 1})
    client.get("networks", "a")
    server.hang_up = 1
    with pytest.raises(Unreachable, match="may or may not"):
        client.update("networks", "a", {"mtu": 1500})
    assert len(server.requests) == 2


def test_a_lost_first_request_is_told(server: Server, client: Client) -> None:
    server.hang_up = 1
    with pytest.raises(Unreachable):
        client.get("networks", "a")


def test_lines_come_as_values_until_an_error(server: Server, client: Client) -> None:
    lines = b'{"event": "progress"}\n\n{"error": {"code": "conflict", "message": "taken", "status": 409}}\n'
    server.answer(lines, type="application/x-ndjson")
    stream = client.apply({"stack": "s"})
    assert next(stream) == {"event": "progress"}
    with pytest.raises(ApiError, match="taken"):
        next(stream)


@pytest.mark.parametrize(
    ("content", "type"), [(b"{", "application/json"), (b"[1]", "application/json"), (b"<p>", "text/html")]
)
def test_what_is_no_controller_is_told(server: Server, client: Client, content: bytes, type: str) -> None:
    server.answer(content, type=type)
    with pytest.raises(ProtocolError):
        client.get("networks", "a")


def test_an_error_page_of_somebody_else_is_an_error(server: Server, client: Client) -> None:
    server.answer(b"<p>no</p>", 502, "text/html")
    with pytest.raises(ApiError, match="502"):
        client.get("networks", "a")


def test_nobody_listening_is_told(server: Server) -> None:
    url = server.url
    server.shutdown()  # its loop may take a connection yet while the socket closes
    server.server_close()
    with pytest.raises(Unreachable, match="no controller answers"):
        Client(url, "t").whoami()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://x", "https://", "http://h:99999", "https://u@h", "https://h?x"]
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="not the URL"):
        Client(url)


def test_a_token_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ClientError, match="in the clear"):
        Client("http://192.0.2.1", "secret")


def test_events_are_put_together_from_lines() -> None:
    lines = [b": hello", b"event: created", b'data: {"a":', b"data: 1}", b"", b"", b'data: {"b": 2}', b""]
    assert list(events(lines)) == [("created", {"a": 1}), ("message", {"b": 2})]
