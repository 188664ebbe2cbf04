"""The headers that make a request conditional or safe to repeat, and that say what may be answered."""

from __future__ import annotations

import re

from onehop.controller.answers import AnyRequest, NotAcceptable
from onehop.controller.refusals import Malformed, Stale
from onehop.model import Problem

_ETAG = re.compile(r'"([0-9]{1,18})"', re.ASCII)
_ZERO = re.compile(r"q=0(\.0*)?")
_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)


def check_accept(request: AnyRequest, gives: str) -> None:
    """Refuse a caller that does not take the type of the reply."""
    text = request.headers.get("accept")
    if text is None or text == "*/*" or text == gives:
        return
    family = f"{gives.partition('/')[0]}/*"
    for offer in text.split(","):
        media, *parameters = (part.strip().lower() for part in offer.split(";"))
        if media in (gives, family, "*/*") and not any(_ZERO.fullmatch(p) for p in parameters):
            return
    raise NotAcceptable(f"the reply is {gives}, which the Accept header leaves out")


def etag(revision: int) -> str:
    return f'"{revision}"'


def if_match(request: AnyRequest) -> int | None:
    """The revision that the caller wants to change. A weak tag matches nothing, as RFC 9110 has it."""
    text = request.headers.get("if-match")
    if request.headers.get("if-none-match") is not None:
        raise _wrong("If-None-Match", "is for reading; a write takes If-Match")
    if text is None or text.strip() == "*":
        return None
    text = text.strip()
    if text.startswith('W/"'):
        raise Stale("a weak tag never matches; send the ETag of the object as it was given")
    found = _ETAG.fullmatch(text)
    if found is None:
        raise _wrong("If-Match", 'has to be one ETag, such as "42"')
    return int(found[1])


def not_modified(request: AnyRequest, revision: int) -> bool:
    """Whether the caller has this revision already."""
    text = request.headers.get("if-none-match", "")
    return etag(revision) in (tag.strip().removeprefix("W/") for tag in text.split(","))


def idempotency_key(request: AnyRequest) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise _wrong("Idempotency-Key", "has to be 1 to 128 visible ASCII characters")
    return key


def _wrong(header: str, message: str) -> Malformed:
    return Malformed("a header of the request is wrong", [Problem(header, message)])
