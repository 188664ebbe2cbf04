"""Reads a command line against a command's specification.

Options may stand anywhere after the noun, as `--name value`, `--name=value`, `-n value` or `-nvalue`; `--`
ends them. Every refusal says what was wrong and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from onehop.cli.spec import Argument, Call, Command, Option, Usage


def closest(word: str, known: Iterable[str]) -> str:
    """` Did you mean ...?`, if anything known is like the word."""
    from difflib import get_close_matches

    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def parse(command: Command, words: Sequence[str], given: dict[str, Any] | None = None) -> Call:
    """Understand the words after a command's own. `given` are options that stood before it."""
    if command.raw:
        return Call(command, {}, dict(given or {}), tuple(words))
    reader = Reader(command.options, list(words))
    reader.options.update(given or {})
    positional = reader.read()
    if not reader.options.get("help"):
        arguments = _placed(command, positional)
        _require(command, reader.options)
        return Call(command, arguments, reader.options)
    return Call(command, {}, reader.options)


class Reader:
    """Walks over the words once, collecting options."""

    def __init__(self, options: Iterable[Option], words: list[str]) -> None:
        self.options: dict[str, Any] = {}
        self._words = words
        self._at = 0
        self._long: dict[str, tuple[Option, bool]] = {}
        self._short: dict[str, Option] = {}
        for option in options:
            for name in filter(None, (option.name, option.alias)):
                self._long[name] = (option, True)
                if option.negatable:
                    self._long[f"no-{name}"] = (option, False)
            if option.short:
                self._short[option.short] = option

    def read(self) -> list[str]:
        """Everything that is no option, in order."""
        positional: list[str] = []
        while self._at < len(self._words):
            word = self._next()
            if word == "--":
                return [*positional, *self._words[self._at :]]
            if not self.take(word):
                positional.append(word)
        return positional

    def leading(self) -> list[str]:
        """Take the options before the first other word; what begins with it is the result."""
        while self._at < len(self._words):
            if not self.take(self._words[self._at], step=True):
                break
        return self._words[self._at :]

    def take(self, word: str, *, step: bool = False) -> bool:
        if word == "-" or not word.startswith("-") or _is_negative(word):
            return False
        if step:
            self._at += 1
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            self._take_long(name, value if equals else None)
        else:
            self._take_short(word[1], word[2:])
        return True

    def _take_long(self, name: str, value: str | None) -> None:
        if name not in self._long:
            raise Usage(f"there is no option --{name}.{closest(name, self._long)}")
        option, positive = self._long[name]
        if option.value is None or not positive:
            if value not in (None, "true", "false"):
                raise Usage(f"--{name} is a switch and takes no value")
            self._put(option, positive if value != "false" else not positive)
        elif option.maybe is not None:
            self._put(option, option.maybe if value is None else value)
        else:
            self._put(option, self._value(f"--{name}", option) if value is None else value)

    def _take_short(self, letter: str, rest: str) -> None:
        option = self._short.get(letter)
        if option is None:
            raise Usage(f"there is no option -{letter}")
        if option.value is None:
            self._put(option, True)
            if rest:
                self._take_short(rest[0], rest[1:])
        else:
            self._put(option, rest.removeprefix("=") if rest else self._value(f"-{letter}", option))

    def _value(self, name: str, option: Option) -> str:
        if self._at >= len(self._words):
            raise Usage(f"{name} needs a value: {name} {option.value}")
        return self._next()

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def _put(self, option: Option, value: Any) -> None:
        if option.choices and value not in option.choices:
            hint = closest(str(value), option.choices)
            raise Usage(f"--{option.name} is one of {', '.join(option.choices)}, not {value!r}.{hint}")
        if option.many:
            self.options.setdefault(option.key, []).append(value)
        elif option.key in self.options and self.options[option.key] != value:
            raise Usage(f"--{option.name} is given twice, with different values")
        else:
            self.options[option.key] = value


def _is_negative(word: str) -> bool:
    return word[1:].isdigit()


def _placed(command: Command, words: list[str]) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    rest = list(words)
    for argument in command.arguments:
        if argument.many:
            placed[argument.name], rest = rest, []
        else:
            placed[argument.name] = rest.pop(0) if rest else None
        if argument.required and not placed[argument.name]:
            raise Usage(f"`onehop {command.name}` needs {usage_of(argument)}: {argument.doc}")
        _check_choice(argument, placed[argument.name])
    if rest:
        raise Usage(f"`onehop {command.name}` does not take {rest[0]!r}; see `onehop {command.name} --help`")
    return placed


def _check_choice(argument: Argument, value: Any) -> None:
    if argument.choices and value is not None and value not in argument.choices:
        hint = closest(value, argument.choices)
        raise Usage(f"{argument.name} is one of {', '.join(argument.choices)}, not {value!r}.{hint}")


def _require(command: Command, options: dict[str, Any]) -> None:
    missing = [o for o in command.options if o.required and o.key not in options]
    if missing:
        told = ", ".join(f"--{o.name} {o.value}" for o in missing)
        raise Usage(f"`onehop {command.name}` needs {told}")


def usage_of(argument: Argument) -> str:
    name = argument.name.upper() + ("..." if argument.many else "")
    return name if argument.required else f"[{name}]"
