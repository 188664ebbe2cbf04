"""How bad input is told: every problem names the field and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong: `field` is a path such as `addresses[0].ip`, empty for the whole object."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def within(self, path: str) -> Problem:
        """The same problem, seen from an object that holds the bad one at `path`."""
        return Problem(f"{path}.{self.field}" if self.field else path, self.message)


class Invalid(ValueError):
    """Input that the model refuses."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))
