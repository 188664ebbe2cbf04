"""The store's keys, and how objects are written in it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec

from onehop.model import KINDS, Object, kind_of
from onehop.model.claims import Claim
from onehop.store.interface import Incompatible, PrefixEmpty, RangeEmpty

OBJECTS = "obj/"
AUDIT = "audit/"
IDEMPOTENCY = "idem/"
RESTING = "rest/"
STATUS = "status/"
GUARDS = "claim/guard/"
# What these refer to may go: controllers make them, and see to it that they go too.
WEAK = ("snat-block",)
WEAKLY_USED = ("port", "nat-rule", "project")
# The sets that go with an object, by its kind: what comes before its id in the scope of their guard.
GUARDED = {"network": "network", "router": "router", "port": "port", "project": "acl"}

_encoder = msgspec.json.Encoder()


def object_key(kind: str, id: str) -> str:
    return f"{OBJECTS}{kind}/{id}"


def parse_object_key(key: str) -> tuple[str, str]:
    """The kind and the id."""
    _, kind, id = key.split("/")
    return kind, id


def ref_key(target: str, kind: str, source: str) -> str:
    return f"ref/{target}/{kind}/{source}"


def claim_key(claim: Claim) -> str:
    return f"claim/{claim.scope}/{claim.value}"


def guard_key(scope: str) -> str:
    """The key that is written whenever a set changes that rules are about (`network/<id>`: its subnets)."""
    return f"claim/guard/{scope}"


def resting_key(claim: Claim) -> str:
    return f"{RESTING}{claim.scope}/{claim.value}"


def parse_resting_key(key: str) -> Claim:
    scope, _, value = key.removeprefix(RESTING).rpartition("/")
    return Claim(scope, value)


def no_refs_besides(
    target: str, known: list[str], weak: Iterable[str] = ()
) -> list[PrefixEmpty | RangeEmpty]:
    """Guards that nothing refers to an object, except by these keys and by objects of the `weak` kinds."""
    prefix = f"ref/{target}/"
    holes = [(f"{prefix}{kind}/", f"{prefix}{kind}0") for kind in weak]  # '0' comes after '/'
    holes += [(key, key + "\0") for key in known if not any(a <= key < b for a, b in holes)]
    if not holes:
        return [PrefixEmpty(prefix)]
    starts = [prefix, *(end for _, end in sorted(holes))]
    ends = [*(start for start, _ in sorted(holes)), f"ref/{target}0"]
    return [RangeEmpty(start, end) for start, end in zip(starts, ends, strict=True)]


def encode(obj: Object) -> bytes:
    return _encoder.encode(obj)


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Object]:
    return msgspec.json.Decoder(KINDS[kind].type)


def decode(key: str, value: bytes) -> Object:
    """The object that the store has at a key. Raises Incompatible."""
    try:
        kind, _ = parse_object_key(key)
        return _decoder(kind).decode(value)
    except (KeyError, ValueError) as error:
        raise Incompatible(
            f"the store has at {key!r} what this version cannot read ({error}); it is corrupt, or was "
            "written by a newer Onehop: run that version, or restore a backup"
        ) from error


def key_of(obj: Object) -> str:
    return object_key(kind_of(obj).name, obj.id)
