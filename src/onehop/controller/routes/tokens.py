"""Making tokens: the secret is told once, in the reply that makes it."""

from __future__ import annotations

import uuid
from dataclasses import replace

from litestar import Response

from onehop.controller.auth import new_secret
from onehop.controller.calls import WriteCall
from onehop.controller.engine import Operation
from onehop.model import KINDS

KIND = KINDS["token"]


async def create_token(call: WriteCall, operation: Operation) -> Response[bytes]:
    id = str(uuid.uuid4())
    secret = new_secret(id)
    trusted = {"id": id, "hash": secret.hash}
    done = await call.commit([replace(operation, trusted=trusted)])
    token = done.results[0].object
    if done.repeated:
        # The first reply was lost, and its secret with it. The caller gets a new one for the same token.
        secret = new_secret(token.id)
        rotate = Operation("patch", KIND.name, token.id, {}, trusted={"hash": secret.hash})
        done = await call.here.engine.commit([rotate], call.actor)
    return await call.written(KIND, done, 201, secret=secret.text)
