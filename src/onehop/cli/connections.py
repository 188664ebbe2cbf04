"""`onehop connection`: the connections of a port, as its host has them right now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from onehop.cli import output, session
from onehop.cli.spec import Call, Failure, Usage
from onehop.client.api import PAGE, Client
from onehop.client.errors import ApiError

Json = dict[str, Any]
COLUMNS = ("id", "direction", "protocol", "near", "far", "other_port", "life", "idle")


def run(call: Call) -> int:
    verb = call.argument("verb")
    if call.option("all") and verb != "delete":
        raise Usage("--all goes with `onehop connection delete`")
    if call.option("limit") and verb != "list":
        raise Usage("--limit goes with `onehop connection list`")
    verbs: dict[str, Callable[[Call, Client, str], None]] = {"list": _list, "show": _show, "delete": _delete}
    with session.connect(call) as client:
        verbs[verb](call, client, call.option("port"))
    return 0


def _list(call: Call, client: Client, port: str) -> None:
    if call.argument("id"):
        raise Usage("`onehop connection list` takes no ids; `onehop connection show ID` does")
    items = list(_up_to(client, port, session.number(call, "limit", least=1)))
    if _machine(call):
        output.dump(items, call.option("output"))
        return
    names = _Names(client)
    output.table(COLUMNS, [[names.cell(column, item) for column in COLUMNS] for item in items])


def _up_to(client: Client, port: str, limit: int | None) -> Iterator[Json]:
    cursor: str | None = None
    count = 0
    while True:
        wanted = PAGE if limit is None else min(PAGE, limit - count)
        page = client.connections(port, limit=wanted, cursor=cursor)
        yield from page["items"]
        count += len(page["items"])
        cursor = page["next"]
        if cursor is None or count == limit:
            return


def _show(call: Call, client: Client, port: str) -> None:
    ids = call.argument("id")
    if not ids:
        raise Usage("which connection? `onehop connection list --port PORT` tells the ids")
    names = _Names(client)
    for number, id in enumerate(ids):
        item = client.connection(port, id)
        if _machine(call):
            output.dump(item, call.option("output"))
            continue
        if number:
            print()
        output.record({column: names.cell(column, item) for column in COLUMNS})


def _delete(call: Call, client: Client, port: str) -> None:
    ids = call.argument("id")
    if bool(ids) == bool(call.option("all")):
        raise Usage("say which connections to delete by their ids, or --all")
    what = _count(len(ids)) if ids else f"all connections of {port}"
    _confirm(call, output.printable(what))
    if ids:
        count = sum(_deleted(client, port, id) for id in ids)
    else:
        count = int(client.delete_connections(port)["deleted"])
    if _machine(call):
        output.dump({"deleted": count}, call.option("output"))
    else:
        print(f"deleted {_count(count)} of port {output.printable(port)}")


def _count(number: int) -> str:
    return "1 connection" if number == 1 else f"{number} connections"


def _deleted(client: Client, port: str, id: str) -> int:
    try:
        return int(client.delete_connections(port, id)["deleted"])
    except ApiError as error:
        if error.status != 404:
            raise
        raise Failure(f"{error.message}. See `onehop connection list --port {port}`") from None


def _confirm(call: Call, what: str) -> None:
    if call.option("yes"):
        return
    if not sys.stdin.isatty():
        raise Failure(f"this would delete {what}; say --yes if that is meant")
    if input(f"Delete {what}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed")


def _machine(call: Call) -> bool:
    return call.option("output") in ("json", "yaml")


class _Names:
    """Cells, with ports by their names."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def cell(self, column: str, item: Json) -> str:
        value = item[column]
        if column in ("near", "far"):
            return _ends(value)
        if column == "other_port" and value is not None:
            return self._name(value)
        if column == "idle":
            return f"{value} s"
        return output.told(value)

    def _name(self, port: str) -> str:
        if port not in self._known:
            try:
                self._known[port] = str(self._client.get("ports", port)["name"])
            except ApiError:
                self._known[port] = port
        return self._known[port]


def _ends(ends: Json | None) -> str:
    if ends is None:
        return "-"
    return " > ".join(_end(ends[side], ends[f"{side}_port"]) for side in ("src", "dst"))


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
