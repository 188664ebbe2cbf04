"""An IPv6 scenario made of an IPv4 one, address by address.

10.0.1.5 becomes fd00:10:0:1::5: the first three numbers as they read, the last by value. Prefixes follow
(/8, /16, /24 become /32, /48, /64; longer than /24 the last bits are kept), so that what lies within a
prefix still does, and the longest prefix stays the longest.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Literal

Family = Literal["v4", "v6"]

_ADDRESS = re.compile(r"(?<![\w.:])(\d+)\.(\d+)\.(\d+)\.(\d+)(/\d+)?(:\d+|:\$[a-z]+)?(?![\w.])")
_WORDS = {("protocol", "icmp"): "icmpv6", ("family", "ipv4"): "ipv6", ("icmp_type", 8): 128}


def in_family(value: Any, family: Family) -> Any:
    """A part of a scenario, in this family. IPv4 is how scenarios are written."""
    return _v6(value) if family == "v6" else _copy(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _v6(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {inner: _v6(content, inner) for inner, content in value.items()}
    if isinstance(value, list):
        return [_v6(inner, key) for inner in value]
    if key == "prefix":
        return prefix_length(value)
    if isinstance(value, str | int) and (key, value) in _WORDS:
        return _WORDS[key, value]
    return _ADDRESS.sub(_replace, value) if isinstance(value, str) else value


def _replace(found: re.Match[str]) -> str:
    a, b, c, d, length, port = found.groups()
    text = str(ip_address(_address(int(a), int(b), int(c), int(d))))
    if length:
        return f"{text}/{prefix_length(int(length[1:]))}"
    return f"[{text}]{port}" if port else text


def _address(a: int, b: int, c: int, d: int) -> str:
    if (a, b, c, d) == (0, 0, 0, 0):
        return "::"
    if (a, b, c) == (127, 0, 0):
        return f"::{d:x}"
    if a == 224:
        return f"ff02::{d:x}"
    return f"fd00:{a}:{b}:{c}::{d:x}"


def prefix_length(v4: int) -> int:
    octets = {0: 0, 8: 32, 16: 48, 24: 64}
    if v4 in octets:
        return octets[v4]
    if v4 > 24:
        return v4 + 96
    raise ValueError(f"/{v4} has no IPv6 counterpart here: use /0, /8, /16 or /24 and longer")
