"""The text formats of the model and their canonical forms.

Objects hold text (`10.0.1.0/24`, `02:00:00:00:00:01`), as people write it and JSON carries it. Each format
has one canonical spelling, so that equal values are equal strings. `canonical` refuses anything else with
a sentence. The parsers below it turn canonical text into numbers for those who compute with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

Ip = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

# Long enough for any canonical value below; refused before any parser sees it.
MAX_TEXT = 128


class Format(StrEnum):
    """What a text field holds. The value is also its `format` in JSON schemas."""

    NAME = "name"
    ID = "uuid"
    IP = "ip"
    CIDR = "cidr"
    MAC = "mac"
    MAC_MASK = "mac-mask"
    PORTS = "ports"
    PROTOCOL = "protocol"
    INTERFACE = "interface"
    TIME = "date-time"
    LABEL_KEY = "label-key"


_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INTERFACE = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,15}", re.ASCII)
_LABEL_KEY = re.compile(r"[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?")

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "sctp": 132,
}
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def is_id(text: str) -> bool:
    """Whether a reference is an id rather than a name."""
    return _ID.fullmatch(text) is not None


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a name is 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'")
    if is_id(text):
        raise ValueError("a name may not look like an id")
    return text


def _id(text: str) -> str:
    if not _ID.fullmatch(text.lower()):
        raise ValueError("not an id (a UUID such as 0b7e4a52-6f0c-4c1e-9a0e-0a5f1c2d3e4f)")
    return text.lower()


def _ip(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from None
    _refuse_odd_v6(address)
    return str(address)


def _refuse_odd_v6(address: Ip) -> None:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address with a zone (%...) means something on one machine only")
        if address.ipv4_mapped is not None:
            raise ValueError("an IPv4 address written as IPv6; write it as IPv4")


def _cidr(text: str) -> str:
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a prefix such as 10.0.1.0/24 or fd00:1::/64") from None
    _refuse_odd_v6(prefix.network_address)
    if "/" in text and ip_interface(text).ip != prefix.network_address:
        raise ValueError(f"bits are set beyond the prefix length; did you mean {prefix}?")
    return str(prefix)


def _mac(text: str) -> str:
    lower = text.lower().replace("-", ":")
    if not _MAC.fullmatch(lower):
        raise ValueError(f"{text!r} is not a MAC address such as 02:00:00:00:00:01")
    return lower


def _mac_mask(text: str) -> str:
    mac, slash, mask = text.partition("/")
    return f"{_mac(mac)}/{_mac(mask)}" if slash else _mac(mac)


def _ports(text: str) -> str:
    low, dash, high = text.partition("-")
    parts = [low, high] if dash else [low]
    if not all(p.isascii() and p.isdigit() and len(p) <= 5 and int(p) <= 65535 for p in parts):
        raise ValueError(f"{text!r} is not a port (80) or a range of ports (8000-8099) within 0-65535")
    if dash and int(low) > int(high):
        raise ValueError(f"the range {text} runs backwards")
    return str(int(low)) if len({*map(int, parts)}) == 1 else f"{int(low)}-{int(high)}"


def _protocol(text: str) -> str:
    lower = text.lower()
    if lower in PROTOCOLS:
        return lower
    if lower.isascii() and lower.isdigit() and len(lower) <= 3 and int(lower) <= 255:
        return _PROTOCOL_NAMES.get(int(lower), str(int(lower)))
    raise ValueError(f"{text!r} is not a protocol: one of {', '.join(PROTOCOLS)}, or a number from 0 to 255")


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text) or text in (".", ".."):
        raise ValueError(f"{text!r} is not an interface name (1 to 15 characters, no blank, '/' or ':')")
    return text


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2030-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone, such as the Z in 2030-01-31T12:00:00Z")
    try:
        return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


def _label_key(text: str) -> str:
    if not _LABEL_KEY.fullmatch(text):
        raise ValueError(f"{text!r} is not a label key (1 to 63 of a-z, 0-9, '.', '_', '/' and '-')")
    return text


_CANONICAL: dict[Format, Callable[[str], str]] = {
    Format.NAME: _name,
    Format.ID: _id,
    Format.IP: _ip,
    Format.CIDR: _cidr,
    Format.MAC: _mac,
    Format.MAC_MASK: _mac_mask,
    Format.PORTS: _ports,
    Format.PROTOCOL: _protocol,
    Format.INTERFACE: _interface,
    Format.TIME: _time,
    Format.LABEL_KEY: _label_key,
}


def canonical(text: str, format: Format) -> str:
    """The one spelling of this value. Raises ValueError with a sentence that says what is wrong."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} characters")
    return _CANONICAL[format](text)


# --- canonical text to numbers ------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def parse_ip(text: str) -> Ip:
    return ip_address(text)


@lru_cache(maxsize=65536)
def parse_cidr(text: str) -> Prefix:
    return ip_network(text)


def parse_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def parse_mac_mask(text: str) -> tuple[bytes, bytes]:
    """The MAC to compare with, and the bits that count."""
    mac, _, mask = text.partition("/")
    return parse_mac(mac), parse_mac(mask) if mask else b"\xff" * 6


def parse_ports(text: str) -> tuple[int, int]:
    """First and last port, both included."""
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def parse_protocol(text: str) -> int:
    return PROTOCOLS[text] if text in PROTOCOLS else int(text)


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)
