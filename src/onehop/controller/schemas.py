"""JSON schemas of every kind and every request type, made by msgspec from the same declarations that decode.

Each kind has five: what a reply shows (`Port`), what makes one (`PortSpec`), what stands in the place of one
(`PortReplace`), what changes one (`PortPatch`), and a page of them (`PortList`). None takes properties that
it does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from onehop.model import KINDS, Kind
from onehop.model.fields import Trait, trait_of

Schema = dict[str, Any]
REF = "#/components/schemas/{name}"

REVISION: Schema = {"type": "integer", "minimum": 0, "description": "The revision that last wrote it."}
STATUS: Schema = {
    "type": ["object", "null"],
    "description": "What hosts and controllers say of it; null while nobody has.",
}
CONVERGENCE: Schema = {
    "type": "object",
    "description": "Only with `wait`: whether every host concerned has applied the change, and who has not.",
}
# What stands for more than the router that it is given with: see `routes.outward`.
SUGAR: Schema = {
    "external": {
        "type": ["string", "null"],
        "x-refers-to": "network",
        "description": "The external network by which it reaches the outside: joins it to that, with free "
        "addresses, default routes and masquerade.",
    },
    "attach": {
        "type": ["array", "null"],
        "items": {"type": "string", "x-refers-to": "network"},
        "maxItems": 32,
        "description": "Networks to attach it to. With `external`, if left out: the project's networks that "
        "no router has; one without subnets is given some.",
    },
}
MADE: Schema = {
    "type": "array",
    "items": {"type": "object"},
    "description": "Only with `external` or `attach`: what else was made or changed.",
}


def ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def an_object(properties: Schema, *, required: Iterable[str] | None = None, doc: str = "") -> Schema:
    """An object with these properties and no others; all of them are required unless told otherwise."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    names = sorted(properties if required is None else required)
    if names:
        schema["required"] = names
    return schema | ({"description": doc} if doc else {})


ERROR = an_object(
    {
        "error": an_object(
            {
                "code": {"type": "string", "description": "For programs."},
                "message": {"type": "string", "description": "A sentence for people."},
                "problems": {
                    "type": "array",
                    "items": an_object({"field": {"type": "string"}, "message": {"type": "string"}}),
                },
                "operation": {"type": "integer", "description": "Its place in the bulk."},
            },
            required=("code", "message", "problems"),
        )
    }
)


def components(types: Iterable[type]) -> dict[str, Schema]:
    """The schemas of all kinds and of these request types, by name."""
    kinds = list(KINDS.values())
    _, made = msgspec.json.schema_components([*(k.type for k in kinds), *types], ref_template=REF)
    found: dict[str, Schema] = {name: made[name] for name in sorted(made)}
    for kind in kinds:
        found.update(_of_kind(kind, found[kind.type.__name__]))
    return found | {"Error": ERROR}


def _of_kind(kind: Kind, whole: Schema) -> Iterator[tuple[str, Schema]]:
    name, properties = kind.type.__name__, whole["properties"]
    traits = {field: trait_of(kind.type, field) for field in properties}
    required = {field for field in whole.get("required", ()) if not traits[field].assigned}
    yield name, _reply(kind, properties, traits)
    spec = {field: schema for field, schema in properties.items() if not traits[field].read_only}
    sugar = SUGAR if kind.name == "router" else {}
    yield f"{name}Spec", an_object(spec | sugar, required=required & spec.keys(), doc=kind.doc)
    doc = f"{kind.doc}\n\nWhat can never change may be left out when there is one to replace."
    lasting = {field for field in spec if traits[field].immutable}
    yield f"{name}Replace", an_object(spec, required=(required & spec.keys()) - lasting, doc=doc)
    changeable = {f: _patch(schema) for f, schema in spec.items() if not traits[f].immutable}
    doc = f"Changes of a {kind.name}, as a JSON merge patch: null takes a field back to its default."
    yield f"{name}Patch", an_object(changeable, required=(), doc=doc)
    page = {
        "items": {"type": "array", "items": ref(name)},
        "next": nullable({"type": "string", "description": "The cursor of the next page."}),
        "revision": REVISION | {"description": "The revision that the whole list is of."},
    }
    yield f"{name}List", an_object(page)


def _reply(kind: Kind, properties: Schema, traits: dict[str, Trait]) -> Schema:
    shown = {field: _without_default(s) for field, s in properties.items() if not traits[field].secret}
    every = {**shown, "revision": REVISION, "status": STATUS}
    extra = {"convergence": CONVERGENCE}
    if kind.name == "token":
        extra["secret"] = {"type": "string", "description": "Told once, in the reply that makes the token."}
    elif kind.name == "router":
        extra["made"] = MADE
    return an_object(every | extra, required=every, doc=kind.doc)


def _without_default(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


def _patch(schema: Schema) -> Schema:
    plain = _without_default(schema)
    if "additionalProperties" in plain:  # entries of a map are taken out one by one
        plain["additionalProperties"] = nullable(plain["additionalProperties"])
    told = {key: plain.pop(key) for key in ("description",) if key in plain}
    return nullable(plain) | told
