"""Which controller, as whom, and what has been going on."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onehop.cli import output, session
from onehop.cli.nouns import nouns
from onehop.cli.parser import closest
from onehop.cli.spec import Call, Failure, Usage
from onehop.client.api import Client
from onehop.client.contexts import Context, default_path, load, save, select


def login(call: Call) -> int:
    """Check that the controller knows the token, then remember both."""
    name = call.option("name") or "default"
    ca = _read(call.option("ca"), "CA certificate") if call.option("ca") else None
    if call.option("token_file"):
        token = _read(call.option("token_file"), "token").strip()
    elif sys.stdin.isatty():
        token = getpass.getpass("Token: ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise Usage("a token is needed: give --token-file FILE, or type it")
    context = Context(call.argument("url"), ca=ca, token=token, project=call.option("project"))
    with Client.of(context) as client:
        who = client.whoami()
    save(default_path(), load(default_path()).put(name, context))
    print(f"logged in to {context.url} as {_who(who)}; context {name!r} is used from now on")
    return 0


def _who(who: dict[str, Any]) -> str:
    token = who.get("token")
    name = token.get("name") if isinstance(token, dict) else token
    return output.printable(str(who.get("name") or name or "somebody"))


def _read(path: str, what: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the {what} in {path}: {getattr(error, 'strerror', error)}") from None


def context(call: Call) -> int:
    path, verb, name = default_path(), call.argument("verb"), call.argument("name")
    contexts = load(path)
    if verb in ("use", "delete"):
        if name is None:
            raise Usage(f"`onehop context {verb}` needs the NAME of a context")
        save(path, contexts.use(name) if verb == "use" else contexts.remove(name))
        print(f"{'using' if verb == 'use' else 'forgot'} context {name}")
    elif verb == "list":
        _list_contexts(call)
    else:
        chosen = select(contexts, os.environ, name or call.option("context"))
        _show_context(call, chosen)
    return 0


def _list_contexts(call: Call) -> None:
    contexts = load(default_path())
    rows = [
        {"current": name == contexts.current, "name": name, "url": c.url, "project": c.project}
        for name, c in sorted(contexts.contexts.items())
    ]
    if call.option("output") in ("json", "yaml"):
        output.dump(rows, call.option("output"))
        return
    cells = [
        ["*" if row["current"] else "", *(output.told(row[k]) for k in ("name", "url", "project"))]
        for row in rows
    ]
    output.table(("", "name", "url", "project"), cells)


def _show_context(call: Call, chosen: Context) -> None:
    """Never the token itself."""
    shown = {
        "url": chosen.url,
        "ca": chosen.ca_file or ("kept in the context" if chosen.ca else "the system's"),
        "token": chosen.token_file or ("kept in the context" if chosen.token else "none"),
        "project": chosen.project,
    }
    if call.option("output") in ("json", "yaml"):
        output.dump(shown, call.option("output"))
    else:
        output.record({name: output.told(value) for name, value in shown.items()})


def whoami(call: Call) -> int:
    with session.connect(call) as client:
        who = client.whoami()
    if call.option("output") in ("json", "yaml"):
        output.dump(who, call.option("output"))
    else:
        output.record({name: output.told(value) for name, value in who.items()})
    return 0


def audit(call: Call) -> int:
    limit = session.number(call, "limit", least=1) or 50
    with session.connect(call) as client:
        entries = list(client.audit(since=call.option("since") or _yesterday(), limit="1000"))[-limit:]
    if call.option("output") in ("json", "yaml"):
        output.dump(entries, call.option("output"))
        return 0
    output.table(("time", "who", "what"), (row for entry in entries for row in _audit_rows(entry)))
    return 0


def _yesterday() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86400))


def _audit_rows(entry: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What one transaction did: the first change says when and who."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["time"]))
    who = str(entry["actor"])
    for change in entry["changes"]:
        word = "changed" if change.get("before") and change.get("after") else "created"
        word = word if change.get("after") else "deleted"
        yield moment, who, f"{word} {change['kind']} {change['name']}"
        moment = who = ""


def watch(call: Call) -> int:
    """Each change as one line, as it happens."""
    kind, count = call.argument("kind"), session.number(call, "count", least=1)
    if kind is not None and kind not in nouns():
        raise Usage(f"there is no kind {kind!r}.{closest(kind, nouns())}")
    as_json = call.option("output") == "json"
    seen = 0
    with session.connect(call) as client:
        for event, data in client.watch(kind=kind):
            if event == "ready":
                continue
            print(json.dumps({"event": event, **data}) if as_json else _change(event, data), flush=True)
            seen += 1
            if seen == count:
                break
    return 0


def _change(event: str, data: dict[str, Any]) -> str:
    obj = data.get("object") or {}
    word = {"put": "is now", "delete": "is gone"}.get(str(data.get("op")), event)
    parts = (data.get("revision"), data.get("kind"), obj.get("name"), data.get("id"), word)
    return output.printable("  ".join(str(part) for part in parts if part is not None))
