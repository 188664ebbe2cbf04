"""The long-running programs, each started only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util

from onehop.cli.spec import Call, Failure

# Named as text: the CLI is a client, and must not import what it only starts.
MAINS = {"controller": "onehop.controller.main", "agent": "onehop.agent.main", "lab": "onehop.lab.main"}


def controller(call: Call) -> int:
    return _start(call)


def agent(call: Call) -> int:
    return _start(call)


def lab(call: Call) -> int:
    return _start(call)


def _start(call: Call) -> int:
    name = call.command.words[0]
    if importlib.util.find_spec(MAINS[name]) is None:
        raise Failure(f"this installation has no `onehop {name}`")
    return int(importlib.import_module(MAINS[name]).main(list(call.rest)) or 0)
