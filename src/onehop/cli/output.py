"""Prints results: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def dump(value: Any, format: str) -> None:
    """A value as JSON or YAML."""
    if format == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    sys.stdout.write(as_yaml(value))


def as_yaml(value: Any) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what they hold; the last is not padded."""
    body = [[printable(cell) for cell in row] for row in rows]
    heads = [column.upper().replace("_", " ") for column in columns]
    widths = [max(len(row[i]) for row in [heads, *body]) for i in range(len(columns))]
    for row in [heads, *body]:
        print("  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip())


def record(fields: Mapping[str, str]) -> None:
    """One object, a field per line."""
    size = max((len(name) for name in fields), default=0)
    for name, told in fields.items():
        first, *rest = told.split("\n")
        print(f"{name.replace('_', ' '):<{size}}  {printable(first)}".rstrip())
        for line in rest:
            print(" " * (size + 2) + printable(line))


def printable(text: str) -> str:
    """Without what would move the cursor or change the terminal: texts come from other people."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def told(value: Any) -> str:
    """A JSON value, as short as it can be read."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_inner, value))
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={_inner(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "+".join(map(_inner, value))
    return told(value) if isinstance(value, bool) else str(value)
