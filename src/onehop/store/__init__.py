"""Where the model lives: `open_store` gives a `Store`, whichever driver the URL names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from onehop.store.interface import (
    Absent,
    AtRevision,
    Batch,
    Change,
    Committed,
    Compacted,
    Delete,
    Entry,
    Exists,
    Guard,
    Incompatible,
    Key,
    LeaseGone,
    Outcome,
    Page,
    PrefixEmpty,
    Put,
    RangeEmpty,
    Refused,
    Revision,
    Store,
    StoreError,
    TooLarge,
    Unavailable,
    Write,
    list_all,
)

if TYPE_CHECKING:
    from onehop.store.etcd import EtcdStore

__all__ = [
    "Absent",
    "AtRevision",
    "Batch",
    "Change",
    "Committed",
    "Compacted",
    "Delete",
    "Entry",
    "Exists",
    "Guard",
    "Incompatible",
    "Key",
    "LeaseGone",
    "Outcome",
    "Page",
    "PrefixEmpty",
    "Put",
    "RangeEmpty",
    "Refused",
    "Revision",
    "Store",
    "StoreError",
    "TooLarge",
    "Unavailable",
    "Write",
    "list_all",
    "new_incarnation",
    "open_store",
    "sqlite_path",
]


async def open_store(url: str) -> Store:
    """The store that a URL names.

    `sqlite:///path/file.db` is embedded. `etcd://HOST:PORT,HOST:PORT/PREFIX` is a cluster; `etcds://` is
    the same over TLS, and takes the PEM files `?ca=FILE&cert=FILE&key=FILE`. Both etcd forms take
    `user=NAME&password_file=FILE`.

    Drivers are imported when they are asked for: an embedded store needs no gRPC.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from onehop.store.sqlite import SqliteStore

        return await SqliteStore.open(_path(url))
    if scheme in ("etcd", "etcds"):
        return await _open_etcd(url)
    raise ValueError(f"no store is called {scheme or url!r}; use sqlite:///path/file.db or etcd://HOST:2379")


async def _open_etcd(url: str) -> EtcdStore:
    from onehop.store.etcd import EtcdStore, Login, Tls

    parts = _etcd(url)
    return await EtcdStore.open(
        parts.endpoints,
        prefix=parts.prefix,
        tls=Tls(_pem(parts.ca), _pem(parts.cert), _pem(parts.key)) if parts.tls else None,
        login=Login(parts.user, _secret(parts.password_file)) if parts.user else None,
    )


def sqlite_path(url: str) -> Path | None:
    """The file of an embedded store; None for another kind of store."""
    return Path(_path(url)) if urlsplit(url).scheme == "sqlite" else None


async def new_incarnation(url: str) -> None:
    """Say that a store was restored by means that do not tell: whoever follows it compares by content."""
    path = sqlite_path(url)
    if path is not None:
        from onehop.store.sqlite import mark_restored

        mark_restored(path)
        return
    store = await _open_etcd(url)
    try:
        await store.new_incarnation()
    finally:
        await store.close()


def _path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} names no file; write sqlite:///path/file.db, with three slashes")
    return unquote(parts.path)


@dataclass(frozen=True, slots=True)
class _Etcd:
    endpoints: list[str]
    prefix: str
    tls: bool
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password_file: str = ""


def _etcd(url: str) -> _Etcd:
    parts = urlsplit(url)
    endpoints = [address.strip() for address in parts.netloc.split(",")]
    if "@" in parts.netloc:
        raise ValueError("a store's URL holds no password; write ?user=NAME&password_file=FILE")
    for address in endpoints:
        if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/]+):\d+", address):
            raise ValueError(f"{address!r} is no endpoint; write HOST:PORT, or [ADDRESS]:PORT for IPv6")
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    unknown = options.keys() - {"ca", "cert", "key", "user", "password_file"}
    if unknown:
        raise ValueError(
            f"a store's URL has no {sorted(unknown)[0]!r}; it takes ca, cert, key, user, password_file"
        )
    files = options.keys() & {"ca", "cert", "key"}
    if files and parts.scheme == "etcd":
        raise ValueError("ca, cert and key are for TLS; write etcds:// instead of etcd://")
    if ("cert" in options) != ("key" in options):
        raise ValueError("a client certificate needs both cert and key")
    if ("user" in options) != ("password_file" in options):
        raise ValueError("a login needs both user and password_file")
    prefix = unquote(parts.path) if parts.path.strip("/") else "/onehop/"
    return _Etcd(endpoints, prefix, parts.scheme == "etcds", **options)


def _pem(path: str) -> bytes | None:
    return _file(path) if path else None


def _secret(path: str) -> str:
    return _file(path).decode().strip("\r\n")


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; the store's URL names it") from error
