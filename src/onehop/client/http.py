"""One connection to one controller: requests, replies, and streams of lines, over HTTP/1.1 and TLS.

A connection is kept open between requests. When the controller closed it meanwhile, a request is sent once
more if sending it twice does no harm: reading, or a write that carries an idempotency key.
A token is never sent in the clear, except over loopback.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from onehop.client.errors import ClientError, ProtocolError, Unreachable, Untrusted, refusal

MAX_REPLY = 256 << 20  # an export of a large stack is tens of megabytes
MAX_LINE = 4 << 20
REPEATABLE = ("GET", "PUT", "DELETE")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """Where a controller listens, and whose certificate to believe: a PEM text, a file, or the system's."""

    url: str
    ca: str | None = None
    ca_file: str | None = None


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: Any


class Connection:
    """A connection to a controller, made when it is first needed."""

    def __init__(self, endpoint: Endpoint, token: str | None, *, timeout: float = 30.0) -> None:
        self._endpoint = endpoint
        self._url = _checked(endpoint.url, token)
        self._token = token
        self._timeout = timeout
        self._http: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Send a request and read the whole reply. Raises ApiError for what the controller refuses."""
        response = self._send(method, path, body, headers or {}, timeout or self._timeout)
        try:
            content = response.read(MAX_REPLY + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None
        if len(content) > MAX_REPLY:
            self.close()
            raise ProtocolError(f"the reply to {method} {path} is larger than {MAX_REPLY >> 20} MiB")
        self._close_if_asked(response)
        return _reply(response, content)

    def lines(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Iterator[bytes]:
        """Send a request and give the reply's lines as they come. `timeout` is for each gap between."""
        response = self._send(method, path, body, headers or {}, timeout or self._timeout)
        if response.status >= 400:
            _reply(response, response.read(MAX_LINE))
        ended = False
        try:
            while line := response.readline(MAX_LINE):
                if not line.endswith(b"\n") and len(line) >= MAX_LINE:
                    raise ProtocolError(f"a line of the reply is longer than {MAX_LINE >> 20} MiB")
                yield line.rstrip(b"\r\n")
            ended = True
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None
        finally:
            if not ended:
                self.close()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    # --- sending --------------------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        repeatable = method in REPEATABLE or "Idempotency-Key" in headers
        if self._http is not None and _is_over(self._http):
            self.close()
        while True:
            fresh = self._http is None
            connection = self._http = self._http or self._connect()
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            try:
                return self._exchange(connection, method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh or not repeatable or isinstance(error, TimeoutError):
                    raise self._lost(error) from None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {"Accept": "application/json", "User-Agent": "onehop", **headers}
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection.request(method, self._url.path.rstrip("/") + path, content, sent)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or DEFAULT_PORTS[self._url.scheme]
        if self._url.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        else:
            context = self._trust()
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(
                f"the controller at {self._endpoint.url} cannot prove who it is ({error.verify_message}); "
                "give its CA with `onehop login --ca FILE` or ONEHOP_CA"
            ) from None
        except ssl.SSLError as error:
            raise ProtocolError(f"no TLS with {self._endpoint.url}: {error.reason or error}") from None
        except OSError as error:
            raise Unreachable(
                f"no controller answers at {self._endpoint.url} ({_why(error)}); is it running, and is the "
                "URL right (`onehop context show`)?"
            ) from None
        return connection

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._endpoint.ca_file, cadata=self._endpoint.ca)
        except (OSError, ValueError) as error:
            name = self._endpoint.ca_file or "the context's CA"
            raise ClientError(f"cannot use {name} as a CA certificate: {_why(error)}") from None

    def _lost(self, error: Exception) -> ClientError:
        self.close()
        return Unreachable(
            f"the controller at {self._endpoint.url} did not answer to the end ({_why(error)}); what was "
            "asked for may or may not have happened"
        )

    def _close_if_asked(self, response: http.client.HTTPResponse) -> None:
        if response.will_close:
            self.close()


def _checked(url: str, token: str | None) -> SplitResult:
    wrong = ClientError(f"{url!r} is not the URL of a controller, such as https://127.0.0.1:9595")
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port != 0  # reading it raises when it is no port
    except ValueError:
        raise wrong from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not port_is_fine:
        raise wrong
    if parts.username or parts.query or parts.fragment:
        raise wrong
    if token and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ClientError(f"a token is not sent in the clear: use https:// instead of {url}")
    return parts


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "its name is unknown"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    return str(error) or type(error).__name__


def _is_over(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection has something to say, which can only be its end: servers let go of them."""
    if connection.sock is None:
        return False
    poll = select.poll()  # unlike select, it takes descriptors beyond 1023
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _reply(response: http.client.HTTPResponse, content: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    body: Any = None
    if content and "json" in headers.get("content-type", ""):
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise ProtocolError("the reply is not the JSON that it claims to be") from None
    elif content:
        body = content.decode("utf-8", "replace")
    if response.status >= 400:
        raise refusal(response.status, body)
    return Reply(response.status, headers, body)
