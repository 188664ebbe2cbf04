"""How a host gets its credential.

    POST /v1/hosts/<ref>/join-token   by an administrator: a token that works once, within an hour
    POST /v1/hosts/join               by the host, with that token and nothing else: its own credential

Only a digest of the join token is kept, on a lease. Using it deletes it first, so that of two who try one
gets the credential; if the controller dies right then, the administrator makes another.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Response, post

from onehop.controller.actor import CONTROLLER
from onehop.controller.answers import AnyRequest, Unauthorized, answer
from onehop.controller.auth import digest, new_secret, require_admin
from onehop.controller.calls import WriteCall
from onehop.controller.decode import body, convert
from onehop.controller.engine import Operation
from onehop.controller.openapi import PROJECT, REF, operation
from onehop.controller.parts import Parts, parts
from onehop.controller.schemas import an_object, nullable, ref
from onehop.model import KINDS, Host, Role, Token
from onehop.store import AtRevision, Committed, Delete, Put

PREFIX = "onehop_join_"
LIFETIME = 3600
KEY = "meta/join/"


class Join(msgspec.Struct, forbid_unknown_fields=True):
    """What a host brings."""

    token: str


async def make_join_token(call: WriteCall, ref: str) -> Response[bytes]:
    host = call.readable(KINDS["host"], ref)
    require_admin(call.actor, "joining hosts")
    text = f"{PREFIX}{secrets.token_urlsafe(32)}"
    lease = await call.here.store.grant(LIFETIME)
    await call.here.store.transact((), [Put(KEY + digest(text), host.id.encode(), lease)])
    told: dict[str, Any] = {"host": host.id, "name": host.name, "token": text}
    return answer(told | {"expires_in": LIFETIME, "ca": call.here.ca}, 201)


@post("/v1/hosts/join")
async def join(request: AnyRequest) -> Response[bytes]:
    wanted = convert(await body(request), Join)
    here = parts(request)
    host = await _use(wanted.token, here)
    id = str(uuid.uuid4())
    secret = new_secret(id)
    name = f"host-{id[:8]}"
    await here.engine.commit(
        [
            *_revocations(here, host),
            Operation(
                "create",
                "token",
                body={"name": name, "title": f"The credential of host {host.name}"},
                trusted={"id": id, "hash": secret.hash, "host": host.id},
            ),
            Operation("create", "role", body={"token": id, "role": "host"}),
        ],
        CONTROLLER,
    )
    told = {"host": host.id, "name": host.name, "token": secret.text, "ca": here.ca}
    return answer(told, 201)


def _revocations(here: Parts, host: Host) -> Iterator[Operation]:
    """Ends the credentials that the host had before: whoever joins it anew may have lost them."""
    for token in here.cache.view.referring(Token, host.id):
        for role in here.cache.view.children(Role, token.id):
            yield Operation("delete", "role", role.id)
        yield Operation("delete", "token", token.id)


async def _use(text: str, here: Parts) -> Host:
    """The host that a join token is for. The token is used up."""
    key = KEY + digest(text)
    entry = await here.store.get(key)
    host = here.cache.view.get(Host, entry.value.decode()) if entry else None
    if entry is None or host is None:
        raise _not_known()
    outcome = await here.store.transact([AtRevision(key, entry.revision)], [Delete(key)])
    if not isinstance(outcome, Committed):
        raise _not_known()
    return host


def _not_known() -> Unauthorized:
    return Unauthorized("the join token is not known; it works once and for an hour: ask for another")


_TEXT = {"type": "string"}
_MADE = {"host": _TEXT, "name": _TEXT, "token": _TEXT, "ca": nullable(_TEXT)}

PATHS = {
    "/v1/hosts/join": {
        "post": operation(
            "Trade a join token for a host's credential",
            an_object(_MADE),
            status="201",
            tag="hosts",
            body=ref("Join"),
            public=True,
        )
    },
    "/v1/hosts/{ref}/join-token": {
        "parameters": [REF],
        "post": operation(
            "Make a token by which a host joins, once",
            an_object(_MADE | {"expires_in": {"type": "integer"}}),
            status="201",
            tag="hosts",
            parameters=[PROJECT],
        ),
    },
}
TYPES = (Join,)
HANDLERS = [join]
