"""Help texts, made from the specification of commands."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from onehop.cli.commands import GROUPS
from onehop.cli.nouns import Noun, commands, nouns
from onehop.cli.parser import usage_of
from onehop.cli.spec import Command, Option

COLUMN = 28


def width() -> int:
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))


def overview() -> str:
    lines = ["onehop - networks for clouds: describe them, keep them, ask about them", ""]
    lines += [
        "Usage: onehop NOUN VERB ...   or   onehop COMMAND ...",
        "",
        "Nouns (create, list, show, update, delete):",
    ]
    lines += _pairs((noun.name, _first_sentence(noun.doc)) for noun in nouns().values())
    for title, group in GROUPS:
        lines += ["", f"{title}:", *_pairs((c.name, _first_sentence(c.doc)) for c in group)]
    lines += [
        "",
        "`onehop NOUN --help` and `onehop COMMAND --help` say more. `onehop --version` names this version.",
    ]
    return "\n".join(lines)


def of_noun(noun: Noun) -> str:
    lines = [f"onehop {noun.name} - {noun.doc}", "", f"Usage: onehop {noun.name} VERB ...", "", "Verbs:"]
    made = commands(noun).values()
    lines += _pairs((c.words[-1], _first_sentence(c.doc)) for c in made)
    lines += _examples([example for c in made for example in c.examples])
    return "\n".join(lines)


def of_command(command: Command) -> str:
    lines = [f"Usage: {usage(command)}", "", *_wrapped(command.doc, "")]
    if command.arguments:
        lines += ["", "Arguments:", *_pairs((usage_of(a), a.doc) for a in command.arguments)]
    if command.options:
        lines += ["", "Options:", *_pairs((shown(o), o.doc) for o in command.options)]
    return "\n".join([*lines, *_examples(list(command.examples))])


def usage(command: Command) -> str:
    parts = [f"onehop {command.name}", *(usage_of(a) for a in command.arguments)]
    parts += [f"--{o.name} {o.value}" for o in command.options if o.required]
    if any(not o.required for o in command.options):
        parts.append("[options]")
    return " ".join(parts)


def shown(option: Option) -> str:
    """An option as it is written."""
    name = f"--[no-]{option.name}" if option.negatable else f"--{option.name}"
    name = f"-{option.short}, {name}" if option.short else name
    if option.value is None:
        return name
    if option.maybe is not None:
        return f"{name}[={option.value}]"
    return f"{name} {'|'.join(option.choices) or option.value}"


def _examples(examples: list[tuple[str, str]]) -> list[str]:
    if not examples:
        return []
    lines = ["", "Examples:"]
    for what, written in examples:
        lines += [f"  # {what}", f"  {written}"]
    return lines


def _first_sentence(text: str) -> str:
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for left, right in pairs:
        texts = textwrap.wrap(right, width() - COLUMN) or [""]
        if len(left) > COLUMN - 4:
            yield f"  {left}"
        else:
            yield f"  {left:<{COLUMN - 2}}{texts.pop(0)}"
        yield from (" " * COLUMN + text for text in texts)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, width(), initial_indent=indent, subsequent_indent=indent)
