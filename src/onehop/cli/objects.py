"""The verbs of the model's nouns: create, list, show, update, delete, attach."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from onehop.cli import output, outward, session
from onehop.cli.names import Names, suggestion
from onehop.cli.nouns import SPECIAL, Noun, flag, nouns, settable
from onehop.cli.parser import closest
from onehop.cli.spec import Call, Failure, Usage
from onehop.cli.values import value
from onehop.client.api import Client
from onehop.client.errors import ApiError

Json = dict[str, Any]
# Options that are no fields: they make other objects with the one that they are given with.
STANDING_FOR_MORE = {"network": ("subnet",), "router": ("external", "attach")}


def create(call: Call) -> int:
    noun = _noun(call)
    body = _given(noun, call)
    if call.argument("name"):
        body["name"] = call.argument("name")
    subnets = body.pop("subnet", None) if noun.name == "network" else None
    with session.connect(call) as client:
        if noun.scope == "project" and client.project:
            body["project"] = client.project
        elif noun.name == "role" and call.option("project"):
            body["project"] = call.option("project")
        if subnets:
            made = _network_with_subnets(client, body, subnets, call)
        else:
            made = client.create(noun.plural, body, wait=session.wait(call))
        _print_object(noun, made, call, client)
        if "made" in made and _format(call) in ("table", "wide"):
            outward.tell(made["made"], client)
    return 0


def _network_with_subnets(client: Client, body: Json, cidrs: list[str], call: Call) -> Json:
    """A network and its subnets in one transaction; the subnets are named by their family."""
    if "name" not in body:
        raise Usage("`--subnet` needs the network to have a name: `onehop network create NAME --subnet CIDR`")
    create = {"op": "create", "kind": "network", "body": body}
    operations = [create]
    for name, cidr in zip(_subnet_names(cidrs), cidrs, strict=True):
        subnet = {"name": name, "network": body["name"], "cidr": cidr}
        if "project" in body:
            subnet["project"] = body["project"]
        operations.append({"op": "create", "kind": "subnet", "body": subnet})
    try:
        client.bulk(operations, wait=session.wait(call))
    except ApiError as error:
        raise Failure(session.explained(error)) from None
    return client.get("networks", body["name"])


def _subnet_names(cidrs: list[str]) -> list[str]:
    """`v4`, `v6`, and `v4-2` for a second one of the same family."""
    names: list[str] = []
    for cidr in cidrs:
        family = "v6" if ":" in cidr else "v4"
        count = sum(name.partition("-")[0] == family for name in names)
        names.append(f"{family}-{count + 1}" if count else family)
    return names


def listing(call: Call) -> int:
    noun = _noun(call)
    filters: dict[str, Any] = {f["name"]: call.option(f["name"]) for f in noun.fields if f.get("ref")}
    filters["name"], filters["label"] = call.option("name"), call.option("label")
    filters.pop("project", None)
    limit = session.number(call, "limit", least=1)
    with session.connect(call) as client:
        items = _up_to(client, noun.plural, limit, filters)
        if _format(call) in ("json", "yaml"):
            output.dump(items, _format(call))
            return 0
        columns = _columns(noun, wide=_format(call) == "wide")
        names = Names(client, noun, items)
        rows = [[names.cell(column, item) for column in columns] for item in items]
        output.table(columns, sorted(rows))
    return 0


def _up_to(client: Client, plural: str, limit: int | None, filters: dict[str, Any]) -> Any:
    items: list[Json] = []
    for item in client.list(plural, **filters):
        if limit is not None and len(items) >= limit:
            break
        items.append(item)
    return items


def _columns(noun: Noun, *, wide: bool) -> tuple[str, ...]:
    """The name, what it belongs to, and what is most worth seeing: what must be given, then the rest."""
    known = [f for f in noun.fields if f["name"] not in (*SPECIAL, "title", "labels") and not f.get("secret")]
    if wide:
        return ("name", *(f["name"] for f in noun.fields if f["name"] != "name"), "status")
    first = [f["name"] for f in known if f.get("parent")]
    then = [f["name"] for f in known if f.get("required") and f["name"] not in first]
    rest = [
        f["name"]
        for f in known
        if f["type"] not in ("struct", "map")
        and f["name"] not in (*first, *then, "key")
        and "acls" not in f["name"]
    ]
    return ("name", *[*first, *then, *rest][:6], "id")


def show(call: Call) -> int:
    noun = _noun(call)
    with session.connect(call) as client:
        item = _or_suggest(client, noun, call.argument(noun.name), lambda ref: client.get(noun.plural, ref))
        _print_object(noun, item, call, client)
    return 0


def update(call: Call) -> int:
    noun = _noun(call)
    changes = _given(noun, call)
    changes.update(dict.fromkeys(_unset(noun, call)))
    if call.option("name"):
        changes["name"] = call.option("name")
    if not changes:
        raise Usage(f"`onehop {call.command.name}` changes what its options say; none is given")
    revision, wait = session.number(call, "if_revision"), session.wait(call)
    with session.connect(call) as client:
        item = _or_suggest(
            client,
            noun,
            call.argument(noun.name),
            lambda ref: client.update(noun.plural, ref, changes, if_match=revision, wait=wait),
        )
        _print_object(noun, item, call, client)
    return 0


def _unset(noun: Noun, call: Call) -> set[str]:
    known = {f["name"] for f in settable(noun) if not f.get("immutable")}
    names = {name.replace("-", "_") for name in call.option("unset") or ()}
    for name in names - known:
        raise Usage(f"a {noun.words} has no field {name!r} that could be unset.{closest(name, known)}")
    return names


def delete(call: Call) -> int:
    noun = _noun(call)
    revision, wait = session.number(call, "if_revision"), session.wait(call)
    with session.connect(call) as client:
        for ref in call.argument(noun.name):
            _or_suggest(
                client, noun, ref, lambda ref: client.delete(noun.plural, ref, if_match=revision, wait=wait)
            )
            if _format(call) in ("table", "wide"):
                print(f"deleted {noun.words} {output.printable(ref)}")
    return 0


def attach(call: Call) -> int:
    router, network = call.argument("router"), call.argument("network")
    with session.connect(call) as client:
        made = client.attach(router, network, wait=session.wait(call))
        if _format(call) in ("json", "yaml"):
            output.dump(made, _format(call))
        else:
            print(f"attached router {output.printable(router)} to network {output.printable(network)}")
    return 0


def join_token(call: Call) -> int:
    with session.connect(call) as client:
        made = client.join_token(call.argument("host"))
    if _format(call) in ("json", "yaml"):
        output.dump(made, _format(call))
    else:
        print(made["token"])
    return 0


# --- what the verbs share ------------------------------------------------------------------------------


def _noun(call: Call) -> Noun:
    return nouns()[call.command.noun or ""]


def _format(call: Call) -> str:
    return str(call.option("output") or "table")


def _given(noun: Noun, call: Call) -> Json:
    """The fields that the options give, as JSON values."""
    body = {
        f["name"]: value(f, call.options[f["name"]], f"--{flag(f).name}")
        for f in settable(noun)
        if f["name"] in call.options
    }
    for name in STANDING_FOR_MORE.get(noun.name, ()):
        if name in call.options:
            body[name] = call.options[name]
    return body


def _or_suggest(client: Client, noun: Noun, ref: str, act: Callable[[str], Any]) -> Any:
    """Do something to an object; where there is none of that name, say which is like it."""
    try:
        return act(ref)
    except ApiError as error:
        if error.status != 404:
            raise
        raise Failure(f"{error.message}{suggestion(client, noun, ref)}") from None


def _print_object(noun: Noun, item: Json, call: Call, client: Client) -> None:
    if _format(call) in ("json", "yaml"):
        output.dump(item, _format(call))
        return
    names = Names(client, noun, [item])
    order = [f["name"] for f in noun.fields if not f.get("secret")]
    fields = {
        name: names.cell(name, item) for name in (*order, "status", "revision") if item.get(name) is not None
    }
    output.record(fields)
    if secret := item.get("secret"):
        print(f"\nThe token is shown this once:\n{output.printable(str(secret))}", file=sys.stderr)
