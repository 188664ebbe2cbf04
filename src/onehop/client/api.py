"""The calls of the REST API.

Objects go in and come out as JSON values. Kinds are named by their plural, as in the API's paths
(`networks`); references may be ids, names, `parent/name` or `project:name`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from onehop.client.contexts import Context
from onehop.client.errors import ProtocolError, Unreachable, refusal
from onehop.client.http import Connection, Endpoint

Json = dict[str, Any]
PAGE = 1000


def idempotency_key() -> str:
    return os.urandom(16).hex()


class Client:
    """Talks to one controller, as one token, within one project unless told otherwise."""

    def __init__(
        self,
        endpoint: Endpoint | str,
        token: str | None = None,
        *,
        project: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.endpoint = endpoint
        self.project = project
        self._timeout = timeout
        self._connection = Connection(endpoint, token, timeout=timeout)

    @staticmethod
    def of(context: Context, *, timeout: float = 30.0) -> Client:
        endpoint = Endpoint(context.url, context.ca, context.ca_file)
        return Client(endpoint, context.secret(), project=context.project, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- objects --------------------------------------------------------------------------------------

    def page(
        self, plural: str, *, limit: int = PAGE, cursor: str | None = None, **filters: str | list[str] | None
    ) -> Json:
        """One page of a listing: `items`, `next` (the cursor, or None) and `revision`."""
        return self._page(plural, limit, cursor, filters)

    def _page(self, plural: str, limit: int, cursor: str | None, filters: Mapping[str, Any]) -> Json:
        return self.call("GET", f"/v1/{plural}", query={**filters, "limit": str(limit), "cursor": cursor})

    def list(self, plural: str, **filters: str | list[str] | None) -> Iterator[Json]:
        """Every object of a kind that passes the filters, page by page."""
        cursor: str | None = None
        while True:
            page = self._page(plural, PAGE, cursor, filters)
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def get(self, plural: str, ref: str) -> Json:
        return self.call("GET", _path(plural, ref))

    def create(self, plural: str, body: Mapping[str, Any], *, wait: float | None = None) -> Json:
        return self.call("POST", f"/v1/{plural}", body, wait=wait)

    def replace(
        self,
        plural: str,
        ref: str,
        body: Mapping[str, Any],
        *,
        if_match: int | None = None,
        wait: float | None = None,
    ) -> Json:
        return self.call("PUT", _path(plural, ref), body, if_match=if_match, wait=wait)

    def update(
        self,
        plural: str,
        ref: str,
        changes: Mapping[str, Any],
        *,
        if_match: int | None = None,
        wait: float | None = None,
    ) -> Json:
        """Change some fields; None takes a field back to its default."""
        return self.call("PATCH", _path(plural, ref), changes, if_match=if_match, wait=wait)

    def delete(
        self, plural: str, ref: str, *, if_match: int | None = None, wait: float | None = None
    ) -> None:
        self.call("DELETE", _path(plural, ref), if_match=if_match, wait=wait)

    def bulk(self, operations: Iterable[Mapping[str, Any]], *, wait: float | None = None) -> Json:
        """Up to 128 operations that happen together or not at all."""
        return self.call("POST", "/v1/bulk", {"operations": list(operations)}, wait=wait)

    def attach(self, router: str, network: str, *, wait: float | None = None) -> Json:
        """Join a router to a network, with the gateway addresses of its subnets."""
        return self.call("POST", f"{_path('routers', router)}/attach", {"network": network}, wait=wait)

    def add_uplink(self, network: str, uplink: Mapping[str, Any], *, wait: float | None = None) -> Json:
        """Lead an external network outside by an interface of a host."""
        return self.call("POST", f"{_path('networks', network)}/uplinks", uplink, wait=wait)

    def join_token(self, host: str) -> Json:
        """A token by which a host joins, once."""
        return self.call("POST", f"{_path('hosts', host)}/join-token", {})

    # --- connections of ports -------------------------------------------------------------------------

    def connections(self, port: str, *, limit: int = PAGE, cursor: str | None = None) -> Json:
        """One page of a port's connections, as its host has them: `items`, and `next` (or None)."""
        query = {"limit": str(limit), "cursor": cursor}
        return self.call("GET", f"{_path('ports', port)}/connections", query=query)

    def connection(self, port: str, id: str) -> Json:
        return self.call("GET", f"{_path('ports', port)}/connections/{quote(id, safe='')}")

    def delete_connections(self, port: str, id: str | None = None) -> Json:
        """Delete one connection, or all of the port; how many were `deleted`."""
        which = "" if id is None else f"/{quote(id, safe='')}"
        return self.call("DELETE", f"{_path('ports', port)}/connections{which}")

    # --- stacks ---------------------------------------------------------------------------------------

    def apply(
        self,
        document: Mapping[str, Any],
        *,
        dry_run: bool = False,
        adopt: bool = False,
        deletions: Sequence[str] | None = None,
        wait: float | None = None,
    ) -> Iterator[Json]:
        """Make a document so, and tell of the progress: `actions`, `planned`, `progress`, `done`.

        `deletions` are the ids that may be deleted; without it, whatever is gone from the document. With
        `wait`, `done` comes when every host concerned has it, or after so many seconds.
        """
        body: Json = {"document": document, "dry_run": dry_run, "adopt": adopt}
        if deletions is not None:
            body["deletions"] = list(deletions)
        last, event = "planned" if dry_run else "done", Json()
        patience = max(self._timeout, 120.0) + (wait or 0.0)
        query = self._scope() | ({} if wait is None else {"wait": wait})
        for event in self.stream("POST", "/v1/apply", body, query=query, timeout=patience):
            yield event
        if event.get("event") != last:
            raise Unreachable(
                f"the controller at {self.endpoint.url} did not answer to the end; the same apply again goes "
                "on from where it stopped"
            )

    def export(self, stack: str | None = None) -> Json:
        return self.call("GET", "/v1/export", query={"stack": stack})

    # --- questions ------------------------------------------------------------------------------------

    def trace(self, body: Mapping[str, Any]) -> Json:
        return self.call("POST", "/v1/trace", body)

    def reach(self, body: Mapping[str, Any]) -> Json:
        return self.call("POST", "/v1/reach", body)

    def whoami(self) -> Json:
        return self.call("GET", "/v1/whoami")

    def health(self) -> Json:
        return self.call("GET", "/v1/health")

    def audit(self, **filters: str | None) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self.call("GET", "/v1/audit", query={**filters, "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def join_host(self, body: Mapping[str, Any]) -> Json:
        return self.call("POST", "/v1/hosts/join", body)

    def watch(self, **filters: str | None) -> Iterator[tuple[str, Json]]:
        """Server-sent events: (event, data), for ever, without the comments that keep it alive."""
        query = urlencode(self._scoped(filters))
        path = f"/v1/watch?{query}" if query else "/v1/watch"
        headers = {"Accept": "text/event-stream"}
        yield from events(self._connection.lines("GET", path, headers=headers, timeout=90.0))

    # --- the calls beneath ----------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        if_match: int | None = None,
        wait: float | None = None,
    ) -> Json:
        """One request of the API, with the client's project filled in, and its JSON reply."""
        parameters = self._scoped(query or {})
        headers: dict[str, str] = {}
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if method == "POST":
            headers["Idempotency-Key"] = idempotency_key()
        if wait is not None:
            parameters["wait"] = f"{wait:g}"
        url = f"{path}?{urlencode(parameters, doseq=True)}" if parameters else path
        timeout = self._timeout + (wait or 0.0)
        reply = self._connection.request(method, url, body, headers, timeout=timeout)
        if reply.body is None:
            return {}
        if not isinstance(reply.body, dict):
            raise ProtocolError(
                f"{self.endpoint.url} does not answer as a controller does; is the URL right?"
            )
        return reply.body

    def stream(
        self, method: str, path: str, body: Any, *, query: Mapping[str, Any], timeout: float
    ) -> Iterator[Json]:
        """A reply of JSON lines. A line with `error` in it ends the stream with that refusal."""
        url = f"{path}?{urlencode(query)}" if query else path
        headers = {"Accept": "application/x-ndjson"}
        for line in self._connection.lines(method, url, body, headers, timeout=timeout):
            if not line:
                continue
            event = _json(line)
            if "error" in event:
                raise refusal(int(event["error"].get("status", 500)), event)
            yield event

    def _scope(self) -> dict[str, str]:
        return {"project": self.project} if self.project else {}

    def _scoped(self, query: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in query.items() if value is not None}
        return {**self._scope(), **given}


def _path(plural: str, ref: str) -> str:
    return f"/v1/{plural}/{quote(ref, safe=':')}"


def _json(text: bytes | str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("a line of the reply is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("a line of the reply is not an object")
    return value


def events(lines: Iterable[bytes]) -> Iterator[tuple[str, Json]]:
    """Server-sent events: fields up to an empty line make one event."""
    name, data = "message", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace")
        if not line:
            if data:
                yield name, _json("\n".join(data))
            name, data = "message", []
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
