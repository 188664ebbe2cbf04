"""Turns what stands on a command line into the JSON values that the API takes.

Numbers and switches become what they are; lists are made of repeated options. A structure is written
`key=value,key=value`, with `inner.key=value` for what lies deeper and a repeated key for a list in it; where
one value is enough, it may stand alone: `--address 10.0.1.5`. Anything may be given as JSON. Whether a value
is right is the controller's to judge.
"""

from __future__ import annotations

import json
from typing import Any

from onehop.cli.parser import closest
from onehop.cli.spec import Usage

Shape = dict[str, Any]


def value(shape: Shape, given: Any, option: str) -> Any:
    """The JSON value of one field. `option` is how it was given, for complaints."""
    kind = shape["type"]
    if kind == "flag":
        return given if isinstance(given, bool) else _flag(given, option)
    if kind == "map":
        return dict(_pair(text, option) for text in given)
    if kind == "list":
        return _list(shape["of"], given, option)
    return scalar(shape, given, option)


def _list(of: Shape, given: list[str], option: str) -> list[Any]:
    if len(given) == 1 and given[0].startswith("["):
        whole = _json(given[0], option)
        return whole if isinstance(whole, list) else [whole]
    return [scalar(of, text, option) for text in given]


def scalar(shape: Shape, text: str, option: str) -> Any:
    kind = shape["type"]
    if kind == "number":
        return _number(text, option)
    if kind == "flag":
        return _flag(text, option)
    if kind == "struct":
        return _json(text, option) if text.startswith("{") else struct(shape["fields"], text, option)
    if kind == "choice" and text not in shape["choices"]:
        hint = closest(text, shape["choices"])
        raise Usage(f"{option} is one of {', '.join(shape['choices'])}, not {text!r}.{hint}")
    return text


def struct(fields: list[Shape], text: str, option: str) -> dict[str, Any]:
    """`key=value,key=value`, or one value alone."""
    if "=" not in text:
        lone = _lone(fields, text)
        return {lone["name"]: scalar(lone, text, option)}
    result: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, inner = part.partition("=")
        if not equals:
            raise Usage(f"{option} {text}: {part!r} is not KEY=VALUE")
        _put(result, fields, key.strip().replace("-", "_"), inner, option)
    return result


def _put(into: dict[str, Any], fields: list[Shape], key: str, text: str, option: str) -> None:
    name, dot, deeper = key.partition(".")
    shape = next((f for f in fields if f["name"] == name), None)
    if shape is None:
        known = [f["name"] for f in fields]
        raise Usage(f"{option} has no key {name!r}; there are {', '.join(known)}.{closest(name, known)}")
    if dot:
        if shape["type"] != "struct":
            raise Usage(f"{option}: {name} is not a structure, so {key!r} means nothing")
        _put(into.setdefault(name, {}), shape["fields"], deeper, text, option)
    elif shape["type"] == "list":
        into.setdefault(name, []).append(scalar(shape["of"], text, option))
    else:
        into[name] = scalar(shape, text, f"{option} {name}")


def _lone(fields: list[Shape], text: str) -> Shape:
    """Which field a lone value is for: the first that holds addresses, if it looks like one."""
    if ":" in text or text.replace(".", "").replace("/", "").isdigit():
        for field in fields:
            if field.get("format") in ("ip", "cidr"):
                return field
    return fields[0]


def _pair(text: str, option: str) -> tuple[str, str | None]:
    key, equals, rest = text.partition("=")
    if not equals and key.endswith("-"):
        return key[:-1], None  # takes the key away
    if not equals or not key:
        raise Usage(f"{option} {text}: write KEY=TEXT" + (", or KEY- to take it away" if key else ""))
    return key, rest


def _number(text: str, option: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise Usage(f"{option} is a number, not {text!r}") from None


def _flag(text: str, option: str) -> bool:
    if text in ("true", "yes"):
        return True
    if text in ("false", "no"):
        return False
    raise Usage(f"{option} is true or false, not {text!r}")


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Usage(f"{option}: {text!r} begins like JSON but is not") from None
