"""Writes the reference documentation: every command, every kind with its fields, every reason of drops.

    python -m onehop.cli.reference           (or `make docs`)

The pages are committed; a test fails when they are not what the declarations say.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onehop.cli.commands import GROUPS
from onehop.cli.help import shown, usage
from onehop.cli.nouns import Noun, commands, metavar, nouns
from onehop.cli.parser import usage_of
from onehop.cli.spec import COMMON, Command, Option
from onehop.model.vocabulary import Drop

DIRECTORY = Path(__file__).parents[3] / "docs" / "reference"
NOTE = "<!-- Made by `make docs` from the declarations in the code; do not edit. -->"


def pages() -> dict[str, str]:
    """Every page: file name to text."""
    made = {"cli.md": _cli(), "drops.md": _drops(), "kinds.md": _kinds()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


# --- commands -----------------------------------------------------------------------------------------


def _cli() -> Iterator[str]:
    yield from ("# The command line", "", NOTE, "")
    yield from (
        "`onehop NOUN VERB` works on single objects, `onehop apply` and its kin on whole topologies. Exit",
        "status: 0 done, 1 failed (`diff`: something differs), 2 the command line is wrong.",
        "",
        "Objects are named by id, by name, or by `PARENT/NAME`; `PROJECT:` in front names another project's.",
        "A structure is written `key=value,key=value` (`inner.key=value` for what lies deeper, a repeated",
        "key for a list in it), or as JSON.",
        "",
        "These options are understood by (nearly) every command:",
        "",
        *_options(COMMON),
        "",
        "The environment: `ONEHOP_CONFIG` (the file of contexts), `ONEHOP_CONTEXT`, `ONEHOP_URL`,",
        "`ONEHOP_CA`, `ONEHOP_TOKEN`, `ONEHOP_TOKEN_FILE`, `ONEHOP_PROJECT`.",
    )
    for title, group in GROUPS:
        yield from ("", f"## {title}")
        for command in group:
            yield from _command(command)
    yield from ("", "## Nouns")
    for noun in nouns().values():
        yield from ("", f"### onehop {noun.name}", "", noun.doc)
        for command in commands(noun).values():
            yield from _command(command, depth=4)


def _command(command: Command, depth: int = 3) -> Iterator[str]:
    yield from ("", f"{'#' * depth} onehop {command.name}", "", command.doc, "")
    yield from ("```", usage(command), "```")
    own = [option for option in command.options if option not in COMMON]
    arguments = [f"* `{usage_of(a)}`: {a.doc}" for a in command.arguments]
    if arguments or own:
        yield from ("", *arguments, *_options(own))
    if command.examples:
        yield from ("", "```sh")
        for what, written in command.examples:
            yield from (f"# {what}", written)
        yield "```"


def _options(options: Any) -> Iterator[str]:
    option: Option
    for option in options:
        yield f"* `{shown(option)}`: {option.doc}"


# --- drops --------------------------------------------------------------------------------------------


def _drops() -> Iterator[str]:
    yield from ("# Why packets are dropped", "", NOTE, "")
    yield from (
        "Every drop has exactly one of these reasons. Traces print its name, the datapath's counters hold",
        "its number. Neither ever changes its meaning.",
        "",
        "| number | name | a packet is dropped because |",
        "|---:|---|---|",
    )
    meanings = _meanings()
    yield from (
        f"| {drop.value} | `{drop.name.lower().replace('_', '-')}` | {meanings[drop.name]} |" for drop in Drop
    )


def _meanings() -> dict[str, str]:
    """The comment behind each reason; its name in words, if it says enough by itself."""
    lines = inspect.getsource(Drop).splitlines()
    found = [re.fullmatch(r" +([A-Z_]+) = \d+(?:  # (.*))?", line) for line in lines]
    return {m[1]: m[2] or m[1].lower().replace("_", " ") for m in found if m}


# --- kinds --------------------------------------------------------------------------------------------


def _kinds() -> Iterator[str]:
    yield from ("# The kinds of objects", "", NOTE, "")
    yield from (
        "Each kind is a noun of the command line (`onehop security-group ...`), a path of the API",
        "(`/v1/security-groups`) and a section of a document (`security_groups:`). A field is, besides its",
        "type: *required*; *assigned* (chosen by the controller, if left out); *fixed* (never changes once",
        "the object is made); *read-only* (set by the controller); *secret* (accepted, never shown).",
    )
    for noun in nouns().values():
        yield from ("", f"## {noun.name}", "", noun.doc, "")
        yield f"API: `/v1/{noun.plural}`. Document: {_place(noun)}."
        yield from ("", "| field | type | |", "|---|---|---|")
        yield from (_row(field, "") for field in noun.fields)
        for field in noun.fields:
            yield from _inner(field)


def _place(noun: Noun) -> str:
    inside = [
        f"`{name}:` in a {other.words}"
        for other in nouns().values()
        for name, kind in other.nested.items()
        if kind == noun.name
    ]
    return " or ".join([f"`{noun.section}:`", *inside])


def _row(field: dict[str, Any], prefix: str) -> str:
    doc = [field["doc"]] if field["doc"] else []
    marks = [
        mark
        for key, mark in (
            ("required", "*Required.*"),
            ("assigned", "*Assigned.*"),
            ("immutable", "*Fixed.*"),
            ("read_only", "*Read-only.*"),
            ("secret", "*Secret.*"),
        )
        if field.get(key)
    ]
    if "default" in field:
        marks.append(f"Default: `{str(field['default']).lower()}`.")
    return f"| `{prefix}{field['name']}` | {_type(field)} | {' '.join([*doc, *marks])} |"


def _type(shape: dict[str, Any]) -> str:
    kind = shape["type"]
    if kind == "list":
        return f"list of {_type(shape['of'])}"
    if kind == "struct":
        return "structure"
    if kind == "map":
        return "texts by key"
    if kind == "choice":
        return " \\| ".join(f"`{choice}`" for choice in shape["choices"])
    if kind == "number":
        return f"number{_range(shape)}"
    if kind == "flag":
        return "true or false"
    return f"[{shape['ref']}](#{shape['ref']})" if "ref" in shape else metavar(shape).lower()


def _range(shape: dict[str, Any]) -> str:
    return f" {shape['ge']} to {shape['le']}" if "ge" in shape and "le" in shape else ""


def _inner(field: dict[str, Any]) -> Iterator[str]:
    """The fields of a structure within a field, as a table of their own."""
    shape = field.get("of", field)
    if shape["type"] != "struct":
        return
    yield from ("", f"Each of `{field['name']}`:" if field["type"] == "list" else f"`{field['name']}`:")
    yield from ("", "| field | type | |", "|---|---|---|")
    yield from (_row(inner, "") for inner in shape["fields"])
    for inner in shape["fields"]:
        yield from _inner({**inner, "name": f"{field['name']}.{inner['name']}"})


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
