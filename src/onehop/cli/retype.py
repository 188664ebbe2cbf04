"""Numbers to text where the model has text.

In YAML `ports: 80` is a number, but it is plain what is meant. Only whole numbers and truth values become
text, only in fields that hold text; whatever else does not fit is left for the controller to refuse.
"""

from __future__ import annotations

from typing import Any

from onehop.cli.nouns import Noun, nouns

Shape = dict[str, Any]


def document(content: dict[str, Any]) -> dict[str, Any]:
    by_section = {noun.section: noun for noun in nouns().values()}
    return {
        name: _section(by_section[name], value) if name in by_section else _header(value)
        for name, value in content.items()
    }


def _header(value: Any) -> Any:
    return _text(value)


def _section(noun: Noun, section: Any) -> Any:
    if not isinstance(section, dict):
        return section
    return {name: _object(noun, body) for name, body in section.items()}


def _object(noun: Noun, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    shapes = {f["name"]: f for f in noun.fields}
    result = {}
    for name, value in body.items():
        if name in noun.nested:
            result[name] = _section(nouns()[noun.nested[name]], value)
        else:
            result[name] = _value(shapes[name], value) if name in shapes else value
    return result


def _value(shape: Shape, value: Any) -> Any:
    kind = shape["type"]
    if kind == "text":
        return _text(value)
    if kind == "list" and isinstance(value, list):
        return [_value(shape["of"], element) for element in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _text(text) for key, text in value.items()}
    if kind == "struct" and isinstance(value, dict):
        inner = {f["name"]: f for f in shape["fields"]}
        return {key: _value(inner[key], v) if key in inner else v for key, v in value.items()}
    return value


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value
