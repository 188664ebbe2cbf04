"""Idempotency keys: a request that is sent again gets the answer of the first.

The answer is written in the transaction that did what was asked, under the guard that the key is new. It
holds a digest of the request, so that a key used for something else is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from onehop.controller import audit
from onehop.controller.keys import IDEMPOTENCY
from onehop.controller.refusals import Malformed, Unprocessable
from onehop.model import KINDS, Object, kind_of
from onehop.store.interface import Put, Revision

MAX_LENGTH = 128


class Answered(msgspec.Struct, frozen=True):
    """What came of one operation. Revision None: that of the transaction."""

    kind: str
    object: msgspec.Raw
    revision: Revision | None


class Answer(msgspec.Struct, frozen=True):
    time: float
    digest: str
    results: tuple[Answered, ...]


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Answer)


def store_key(token: str, key: str) -> str:
    if not 1 <= len(key) <= MAX_LENGTH or not key.isascii() or not key.isprintable():
        raise Malformed(f"an idempotency key is 1 to {MAX_LENGTH} printable ASCII characters")
    return f"{IDEMPOTENCY}{token}/{key}"


def digest(request: Any) -> str:
    return hashlib.sha256(_encoder.encode(request)).hexdigest()


def answer(key: str, digest: str, results: Sequence[tuple[Object, Revision | None]]) -> Put:
    told = tuple(
        Answered(kind_of(obj).name, msgspec.Raw(_encoder.encode(audit.redacted(obj))), revision)
        for obj, revision in results
    )
    return Put(key, _encoder.encode(Answer(time.time(), digest, told)))


def replay(value: bytes, digest: str) -> list[tuple[Object, Revision | None]]:
    """The results of the first request. Refused if that was another one."""
    first = _decoder.decode(value)
    if first.digest != digest:
        raise Unprocessable("this idempotency key was used for another request; take a new key")
    return [
        (msgspec.json.decode(result.object, type=KINDS[result.kind].type), result.revision)
        for result in first.results
    ]
