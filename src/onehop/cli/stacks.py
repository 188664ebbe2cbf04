"""Whole topologies: apply, diff, delete, export.

The plan is the controller's. What is done here: reading the file, showing the plan, asking before anything
is deleted, and showing the progress. A refusal that names a field of the document is told with its line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from onehop.cli import documents, output, retype, session
from onehop.cli.spec import Call, Failure, Usage
from onehop.client.api import Client
from onehop.client.errors import ApiError

Json = dict[str, Any]
MARKS = {"create": "+", "update": "~", "delete": "-"}
MAX_SHOWN = 200  # actions of a plan that are shown to people; deletions are always shown


def apply(call: Call) -> int:
    file = _read(call)
    if call.option("dry_run"):
        return _print_plan(call, file)[0] and 0
    with session.connect(call) as client:
        return _carry_out(call, client, file, file.content)


def diff(call: Call) -> int:
    """0: nothing would change; 1: something would."""
    return _print_plan(call, _read(call))[0]


def delete(call: Call) -> int:
    """An empty document of the same stack: everything that the stack holds is gone from it."""
    if call.option("file"):
        file = _read(call)
    elif call.option("stack"):
        file = documents.File("the command line", {"stack": call.option("stack")}, {})
    else:
        raise Usage("`onehop delete` needs --file FILE or --stack NAME; for one object, `onehop NOUN delete`")
    empty: Json = {name: file.content[name] for name in ("stack", "project") if name in file.content}
    if call.option("dry_run"):
        return _print_plan(call, file._replace(content=empty))[0] and 0
    with session.connect(call) as client:
        return _carry_out(call, client, file, empty)


def export(call: Call) -> int:
    with session.connect(call) as client:
        output.dump(client.export(call.option("stack")), call.option("output") or "yaml")
    return 0


# --- reading and telling -------------------------------------------------------------------------------


def _read(call: Call) -> documents.File:
    file = documents.load(call.option("file"))
    content = retype.document(file.content)
    for name in ("stack", "project"):
        if call.option(name):
            content[name] = call.option(name)
    return file._replace(content=content)


def _located(file: documents.File, error: ApiError) -> Failure:
    """A refusal with the line of each field that it names."""
    if error.status in (401, 403) or not error.problems:
        return Failure(session.explained(error))
    lines = [f"{file.name} cannot be applied:"]
    for problem in error.problems:
        field = problem.field.removeprefix("document.")
        lines.append(f"  {file.place(field)}: {field + ': ' if field else ''}{problem.message}")
    return Failure("\n".join(lines))


class Plan:
    """What the controller says it would do, or does."""

    def __init__(self) -> None:
        self.actions: list[Json] = []
        self.summary: Json = {}
        self.reachability: Json | None = None

    def take(self, event: Json) -> bool:
        """Note one event; True once the plan is whole."""
        if event["event"] == "actions":
            self.actions.extend(event["actions"])
        elif event["event"] == "reachability":
            self.reachability = event
        elif event["event"] == "planned":
            self.summary = event
            return True
        return False

    @property
    def deletions(self) -> list[Json]:
        return [action for action in self.actions if action["op"] == "delete"]


def _print_plan(call: Call, file: documents.File) -> tuple[int, Plan]:
    with session.connect(call) as client:
        plan = _plan(call, client, file, file.content)
    if call.option("output") in ("json", "yaml"):
        output.dump({"actions": plan.actions, "summary": plan.summary}, call.option("output"))
    else:
        show(plan)
    return (1 if plan.actions else 0), plan


def _plan(call: Call, client: Client, file: documents.File, content: Json) -> Plan:
    plan = Plan()
    try:
        for event in client.apply(content, dry_run=True, adopt=bool(call.option("adopt"))):
            plan.take(event)
    except ApiError as error:
        raise _located(file, error) from None
    return plan


def show(plan: Plan) -> None:
    """The plan for people: what is made, changed and deleted, with the fields."""
    shown = 0
    for action in plan.actions:
        if action["op"] != "delete" and shown >= MAX_SHOWN:
            continue
        shown += 1
        for line in _action_lines(action):
            print(output.printable(line))
    if shown < len(plan.actions):
        print(f"... and {len(plan.actions) - shown} more (`--dry-run -o json` shows all)")
    if plan.reachability is not None:
        _show_reachability(plan.reachability)
    print(_summed(plan.summary))


def _action_lines(action: Json) -> Iterator[str]:
    adopted = "  (taken over)" if action.get("adopted") else ""
    yield f"{MARKS[action['op']]} {action['kind']} {action['path']}{adopted}"
    for change in action.get("changes", ()):
        before, after = output.told(change.get("before")), output.told(change.get("after"))
        if action["op"] == "create":
            yield f"    {change['field']}: {after}"
        else:
            yield f"    {change['field']}: {before} -> {after}"


def _show_reachability(event: Json) -> None:
    for mark, name in (("+", "appears"), ("-", "vanishes")):
        for told in event.get(name, ()):
            print(output.printable(f"{mark} reach {told}"))
    if not event.get("complete", True):
        why = event.get("why", "there is too much to try")
        print(output.printable(f"  (not all reachability was compared: {why})"))


def _summed(summary: Json) -> str:
    counts = [(summary.get(name, 0), name) for name in ("create", "update", "delete")]
    parts = [f"{count} to {name}" for count, name in counts if count]
    unchanged = summary.get("unchanged", 0)
    return f"{', '.join(parts) or 'nothing to do'}; {unchanged} as they should be"


# --- carrying out --------------------------------------------------------------------------------------


def _carry_out(call: Call, client: Client, file: documents.File, content: Json) -> int:
    machine = call.option("output") in ("json", "yaml")
    confirmed: list[str] | None = None
    if not call.option("yes"):
        plan = _plan(call, client, file, content)
        if not machine:
            show(plan)
        if not plan.actions and plan.summary.get("settled"):
            return 0
        _ask(plan)
        confirmed = [action["id"] for action in plan.deletions]
    wait = session.wait(call)
    events = client.apply(content, adopt=bool(call.option("adopt")), deletions=confirmed, wait=wait)
    try:
        _follow(events, machine=machine, show_plan=confirmed is None)
    except ApiError as error:
        raise _located(file, error) from None
    except KeyboardInterrupt:
        print("\ninterrupted; the same `onehop apply` goes on from here", file=sys.stderr)
        raise
    return 0


def _ask(plan: Plan) -> None:
    count = len(plan.deletions)
    if not count:
        return
    if not sys.stdin.isatty():
        raise Failure(f"this would delete {count} objects; say --yes if that is meant")
    if input(f"Delete {count} objects? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed")


def _follow(events: Iterator[Json], *, machine: bool, show_plan: bool) -> None:
    plan, bar = Plan(), Bar(quiet=machine)
    for event in events:
        if machine:
            print(json.dumps(event), flush=True)
        elif plan.take(event) and show_plan:
            show(plan)
        elif event["event"] == "progress":
            bar.show(event["done"], event["total"])
        elif event["event"] == "done":
            bar.end()
            print(_done(event))


def _done(event: Json) -> str:
    told = ", ".join(
        f"{event.get(name, 0)} {past}"
        for name, past in (("create", "created"), ("update", "changed"), ("delete", "deleted"))
        if event.get(name)
    )
    return f"done: {told or 'nothing to do'}{_converged(event.get('convergence'))}"


def _converged(convergence: Json | None) -> str:
    if convergence is None:
        return ""
    late = [*convergence["waiting"], *convergence["controllers"]]
    text = f"; not yet at {', '.join(late)}" if late else "; every host has it"
    dead = convergence["dead"]
    return text + (f" (not there: {', '.join(dead)})" if dead else "")


class Bar:
    """A line on a terminal that says how far it is."""

    WIDTH = 40

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and sys.stderr.isatty()
        self._drawn = False

    def show(self, done: int, total: int) -> None:
        if self._on and total:
            filled = self.WIDTH * done // total
            text = f"\r[{'#' * filled}{'.' * (self.WIDTH - filled)}] {done}/{total}"
            print(text, end="", file=sys.stderr, flush=True)
            self._drawn = True

    def end(self) -> None:
        if self._drawn:
            print(file=sys.stderr)
