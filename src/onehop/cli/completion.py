"""Completion in shells. The shell asks `onehop __complete WORDS...`; the answer is one candidate per line."""

from __future__ import annotations

from onehop.cli.spec import Call, Command, Option

SCRIPTS = {
    "bash": """\
_onehop() {
    local IFS=$'\\n'
    COMPREPLY=($(onehop __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${COMPREPLY-} == *= ]] && compopt -o nospace
}
complete -o default -F _onehop onehop
""",
    "zsh": """\
#compdef onehop
_onehop() {
    local -a found
    found=("${(@f)$(onehop __complete "${(@)words[2,$CURRENT]}" 2>/dev/null)}")
    compadd -a found
}
compdef _onehop onehop
""",
    "fish": """\
complete -c onehop -f -a '(onehop __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def script(call: Call) -> int:
    print(SCRIPTS[call.argument("shell")], end="")
    return 0


def complete(words: list[str]) -> list[str]:
    """What the last word may become."""
    *before, last = words or [""]
    return sorted({c for c in _candidates(before, last) if c.startswith(last)})


def _candidates(before: list[str], last: str) -> list[str]:
    from onehop.cli.commands import TOP
    from onehop.cli.nouns import commands, nouns

    plain = [word for word in before if not word.startswith("-")]
    if not plain:
        return [*nouns(), *TOP]
    noun = nouns().get(plain[0])
    if noun is None:
        command = TOP.get(plain[0])
    elif len(plain) == 1:
        return [*commands(noun)]
    else:
        command = commands(noun).get(plain[1])
    return _of_command(command, before, last) if command is not None else []


def _of_command(command: Command, before: list[str], last: str) -> list[str]:
    waiting = _option(command, before[-1]) if before else None
    if waiting is not None and waiting.value is not None and waiting.maybe is None:
        return [*waiting.choices] or _named(waiting.ref)
    if last.startswith("-"):
        return [f"--{option.name}" for option in command.options]
    place = sum(not word.startswith("-") for word in before) - len(command.words)
    arguments = command.arguments[place : place + 1] or command.arguments[-1:]
    return [name for a in arguments for name in (*a.choices, *_named(a.ref))]


def _option(command: Command, word: str) -> Option | None:
    if not word.startswith("-"):
        return None
    name = word.lstrip("-")
    return next((o for o in command.options if name in (o.name, o.alias, o.short)), None)


def _named(kind: str | None) -> list[str]:
    """The names of a kind's objects, if a controller tells them soon."""
    if kind is None:
        return []
    import os

    from onehop.cli.nouns import nouns
    from onehop.client.api import Client
    from onehop.client.contexts import default_path, load, select
    from onehop.client.errors import ClientError

    try:
        with Client.of(select(load(default_path()), os.environ), timeout=2.0) as client:
            return [item["name"] for item in client.page(nouns()[kind].plural)["items"]]
    except (ClientError, KeyError):
        return []
