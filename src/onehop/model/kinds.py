"""What every object has, and the register of kinds.

A kind is one decorated class. From its declaration come its REST routes and schemas, its CLI noun and
flags, its encoding in the store and in the feed, its section in a document, and its page of reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

import msgspec

from onehop.model.fields import field, references, trait_of
from onehop.model.formats import Format

Text = Annotated[str, msgspec.Meta(max_length=255)]
LabelKey = Annotated[str, msgspec.Meta(max_length=63)]

# Keys travel in the 24 bits of a VNI; 0 means "none".
MAX_KEY = (1 << 24) - 1


class Struct(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,  # frozen values make no cycles; a hundred thousand of them need not be searched for some
):
    """A frozen value whose decoding refuses unknown fields."""


class Object(Struct, frozen=True, kw_only=True):
    """What all objects have. Revision and status are kept beside an object, not in it."""

    id: Annotated[str, field("The id, a UUID.", format=Format.ID, read_only=True)]
    name: Annotated[
        str,
        field(
            "A DNS label, unique among its siblings: the objects of this kind in the same parent, or in the "
            "project. Made from the id when left out.",
            format=Format.NAME,
            assigned=True,
            max_length=63,
        ),
    ]
    title: Annotated[Text, field("Free text.")] = ""
    project: Annotated[
        str | None,
        field("The project that owns the object.", ref="project", immutable=True, assigned=True),
    ] = None
    labels: Annotated[
        dict[LabelKey, Text],
        msgspec.Meta(max_length=64),
        field("Free pairs of key and text, to select objects by."),
    ] = {}


class Scope(StrEnum):
    """Whose an object is."""

    PROJECT = "project"  # belongs to a project; its members write it
    CLOUD = "cloud"  # belongs to the cloud; only cloud administrators see and write it


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object. `name` is the REST and CLI noun: `security-group`."""

    name: str
    plural: str
    type: type[Object]
    scope: Scope
    parents: tuple[str, ...]  # the fields that may say what the object belongs to
    keyed: bool  # whether each object gets a cloud-wide 24-bit key

    @property
    def section(self) -> str:
        """The kind's section in a document: `security_groups`."""
        return self.plural.replace("-", "_")

    @property
    def doc(self) -> str:
        return (self.type.__doc__ or "").strip()

    def parent(self, obj: Object) -> str | None:
        """The id of what this object belongs to, when its kind has parents."""
        for name in self.parents:
            value: str | None = getattr(obj, name)
            if value is not None:
                return value
        return None


KINDS: dict[str, Kind] = {}
_BY_TYPE: dict[type[Object], Kind] = {}

T = TypeVar("T", bound=Object)


def kind(
    name: str, *, plural: str | None = None, scope: Scope = Scope.PROJECT
) -> Callable[[type[T]], type[T]]:
    """Declare a class to be a kind of object."""

    def declare(cls: type[T]) -> type[T]:
        parents = tuple(f for f in cls.__struct_fields__ if trait_of(cls, f).parent)
        keyed = "key" in cls.__struct_fields__
        declared = Kind(name, plural or f"{name}s", cls, scope, parents, keyed)
        KINDS[name] = declared
        _BY_TYPE[cls] = declared
        references(cls)  # fail at import, not at first use, if a declaration cannot be read
        return cls

    return declare


def kind_of(obj: Object | type[Object]) -> Kind:
    return _BY_TYPE[obj if isinstance(obj, type) else type(obj)]


def kind_by_plural(plural: str) -> Kind | None:
    return next((k for k in KINDS.values() if k.plural == plural), None)


Family = Literal["ipv4", "ipv6"]
