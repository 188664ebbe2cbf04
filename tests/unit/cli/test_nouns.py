"""The CLI's description of the model, and the flags made of it."""

from __future__ import annotations

import pytest

from onehop.cli.commands import every_command
from onehop.cli.describe import FILE, text
from onehop.cli.nouns import commands, nouns
from onehop.cli.parser import parse
from onehop.cli.spec import Command
from onehop.model import KINDS


def test_the_description_is_what_the_model_says() -> None:
    assert FILE.read_text() == text(), "run: python -m onehop.cli.describe"


def test_every_kind_is_a_noun_with_its_verbs() -> None:
    assert set(nouns()) == set(KINDS)
    for name, noun in nouns().items():
        verbs = {"list", "show"} if name == "snat-block" else {"create", "list", "show", "update", "delete"}
        assert verbs <= set(commands(noun))


def test_what_controllers_make_is_only_looked_at() -> None:
    assert set(commands(nouns()["snat-block"])) == {"list", "show"}


@pytest.mark.parametrize("command", list(every_command()), ids=lambda c: c.name)
def test_no_command_has_two_options_of_one_name(command: Command) -> None:
    names = [n for o in command.options for n in (o.name, o.alias, o.short) if n]
    assert len(names) == len(set(names))


def test_every_example_can_be_parsed() -> None:
    import shlex

    from onehop.cli.entry import find

    for command in every_command():
        for _, written in command.examples:
            if written.startswith("onehop "):
                words = shlex.split(written.partition(" > ")[0] if "export" in written else written)[1:]
                found, rest = find(words)
                assert found == command
                parse(found, rest)


def test_every_settable_field_has_a_flag() -> None:
    options = {o.key for o in commands(nouns()["port"])["create"].options}
    assert {"mac", "addresses", "security_groups", "port_security", "admin_up", "labels"} <= options


def test_a_read_only_field_has_no_flag() -> None:
    assert "key" not in {o.key for o in commands(nouns()["port"])["create"].options}


def test_an_immutable_field_cannot_be_updated() -> None:
    assert "cidr" not in {o.key for o in commands(nouns()["subnet"])["update"].options}
