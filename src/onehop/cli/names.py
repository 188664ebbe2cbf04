"""Names for the ids that objects refer to, fetched when a table shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from onehop.cli import output
from onehop.cli.nouns import Noun, nouns
from onehop.cli.parser import closest
from onehop.client.api import Client
from onehop.client.errors import ApiError, ClientError

Json = dict[str, Any]
ONE_BY_ONE = 4  # up to so many objects are fetched one by one; for more, a page of the kind is


class Names:
    """Shows fields with names in the place of ids."""

    def __init__(self, client: Client, noun: Noun, items: Sequence[Json]) -> None:
        self._client = client
        self._fields = {f["name"]: f for f in noun.fields}
        self._items = items
        self._known: dict[str, dict[str, str]] = {}  # kind -> id -> name

    def cell(self, field: str, item: Json) -> str:
        shape = self._fields.get(field)
        value = item.get(field)
        return output.told(self._named(shape, value) if shape is not None else value)

    def _named(self, shape: Json, value: Any) -> Any:
        """A value with the ids in it made names."""
        if value is None:
            return None
        if shape["type"] == "list":
            return [self._named(shape["of"], element) for element in value]
        if shape["type"] == "struct":
            inner = {f["name"]: f for f in shape["fields"]}
            return {k: self._named(inner[k], v) for k, v in value.items() if v is not None and k in inner}
        if "ref" in shape:
            return self._name(shape["ref"], value)
        return value

    def _name(self, kind: str, id: str) -> str:
        if kind not in self._known:
            self._known[kind] = self._fetch(kind)
        return self._known[kind].get(id, id)

    def _fetch(self, kind: str) -> dict[str, str]:
        """The names of all objects of a kind that the items refer to."""
        wanted = {
            id
            for item in self._items
            for field, shape in self._fields.items()
            for id in _ids(shape, item.get(field), kind)
        }
        noun = nouns()[kind]
        try:
            if len(wanted) <= ONE_BY_ONE:
                return {id: name for id in wanted if (name := self._one(noun, id))}
            return {item["id"]: item["name"] for item in self._client.page(noun.plural)["items"]}
        except ClientError:
            return {}  # the ids will do

    def _one(self, noun: Noun, id: str) -> str | None:
        try:
            return str(self._client.get(noun.plural, id)["name"])
        except ApiError:
            return None


def _ids(shape: Json, value: Any, kind: str) -> Iterable[str]:
    if value is None:
        return
    if shape["type"] == "list":
        for element in value:
            yield from _ids(shape["of"], element, kind)
    elif shape["type"] == "struct":
        for field in shape["fields"]:
            yield from _ids(field, value.get(field["name"]), kind)
    elif shape.get("ref") == kind:
        yield value


def suggestion(client: Client, noun: Noun, ref: str) -> str:
    """` Did you mean ...?` for a name that is not there, and where to look."""
    try:
        known = [item["name"] for item in client.page(noun.plural)["items"]]
    except ClientError:
        known = []
    return f".{closest(ref.rpartition('/')[2], known)} See `onehop {noun.name} list`"
