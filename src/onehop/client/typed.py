"""The model's types over the client, for programs that want values rather than JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from onehop.client.api import Client
from onehop.client.errors import ProtocolError
from onehop.model import Object, kind_of

ObjectT = TypeVar("ObjectT", bound=Object)


def decode(type: type[ObjectT], item: Mapping[str, Any]) -> ObjectT:
    """An object as the API gives it, without its revision and status."""
    fields = {name: value for name, value in item.items() if name in type.__struct_fields__}
    try:
        return msgspec.convert(fields, type)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the controller's {kind_of(type).name} is not as expected: {error}") from None


def get(client: Client, type: type[ObjectT], ref: str) -> ObjectT:
    return decode(type, client.get(kind_of(type).plural, ref))


def objects(client: Client, type: type[ObjectT], **filters: str | list[str] | None) -> Iterator[ObjectT]:
    return (decode(type, item) for item in client.list(kind_of(type).plural, **filters))


def create(client: Client, type: type[ObjectT], **fields: Any) -> ObjectT:
    """Make an object from some of its fields; the controller fills in the others."""
    return decode(type, client.create(kind_of(type).plural, msgspec.to_builtins(fields)))
