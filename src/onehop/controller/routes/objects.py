"""Reading and writing objects of every kind: the kinds come from the model's register.

    /v1/<plural>          GET a list, POST a new one
    /v1/<plural>/<ref>    GET, PUT, PATCH, DELETE
    /v1/ports/<ref>/connections[/<id>]    GET, DELETE: not objects, see `connections`

References hold slashes (`web/web-1`), so the rest of a path is one reference.
"""

from __future__ import annotations

from litestar import HttpMethod, Response, delete, get, patch, post, put, route

from onehop.controller.answers import AnyRequest, NoSuchMethod, answer
from onehop.controller.calls import Call, WriteCall, kind_in_path, ref_in_path
from onehop.controller.conditions import etag, not_modified
from onehop.controller.decode import MERGE_PATCH, body, only_parameters
from onehop.controller.listing import read_page, read_query
from onehop.controller.refusals import Malformed
from onehop.controller.routes import connections, outward
from onehop.controller.routes.attach import attach
from onehop.controller.routes.joining import make_join_token
from onehop.controller.routes.tokens import create_token
from onehop.controller.routes.uplinks import add_uplink
from onehop.model import Kind
from onehop.model.formats import is_id

# What else can be done to an object: POST /v1/<plural>/<ref>/<action>.
ACTIONS = {
    ("routers", "attach"): attach,
    ("networks", "uplinks"): add_uplink,
    ("hosts", "join-token"): make_join_token,
}
OF_LISTS = ("GET", "POST")
OF_OBJECTS = ("GET", "PUT", "PATCH", "DELETE")
OF_ACTIONS = ("POST",)
OF_CONNECTIONS = ("GET", "DELETE")


@get("/v1/{plural:str}")
async def list_objects(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    call = Call.of(request)
    query = read_query(request, kind, call.access)
    page = await read_page(query, call.access, call.here)
    items = [call.show(item.object, item.revision) for item in page.items]
    return answer({"items": items, "next": page.next, "revision": page.revision})


@get("/v1/{plural:str}/{ref:path}")
async def get_object(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    at = connections.place(kind, ref_in_path(request))
    if at is not None:
        return await connections.read(Call.of(request), at)
    ref = object_ref(request, kind)
    call = Call.of(request)
    only_parameters(request, ("project",))
    obj = call.readable(kind, ref)
    revision = call.here.cache.revision_of(obj.id)
    headers = {"ETag": etag(revision)}
    if not_modified(request, revision):
        return Response(b"", status_code=304, headers=headers)
    return answer(call.show(obj, revision), headers=headers)


@post("/v1/{plural:str}")
async def create_object(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    call = WriteCall.of(request)
    wanted = await body(request)
    if kind.name == "router" and outward.is_sugared(wanted):
        return await outward.create_router(call, wanted)
    operation = call.operation("create", kind, body=wanted)
    if kind.name == "token":
        return await create_token(call, operation)
    return await call.written(kind, await call.commit([operation]), 201)


@put("/v1/{plural:str}/{ref:path}")
async def replace_object(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    ref = object_ref(request, kind)
    call = WriteCall.of(request)
    operation = call.operation("replace", kind, ref, await body(request))
    new = is_id(ref) and call.view.find(ref) is None
    if new and kind.name == "token":
        raise Malformed("a token is made by POST /v1/tokens, which tells its secret")
    return await call.written(kind, await call.commit([operation]), 201 if new else 200)


@patch("/v1/{plural:str}/{ref:path}")
async def patch_object(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    ref = object_ref(request, kind)
    call = WriteCall.of(request)
    operation = call.operation("patch", kind, ref, await body(request, MERGE_PATCH))
    return await call.written(kind, await call.commit([operation]), 200)


@delete("/v1/{plural:str}/{ref:path}", status_code=200)
async def delete_object(request: AnyRequest) -> Response[bytes]:
    """The reply is the object as it was."""
    kind = kind_in_path(request)
    at = connections.place(kind, ref_in_path(request))
    if at is not None:
        return await connections.remove(Call.of(request), at)
    ref = object_ref(request, kind)
    call = WriteCall.of(request)
    operation = call.operation("delete", kind, ref)
    return await call.written(kind, await call.commit([operation]), 200)


@post("/v1/{plural:str}/{ref:path}")
async def act_on_object(request: AnyRequest) -> Response[bytes]:
    kind = kind_in_path(request)
    ref, _, name = ref_in_path(request).rpartition("/")
    action = ACTIONS.get((kind.plural, name))
    if action is None or not ref:
        raise NoSuchMethod(*methods(request))
    return await action(WriteCall.of(request), ref)


@route("/v1/{plural:str}", http_method=[HttpMethod.OPTIONS])
async def options_of_list(request: AnyRequest) -> Response[bytes]:
    kind_in_path(request)
    return Response(b"", status_code=204, headers={"Allow": ", ".join((*OF_LISTS, "OPTIONS"))})


@route("/v1/{plural:str}/{ref:path}", http_method=[HttpMethod.OPTIONS])
async def options_of_object(request: AnyRequest) -> Response[bytes]:
    return Response(b"", status_code=204, headers={"Allow": ", ".join((*methods(request), "OPTIONS"))})


def methods(request: AnyRequest) -> tuple[str, ...]:
    """What can be done with what a path names."""
    kind, ref = kind_in_path(request), ref_in_path(request)
    if connections.place(kind, ref) is not None:
        return OF_CONNECTIONS
    return OF_ACTIONS if is_action(kind, ref) else OF_OBJECTS


def is_action(kind: Kind, ref: str) -> bool:
    before, _, name = ref.rpartition("/")
    return bool(before) and (kind.plural, name) in ACTIONS


def object_ref(request: AnyRequest, kind: Kind) -> str:
    """The reference in a path, which is of an object and of nothing else."""
    ref, may = ref_in_path(request), methods(request)
    if may is not OF_OBJECTS:
        raise NoSuchMethod(*may)
    return ref


HANDLERS = [
    options_of_list,  # before the others, or Litestar makes its own from the first
    options_of_object,
    list_objects,
    get_object,
    create_object,
    replace_object,
    patch_object,
    delete_object,
    act_on_object,
]
