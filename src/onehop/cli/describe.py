"""Writes `nouns.json`: what the CLI needs to know of the model, without importing it.

Importing the model costs more than everything else that a command does, so its declarations are put down in
a file that loads in a millisecond. It is committed; a test fails when it is not what the model says.

    python -m onehop.cli.describe
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

from onehop.model import KINDS, Kind
from onehop.model.document import nested_sections
from onehop.model.fields import Trait, trait_of

FILE = Path(__file__).with_name("nouns.json")


def describe() -> dict[str, Any]:
    """Every kind with its fields, as plain data."""
    return {kind.name: _kind(kind) for kind in KINDS.values()}


def text() -> str:
    return json.dumps(describe(), indent=1, ensure_ascii=False) + "\n"


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "plural": kind.plural,
        "section": kind.section,
        "doc": kind.doc,
        "scope": kind.scope.value,
        "parents": list(kind.parents),
        "nested": {name: child.name for name, (child, _) in nested_sections(kind).items()},
        "fields": _fields(kind.type),
    }


def _fields(struct: type[msgspec.Struct]) -> list[dict[str, Any]]:
    hints = typing.get_type_hints(struct, include_extras=True)
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return [_field(struct, f, hints[f.name]) for f in info.fields]


def _field(struct: type[msgspec.Struct], info: msgspec.inspect.Field, hint: Any) -> dict[str, Any]:
    trait = trait_of(struct, info.name)
    described: dict[str, Any] = {"name": info.name, "doc": trait.doc, **_flags(trait), **_shape(hint)}
    if info.required and not trait.assigned and not trait.read_only:
        described["required"] = True
    default = msgspec.to_builtins(info.default) if info.default is not msgspec.NODEFAULT else None
    if default not in (None, "", [], {}, ()) and not trait.assigned:
        described["default"] = default
    return described


def _flags(trait: Trait) -> dict[str, Any]:
    flags: dict[str, Any] = {
        name: True
        for name in ("immutable", "assigned", "read_only", "secret", "parent")
        if getattr(trait, name)
    }
    return flags


def _shape(hint: Any) -> dict[str, Any]:
    """The shape of a field's value: its type, and what that type is made of."""
    bounds: dict[str, Any] = {}
    while typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        for note in notes:
            bounds = {**_bounds(note), **bounds}
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(hint) if a is not type(None))
        return {**_shape(inner), **bounds}
    if origin is typing.Literal:
        return {"type": "choice", "choices": list(typing.get_args(hint)), **bounds}
    if origin is tuple:
        return {"type": "list", "of": _shape(typing.get_args(hint)[0])}
    if origin is dict:
        return {"type": "map"}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return {"type": "struct", "fields": _fields(hint)}
    names = {bool: "flag", int: "number", str: "text"}
    return {"type": names[hint], **bounds}


def _bounds(note: Any) -> dict[str, Any]:
    if not isinstance(note, msgspec.Meta):
        return {}
    trait: Trait | None = (note.extra or {}).get("trait")
    found = {
        "ref": trait.ref if trait else None,
        "format": trait.format.value if trait and trait.format else None,
        "ge": note.ge,
        "le": note.le,
    }
    return {name: value for name, value in found.items() if value is not None}


if __name__ == "__main__":
    FILE.write_text(text())
