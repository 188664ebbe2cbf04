"""`POST /v1/bulk`: several operations that happen together or not at all."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, post

from onehop.controller.answers import AnyRequest, answer
from onehop.controller.calls import WriteCall, replayed
from onehop.controller.decode import body, convert
from onehop.controller.engine import MAX_BULK, Operation
from onehop.controller.openapi import KEY, PROJECT, WAIT, bulk_reply, operation
from onehop.controller.refusals import Malformed, TooMuch
from onehop.controller.schemas import ref
from onehop.model import KINDS, Problem


class BulkOperation(msgspec.Struct, forbid_unknown_fields=True):
    """One thing to do to one object."""

    op: Literal["create", "replace", "patch", "delete"]
    kind: Annotated[str, msgspec.Meta(description="The kind: `security-group`.")]
    ref: Annotated[str | None, msgspec.Meta(description="Which object; not for `create`.")] = None
    body: Annotated[dict[str, Any] | None, msgspec.Meta(description="The object, or a JSON merge patch.")] = (
        None
    )
    if_match: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None,
        msgspec.Meta(description="The revision that the object must still have."),
    ] = None
    project: Annotated[str | None, msgspec.Meta(description="The current project.")] = None


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """Operations in order. Later ones may refer to what earlier ones made, by name."""

    operations: Annotated[list[BulkOperation], msgspec.Meta(min_length=1)]


@post("/v1/bulk")
async def bulk(request: AnyRequest) -> Response[bytes]:
    call = WriteCall.of(request)
    wanted = convert(await body(request), Bulk).operations
    if len(wanted) > MAX_BULK:
        raise TooMuch(f"a bulk holds at most {MAX_BULK} operations; POST /v1/apply makes more, in batches")
    done = await call.commit([_operation(i, one, call) for i, one in enumerate(wanted)])
    results = [call.show(result.object, result.revision) for result in done.results]
    told = {"revision": done.revision, "results": results} | await call.converged(done)
    return answer(told, 200, replayed(done))


def _operation(place: int, one: BulkOperation, call: WriteCall) -> Operation:
    field = f"operations[{place}]"
    if one.kind not in KINDS:
        raise Malformed(
            "the bulk names a kind that there is not",
            [Problem(f"{field}.kind", f"is not a kind; there are: {', '.join(KINDS)}")],
        )
    if one.kind == "token" and one.op == "create":
        raise Malformed(
            "tokens are made one by one", [Problem(field, "POST /v1/tokens, which tells the secret")]
        )
    if (one.ref is None) != (one.op == "create"):
        needed = "is needed" if one.ref is None else "is not for `create`"
        raise Malformed("an operation of the bulk is not whole", [Problem(f"{field}.ref", needed)])
    return Operation(one.op, one.kind, one.ref, one.body, one.if_match, one.project or call.current)


PATHS = {
    "/v1/bulk": {
        "post": operation(
            "Do up to 128 operations, all or none",
            bulk_reply(kind.type.__name__ for kind in KINDS.values()),
            parameters=[PROJECT, WAIT, KEY],
            body=ref("Bulk"),
        )
    }
}
TYPES = (Bulk,)
HANDLERS = [bulk]
