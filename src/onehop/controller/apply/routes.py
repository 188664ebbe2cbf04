"""`POST /v1/apply` and `GET /v1/export`.

The reply to `apply` is a stream of JSON lines:

    {"event": "actions", "actions": [...]}            the plan, in pieces
    {"event": "reachability", "appears": [...], "vanishes": [...], "complete": bool}   with `dry_run`
    {"event": "planned", "create": n, "update": n, "delete": n, "unchanged": n, "settled": bool}
    {"event": "progress", "done": n, "total": n}      as it is carried out
    {"event": "done", "create": n, "update": n, "delete": n, "revision": n}    with `wait`: "convergence", too
    {"error": {..., "status": n}}                     instead of `done`, if something stands in the way

What is wrong with the document itself is refused before the stream begins, as by any other call. With
`dry_run` the stream ends after the plan. `settled` says that applying would do nothing at all, not even
remember the document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.response import Stream

from onehop.controller.access import Access
from onehop.controller.answers import AnyRequest, answer, encode, error_body
from onehop.controller.apply import record
from onehop.controller.apply.execute import Executor, carry_out
from onehop.controller.apply.export import Clash, everything, export
from onehop.controller.apply.plan import Plan, Planner
from onehop.controller.apply.reachability import reachability
from onehop.controller.apply.record import Record
from onehop.controller.apply.stack import Stack
from onehop.controller.calls import MAX_WAIT, Call
from onehop.controller.decode import body, convert, only_parameters, parameter, seconds
from onehop.controller.openapi import PROJECT, WAIT, operation
from onehop.controller.openapi import parameter as parameter_
from onehop.controller.refusals import Conflict, Forbidden, NotFound, Refusal, Unprocessable
from onehop.controller.schemas import ref
from onehop.model import Invalid, Problem, Project, Subnet
from onehop.model.document import Document, expand, parse
from onehop.model.formats import Format, canonical
from onehop.model.view import Overlay, View

PIECE = 500  # actions in one line
LINES = "application/x-ndjson"


class Apply(msgspec.Struct, forbid_unknown_fields=True):
    """A document to apply."""

    document: Annotated[dict[str, Any], msgspec.Meta(description="The document.")]
    dry_run: Annotated[bool, msgspec.Meta(description="Only plan.")] = False
    adopt: Annotated[bool, msgspec.Meta(description="Take over objects that are not of the stack.")] = False
    deletions: Annotated[
        list[str] | None,
        msgspec.Meta(description="The ids that may be deleted; whatever is gone, if left out."),
    ] = None


@post("/v1/apply")
async def apply(request: AnyRequest) -> Stream:
    call = Call.of(request, LINES)
    only_parameters(request, ("project", "wait"))
    wait = parameter(request, "wait", seconds(MAX_WAIT))
    job = _job(call, convert(await body(request), Apply), wait)
    before = await record.read(call.here.store, job.stack)
    plan = await job.plan(before)
    return Stream(_reply(job, plan, before), media_type=LINES, status_code=200)


@dataclass(frozen=True, slots=True)
class Job:
    """One document to be applied by one caller."""

    call: Call
    wanted: Apply
    document: Document
    stack: Stack
    wait: float | None  # for hosts to follow, at the end

    async def plan(self, before: Record | None) -> Plan:
        """Plan against what is there now, letting others have their turn in between."""
        view = self.call.view
        try:
            entries = expand(self.document, self._without_gone_subnets(), self.stack.project)
        except Invalid as error:
            raise Unprocessable("the document cannot be applied", error.problems) from None
        stated = before.stated if before is not None else {}
        planner = Planner(entries, self.stack, view, self.call.access, stated, adopt=self.wanted.adopt)
        for _ in planner.steps():
            await asyncio.sleep(0)
        self._check_deletions(planner.plan)
        return planner.plan

    def _without_gone_subnets(self) -> View:
        """What is there without the subnets that the document drops: routers lose their addresses on them."""
        if not self.document.attachments:
            return self.call.view
        kept = {entry.path for entry in self.document.entries if entry.kind.name == "subnet"}
        view = Overlay(self.call.view)
        for obj in self.stack.members(self.call.view):
            if isinstance(obj, Subnet):
                network = self.call.view.find(obj.network)
                if network is not None and not kept & {f"{network.name}/{obj.name}", obj.name}:
                    view.remove(obj.id)
        return view

    def _check_deletions(self, plan: Plan) -> None:
        allowed = self.wanted.deletions
        if allowed is None:
            return
        more = [a for a in plan.actions if a.op == "delete" and a.id not in set(allowed)]
        if more:
            problems = [Problem("", f"{a.kind} {a.path} would be deleted as well") for a in more[:20]]
            raise Conflict("the plan has changed since it was shown; apply again to see it anew", problems)


def _job(call: Call, wanted: Apply, wait: float | None) -> Job:
    try:
        document = parse(wanted.document)
    except Invalid as error:
        raise Unprocessable("the document cannot be applied", error.problems) from None
    if document.stack is None:
        raise Unprocessable(
            "the document cannot be applied",
            [Problem("stack", "is needed: a name for what the document describes, such as `stack: shop`")],
        )
    project = _project(call, document.project)
    may = call.actor.may_write(project) if project is not None else call.actor.is_admin
    if not may and not wanted.dry_run:
        raise Forbidden("you may read here, but not apply documents")
    return Job(call, wanted, document, Stack(document.stack, project), wait)


def _project(call: Call, named: str | None) -> str | None:
    """The document's project, else the query's, else the caller's only one."""
    if named is None:
        return call.named_project() or call.actor.only_project
    try:
        return call.access.current_project(named)
    except NotFound as error:
        raise NotFound(error.message, [Problem("project", "is not there")]) from None


