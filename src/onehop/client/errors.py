"""What can go wrong between a client and a controller, each told in a sentence that names the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One field that the controller refused."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ClientError(Exception):
    """Something about the client's request, told in a sentence."""


class Unreachable(ClientError):
    """No controller answered. What was asked for may or may not have happened."""


class Untrusted(ClientError):
    """What answered could not prove that it is the controller."""


class ProtocolError(ClientError):
    """What answered does not speak as a controller does."""


class ApiError(ClientError):
    """The controller's refusal."""

    def __init__(self, status: int, code: str, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.problems = problems


def refusal(status: int, body: Any) -> ApiError:
    """The error that a reply holds, whatever its shape."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ApiError(status, "unknown", f"the controller answered with status {status}")
    problems = tuple(
        Problem(str(p.get("field") or ""), str(p.get("message") or ""))
        for p in error.get("problems") or ()
        if isinstance(p, Mapping)
    )
    code, message = str(error.get("code") or "unknown"), str(error.get("message") or f"status {status}")
    return ApiError(status, code, message, problems)


def explained(error: ClientError) -> str:
    """The error as people read it: a sentence, and a line for each field that was refused."""
    if not isinstance(error, ApiError):
        return str(error)
    problems = (f"  {problem}" for problem in error.problems if str(problem) not in error.message)
    return "\n".join([error.message, *problems])
