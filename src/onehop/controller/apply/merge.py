"""What has to change in one object, three ways: what the document says, what it said before, what is there.

* A field that the document gives is as the document says.
* A field that it gave before and no longer does returns to its default.
* Any other field stays as it is, whoever set it.

Within a field the document's word is whole, except that labels count one by one, and that what the
controller chose for a part left out (an address of a port that only names its subnet) is as it should be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from onehop.controller.bodies import traits
from onehop.model import Object, Problem
from onehop.model.fields import Trait, trait_of

# Told by where an entry stands, or by the stack.
FIXED = frozenset({"id", "name", "project"})
LABELS = "labels."


class FieldChange(NamedTuple):
    field: str
    before: Any
    after: Any


class Merge(NamedTuple):
    """A JSON merge patch, and the same told field by field."""

    patch: dict[str, Any]
    changes: tuple[FieldChange, ...]


def stated(fields: Mapping[str, Any]) -> frozenset[str]:
    """What an entry gives: its fields, and each label by itself."""
    names = {name for name in fields if name not in FIXED and name != "labels"}
    labels = fields.get("labels")
    return frozenset(names | {LABELS + key for key in labels} if isinstance(labels, Mapping) else names)


def merge(wanted: Object, given: Collection[str], before: Collection[str], there: Object) -> Merge:
    """What makes an object as it should be. Raises nothing; `immutable` tells what can't be."""
    patch: dict[str, Any] = {}
    changes: list[FieldChange] = []
    for name, trait in traits(type(there)).items():
        if name in FIXED or trait.read_only:
            continue
        if name == "labels":
            _labels(wanted.labels, given, before, there.labels, patch, changes)
            continue
        have = getattr(there, name)
        want = _want(name, trait, wanted, given, before, have)
        if want != have:
            patch[name] = _patch_value(want, have)
            changes.append(FieldChange(name, plain(have), plain(want)))
    return Merge(patch, tuple(changes))


def immutable(changed: Merge, there: Object) -> list[Problem]:
    """The changes that no object of this kind can undergo."""
    known = traits(type(there))
    return [
        Problem(
            change.field,
            f"is {change.before!r} and cannot be changed; give the object another name, and a new one is "
            "made in its place",
        )
        for change in changed.changes
        if change.field in known and known[change.field].immutable
    ]


def _want(
    name: str, trait: Trait, wanted: Object, given: Collection[str], before: Collection[str], have: Any
) -> Any:
    if name in given:
        value = getattr(wanted, name)
        if trait.assigned and value in (None, ""):
            return have
        return _filled(value, have)
    if name in before and not (trait.assigned or trait.immutable or trait.secret):
        return _default(type(wanted), name)
    return have


def _default(type: type[Object], name: str) -> Any:
    field = next(f for f in msgspec.structs.fields(type) if f.name == name)
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _filled(want: Any, have: Any) -> Any:
    """The elements of a list with what was left out of them taken from those that are there."""
    if not isinstance(want, tuple) or not any(isinstance(element, msgspec.Struct) for element in want):
        return want
    rest = [element for element in have if element not in want]
    return tuple(element if element in have else _match(element, rest) for element in want)


def _match(element: msgspec.Struct, rest: list[msgspec.Struct]) -> msgspec.Struct:
    """The first element there that agrees with all that was given, unless it is taken."""
    for other in rest:
        if _agrees(element, other):
            rest.remove(other)
            return other
    return element


def _agrees(given: msgspec.Struct, other: msgspec.Struct) -> bool:
    return all(
        getattr(given, name) == getattr(other, name)
        or (getattr(given, name) is None and trait_of(type(given), name).assigned)
        for name in given.__struct_fields__
    )


def _labels(
    want: Mapping[str, str],
    given: Collection[str],
    before: Collection[str],
    have: Mapping[str, str],
    patch: dict[str, Any],
    changes: list[FieldChange],
) -> None:
    gone = {
        name.removeprefix(LABELS) for name in before if name.startswith(LABELS) and name not in given
    } & have.keys()
    changed: dict[str, str | None] = {key: text for key, text in want.items() if have.get(key) != text}
    changed |= dict.fromkeys(sorted(gone - want.keys()))
    if changed:
        patch["labels"] = changed
        changes.extend(FieldChange(LABELS + key, have.get(key), text) for key, text in changed.items())


def _patch_value(want: Any, have: Any) -> Any:
    """A merge patch leaves keys of a mapping that it does not name, so those that are gone are named."""
    after = plain(want)
    if isinstance(after, dict) and isinstance(have, Mapping):
        return {**dict.fromkeys(key for key in have if key not in after), **after}
    return after


def plain(value: Any) -> Any:
    """A value as JSON has it: lists, not tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
