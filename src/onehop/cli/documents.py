"""Reads a document from a file: YAML or JSON, within bounds, every refusal with its line.

The YAML is read as people mean it rather than as YAML 1.1 has it: `no` is a name, `10:20:30:40:50:60` a MAC
address, a time a text. Only `true`, `false`, `null` and whole numbers are more than text. Duplicate keys are
refused, since the last one winning is never what was meant. Aliases may stand for something written above;
what they stand for counts as often as it is used, so that a small file cannot become a large document.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from onehop.cli.spec import Failure

MAX_BYTES = 64 << 20
MAX_VALUES = 5_000_000
MAX_DEPTH = 32
MAX_NUMBER = 1 << 53  # what every reader of JSON holds exactly

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})|0x[0-9a-fA-F]{1,13}")
_CONSTANTS = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class File(NamedTuple):
    """A document as it was read, and where each of its values stands."""

    name: str
    content: dict[str, Any]
    lines: dict[str, int]

    def place(self, field: str) -> str:
        """`shop.yaml:12` for a field of the document, or for the closest that is there."""
        path = field
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.name}:{self.lines[path]}" if path else self.name


def load(path: str) -> File:
    """The document in a file, or on standard input for `-`."""
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise Failure(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    return read(raw, name)


def read(raw: bytes, name: str) -> File:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Failure(f"{name}:{line}: not UTF-8") from None
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Failure(f"{name}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Failure(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(builder.root, dict):
        raise Failure(f"{name}: a document maps sections such as `networks` to objects by name")
    return File(name, builder.root, builder.lines)


class _Frame(NamedTuple):
    """A mapping or sequence that is being read."""

    value: Any
    path: str
    anchor: str | None
    before: int  # how many values there were before it


class _Builder:
    """Makes values of YAML's events, without recursion."""

    def __init__(self, name: str) -> None:
        self.root: Any = None
        self.lines: dict[str, int] = {}
        self._name = name
        self._stack: list[_Frame] = []
        self._key: list[str | None] = []  # per frame: the key whose value comes next
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refused(line, "a second document; a file holds one")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            frame = self._stack.pop()
            self._key.pop()
            if frame.anchor is not None:
                self._anchors[frame.anchor] = (frame.value, self._values - frame.before)

    def _open(self, event: Any, line: int) -> None:
        self._no_tag(event, line)
        if self._expects_key():
            raise self._refused(line, "a key is a text, not a mapping or a list")
        if len(self._stack) >= MAX_DEPTH:
            raise self._refused(line, f"nested more than {MAX_DEPTH} deep")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        before = self._values
        path = self._put(value, line)
        self._stack.append(_Frame(value, path, event.anchor, before))
        self._key.append(None)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._no_tag(event, line)
        if self._expects_key():
            self._begin(event.value, line)
            return
        value = event.value if event.style else self._plain(event.value, line)
        self._put(value, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)

    def _plain(self, text: str, line: int) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if not _NUMBER.fullmatch(text):
            return text
        number = int(text, 0)
        if abs(number) > MAX_NUMBER:
            raise self._refused(line, f"the number {text} is too large")
        return number

    def _alias(self, anchor: str, line: int) -> None:
        if self._expects_key():
            raise self._refused(line, "an alias cannot be a key")
        if anchor not in self._anchors:
            raise self._refused(line, f"*{anchor} stands for nothing that is complete above")
        value, size = self._anchors[anchor]
        self._count(size - 1, line)
        self._put(value, line)

    def _begin(self, key: str, line: int) -> None:
        frame = self._stack[-1]
        if key == "<<":
            raise self._refused(line, "merging with << is not supported; write the fields out")
        if key in frame.value:
            first = self.lines[_inner(frame.path, key)]
            raise self._refused(line, f"{key!r} is here twice, first at line {first}")
        frame.value[key] = None
        self.lines[_inner(frame.path, key)] = line
        self._key[-1] = key

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._key[-1] is None

    def _put(self, value: Any, line: int) -> str:
        """Put a value where it belongs, and say where that is."""
        self._count(1, line)
        if not self._stack:
            self.root = value
            return ""
        frame, key = self._stack[-1], self._key[-1]
        if isinstance(frame.value, list):
            path = f"{frame.path}[{len(frame.value)}]"
            frame.value.append(value)
            self.lines[path] = line
            return path
        assert key is not None
        frame.value[key] = value
        self._key[-1] = None
        return _inner(frame.path, key)

    def _count(self, more: int, line: int) -> None:
        self._values += more
        if self._values > MAX_VALUES:
            raise self._refused(
                line, f"more than {MAX_VALUES} values, aliases counted as what they stand for"
            )

    def _no_tag(self, event: Any, line: int) -> None:
        if event.tag not in (None, "!"):
            raise self._refused(line, f"the tag {event.tag} is not supported")

    def _refused(self, line: int, why: str) -> Failure:
        return Failure(f"{self._name}:{line}: {why}")


def _inner(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