# --- the reply ----------------------------------------------------------------------------------------


async def _reply(job: Job, plan: Plan, before: Record | None) -> AsyncIterator[bytes]:
    *actions, planned = _told(job, plan, before)
    for event in actions:
        yield _line(event)
    try:
        if job.wanted.dry_run and (told := await reachability(plan, _executor(job))) is not None:
            yield _line(told)
        yield _line(planned)
        if job.wanted.dry_run:
            return
        async for event in _carry_out(job, plan, before):
            yield _line(event)
    except Refusal as refusal:
        wrong = error_body(refusal.code, refusal.message, refusal.problems)
        wrong["error"]["status"] = refusal.status
        yield _line(wrong)


def _line(event: dict[str, Any]) -> bytes:
    return encode(event) + b"\n"


def _told(job: Job, plan: Plan, before: Record | None) -> Iterator[dict[str, Any]]:
    actions = [action.told() for action in plan.actions]
    for start in range(0, len(actions), PIECE):
        yield {"event": "actions", "actions": actions[start : start + PIECE]}
    yield {"event": "planned", **_counts(plan), "unchanged": plan.unchanged} | {
        "settled": not plan.actions and _is_recorded(job, plan, before)
    }


def _counts(plan: Plan) -> dict[str, int]:
    return {op: plan.count(op) for op in ("create", "update", "delete")}


def _is_recorded(job: Job, plan: Plan, before: Record | None) -> bool:
    if not plan.stated:
        return before is None
    return before is not None and before.done and before.document == job.wanted.document


async def _carry_out(job: Job, plan: Plan, before: Record | None) -> AsyncIterator[dict[str, Any]]:
    here = job.call.here
    since = here.cache.revision
    if not plan.actions and _is_recorded(job, plan, before):
        yield await _done(job, plan, since)
        return
    known = record.union(before.stated if before is not None else {}, plan.stated)
    await record.write(here.store, job.stack, Record(known, job.wanted.document, done=False))

    async def replan() -> Plan:
        return await job.plan(Record(known))

    async for done, total in carry_out(_executor(job), plan, replan):
        yield {"event": "progress", "done": done, "total": total}
    if plan.stated:
        await record.write(here.store, job.stack, Record(plan.stated, job.wanted.document))
    else:
        await record.remove(here.store, job.stack)
    yield await _done(job, plan, since)


async def _done(job: Job, plan: Plan, since: int) -> dict[str, Any]:
    here, revision = job.call.here, job.call.here.cache.revision
    told = {"event": "done", **_counts(plan), "revision": revision}
    if job.wait is None:
        return told
    return told | {"convergence": await here.converge(revision, job.wait, job.call.actor, since)}


def _executor(job: Job) -> Executor:
    here = job.call.here
    return Executor(here.engine, here.cache, job.call.actor, job.stack.project)


# --- export -------------------------------------------------------------------------------------------


@get("/v1/export")
async def export_document(request: AnyRequest) -> Response[bytes]:
    call = Call.of(request)
    only_parameters(request, ("project", "stack"))
    name = parameter(request, "stack", _name)
    project = call.named_project() or call.actor.only_project
    if project is None and name is None:
        raise Unprocessable("what is to be exported?", [Problem("stack", "give a stack or a project")])
    try:
        return answer(_exported(call.view, call.access, project, name))
    except Clash as error:
        raise Conflict(f"this cannot be written as one document: {error}") from None


def _name(text: str) -> str:
    return canonical(text, Format.NAME)


def _exported(view: View, access: Access, project: str | None, name: str | None) -> dict[str, Any]:
    if name is None:
        owner = view.get(Project, project)
        stack = Stack(owner.name if owner is not None else "", project)
        objects = everything(project or "", view)
    else:
        stack = Stack(name, project)
        objects = list(stack.members(view))
    seen = [obj for obj in objects if access.sees(obj)]
    if name is not None and not seen:
        raise NotFound(f"there is no stack {name!r}")
    return export(stack, seen, view)


PATHS = {
    "/v1/apply": {
        "post": operation(
            "Make a document's topology so, telling the plan and the progress as JSON lines",
            None,
            parameters=[PROJECT, WAIT],
            body=ref("Apply"),
            reply_type=LINES,
        )
    },
    "/v1/export": {
        "get": operation(
            "A stack, or all of a project, as a document",
            {"type": "object"},
            parameters=[parameter_("stack", "The stack; the whole project, if left out."), PROJECT],
        )
    },
}
TYPES = (Apply,)
HANDLERS = [apply, export_document]
