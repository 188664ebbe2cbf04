"""One request by one caller, read so far that a handler can act: who, in which project, of which kind.

Everything that can be wrong with a request's path, query and headers is found before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from litestar import Response

from onehop.controller.access import Access
from onehop.controller.actor import Actor
from onehop.controller.answers import AnyRequest, answer
from onehop.controller.auth import authenticate
from onehop.controller.conditions import check_accept, etag, idempotency_key, if_match
from onehop.controller.decode import only_parameters, parameter, seconds
from onehop.controller.engine import Done, Operation
from onehop.controller.parts import Parts, parts
from onehop.controller.plan import Verb
from onehop.controller.refusals import NotFound
from onehop.controller.representation import Shown, shown
from onehop.model import Kind, Object, kind_by_plural, kind_of
from onehop.model.view import View

JSON = "application/json"
MAX_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request, its caller, and the controller it came to."""

    request: AnyRequest
    here: Parts
    actor: Actor

    @classmethod
    def of(cls, request: AnyRequest, gives: str = JSON) -> Call:
        """The call that a request is. `gives` is the type of the reply."""
        here = parts(request)
        actor = authenticate(request, here.cache.view)
        check_accept(request, gives)
        return cls(request, here, actor)

    @property
    def view(self) -> View:
        return self.here.cache.view

    @property
    def access(self) -> Access:
        return Access(self.view, self.actor)

    def named_project(self) -> str | None:
        """The project that the query names, as an id."""
        named = parameter(self.request, "project", str)
        return None if named is None else self.access.current_project(named)

    def readable(self, kind: Kind, ref: str) -> Object:
        """The object that a reference stands for, if the caller may see it."""
        project = self.named_project() or self.actor.only_project
        return self.access.readable(kind, ref, project)

    def show(self, obj: Object, revision: int) -> Shown:
        return shown(obj, revision, self.here.statuses.of(kind_of(obj).name, obj.id, self.view))


@dataclass(frozen=True, slots=True)
class WriteCall(Call):
    """A request that writes: with what it says of project, revision, repetition and waiting."""

    current: str | None  # the project that the query names
    if_match: int | None
    key: str | None
    wait: float | None

    @classmethod
    def of(cls, request: AnyRequest, gives: str = JSON) -> WriteCall:
        here = parts(request)
        actor = authenticate(request, here.cache.view)
        check_accept(request, gives)
        only_parameters(request, ("project", "wait"))
        return cls(
            request,
            here,
            actor,
            current=parameter(request, "project", str),
            if_match=if_match(request),
            key=idempotency_key(request),
            wait=parameter(request, "wait", seconds(MAX_WAIT)),
        )

    def operation(
        self, op: Verb, kind: Kind, ref: str | None = None, body: dict[str, Any] | None = None
    ) -> Operation:
        return Operation(op, kind.name, ref, body, self.if_match, self.current)

    async def commit(self, operations: Sequence[Operation]) -> Done:
        return await self.here.engine.commit(operations, self.actor, self.key)

    async def converged(self, done: Done) -> Shown:
        """What waiting came to, as a part of the reply; nothing when nobody wanted to wait."""
        if self.wait is None:
            return {}
        return {"convergence": await self.here.converge(done.revision, self.wait, self.actor)}

    async def written(self, kind: Kind, done: Done, status: int, **more: Any) -> Response[bytes]:
        """The reply to one object written."""
        (result,) = done.results
        told = self.show(result.object, result.revision) | more | await self.converged(done)
        headers = {
            "ETag": etag(result.revision),
            "Location": f"/v1/{kind.plural}/{result.object.id}",
            **replayed(done),
        }
        return answer(told, status, headers)


def replayed(done: Done) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if done.repeated else {}


def kind_in_path(request: AnyRequest) -> Kind:
    plural = cast(str, request.path_params["plural"])
    kind = kind_by_plural(plural)
    if kind is None:
        raise NotFound(f"there is no kind {plural[:64]!r}; /v1/docs lists what there is")
    return kind


def ref_in_path(request: AnyRequest) -> str:
    return cast(str, request.path_params["ref"]).strip("/")
