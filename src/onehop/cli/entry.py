"""From the words of the command line to the exit status: 0 done, 1 failed, 2 not understood."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from onehop.cli.parser import Reader, closest, parse
from onehop.cli.spec import COMMON, Call, Command, Failure, Usage

VERSION = "version"


def run(words: list[str]) -> int:
    """Run one command and say how it went."""
    try:
        return _run(words)
    except Usage as error:
        print(f"onehop: {error}", file=sys.stderr)
        return 2
    except Failure as error:
        print(f"onehop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        _quiet_stdout()
        return 1


def _run(words: list[str]) -> int:
    if words and words[0] == "__complete":
        from onehop.cli.completion import complete

        print("\n".join(complete(words[1:])))
        return 0
    if words and words[0] in ("--version", "version"):
        from onehop import __version__

        print(f"onehop {__version__}")
        return 0
    reader = Reader(COMMON, words)
    rest = reader.leading()
    if not rest or rest[0] == "help":
        return _help(rest[1:] if rest else [], asked=bool(rest) or "help" in reader.options)
    command, remaining = find(rest)
    call = parse(command, remaining, reader.options)
    if call.options.get("help") and not command.raw:
        from onehop.cli.help import of_command

        print(of_command(command))
        return 0
    return _invoke(call)


def find(words: list[str]) -> tuple[Command, list[str]]:
    """The command that words begin with, and the words after it."""
    from onehop.cli.commands import TOP

    word, rest = words[0], words[1:]
    if word in TOP:
        return TOP[word], rest
    from onehop.cli.nouns import commands, nouns

    known = nouns()
    noun = known.get(word) or next((n for n in known.values() if n.plural == word), None)
    if noun is None:
        hint = closest(word, [*known, *TOP])
        raise Usage(f"there is no command {word!r}.{hint} `onehop --help` lists them all")
    verbs = commands(noun)
    if not rest or rest[0] in ("--help", "-h"):
        return _noun_help(noun.name, asked=bool(rest)), []
    if rest[0] not in verbs:
        hint = closest(rest[0], verbs)
        raise Usage(f"`onehop {word}` takes {', '.join(verbs)}, not {rest[0]!r}.{hint}")
    return verbs[rest[0]], rest[1:]


def _noun_help(noun: str, *, asked: bool) -> Command:
    if not asked:
        raise Usage(f"`onehop {noun}` needs a verb: see `onehop {noun} --help`")
    return Command((noun,), "", "entry:show_noun", noun=noun)


def show_noun(call: Call) -> int:
    from onehop.cli.help import of_noun
    from onehop.cli.nouns import nouns

    print(of_noun(nouns()[call.command.noun or ""]))
    return 0


def _help(words: list[str], *, asked: bool) -> int:
    from onehop.cli import help as texts

    if words:
        return _run([*words, "--help"])
    print(texts.overview(), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


def _invoke(call: Call) -> int:
    module, _, name = call.command.run.partition(":")
    function: Callable[[Call], Any] = getattr(importlib.import_module(f"onehop.cli.{module}"), name)
    if call.command.raw or not needs_client(module):
        return int(function(call) or 0)
    from onehop.client.errors import ClientError

    try:
        return int(function(call) or 0)
    except ClientError as error:
        from onehop.cli.session import explained

        raise Failure(explained(error)) from None


def needs_client(module: str) -> bool:
    return module not in ("entry", "completion", "programs")


def _quiet_stdout() -> None:
    """Whoever read our output has gone; the interpreter must not complain at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
