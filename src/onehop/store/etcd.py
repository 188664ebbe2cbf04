"""The clustered store: an etcd cluster (v3 API), shared by any number of controllers.

All keys lie under a prefix: values in `PREFIX/data/`, and in `PREFIX/meta/` the format's version and the
name of this history. The incarnation is that name with the cluster's id, and a snapshot restored as a new
cluster has a new id. Under the same cluster token and addresses it has the same id: then whoever saw the
revision go back gives the history a new name. If nobody was connected, `new_incarnation` does it by hand.

etcd takes 128 guards and 128 writes in a transaction unless it runs with a larger `--max-txn-ops`; 4096 is
what we recommend, and use at most. A nested transaction holds no more guards: etcd counts them along the
path.

Other users of the same etcd are not disturbed, except by `compact`, which etcd has for the whole only.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from onehop.store import _etcd_codec as codec
from onehop.store import _etcd_connection as rpc
from onehop.store._etcd_connection import Connection, Login, Refusal, Stream, Tls, TokenRefused
from onehop.store._shared import check, check_key, prefix_end
from onehop.store.etcdpb import rpc_pb2 as pb
from onehop.store.interface import (
    Batch,
    Compacted,
    Entry,
    Guard,
    Incompatible,
    Key,
    LeaseGone,
    Outcome,
    Page,
    Revision,
    StoreError,
    TooLarge,
    Unavailable,
    Write,
)

__all__ = ["EtcdStore", "Login", "Tls"]

FORMAT = 1
MOST_OPERATIONS = 4096  # more than this is not asked for, whatever etcd would take
# What one answer to a list aims at: below the four megabytes that gRPC is used to. Not far below, since
# etcd (3.4) walks all the keys that are left for each answer, however few it is asked for.
PAGE_BYTES = 3 << 20
FIRST_PAGE = 256

_Keys = list[Entry]  # the class below has a method called `list`


class EtcdStore:
    """Open it with `await EtcdStore.open(["host:2379"])`; close it when done."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._rpc = connection
        self._base = f"{prefix}data/"
        self._meta = f"{prefix}meta/"
        self._incarnation = ""
        self._max_operations = 0
        self._page = FIRST_PAGE
        self._seen = 0  # the newest revision that etcd has told us of

    @classmethod
    async def open(
        cls,
        endpoints: Sequence[str],
        *,
        prefix: str = "/onehop/",
        tls: Tls | None = None,
        login: Login | None = None,
        patience: float = 5.0,
    ) -> EtcdStore:
        if not prefix.strip("/"):
            raise ValueError("a store in etcd needs a prefix for its keys, such as /onehop/")
        store = cls(Connection(endpoints, tls, login, patience), prefix.rstrip("/") + "/")
        try:
            await store._identify()
            store._max_operations = await store._probe()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        await self._rpc.close()

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def max_operations(self) -> int:
        return self._max_operations

    # --- what store this is -------------------------------------------------------------------------

    async def _identify(self) -> Revision:
        """Read what this store is, or make it one; note its incarnation. The revision as of now."""
        seen, known = self._seen, self._incarnation
        names = [f"{self._meta}format".encode(), f"{self._meta}incarnation".encode()]
        values = [str(FORMAT).encode(), uuid.uuid4().hex.encode()]
        absent = [
            pb.Compare(key=name, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=0)
            for name in names
        ]
        puts = [pb.PutRequest(key=name, value=value) for name, value in zip(names, values, strict=True)]
        request = pb.TxnRequest(
            compare=absent,
            success=[pb.RequestOp(request_put=put) for put in puts],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=name)) for name in names],
        )
        # May be repeated: once the keys are there, this only reads them.
        answer = await self._call(rpc.TXN, request, repeat=True)
        if not answer.succeeded:
            found = [response.response_range.kvs for response in answer.responses]
            values = [kvs[0].value if kvs else b"" for kvs in found]
        self._check_format(values[0].decode(errors="replace"))
        name, now = values[1].decode(errors="replace"), answer.header.revision
        self._incarnation = f"{name}-{answer.header.cluster_id:016x}"
        if now >= seen:
            self._seen = max(now, self._seen)
        elif self._incarnation == known:
            self._seen = 0
            await self._rename(name)
            return await self._identify()
        return now

    async def new_incarnation(self) -> str:
        """Give this history a new name, after a restore that nothing else gives away."""
        await self._rename(self._incarnation.rsplit("-", 1)[0])
        await self._identify()
        return self._incarnation

    async def _rename(self, old: str) -> None:
        """Name this history anew, unless another controller just did."""
        key = f"{self._meta}incarnation".encode()
        still = pb.Compare(key=key, target=pb.Compare.VALUE, result=pb.Compare.EQUAL, value=old.encode())
        put = pb.PutRequest(key=key, value=uuid.uuid4().hex.encode())
        # May be repeated: the old name is there but once.
        request = pb.TxnRequest(compare=[still], success=[pb.RequestOp(request_put=put)])
        await self._call(rpc.TXN, request, repeat=True)

    def _check_format(self, version: str) -> None:
        if not version.isdecimal():
            raise Incompatible(f"{self._rpc}: {self._meta}format is {version[:32]!r}; restore a backup")
        if int(version) > FORMAT:
            raise Incompatible(
                f"{self._rpc} holds data of a newer Onehop (store format {version}, this one reads up to "
                f"{FORMAT}); run that version, or restore a backup made by this one"
            )

    async def _probe(self) -> int:
        """How many operations this etcd takes in one transaction (`--max-txn-ops`)."""
        key = f"{self._meta}format".encode()

        async def accepted(count: int) -> bool:
            look = pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=0)
            try:
                await self._call(rpc.TXN, pb.TxnRequest(compare=[look] * count), repeat=True)
            except TooLarge:
                return False
            return True

        if await accepted(MOST_OPERATIONS):
            return MOST_OPERATIONS
        if await accepted(128) and not await accepted(129):  # etcd's default
            return 128
        low, high = 1, MOST_OPERATIONS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await accepted(middle) else (low, middle)
        return low

    # --- calls --------------------------------------------------------------------------------------

    async def _call(
        self,
        method: rpc.Method[rpc.Request, rpc.Response],
        request: rpc.Request,
        *,
        lane: str = "call",
        repeat: bool,
    ) -> rpc.Response:
        try:
            return await self._rpc.call(method, request, lane=lane, repeat=repeat)
        except Refusal as refusal:
            told = str(refusal)
            if "has been compacted" in told:
                raise Compacted(await self._oldest()) from refusal
            raise StoreError(f"{self._rpc}: {told}") from refusal

    async def get(self, key: Key) -> Entry | None:
        check_key(key)
        answer = await self._call(rpc.RANGE, pb.RangeRequest(key=(self._base + key).encode()), repeat=True)
        return codec.entry(self._base, answer.kvs[0]) if answer.kvs else None

    async def revision(self) -> Revision:
        request = pb.RangeRequest(key=f"{self._meta}format".encode(), keys_only=True)
        return (await self._call(rpc.RANGE, request, repeat=True)).header.revision

    async def list(
        self, prefix: Key, *, start: Key | None = None, revision: Revision | None = None, limit: int = 1000
    ) -> Page:
        if limit < 1:
            raise ValueError(f"a page holds at least one entry, not {limit}")
        entries: _Keys = []
        low, end = (self._base + max(prefix, start or prefix)).encode(), prefix_end(self._base + prefix)
        more, size = True, 0
        while more and len(entries) < limit and size < PAGE_BYTES:
            request = pb.RangeRequest(key=low, range_end=end, revision=revision or 0)
            answer = await self._range(request, limit - len(entries))
            revision = revision or answer.header.revision
            entries.extend(codec.entry(self._base, kv) for kv in answer.kvs)
            more, size = answer.more, size + answer.ByteSize()
            if answer.kvs:
                low = answer.kvs[-1].key + b"\0"
        assert revision is not None
        return Page(entries, revision, low.decode()[len(self._base) :] if more else None)

    async def _range(self, request: pb.RangeRequest, most: int) -> pb.RangeResponse:
        """As much of a range as makes an answer of a good size. Large values make the next ask for fewer."""
        while True:
            request.limit = min(most, self._page)
            try:
                answer = await self._call(rpc.RANGE, request, lane="list", repeat=True)
            except StoreError as error:
                if (
                    isinstance(error.__cause__, Refusal)
                    and "larger than max" in str(error)
                    and self._page > 1
                ):
                    self._page = max(1, self._page // 4)
                    continue
                raise
            if answer.kvs:
                self._page = max(1, min(10_000, PAGE_BYTES * len(answer.kvs) // answer.ByteSize()))
            return answer

    # --- writing ------------------------------------------------------------------------------------

    async def transact(self, guards: Sequence[Guard], writes: Sequence[Write]) -> Outcome:
        check(guards, writes, self._max_operations, "split it, or raise etcd's --max-txn-ops")
        request = codec.transaction(self._base, guards, writes)
        try:
            answer = await self._rpc.call(rpc.TXN, request, repeat=not writes)
        except Refusal as refusal:
            leases = [lease for write in writes if (lease := getattr(write, "lease", None)) is not None]
            if "lease not found" in str(refusal) and leases:
                raise LeaseGone(leases[0]) from refusal
            raise StoreError(f"{self._rpc}: {refusal}") from refusal
        self._seen = max(self._seen, answer.header.revision)
        return codec.outcome(guards, answer)

    async def compact(self, revision: Revision) -> None:
        try:
            await self._rpc.call(rpc.COMPACT, pb.CompactionRequest(revision=revision), repeat=True)
        except Refusal as refusal:
            if "has been compacted" not in str(refusal):
                raise StoreError(f"cannot compact {self._rpc} to revision {revision}: {refusal}") from refusal

    # --- leases -------------------------------------------------------------------------------------

    async def grant(self, ttl: float) -> int:
        if not ttl > 0:
            raise ValueError(f"a lease lasts longer than {ttl} seconds")
        # May be repeated: a lease that nobody heard of expires.
        return (await self._call(rpc.GRANT, pb.LeaseGrantRequest(TTL=math.ceil(ttl)), repeat=True)).ID

    async def keep_alive(self, lease: int) -> bool:
        request = pb.LeaseKeepAliveRequest(ID=lease)
        for token_is_fresh in (False, True):
            try:
                async with self._rpc.stream(rpc.KEEP_ALIVE, request) as stream:
                    return (await stream.next()).TTL > 0
            except Refusal as refusal:
                if token_is_fresh or not isinstance(refusal, TokenRefused):
                    raise StoreError(f"{self._rpc}: {refusal}") from refusal
        raise AssertionError("the second round returns or raises")

    async def revoke(self, lease: int) -> None:
        try:
            await self._rpc.call(rpc.REVOKE, pb.LeaseRevokeRequest(ID=lease), repeat=True)
        except Refusal as refusal:
            if "lease not found" not in str(refusal):
                raise StoreError(f"{self._rpc}: {refusal}") from refusal

    # --- watching -----------------------------------------------------------------------------------

    async def watch(self, prefix: Key, *, after: Revision) -> AsyncGenerator[Batch, None]:
        position, known, tokens = after, self._incarnation, 0
        while True:
            try:
                now = await self._identify()
                if self._incarnation != known or now < position:
                    # Restored from a backup behind our back: our position is of another history.
                    raise Compacted(now)
                async with aclosing(self._follow(prefix, position, now)) as batches:
                    async for batch in batches:
                        position, tokens = batch.revision, 0
                        self._seen = max(self._seen, position)
                        yield batch
            except TokenRefused as refusal:
                tokens += 1
                if tokens > 1:
                    raise StoreError(f"{self._rpc} refuses the user: {refusal}") from refusal
            except Refusal as refusal:
                raise StoreError(f"{self._rpc}: {refusal}") from refusal
            except Unavailable:
                if self._rpc.closed:
                    raise
                await asyncio.sleep(0.1)

    async def _follow(self, prefix: Key, position: Revision, now: Revision) -> AsyncGenerator[Batch, None]:
        """What one connection delivers after a position, until it breaks."""
        pending: list[pb.Event] = []
        async with self._rpc.stream(
            rpc.WATCH, self._watch_from(prefix, position, now), lane="watch"
        ) as stream:
            await self._created(stream)
            while True:
                answer = await stream.next(wait=True)
                _check_canceled(answer)
                pending.extend(event for event in answer.events if event.kv.mod_revision > position)
                if answer.fragment:
                    continue
                for batch in codec.batches(self._base, pending):
                    yield batch
                    position = batch.revision
                pending.clear()
                if not answer.events and answer.header.revision > position:  # a mark of progress
                    position = answer.header.revision
                    yield Batch(position, ())

    def _watch_from(self, prefix: Key, position: Revision, now: Revision) -> pb.WatchRequest:
        # Compacting to a revision loses the deletions at it, yet etcd lets one watch from it. So we ask
        # for one revision more than we need, and etcd tells us if that is gone. From the present on we do
        # not: etcd would take a tenth of a second to start.
        start = position + 1 if position == now else max(position, 1)
        return pb.WatchRequest(
            create_request=pb.WatchCreateRequest(
                key=(self._base + prefix).encode(),
                range_end=prefix_end(self._base + prefix),
                start_revision=start,
                progress_notify=True,
                fragment=True,
            )
        )

    async def _created(self, stream: Stream[pb.WatchResponse]) -> None:
        answer = await stream.next()
        _check_canceled(answer)

    async def _oldest(self) -> Revision:
        """The revision that was compacted to: only a watch from before it is told."""
        try:
            async with self._rpc.stream(rpc.WATCH, self._watch_from("", 1, 0), lane="watch") as stream:
                while True:
                    _check_canceled(await stream.next())
        except Compacted as compacted:
            return compacted.oldest


def _check_canceled(answer: pb.WatchResponse) -> None:
    if not answer.canceled:
        return
    if answer.compact_revision:
        raise Compacted(answer.compact_revision)
    if "permission denied" in answer.cancel_reason or "token" in answer.cancel_reason:
        raise TokenRefused(answer.cancel_reason)  # etcd says the same of an expired token
    raise Unavailable(f"etcd ended the watch: {answer.cancel_reason or 'no reason given'}")
