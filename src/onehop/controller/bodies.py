"""From what a person sent to an object: the strict part. Every wrong field is named, with a sentence.

What is left out stays what it was when an object is replaced, wherever the controller chose it or it can
never change; else it becomes the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from onehop.model import Kind, Object, Problem
from onehop.model.errors import Invalid
from onehop.model.fields import Trait, trait_of

Body = Mapping[str, Any]


@cache
def traits(type: type[Object]) -> dict[str, Trait]:
    return {name: trait_of(type, name) for name in type.__struct_fields__}


@cache
def _fixed(type: type[Object]) -> tuple[str, ...]:
    return tuple(name for name, trait in traits(type).items() if trait.read_only)


@cache
def _kept(type: type[Object]) -> tuple[str, ...]:
    return tuple(
        name for name, t in traits(type).items() if t.immutable or t.assigned or t.read_only or t.secret
    )


@cache
def _immutable(type: type[Object]) -> tuple[str, ...]:
    return tuple(name for name, trait in traits(type).items() if trait.immutable)


def new(kind: Kind, body: Body, fixed: Body) -> Object:
    """An object from the body of a `create`; `fixed` are the fields that the controller sets."""
    for name in _fixed(kind.type):
        if name in body:
            raise Invalid([Problem(name, "is set by the controller; leave it out")])
    return _convert(kind, {"name": "", **body, **fixed})


def replaced(kind: Kind, body: Body, before: Object, fixed: Body) -> Object:
    """An object from the body of a `replace`."""
    _refuse_set(kind, body, before)
    kept = {name: getattr(before, name) for name in _kept(kind.type) if name not in body}
    return _convert(kind, {**body, **_plain(kept), **fixed})


def patched(kind: Kind, body: Body, before: Object, fixed: Body) -> Object:
    """An object changed by a JSON merge patch (RFC 7396)."""
    _refuse_set(kind, body, before)
    merged = _merge(msgspec.to_builtins(before), body)
    for name in _kept(kind.type):
        if name not in merged and body.get(name, ...) is None:
            merged[name] = _plain(getattr(before, name))
    return _convert(kind, {**merged, **fixed})


def changed_immutables(before: Object, after: Object) -> list[Problem]:
    """The fields that may never change, and did."""
    return [
        Problem(name, "cannot be changed; make another object instead")
        for name in _immutable(type(before))
        if getattr(before, name) != getattr(after, name)
    ]


def _refuse_set(kind: Kind, body: Body, before: Object) -> None:
    wrong = [n for n in _fixed(kind.type) if n in body and body[n] != getattr(before, n)]
    if wrong:
        raise Invalid([Problem(name, "is set by the controller; leave it out") for name in wrong])


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


# --- decoding, and telling what is wrong --------------------------------------------------------------


def _convert(kind: Kind, fields: Body) -> Object:
    try:
        return msgspec.convert(fields, kind.type)
    except msgspec.ValidationError:
        raise Invalid(_problems(kind, fields)) from None


def _problems(kind: Kind, fields: Body) -> list[Problem]:
    """One problem per field that is wrong: msgspec stops at the first, so each is decoded by itself."""
    problems = []
    declared = {field.name: field for field in msgspec.structs.fields(kind.type)}
    for name, value in fields.items():
        if name not in declared:
            problems.append(Problem(str(name), f"a {kind.name} has no such field"))
            continue
        try:
            msgspec.convert(value, declared[name].type)
        except msgspec.ValidationError as error:
            problems.append(told(error, name))
    for name, field in declared.items():
        if field.required and name not in fields:
            problems.append(Problem(name, "is needed"))
    return problems or [Problem("", "cannot be read")]


_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "float": "a number",
}


def told(error: msgspec.ValidationError, within: str = "") -> Problem:
    """msgspec's message as a field and a sentence."""
    text, _, path = str(error).partition(" - at `")
    path = path.rstrip("`").removeprefix("key in `").removeprefix("key").removeprefix("$")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text)
    missing = re.fullmatch(r"Object missing required field `(.*)`", text)
    if unknown or missing:
        name = (unknown or missing).group(1)  # type: ignore[union-attr]
        path, sentence = f"{path}.{name}", "there is no such field" if unknown else "is needed"
    else:
        sentence = re.sub(r"`([\w |]+)`", _type_words, text)
        sentence = sentence[:1].lower() + sentence[1:]
    field = f"{within}{path}" if within else path.lstrip(".")
    return Problem(field, sentence)


def _type_words(match: re.Match[str]) -> str:
    return " or ".join(_TYPES.get(name, f"`{name}`") for name in match.group(1).split(" | "))
