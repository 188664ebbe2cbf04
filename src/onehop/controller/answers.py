"""What the API answers: JSON, and one shape for every error.

    {"error": {"code": "stale", "message": "...", "problems": [{"field": "name", "message": "..."}]}}

The engine's refusals are told as they are. Below are the refusals that belong to HTTP itself, and the
handlers that bring whatever else is raised into the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from onehop.controller.refusals import Busy, Refusal, Unprocessable
from onehop.model import Invalid
from onehop.store import StoreError

AnyRequest = Request[Any, Any, Any]
Headers = Mapping[str, str]

log = structlog.get_logger()
encode = msgspec.json.Encoder().encode


class Unauthorized(Refusal):
    """Nobody we know is calling."""

    code = "unauthorized"
    status = 401


class NoSuchMethod(Refusal):
    """The path is one, but not for this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, *allowed: str) -> None:
        super().__init__(f"this path does not take this method; it takes {', '.join(allowed)}")
        self.allowed = allowed


class NotAcceptable(Refusal):
    """The caller wants a type of reply that there is not."""

    code = "not_acceptable"
    status = 406


class Gone(Refusal):
    """The revision asked for has been forgotten; list again."""

    code = "gone"
    status = 410


class Unsupported(Refusal):
    """A body of a type that is not read here."""

    code = "unsupported_media_type"
    status = 415


def answer(body: Any, status: int = 200, headers: Headers | None = None) -> Response[bytes]:
    return Response(encode(body), status_code=status, headers=headers, media_type="application/json")


MAX_PROBLEMS = 64  # told of one request: a body of nonsense is not answered with ten times as much


def error_body(code: str, message: str, problems: tuple[Any, ...] = ()) -> dict[str, Any]:
    told = [{"field": p.field, "message": p.message} for p in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        told.append({"field": "", "message": f"and {len(problems) - MAX_PROBLEMS} more"})
    return {"error": {"code": code, "message": message, "problems": told}}


def refused(refusal: Refusal) -> Response[bytes]:
    told: dict[str, str] = {}
    if isinstance(refusal, NoSuchMethod):
        told["Allow"] = ", ".join(refusal.allowed)
    if isinstance(refusal, Unauthorized):
        told["WWW-Authenticate"] = 'Bearer realm="onehop"'
    if isinstance(refusal, Busy):
        told["Retry-After"] = "1"
    body = error_body(refusal.code, refusal.message, refusal.problems)
    if refusal.operation is not None:
        body["error"]["operation"] = refusal.operation
    return answer(body, refusal.status, told)


def _refusal(_: AnyRequest, refusal: Refusal) -> Response[bytes]:
    return refused(refusal)


def _invalid(_: AnyRequest, invalid: Invalid) -> Response[bytes]:
    return refused(Unprocessable("the request breaks the rules of the model", invalid.problems))


def _store(_: AnyRequest, error: StoreError) -> Response[bytes]:
    log.warning("the store does not answer", error=str(error))
    return refused(Busy(f"the store does not answer: {error}"))


_SENTENCES = {
    404: ("not_found", "there is nothing at this path; /v1/docs lists what there is"),
    405: ("method_not_allowed", "this path does not take this method"),
}


def _http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What Litestar itself refuses."""
    code, message = _SENTENCES.get(error.status_code, ("malformed", error.detail))
    if error.status_code >= 500:
        return _unexpected(request, error)
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return answer(error_body(code, message), error.status_code, {k.title(): v for k, v in headers.items()})


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.error("a fault of ours", method=request.method, path=request.url.path, exc_info=error)
    return answer(error_body("internal", "the controller failed; its log says why"), 500)


HANDLERS: ExceptionHandlersMap = {
    Refusal: _refusal,
    Invalid: _invalid,
    StoreError: _store,
    HTTPException: _http,
    Exception: _unexpected,
}
