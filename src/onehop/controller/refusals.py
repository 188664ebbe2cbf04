"""Why the controller does not do what it was asked to: one exception per kind of reason.

Every refusal is a sentence for a person, has a `code` for programs and the HTTP `status` that tells it, and
names the fields that are wrong where some are. Whoever answers a request turns a refusal into the reply;
nothing else that the engine raises is meant for the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from onehop.model import Problem


class Refusal(Exception):
    """A request that is not carried out. `operation` is its place in the bulk, where there is one."""

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(
        self, message: str, problems: Iterable[Problem] = (), *, operation: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.operation = operation


class Malformed(Refusal):
    """Not even of the right shape: unknown fields, wrong types, an operation without what it needs."""

    code = "malformed"
    status = 400


class Unprocessable(Refusal):
    """Of the right shape, but it breaks a rule of the model."""

    code = "invalid"
    status = 422


class Forbidden(Refusal):
    """The caller may see it, but not do this."""

    code = "forbidden"
    status = 403


class NotFound(Refusal):
    """There is no such object, or the caller may not know of it."""

    code = "not_found"
    status = 404


class Conflict(Refusal):
    """It clashes with what is there: a name that is taken, an object in use."""

    code = "conflict"
    status = 409


class Stale(Refusal):
    """The object has changed since the revision that the caller knows."""

    code = "stale"
    status = 412


class TooMuch(Refusal):
    """More than one transaction may hold."""

    code = "too_large"
    status = 413


class Busy(Refusal):
    """The store cannot be reached, or others changed the same things too often. Trying again may help."""

    code = "unavailable"
    status = 503
