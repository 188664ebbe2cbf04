"""C structs, declared once in Python.

A struct shared with the eBPF programs is a frozen class whose annotations are C types:

    class Neighbour(Layout, frozen=True):
        "Who answers for an address."

        network: Annotated[U32, "the network's key"]
        address: IP6
        mac: MAC
        _1: ClassVar = pad(2)

From it come the C text (`headers`) and a codec to and from bytes (`codec`), which cannot disagree.

Invariants:

* No implicit holes: every field sits at its natural alignment, and the size is a multiple of the
  largest one. Padding is written out (`pad`) and always encodes as zeros, so that keys compare by bytes.
* Nothing is cut or wrapped: a value that does not fit its field is refused, with the field's name.
* Big-endian fields hold plain numbers in Python; only the bytes are swapped.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import struct
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec

__all__ = [
    "BE16", "BE32", "IP6", "MAC", "U8", "U16", "U32", "U64",
    "CType", "Codec", "Field", "Layout", "LayoutError",
    "array", "c_type", "codec", "enumerated", "fields", "ip6", "octets", "pad", "per_cpu", "raw", "scalar",
    "show_ip6",
]  # fmt: skip

T = TypeVar("T")
E = TypeVar("E", bound=int)
Buffer = bytes | bytearray | memoryview


class LayoutError(ValueError):
    """A declaration that C would lay out otherwise, or a value that does not fit."""


@dataclass(frozen=True, slots=True)
class CType:
    """A type as C and `struct` see it. `encode` and `decode` come between a Python value and `code`."""

    declare: str  # the C declaration, with {} for the name
    size: int
    align: int
    code: str  # for struct.Struct; no value goes with a code ending in x
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: CType
    offset: int
    note: str = ""

    @property
    def is_padding(self) -> bool:
        return self.type.code.endswith("x")


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How values become bytes of one fixed size, and back."""

    size: int
    encode: Callable[[T], bytes]
    decode: Callable[[Buffer], T]

    def encode_all(self, values: Iterable[T]) -> bytes:
        return b"".join(map(self.encode, values))

    def decode_all(self, data: Buffer) -> list[T]:
        size, decode, view = self.size, self.decode, bytes(data)
        return [decode(view[at : at + size]) for at in range(0, len(view), size)]


class Layout(msgspec.Struct, frozen=True):
    """A C struct. See the module for how one is written."""

    def encode(self) -> bytes:
        return codec(type(self)).encode(self)

    @classmethod
    def decode(cls: type[L], data: Buffer) -> L:
        return codec(cls).decode(data)


L = TypeVar("L", bound=Layout)


# --- the types a field can have ---------------------------------------------------------------------


def _number(c: str, code: str) -> CType:
    size = struct.calcsize("=" + code)
    return CType(f"{c} {{}}", size, size, code)


def _big_endian(c: str, code: str) -> CType:
    """Packed in the host's order like its neighbours, so swapped before; range-checked by `to_bytes`."""
    size = struct.calcsize("=" + code)

    def swap(value: int) -> int:
        return int.from_bytes(value.to_bytes(size, "big"), sys.byteorder)

    return CType(f"{c} {{}}", size, size, code, swap, swap)


def octets(size: int, declare: str = "", align: int = 1) -> CType:
    """Bytes of exactly this number (`struct` by itself would cut or fill)."""

    def exact(value: bytes) -> bytes:
        if len(value) != size:
            raise LayoutError(f"{len(value)} bytes given, {size} wanted")
        return value

    return CType(declare or f"__u8 {{}}[{size}]", size, align, f"{size}s", exact)


U8 = Annotated[int, _number("__u8", "B")]
U16 = Annotated[int, _number("__u16", "H")]
U32 = Annotated[int, _number("__u32", "I")]
U64 = Annotated[int, _number("__u64", "Q")]
BE16 = Annotated[int, _big_endian("__be16", "H")]
BE32 = Annotated[int, _big_endian("__be32", "I")]
MAC = Annotated[bytes, octets(6)]
# An IPv6 address in network order; an IPv4 one is held v4-mapped. `ip6` and `show_ip6` convert.
IP6 = Annotated[bytes, octets(16, "struct in6_addr {}", align=4)]


