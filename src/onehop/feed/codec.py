"""Frames to bytes and back. Whatever comes in is refused unless it is exactly a message within its bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from onehop.feed.messages import CHUNK, MAX_DOWN, MAX_UP, Delta, Down, Item, Up
from onehop.model import KINDS, Object, kind_of

_encoder = msgspec.msgpack.Encoder()
_up: msgspec.msgpack.Decoder[Up] = msgspec.msgpack.Decoder(Up)
_down: msgspec.msgpack.Decoder[Down] = msgspec.msgpack.Decoder(Down)
_item = msgspec.msgpack.Decoder(Item)
_objects: dict[str, msgspec.msgpack.Decoder[Object]] = {}


class BadFrame(ValueError):
    """A frame that is no message. The text says what is wrong with it."""


def encode(message: Up | Down) -> bytes:
    return _encoder.encode(message)


def decode_up(frame: bytes) -> Up:
    if len(frame) > MAX_UP:
        raise BadFrame(f"a frame of {len(frame)} bytes; at most {MAX_UP} are accepted")
    try:
        return _up.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error


def decode_down(frame: bytes) -> Down:
    if len(frame) > MAX_DOWN:
        raise BadFrame(f"a frame of {len(frame)} bytes; at most {MAX_DOWN} are accepted")
    try:
        return _down.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error


def encode_item(obj: Object, revision: int) -> Raw:
    """An object as it stands in a `Delta`; made once for all hosts."""
    item = Item(kind_of(obj).name, obj.id, revision, Raw(_encoder.encode(obj)))
    return Raw(_encoder.encode(item))


def decode_item(raw: Raw) -> Item:
    try:
        return _item.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error


def decode_object(kind: str, value: bytes | Raw) -> Object:
    """The object in an `Item`. Raises BadFrame for a kind or a field that this version does not know."""
    decoder = _objects.get(kind)
    if decoder is None:
        if kind not in KINDS:
            raise BadFrame(f"objects of kind {kind!r} are not known here; upgrade the agent")
        decoder = _objects[kind] = msgspec.msgpack.Decoder(KINDS[kind].type)
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame(f"{kind}: {error}") from error


def deltas(
    revision: int, puts: Iterable[Raw], removes: Iterable[str], *, last: bool = True
) -> Iterator[bytes]:
    """One change, or with `last` off a part of one, as frames: none much larger than a chunk, unless a
    single object is."""
    batch: list[Raw] = []
    gone: list[str] = []
    size = 0
    for id in removes:
        gone.append(id)
        size += len(id) + 2
        if size > CHUNK:
            yield encode(Delta(revision, False, (), tuple(gone)))
            gone, size = [], 0
    for put in puts:
        batch.append(put)
        size += memoryview(put).nbytes
        if size > CHUNK:
            yield encode(Delta(revision, False, tuple(batch), tuple(gone)))
            batch, gone, size = [], [], 0
    if last or batch or gone:
        yield encode(Delta(revision, last, tuple(batch), tuple(gone)))
