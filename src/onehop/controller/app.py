"""The controller as a web application: every route is listed here, and nothing else is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.datastructures import State

from onehop.controller.answers import HANDLERS as ERROR_HANDLERS
from onehop.controller.answers import encode
from onehop.controller.apply import routes as apply
from onehop.controller.openapi import document
from onehop.controller.parts import Parts
from onehop.controller.routes import (
    attach,
    auditing,
    bulk,
    connections,
    feed,
    joining,
    objects,
    questions,
    system,
    uplinks,
    watch,
)

# Another set of routes is added here: a module with a list HANDLERS of Litestar handlers, and with PATHS and
# TYPES for the OpenAPI document. Handlers read bodies with `decode.body`, tell callers by `calls.Call.of`,
# and find the controller's parts with `parts(request)`.
MODULES: Sequence[Any] = (
    objects,
    bulk,
    attach,
    uplinks,
    connections,
    apply,
    questions,
    watch,
    auditing,
    joining,
    feed,
    system,
)


def build_app(parts: Parts) -> Litestar:
    """The application. Opening and closing its parts is the caller's."""
    return Litestar(
        route_handlers=[handler for module in MODULES for handler in module.HANDLERS],
        exception_handlers=ERROR_HANDLERS,
        openapi_config=None,  # ours is made from the model
        logging_config=None,
        state=State({"parts": parts, "openapi": encode(document(MODULES))}),
        request_max_body_size=None,  # `decode` bounds bodies, with a reply in our shape
    )