def pad(size: int) -> CType:
    """Padding of this many bytes; assign it to a ClassVar: `_1: ClassVar = pad(2)`."""
    return CType(f"__u8 {{}}[{size}]", size, 1, f"{size}x")


def array(element: Any, count: int) -> CType:
    """A tuple of exactly `count` elements: `Annotated[tuple[int, ...], array(U32, 4)]`."""
    inner = _ctype(element)
    one = _codec_of_type(inner)

    def encode(values: tuple[Any, ...]) -> bytes:
        if len(values) != count:
            raise LayoutError(f"{len(values)} elements given, {count} wanted")
        return one.encode_all(values)

    def decode(data: bytes) -> tuple[Any, ...]:
        return tuple(one.decode_all(data))

    size = inner.size * count
    declare = inner.declare.replace("{}", f"{{}}[{count}]", 1)
    return CType(declare, size, inner.align, f"{size}s", encode, decode)


def enumerated(kind: type[E], carrier: Any) -> CType:
    """An enumeration carried by a number: `Annotated[Verdict, enumerated(Verdict, U8)]`."""
    base = _ctype(carrier)
    return CType(base.declare, base.size, base.align, base.code, int, kind)


def ip6(address: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """The 16 bytes of an address, v4-mapped for IPv4."""
    parsed = ipaddress.ip_address(address)
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def show_ip6(packed: bytes) -> str:
    """The usual text of what `ip6` gives."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


# --- from a declaration to fields ---------------------------------------------------------------------


def _ctype(annotation: Any) -> CType:
    """The C type that an annotation stands for."""
    if isinstance(annotation, CType):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, Layout):
        placed, nested = fields(annotation), codec(annotation)
        align = max(field.type.align for field in placed)
        declare = f"struct {c_name(annotation)} {{}}"
        return CType(declare, nested.size, align, f"{nested.size}s", nested.encode, nested.decode)
    found = [part for part in getattr(annotation, "__metadata__", ()) if isinstance(part, CType)]
    bare = getattr(annotation, "__origin__", None)
    if not found and isinstance(bare, type) and issubclass(bare, Layout):
        return _ctype(bare)
    if not found:
        raise LayoutError(
            f"{annotation!r} is not a C type: use U8...U64, BE16, BE32, MAC, IP6, octets, array"
        )
    return found[-1]


def c_name(declared: type) -> str:
    """FlowKey becomes flow_key."""
    name = declared.__name__
    starts = (i for i in range(1, len(name)) if name[i].isupper() and not name[i - 1].isupper())
    cuts = [0, *starts, len(name)]
    return "_".join(name[a:b] for a, b in itertools.pairwise(cuts)).lower()


def c_type(annotation: Any) -> str:
    """The C name of a type that is not an array."""
    return _ctype(annotation).declare.format("").strip()


@functools.cache
def fields(declared: type[Layout]) -> tuple[Field, ...]:
    """The fields in order with their offsets, padding included; refuses what C would lay out otherwise."""
    placed: list[Field] = []
    offset, widest = 0, 1
    for name, annotation in typing.get_type_hints(declared, include_extras=True).items():
        if annotation is ClassVar and not isinstance(getattr(declared, name, None), CType):
            continue
        ctype = getattr(declared, name) if annotation is ClassVar else _ctype(annotation)
        _require_aligned(declared, f"before {name}", offset, ctype.align)
        notes = [part for part in getattr(annotation, "__metadata__", ()) if isinstance(part, str)]
        placed.append(Field(name, ctype, offset, " ".join(notes)))
        offset, widest = offset + ctype.size, max(widest, ctype.align)
    if not placed:
        raise LayoutError(f"{declared.__name__} has no fields")
    _require_aligned(declared, "at the end", offset, widest)
    return tuple(placed)


def _require_aligned(declared: type[Layout], where: str, offset: int, align: int) -> None:
    hole = -offset % align
    if hole:
        raise LayoutError(
            f"{declared.__name__}: C would put a hole of {hole} bytes {where} (offset {offset}); "
            f"write it out as `_1: ClassVar = pad({hole})`, or reorder the fields"
        )


# --- codecs ---------------------------------------------------------------------------------------------


def codec(declared: type[L]) -> Codec[L]:
    """The codec of a declared struct."""
    known: Codec[L] | None = _codecs.get(declared)
    if known is None:
        known = _codecs[declared] = _compiled(declared)
    return known


_codecs: dict[type[Layout], Codec[Any]] = {}


def _compiled(declared: type[L]) -> Codec[L]:
    valued = [field for field in fields(declared) if not field.is_padding]
    packer = struct.Struct("=" + "".join(field.type.code for field in fields(declared)))
    encoders = [(i, f.type.encode) for i, f in enumerate(valued) if f.type.encode is not None]
    decoders = [(i, f.type.decode) for i, f in enumerate(valued) if f.type.decode is not None]
    pack, unpack, astuple = packer.pack, packer.unpack, msgspec.structs.astuple

    def encode(value: L) -> bytes:
        try:
            values = list(astuple(value))
            for i, convert in encoders:
                values[i] = convert(values[i])
            return pack(*values)
        except (struct.error, OverflowError, ValueError, TypeError) as error:
            raise _misfit(declared, valued, value) from error

    def decode(data: Buffer) -> L:
        if not decoders:
            return declared(*unpack(data))
        values = list(unpack(data))
        for i, convert in decoders:
            values[i] = convert(values[i])
        return declared(*values)

    return Codec(packer.size, encode, decode)


def _misfit(declared: type[Layout], valued: list[Field], value: Layout) -> LayoutError:
    """Which field it was: asked only once something has gone wrong."""
    for field in valued:
        given = getattr(value, field.name)
        try:
            _codec_of_type(field.type).encode(given)
        except (struct.error, OverflowError, ValueError, TypeError) as error:
            return LayoutError(f"{declared.__name__}.{field.name} cannot hold {given!r}: {error}")
    return LayoutError(f"{declared.__name__} cannot hold {value!r}")


def _codec_of_type(ctype: CType) -> Codec[Any]:
    packer = struct.Struct("=" + ctype.code)
    to, back = ctype.encode, ctype.decode

    def encode(value: Any) -> bytes:
        return packer.pack(to(value) if to else value)

    def decode(data: Buffer) -> Any:
        (value,) = packer.unpack(data)
        return back(value) if back else value

    return Codec(packer.size, encode, decode)


def scalar(annotation: Any) -> Codec[Any]:
    """The codec of a lone field type, for maps whose key or value is no struct: `scalar(U32)`."""
    return _codec_of_type(_ctype(annotation))


def raw(size: int) -> Codec[bytes]:
    """Bytes as they are."""
    return Codec(size, _codec_of_type(octets(size)).encode, bytes)


def per_cpu(one: Codec[T], cpus: int) -> Codec[tuple[T, ...]]:
    """The value of a per-CPU map: one per possible CPU, each rounded up to eight bytes."""
    stride = -(-one.size // 8) * 8
    fill = bytes(stride - one.size)

    def encode(values: tuple[T, ...]) -> bytes:
        if len(values) != cpus:
            raise LayoutError(f"{len(values)} values given, one for each of {cpus} CPUs wanted")
        return b"".join(one.encode(value) + fill for value in values)

    def decode(data: Buffer) -> tuple[T, ...]:
        return tuple(one.decode(data[at : at + one.size]) for at in range(0, stride * cpus, stride))

    return Codec(stride * cpus, encode, decode)
