"""What a command is made of. Parser, help, completion and the reference documentation all read this."""

from __future__ import annotations

from typing import Any, NamedTuple


class Usage(Exception):
    """The command line cannot be understood: exit status 2."""


class Failure(Exception):
    """The command cannot do what it was asked, told in a sentence: exit status 1."""


class Option(NamedTuple):
    """`--name VALUE`, or a switch when `value` is None. `dest` is its name in the result."""

    name: str
    doc: str
    value: str | None = "VALUE"
    dest: str = ""
    short: str | None = None
    alias: str | None = None
    many: bool = False
    maybe: str | None = (
        None  # the value when it is given as `--name` alone; then only `--name=VALUE` gives one
    )
    negatable: bool = False  # a switch with a `--no-` form
    required: bool = False
    choices: tuple[str, ...] = ()
    ref: str | None = None  # the noun that its value names, for completion

    @property
    def key(self) -> str:
        return self.dest or self.name.replace("-", "_")


class Argument(NamedTuple):
    """A word of the command line told by its place."""

    name: str
    doc: str
    required: bool = True
    many: bool = False
    ref: str | None = None
    choices: tuple[str, ...] = ()


class Command(NamedTuple):
    """What `onehop WORD...` does. `run` is the function, as `module:function` within the CLI."""

    words: tuple[str, ...]
    doc: str
    run: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()  # what it does, and how it is written
    noun: str | None = None
    raw: bool = False  # all further words are given to the function as they are

    @property
    def name(self) -> str:
        return " ".join(self.words)


class Call(NamedTuple):
    """A command line, understood."""

    command: Command
    arguments: dict[str, Any]
    options: dict[str, Any]
    rest: tuple[str, ...] = ()

    def option(self, key: str) -> Any:
        return self.options.get(key)

    def argument(self, name: str) -> Any:
        return self.arguments.get(name)


CONTEXT = Option("context", "Talk to the controller of this context.", "NAME")
PROJECT = Option(
    "project", "The project; the token's only one, if left out.", "PROJECT", short="p", ref="project"
)
OUTPUT = Option(
    "output",
    "How to print: a table, JSON or YAML.",
    "FORMAT",
    short="o",
    choices=("table", "wide", "json", "yaml"),
)
HELP = Option("help", "Show this help.", None, short="h")
WAIT = Option(
    "wait",
    "Wait until every host that it concerns has applied the change; at most this long.",
    "SECONDS",
    maybe="30",
)
COMMON = (PROJECT, OUTPUT, CONTEXT, HELP)
