"""The reference documentation says what the declarations say."""

from __future__ import annotations

import pytest

from onehop.cli.commands import every_command
from onehop.cli.nouns import nouns
from onehop.cli.reference import DIRECTORY, pages
from onehop.model.vocabulary import Drop


@pytest.mark.parametrize("name", ["cli.md", "drops.md", "kinds.md"])
def test_the_committed_page_is_current(name: str) -> None:
    assert (DIRECTORY / name).read_text() == pages()[name], "run: make docs"


def test_every_command_is_in_the_reference() -> None:
    text = pages()["cli.md"]
    for command in every_command():
        assert f" onehop {command.name}\n" in text


def test_every_field_is_in_the_reference() -> None:
    text = pages()["kinds.md"]
    for noun in nouns().values():
        for field in noun.fields:
            assert f"| `{field['name']}` |" in text


def test_every_drop_reason_is_in_the_reference() -> None:
    text = pages()["drops.md"]
    for drop in Drop:
        assert f"| {drop.value} | `{drop.name.lower().replace('_', '-')}` | " in text
