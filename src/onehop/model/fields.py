"""What is declared of a field besides its type, and the walk over all fields of an object.

A field is declared once, as `name: Annotated[type, field("what it is", ...)]`. REST, OpenAPI, the CLI, the
store, the document and the reference documentation read the same declaration.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from onehop.model.errors import Invalid, Problem
from onehop.model.formats import Format, canonical


@dataclass(frozen=True, slots=True)
class Trait:
    """What the layers need to know of a field.

    ref        the kind that the text refers to; stored as its id
    parent     this reference says what the object belongs to; names are unique within it
    immutable  may be given when the object is made, never changed
    assigned   may be left out: the controller then chooses a value
    read_only  set by the controller alone
    secret     accepted, never shown
    """

    doc: str = ""
    ref: str | None = None
    parent: bool = False
    format: Format | None = None
    immutable: bool = False
    assigned: bool = False
    read_only: bool = False
    secret: bool = False


def field(
    doc: str,
    *,
    ref: str | None = None,
    parent: bool = False,
    format: Format | None = None,
    immutable: bool = False,
    assigned: bool = False,
    read_only: bool = False,
    secret: bool = False,
    ge: int | None = None,
    le: int | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
) -> msgspec.Meta:
    trait = Trait(
        doc=doc,
        ref=ref,
        parent=parent,
        format=format,
        immutable=immutable or parent,
        assigned=assigned,
        read_only=read_only,
        secret=secret,
    )
    schema: dict[str, Any] = {}
    if format is not None:
        schema["format"] = format.value
    if ref is not None:
        schema["x-refers-to"] = ref
    for flag in ("assigned", "immutable", "secret"):
        if getattr(trait, flag):
            schema[f"x-{flag}"] = True
    bounds = {"ge": ge, "le": le, "min_length": min_length, "max_length": max_length}
    meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads do not cover computed arguments
    return meta(
        description=doc,
        extra_json_schema=schema or None,
        extra={"trait": trait},
        **{name: bound for name, bound in bounds.items() if bound is not None},
    )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text, number or flag somewhere in an object. In `path`, `[]` stands for each element."""

    path: tuple[str, ...]
    trait: Trait


@cache
def leaves(struct: type[msgspec.Struct]) -> tuple[Leaf, ...]:
    """Every leaf of a type, in the order of declaration."""
    hints = typing.get_type_hints(struct, include_extras=True)
    names = [name for name in hints if name in struct.__struct_fields__]
    return tuple(leaf for name in names for leaf in _leaves((name,), hints[name]))


def _leaves(path: tuple[str, ...], hint: Any, trait: Trait | None = None) -> Iterator[Leaf]:
    if typing.get_origin(hint) is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        yield from _leaves(path, inner, _trait(notes) or trait)
        return
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(options) == 1:
            yield from _leaves(path, options[0], trait)
            return
    if typing.get_origin(hint) is tuple:
        yield from _leaves((*path, "[]"), typing.get_args(hint)[0], trait)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield from (Leaf((*path, *leaf.path), leaf.trait) for leaf in leaves(hint))
    else:
        yield Leaf(path, trait or Trait())


def _trait(notes: Iterable[Any]) -> Trait | None:
    for note in notes:
        if isinstance(note, msgspec.Meta) and note.extra and "trait" in note.extra:
            return typing.cast(Trait, note.extra["trait"])
    return None


@cache
def references(struct: type[msgspec.Struct]) -> tuple[Leaf, ...]:
    """The leaves that refer to other objects."""
    return tuple(leaf for leaf in leaves(struct) if leaf.trait.ref is not None)


@cache
def _formatted(struct: type[msgspec.Struct]) -> tuple[Leaf, ...]:
    return tuple(leaf for leaf in leaves(struct) if leaf.trait.format is not None)


@cache
def trait_of(struct: type[msgspec.Struct], name: str) -> Trait:
    """What is declared of one field of a type."""
    hint = typing.get_type_hints(struct, include_extras=True)[name]
    return _trait(getattr(hint, "__metadata__", ())) or Trait()


def values(obj: Any, leaf: Leaf) -> Iterator[tuple[str, Any]]:
    """The values at a leaf with their paths (`addresses[0].ip`); nothing where a value is None."""
    if len(leaf.path) == 1:
        value = getattr(obj, leaf.path[0])
        if value is not None:
            yield leaf.path[0], value
        return
    yield from _values(obj, leaf.path, "")


def _values(at: Any, path: tuple[str, ...], told: str) -> Iterator[tuple[str, Any]]:
    if at is None:
        return
    if not path:
        yield told, at
    elif path[0] == "[]":
        for i, element in enumerate(at):
            yield from _values(element, path[1:], f"{told}[{i}]")
    else:
        yield from _values(getattr(at, path[0]), path[1:], f"{told}.{path[0]}" if told else path[0])


def gather(obj: Any, leaves: Iterable[Leaf]) -> set[Any]:
    """The values at some leaves, without their paths: for what is asked all the time."""
    found: set[Any] = set()
    for leaf in leaves:
        _gather(obj, leaf.path, 0, found)
    return found


def _gather(at: Any, path: tuple[str, ...], depth: int, found: set[Any]) -> None:
    name = path[depth]
    depth += 1
    if name != "[]":
        at = getattr(at, name)
        if at is None or at == ():
            return
        if depth == len(path):
            found.add(at)
        else:
            _gather(at, path, depth, found)
    elif depth == len(path):
        found.update(at)
    else:
        for element in at:
            _gather(element, path, depth, found)


def rewrite(obj: Any, path: tuple[str, ...], change: Callable[[str, Any], Any], told: str = "") -> Any:
    """A copy of an object with the values at one path changed; the object itself where none changes."""
    if obj is None:
        return None
    if not path:
        return change(told, obj)
    if path[0] == "[]":
        elements = tuple(rewrite(e, path[1:], change, f"{told}[{i}]") for i, e in enumerate(obj))
        return obj if all(a is b for a, b in zip(elements, obj, strict=True)) else elements
    before = getattr(obj, path[0])
    after = rewrite(before, path[1:], change, f"{told}.{path[0]}" if told else path[0])
    return obj if after is before else msgspec.structs.replace(obj, **{path[0]: after})


StructT = typing.TypeVar("StructT", bound=msgspec.Struct)


def canonicalise(obj: StructT) -> StructT:
    """The object with every text in its canonical form. Raises Invalid, naming each field that has none."""
    problems: list[Problem] = []

    def change(path: str, text: Any) -> Any:
        assert leaf.trait.format is not None
        if not text and leaf.trait.assigned:
            return text  # left out: `assign` fills it in
        try:
            after = canonical(text, leaf.trait.format)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            return text
        return text if after == text else after

    result: Any = obj
    for leaf in _formatted(type(obj)):
        result = rewrite(result, leaf.path, change)
    if problems:
        raise Invalid(problems)
    return typing.cast(StructT, result)
