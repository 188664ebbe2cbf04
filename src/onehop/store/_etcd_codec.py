"""Guards, writes and answers, to and from etcd's messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from onehop.store._shared import prefix_end
from onehop.store.etcdpb import rpc_pb2 as pb
from onehop.store.interface import (
    Absent,
    AtRevision,
    Batch,
    Change,
    Committed,
    Delete,
    Entry,
    Exists,
    Guard,
    Outcome,
    PrefixEmpty,
    RangeEmpty,
    Refused,
    Write,
)


def transaction(base: str, guards: Sequence[Guard], writes: Sequence[Write]) -> pb.TxnRequest:
    """When it is refused, etcd reads what each guard looked at, so that we can say which one failed."""
    return pb.TxnRequest(
        compare=[_compare(base, guard) for guard in guards],
        success=[_operation(base, write) for write in writes],
        failure=[pb.RequestOp(request_range=_look(base, guard)) for guard in guards],
    )


def _compare(base: str, guard: Guard) -> pb.Compare:
    match guard:
        case Absent(key):
            return pb.Compare(
                key=(base + key).encode(),
                target=pb.Compare.CREATE,
                result=pb.Compare.EQUAL,
                create_revision=0,
            )
        case Exists(key):
            return pb.Compare(
                key=(base + key).encode(),
                target=pb.Compare.CREATE,
                result=pb.Compare.GREATER,
                create_revision=0,
            )
        case AtRevision(key, revision):
            return pb.Compare(
                key=(base + key).encode(),
                target=pb.Compare.MOD,
                result=pb.Compare.EQUAL,
                mod_revision=revision,
            )
        case PrefixEmpty() | RangeEmpty():
            # A comparison over a range holds when it holds for every key there: so for none, always.
            start, end = _range(base, guard)
            return pb.Compare(
                key=start,
                range_end=end,
                target=pb.Compare.CREATE,
                result=pb.Compare.EQUAL,
                create_revision=0,
            )


def _range(base: str, guard: PrefixEmpty | RangeEmpty) -> tuple[bytes, bytes]:
    if isinstance(guard, PrefixEmpty):
        return (base + guard.prefix).encode(), prefix_end(base + guard.prefix)
    return (base + guard.start).encode(), (base + guard.end).encode()


def _look(base: str, guard: Guard) -> pb.RangeRequest:
    if isinstance(guard, PrefixEmpty | RangeEmpty):
        start, end = _range(base, guard)
        return pb.RangeRequest(key=start, range_end=end, limit=1, keys_only=True)
    return pb.RangeRequest(key=(base + guard.key).encode(), keys_only=True)


def _operation(base: str, write: Write) -> pb.RequestOp:
    key = (base + write.key).encode()
    if isinstance(write, Delete):
        return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=write.value, lease=write.lease or 0))


def outcome(guards: Sequence[Guard], response: pb.TxnResponse) -> Outcome:
    if response.succeeded:
        return Committed(response.header.revision)
    seen = [answer.response_range.kvs for answer in response.responses]
    return Refused(
        response.header.revision,
        [guard for guard, found in zip(guards, seen, strict=True) if not _holds(guard, found)],
    )


def _holds(guard: Guard, found: Sequence[pb.KeyValue]) -> bool:
    match guard:
        case Absent() | PrefixEmpty() | RangeEmpty():
            return not found
        case Exists():
            return bool(found)
        case AtRevision(_, revision):
            # etcd gives an absent key the revision 0.
            return (found[0].mod_revision if found else 0) == revision


def entry(base: str, kv: pb.KeyValue) -> Entry:
    return Entry(kv.key.decode()[len(base) :], kv.value, kv.create_revision, kv.mod_revision)


def batches(base: str, events: Sequence[pb.Event]) -> list[Batch]:
    return [
        Batch(revision, tuple(_change(base, event) for event in group))
        for revision, group in groupby(events, key=lambda event: event.kv.mod_revision)
    ]


def _change(base: str, event: pb.Event) -> Change:
    key = event.kv.key.decode()[len(base) :]
    if event.type == pb.Event.DELETE:
        return Change(key, None, 0)
    return Change(key, event.kv.value, event.kv.create_revision)
