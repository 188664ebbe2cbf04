"""Questions about packets: `trace` and `reach`, asked of a controller or of a document."""

from __future__ import annotations

from typing import Any

from onehop.cli import output, session
from onehop.cli.spec import Call, Usage


def trace(call: Call) -> int:
    if call.option("port") is None or call.argument("packet") is None:
        raise Usage("a trace needs --from PORT and a packet, such as 'tcp 10.0.1.5:4000 > 10.0.2.7:80'")
    body = {"port": call.option("port"), "packet": call.argument("packet")}
    with session.connect(call) as client:
        return _answer(client.trace(body), call)


def reach(call: Call) -> int:
    body = {"from": call.argument("source"), "to": call.argument("target")}
    with session.connect(call) as client:
        return _answer(client.reach(body), call)


def _answer(answer: dict[str, Any], call: Call) -> int:
    if call.option("output") in ("json", "yaml"):
        output.dump(answer, call.option("output"))
    elif isinstance(answer.get("text"), str):
        for line in answer["text"].splitlines():
            print(output.printable(line))
    else:
        output.record({name: output.told(value) for name, value in answer.items()})
    return 0
