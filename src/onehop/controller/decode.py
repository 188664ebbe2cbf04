"""The one place where bodies and parameters of requests are read. Whatever is wrong with them is a 4xx.

Before anything is parsed the type, the encoding and the size are checked; a body that is too large is
refused without being kept. Then UTF-8, JSON, depth, numbers beyond 64 bits, and names given twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from onehop.controller.answers import AnyRequest, Unsupported
from onehop.controller.bodies import told
from onehop.controller.refusals import Malformed, TooMuch
from onehop.model import Problem

MAX_BODY = 10 * 1024 * 1024
MAX_DEPTH = 32
# A sender that is not read cannot hear the refusal. This much of a body is thrown away to let it finish.
MAX_DRAINED = 4 * MAX_BODY

JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")

T = TypeVar("T")

# Matches unclosed strings too, and never goes back: linear in whatever is sent.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")


async def body(request: AnyRequest, types: tuple[str, ...] = JSON) -> dict[str, Any]:
    """The JSON object that a request brings."""
    headers = request.headers
    check_type(headers.get("content-type"), types)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Unsupported("a compressed body is not read here; send it as it is")
    return parse(await _read(request, headers.get("content-length")))


def check_type(text: str | None, types: tuple[str, ...]) -> None:
    if text is None:
        raise Unsupported(f"the request does not say what its body is; set Content-Type: {types[0]}")
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    if media not in types:
        raise Unsupported(f"a body of type {media[:80]!r} is not read here; send {' or '.join(types)}")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise Unsupported("JSON is UTF-8 here; send it so")


async def _read(request: AnyRequest, length: str | None) -> bytes:
    announced = int(length) if length is not None and length.isascii() and length.isdigit() else 0
    too_much = announced > MAX_BODY
    chunks: list[bytes] = []
    size = 0
    if announced <= MAX_DRAINED:
        async for chunk in request.stream():
            size += len(chunk)
            too_much = too_much or size > MAX_BODY
            if too_much:
                chunks.clear()
            else:
                chunks.append(chunk)
            if size > MAX_DRAINED:
                break
    if too_much:
        raise TooMuch(f"a body is at most {MAX_BODY >> 20} MiB")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in some bytes. Raises Malformed."""
    if not data.strip():
        raise Malformed("the body is missing; send a JSON object")
    _check_depth(data)
    try:
        value = msgspec.json.decode(data)
        # msgspec keeps the last of two equal names; what the sender meant is anybody's guess.
        json.loads(data, object_pairs_hook=_check_names, parse_int=_check_integer)
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed("the body has to be a JSON object")
    return value


def _check_depth(data: bytes) -> None:
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", data).translate(None, _ALL_BUT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed(f"the body nests deeper than {MAX_DEPTH} levels")


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise Malformed(
                "the body names a field twice", [Problem(name[:128], "is given more than once in one object")]
            )
        seen.add(name)


def _check_integer(text: str) -> int:
    if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 64:
        raise ValueError(f"the number {text[:24]}... is beyond 64 bits")
    return 0


def convert(value: Any, type: type[T]) -> T:
    """A decoded body as a typed request. Raises Malformed, naming the field."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise Malformed("the body does not have the right shape", [told(error)]) from None


# --- parameters of the query ----------------------------------------------------------------------------


def parameter(request: AnyRequest, name: str, read: Callable[[str], T]) -> T | None:
    """One parameter of the query, read by a function that raises ValueError with a sentence."""
    values = request.query_params.getall(name, [])
    if not values:
        return None
    if len(values) > 1:
        raise Malformed("a parameter is given twice", [Problem(name, "is given more than once")])
    try:
        return read(values[0])
    except ValueError as error:
        raise Malformed("a parameter of the query is wrong", [Problem(name, str(error))]) from None


def only_parameters(request: AnyRequest, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    for name in request.query_params:
        if name not in known:
            raise Malformed(
                "a parameter of the query is unknown",
                [Problem(name[:128], f"is not a parameter here; there are: {', '.join(known)}")],
            )


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
            raise ValueError(f"has to be a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) or float(text) > high:
            raise ValueError(f"has to be a number of seconds from 0 to {high:g}")
        return float(text)

    return read
