"""Who this host is to the controllers: a credential, got once in exchange for a join token, kept at 0600."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from onehop.agent.settings import Refused, Settings

__all__ = ["Credential", "credential"]

TIMEOUT = 15.0
MAX_REPLY = 1 << 20


class Credential(msgspec.Struct, frozen=True):
    """`ca` is the certificate of the controllers' CA, as PEM."""

    host: str
    name: str
    token: str
    ca: str | None = None

    def __repr__(self) -> str:  # the token stays out of logs
        return f"Credential(host={self.host!r}, name={self.name!r})"


def credential(settings: Settings) -> Credential:
    """The credential kept from before; else the one that the join token buys."""
    path = settings.state / "credential.json"
    with contextlib.suppress(FileNotFoundError):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Credential)
        except msgspec.MsgspecError:
            raise Refused(
                f"{path} is damaged; delete it, and join again with a new --join-token-file"
            ) from None
    if settings.join_token is None:
        raise Refused(
            "this host has not joined yet: make a token with `onehop host join-token HOST`, and give its "
            "file with --join-token-file"
        )
    got = join(settings, _token(settings.join_token))
    _keep(path, got)
    return got


def join(settings: Settings, token: str) -> Credential:
    """Trade a token for a credential, at the first controller that answers."""
    urls = random.sample(settings.controllers, len(settings.controllers))
    trust = _trust(urls, settings.ca)
    unreached = []
    for url in urls:
        try:
            status, reply = _post(url, trust, {"token": token})
        except (OSError, http.client.HTTPException) as error:
            unreached.append(f"{url}: {error or type(error).__name__}")
            continue
        return _understood(url, status, reply)
    raise Refused(f"no controller could be reached to join: {'; '.join(unreached)}")


def _understood(url: str, status: int, reply: bytes) -> Credential:
    if status != 201:
        try:
            said = json.loads(reply)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = f"status {status}"
        raise Refused(f"{url} refuses to let this host join: {said}")
    try:
        return msgspec.json.decode(reply, type=Credential)
    except msgspec.MsgspecError as error:
        raise Refused(f"{url} answers like no controller: {error}") from None


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise Refused(f"cannot read the join token {path}: {error.strerror}") from None
    if not token or len(token) > 1024 or not token.isascii() or any(c.isspace() for c in token):
        raise Refused(f"{path} holds no join token")
    return token


def _trust(urls: Sequence[str], ca: Path | None) -> ssl.SSLContext | None:
    """The given CA and no other; what the system trusts, if none is given."""
    if not any(url.startswith("https:") for url in urls):
        return None
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"cannot use the CA's certificate {ca}: {error}") from None


def _post(url: str, trust: ssl.SSLContext | None, body: Any) -> tuple[int, bytes]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=TIMEOUT, context=trust)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/hosts/join", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read(MAX_REPLY)


def _keep(path: Path, got: Credential) -> None:
    """Written whole or not at all, readable by its owner alone, and on disk before it is used."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(got))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
