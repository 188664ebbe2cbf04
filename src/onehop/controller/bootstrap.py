"""The first start: what a controller needs to be used, made once.

In the store: a project `default`, and a token `admin` with the role that does everything. In the state
directory: the admin token (0600), and a context for the CLI. The token's file is written before the store
is, so that a start that is cut short is simply begun again with the same secret. Of several controllers that
start together on one empty store, one makes the token; the others say so.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from onehop.controller.actor import CONTROLLER
from onehop.controller.auth import PREFIX, digest, new_secret, token_of
from onehop.controller.certificates import write_private
from onehop.controller.engine import Engine, Operation
from onehop.controller.parts import Parts
from onehop.controller.refusals import Conflict
from onehop.model import Token

ADMIN = "admin"
PROJECT = "default"
MADE = "Made at the first start"
TOKEN_FILE = "admin-token"
CONTEXT_FILE = "contexts.json"


@dataclass(frozen=True, slots=True)
class Welcome:
    """What to tell whoever started the controller. `token` is the file, if it is a token of this store."""

    url: str
    first: bool
    token: Path | None
    context: Path | None

    def text(self) -> str:
        lines = [f"Onehop listens on {self.url}"]
        if self.context is not None:
            lines += [
                "Use it from this machine with",
                f"  export ONEHOP_CONFIG={self.context}",
                "  onehop whoami",
            ]
        if self.token is not None:
            lines += [f"The administrator's token is in {self.token}; keep it to yourself."]
        else:
            lines += ["The administrator's token was made by the controller that first used this store."]
        return "\n".join(lines)


async def bootstrap(parts: Parts, directory: Path, url: str, ca: Path | None) -> Welcome:
    file = directory / TOKEN_FILE
    first = parts.cache.view.named("token", None, ADMIN) is None and not _has_tokens(parts)
    if first:
        first = await _make(parts.engine, _secret(file))
    text = file.read_text().strip() if file.exists() else ""
    if token_of(text, parts.cache.view) is None:
        return Welcome(url, first, None, None)
    context = directory / CONTEXT_FILE
    told = {"url": url, "token_file": str(file)} | ({"ca_file": str(ca)} if ca else {})
    contexts = {"current": "local", "contexts": {"local": told}}
    write_private(context, json.dumps(contexts, indent=2).encode() + b"\n")
    return Welcome(url, first, file, context)


def _has_tokens(parts: Parts) -> bool:
    return bool(parts.cache.view.all(Token))


def _secret(file: Path) -> str:
    """The secret in the file, from a start that was cut short, or a new one, which is then there."""
    if file.exists() and file.read_text().startswith(PREFIX):
        return file.read_text().strip()
    text = new_secret(str(uuid.uuid4())).text
    write_private(file, text.encode() + b"\n")
    return text


async def _make(engine: Engine, text: str) -> bool:
    id = text.removeprefix(PREFIX)[:36]
    trusted = {"id": id, "hash": digest(text)}
    operations = [
        Operation("create", "token", body={"name": ADMIN, "title": MADE}, trusted=trusted),
        Operation("create", "role", body={"name": ADMIN, "token": id, "role": "admin"}),
        Operation("create", "project", body={"name": PROJECT, "title": MADE}),
    ]
    try:
        await engine.commit(operations, CONTROLLER)
    except Conflict:
        return False  # another controller was faster
    return True
