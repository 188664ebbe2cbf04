"""An object as the API shows it: every field, defaults included, its revision and its status; no secrets."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from onehop.model import Object
from onehop.model.fields import trait_of

Shown = dict[str, Any]


def shown(obj: Object, revision: int, status: Mapping[str, Any] | None = None) -> Shown:
    """What a reply holds of an object."""
    told = fields(obj)
    told["revision"] = revision
    told["status"] = status
    return told


def fields(obj: msgspec.Struct) -> Shown:
    """The fields of an object that may be seen."""
    return {
        name: getattr(obj, name) if write is None else write(getattr(obj, name))
        for name, write in _writers(type(obj))
    }


@cache
def _writers(struct: type[msgspec.Struct]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """How each field is shown. Structs within are taken apart: encoded whole they would omit defaults."""
    hints = typing.get_type_hints(struct)
    return tuple(
        (name, _within if _holds_structs(hints[name]) else None)
        for name in struct.__struct_fields__
        if not trait_of(struct, name).secret
    )


def _holds_structs(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return True
    return any(_holds_structs(argument) for argument in typing.get_args(hint))


def _within(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return fields(value)
    if isinstance(value, tuple):
        return [_within(element) for element in value]
    return value
