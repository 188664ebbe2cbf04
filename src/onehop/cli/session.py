"""The client that a command talks through, and how its errors are told."""

from __future__ import annotations

import os

from onehop.cli.spec import Call, Usage
from onehop.client.api import Client
from onehop.client.contexts import Context, default_path, load, select
from onehop.client.errors import ApiError, ClientError
from onehop.client.errors import explained as told


def context(call: Call) -> Context:
    chosen = select(load(default_path()), os.environ, call.option("context"))
    return chosen._replace(project=call.option("project") or chosen.project)


def connect(call: Call) -> Client:
    return Client.of(context(call))


def number(call: Call, key: str, *, least: int = 0) -> int | None:
    """The value of an option that is a number."""
    given = call.option(key)
    if given is None:
        return None
    if not (isinstance(given, str) and given.isascii() and given.isdigit() and int(given) >= least):
        raise Usage(f"--{key.replace('_', '-')} is a number from {least} up, not {given!r}")
    return int(given)


def wait(call: Call) -> float | None:
    given = number(call, "wait", least=1)
    return None if given is None else float(given)


def explained(error: ClientError) -> str:
    """What went wrong, and the way out."""
    lines = [told(error)]
    if isinstance(error, ApiError) and error.status == 401:
        lines.append(
            "  use `onehop login` with a token that is valid; `onehop context show` says which is used"
        )
    return "\n".join(lines)
