"""Contexts: which controller to talk to, how to recognise it, and as whom.

One JSON file of mode 0600, `~/.config/onehop/contexts.json` unless `ONEHOP_CONFIG` says otherwise:

    {"current": "local",
     "contexts": {"local": {"url": "https://127.0.0.1:9595",
                            "ca": "-----BEGIN CERTIFICATE-----...",  or  "ca_file": "/etc/onehop/ca.pem",
                            "token": "...",                          or  "token_file": "/etc/onehop/token",
                            "project": "demo"}}}

`project` may be left out, as may `ca` with a certificate that the system trusts. The environment has the
last word: `ONEHOP_CONTEXT` chooses a context; `ONEHOP_URL`, `ONEHOP_CA` (a file), `ONEHOP_TOKEN`,
`ONEHOP_TOKEN_FILE` and `ONEHOP_PROJECT` replace what it says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from onehop.client.errors import ClientError

MAX_FILE = 1 << 20


class ContextError(ClientError):
    """There is no usable context."""


class Context(NamedTuple):
    """How to reach one controller."""

    url: str
    ca: str | None = None
    ca_file: str | None = None
    token: str | None = None
    token_file: str | None = None
    project: str | None = None

    def secret(self) -> str | None:
        """The token itself, read from its file if need be."""
        if self.token is not None or self.token_file is None:
            return self.token
        try:
            return Path(self.token_file).read_text().strip()
        except OSError as error:
            raise ContextError(f"cannot read the token file {self.token_file}: {error.strerror}") from None

    def to_json(self) -> dict[str, str]:
        return {name: value for name, value in self._asdict().items() if value is not None}

    @staticmethod
    def of_json(name: str, body: Any) -> Context:
        if not isinstance(body, dict) or not isinstance(body.get("url"), str):
            raise ContextError(f"context {name!r} has no url; make it again with `onehop login`")
        return Context(**{k: v for k, v in body.items() if k in Context._fields and isinstance(v, str)})


class Contexts(NamedTuple):
    """All contexts of a user, and which one is used."""

    contexts: Mapping[str, Context]
    current: str | None = None

    def put(self, name: str, context: Context, *, use: bool = True) -> Contexts:
        current = name if use or self.current is None else self.current
        return Contexts({**self.contexts, name: context}, current)

    def use(self, name: str) -> Contexts:
        self.named(name)
        return Contexts(self.contexts, name)

    def remove(self, name: str) -> Contexts:
        self.named(name)
        rest = {n: c for n, c in self.contexts.items() if n != name}
        return Contexts(rest, None if self.current == name else self.current)

    def named(self, name: str) -> Context:
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise ContextError(f"there is no context {name!r} (there are: {known})")
        return self.contexts[name]


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    if environ.get("ONEHOP_CONFIG"):
        return Path(environ["ONEHOP_CONFIG"])
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config"
    return Path(base) / "onehop" / "contexts.json"


def load(path: Path) -> Contexts:
    """The contexts in a file; none, if there is no file."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE)
    except FileNotFoundError:
        return Contexts({})
    except OSError as error:
        raise ContextError(f"cannot read {path}: {error.strerror}") from None
    try:
        body = json.loads(text)
        contexts = {str(n): Context.of_json(n, c) for n, c in body["contexts"].items()}
        current = body.get("current")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ContextError(f"{path} is damaged; delete it and use `onehop login`") from None
    return Contexts(contexts, current if isinstance(current, str) else None)


def save(path: Path, contexts: Contexts) -> None:
    """Write the file whole or not at all, readable by its owner alone."""
    body = {"current": contexts.current, "contexts": {n: c.to_json() for n, c in contexts.contexts.items()}}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(body, file, indent=2)
        file.write("\n")
    temporary.replace(path)


def select(contexts: Contexts, environ: Mapping[str, str], name: str | None = None) -> Context:
    """The context to use, after what the environment says."""
    url = environ.get("ONEHOP_URL")
    name = name or environ.get("ONEHOP_CONTEXT") or (None if url else contexts.current)
    if name is not None:
        context = contexts.named(name)
    elif url:
        context = Context(url)
    else:
        raise ContextError(
            "no controller to talk to: use `onehop login URL --token-file FILE`, or set ONEHOP_URL and "
            "ONEHOP_TOKEN"
        )
    if url and url != context.url:
        context = Context(url)  # another controller must never be sent this one's token
    return _overridden(context, environ)


def _overridden(context: Context, environ: Mapping[str, str]) -> Context:
    if environ.get("ONEHOP_CA"):
        context = context._replace(ca=None, ca_file=environ["ONEHOP_CA"])
    if environ.get("ONEHOP_TOKEN"):
        context = context._replace(token=environ["ONEHOP_TOKEN"], token_file=None)
    elif environ.get("ONEHOP_TOKEN_FILE"):
        context = context._replace(token=None, token_file=environ["ONEHOP_TOKEN_FILE"])
    if environ.get("ONEHOP_PROJECT"):
        context = context._replace(project=environ["ONEHOP_PROJECT"])
    return context
