"""Bodies and headers that no client of ours would send: each is a clear 4xx, and the controller goes on."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.support.controller import Api, Controller

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "missing"),
        (b"   ", "missing"),
        (b"{", "not JSON"),
        (b'{"name": "web"', "not JSON"),
        (b"{'name': 'web'}", "not JSON"),
        (b'{"name": "web"} {}', "not JSON"),
        (b'\xef\xbb\xbf{"name": "web"}', "not JSON"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', "UTF-8"),
        (b'{"name": "\\ud800"}', "not JSON"),
        (b'{"mtu": NaN}', "not JSON"),
        (b'{"mtu": Infinity}', "not JSON"),
        (b'{"mtu": 1e999}', "not JSON"),
        (b'{"mtu": 123456789012345678901234567890}', "64 bits"),
        (b'{"mtu": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"mtu": 1400, "mtu": 1500}', "twice"),
        (b'{"labels": {"a": "1", "a": "2"}}', "twice"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"web"', "object"),
        (b"[" * 100_000, "nests"),
        (b'{"a":' * 100_000, "nests"),
        (b"[" * 100_000 + b"]" * 100_000, "nests"),
        (b'{"labels": ' + b"[" * 40 + b"]" * 40 + b"}", "nests"),
        (b'"' + b'\\"' * 2_000_000, "not JSON"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_cannot_be_read_is_refused(api: Api, body: bytes, says: str) -> None:
    for method, path in (("POST", "/v1/networks"), ("PATCH", "/v1/networks/web"), ("POST", "/v1/bulk")):
        reply = api.call(method, path, content=body, headers=JSON)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "malformed")
        assert says in reply.json()["error"]["message"]
    assert api.list("networks") == []


@pytest.mark.parametrize("type", ["text/plain", "application/xml", "application/json; charset=latin-1", ""])
def test_a_body_of_another_type_is_refused(api: Api, type: str) -> None:
    reply = api.call("POST", "/v1/networks", content=b"{}", headers={"Content-Type": type})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_a_compressed_body_is_refused(api: Api) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    assert api.call("POST", "/v1/networks", content=b"\x1f\x8b", headers=headers).status_code == 415


@pytest.mark.parametrize("size", [10 * MIB + 1, 30 * MIB])
def test_a_body_that_is_too_large_is_refused(api: Api, size: int) -> None:
    reply = api.call("POST", "/v1/networks", content=b" " * size, headers=JSON)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


def test_a_body_that_is_too_large_and_does_not_say_so_is_refused(api: Api) -> None:
    chunks = (b" " * MIB for _ in range(12))
    assert api.call("POST", "/v1/networks", content=chunks, headers=JSON).status_code == 413


def test_a_body_that_announces_too_much_is_refused_before_it_comes(controller: Controller, api: Api) -> None:
    head = api.http.build_request("POST", "/v1/networks", headers=JSON)
    lines = [f"{name}: {value}" for name, value in head.headers.items() if name != "content-length"]
    text = "\r\n".join(["POST /v1/networks HTTP/1.1", *lines, f"content-length: {1 << 40}", "", ""])
    at = urlsplit(controller.url)
    with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
        connection.sendall(text.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_just_within_the_limit_is_read(api: Api) -> None:
    body = json.dumps({"name": "web", "title": "x" * 200}).encode()
    reply = api.call("POST", "/v1/networks", content=body.ljust(10 * MIB), headers=JSON)
    assert reply.status_code == 201


def test_wrong_types_everywhere_name_their_field(api: Api) -> None:
    wrong = {
        "name": 1,
        "title": None,
        "labels": ["a"],
        "mtu": "1500",
        "learning": 1,
        "acls_in": "a",
        "grants": [{"allow": "all"}],
        "unknown_unicast": 7,
    }
    for field, value in wrong.items():
        reply = api.call("POST", "/v1/networks", {field: value})
        assert reply.status_code in (400, 422)
        (problem,) = reply.json()["error"]["problems"]
        assert problem["field"].split("[")[0] == field
    assert api.list("networks") == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/networks/%00",
        "/v1/networks/%ff%fe",
        "/v1/networks/%2F%2F",
        "/v1/networks/..%2F..%2Fetc",
        "/v1/networks/a:b:c/d/e",
        "/v1/networks/" + "x" * 8000,
        "/v1/networks/" + "/".join("abcdefgh" * 20),
        "/v1/%00",
        "/v1/networks?label=%ff",
        "/v1/networks?name=" + "%00" * 100,
        "/v1/ports?network=%ff",
        "/v1/networks?project=%F0%9F%98%80",
        "/v1/networks?cursor=%ff",
        "/v1/audit?cursor=..%2F..",
        "/v1/audit?since=now",
        "/v1/audit?since=9999-12-31T23:59:59-23:59",
        "/v1/audit?since=0001-01-01T00:00:00Z",
        "/v1/watch?revision=-1",
        "/v1/watch?revision=99999999999999999999999",
        "/v1/watch?kind=nope",
    ],
)
def test_odd_paths_and_parameters_are_never_a_fault(api: Api, path: str) -> None:
    reply = api.http.get(path)
    assert reply.status_code < 500
    if reply.status_code >= 400:
        assert reply.json()["error"]["message"]


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match"])
def test_odd_headers_are_never_a_fault(api: Api, name: str) -> None:
    for value in (b"\xff\xfe", b"a b", b"x" * 2000, b'"'):
        reply = api.call("POST", "/v1/networks", {}, headers={name.encode(): value})
        assert reply.status_code in (201, 400)


def test_a_request_that_is_not_http_is_answered_and_dropped(controller: Controller) -> None:
    at = urlsplit(controller.url)
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 4096):
        with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(4096)[:12] in (b"HTTP/1.1 400", b"")


@pytest.mark.timeout(60)
def test_strings_that_never_end_are_scanned_once(api: Api) -> None:
    """A scan that looks for the end from every quote anew would take hours for this."""
    body = b'{"a":[' * 40 + b'"' + b'\\"' * (4 * MIB)
    assert api.call("POST", "/v1/networks", content=body, headers=JSON).status_code == 400
