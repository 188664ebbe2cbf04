"""Calls to an etcd cluster: several endpoints, TLS, tokens, deadlines, and errors told in our words.

* A call goes to an endpoint that is connected. One that fails is left for the next.
* A call that may be repeated is tried elsewhere until its time is up. One that writes is sent once: if
  its connection breaks, whether it happened is in doubt, and the caller is told so.
* Lists and watches have connections of their own: a large answer holds up nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from onehop.store.etcdpb import rpc_pb2 as pb
from onehop.store.interface import StoreError, TooLarge, Unavailable

LANES = ("call", "list", "watch")
RECEIVE = 64 << 20
TRY_ONE = 1.0  # seconds to wait for one endpoint to connect, while there may be others

_OPTIONS = [
    ("grpc.max_receive_message_length", RECEIVE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A host that lost power sends no reset: ask it, as long as there are calls (a watch is one). etcd allows
    # a ping each five seconds then, and while there are none one in two hours: more are too many for it.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # Channels with equal targets would share one connection otherwise, and lanes be none.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # What writes must never be sent twice, not even by gRPC.
    ("grpc.enable_retries", 0),
]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    path: str
    response: type[Response]


RANGE: Method[pb.RangeRequest, pb.RangeResponse] = Method("/etcdserverpb.KV/Range", pb.RangeResponse)
TXN: Method[pb.TxnRequest, pb.TxnResponse] = Method("/etcdserverpb.KV/Txn", pb.TxnResponse)
COMPACT: Method[pb.CompactionRequest, pb.CompactionResponse] = Method(
    "/etcdserverpb.KV/Compact", pb.CompactionResponse
)
GRANT: Method[pb.LeaseGrantRequest, pb.LeaseGrantResponse] = Method(
    "/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantResponse
)
REVOKE: Method[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse] = Method(
    "/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeResponse
)
KEEP_ALIVE: Method[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse] = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveResponse
)
WATCH: Method[pb.WatchRequest, pb.WatchResponse] = Method("/etcdserverpb.Watch/Watch", pb.WatchResponse)
AUTHENTICATE: Method[pb.AuthenticateRequest, pb.AuthenticateResponse] = Method(
    "/etcdserverpb.Auth/Authenticate", pb.AuthenticateResponse
)


@dataclass(frozen=True, slots=True)
class Tls:
    """What is in the PEM files. Without `ca`, the system's authorities count."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        return "Tls(...)"


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class Refusal(Exception):
    """etcd understood and said no: its words, for the caller to make sense of."""


class TokenRefused(Refusal):
    """The token has expired, or was forgotten when etcd restarted. Nothing was done."""


class _Endpoint:
    def __init__(self, address: str, tls: Tls | None) -> None:
        self.address = address
        if tls is None:
            self._channels = {lane: grpc.aio.insecure_channel(address, _OPTIONS) for lane in LANES}
        else:
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
            self._channels = {lane: grpc.aio.secure_channel(address, credentials, _OPTIONS) for lane in LANES}

    def channel(self, lane: str) -> grpc.aio.Channel:
        return self._channels[lane]

    async def connected(self, lane: str, patience: float) -> bool:
        channel = self._channels[lane]
        until = asyncio.get_running_loop().time() + patience
        # The state is asked for again and again, since grpc has no wait for it that can be cancelled.
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if (
                state is grpc.ChannelConnectivity.TRANSIENT_FAILURE
                or asyncio.get_running_loop().time() > until
            ):
                return False
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise Unavailable("the store was closed")
            await asyncio.sleep(0.002)
        return True

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)


class Connection:
    def __init__(
        self, addresses: Iterable[str], tls: Tls | None, login: Login | None, timeout: float
    ) -> None:
        self._endpoints = [_Endpoint(address, tls) for address in addresses]
        if not self._endpoints:
            raise ValueError("etcd needs an endpoint: etcd://HOST:2379")
        self._login = login
        self._token: str | None = None
        self._logging_in = asyncio.Lock()
        self._timeout = timeout
        self._using = dict.fromkeys(LANES, 0)
        self.closed = False

    def __str__(self) -> str:
        return "etcd at " + ", ".join(endpoint.address for endpoint in self._endpoints)

    async def close(self) -> None:
        self.closed = True
        for endpoint in self._endpoints:
            await endpoint.close()

    # --- one answer ---------------------------------------------------------------------------------

    async def call(
        self, method: Method[Request, Response], request: Request, *, lane: str = "call", repeat: bool
    ) -> Response:
        """One answer to one question. What is not to be repeated is sent once at most."""
        until = asyncio.get_running_loop().time() + self._timeout
        fresh_token = False
        while True:
            endpoint = await self._ready(lane, until)
            token = await self._current_token()
            try:
                return await self._ask(endpoint, lane, method, request, token)
            except Unavailable:
                self._leave(lane, endpoint)
                if not repeat or asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(0.05)
            except TokenRefused as refusal:
                if fresh_token or self._login is None:
                    raise StoreError(f"{self} refuses the user: {refusal}") from refusal
                fresh_token = True
                self._forget_token(token)

    async def _ask(
        self,
        endpoint: _Endpoint,
        lane: str,
        method: Method[Request, Response],
        request: Request,
        token: str | None,
    ) -> Response:
        try:
            answer: Response = await endpoint.channel(lane).unary_unary(
                method.path,
                request_serializer=_serialize,
                response_deserializer=method.response.FromString,
            )(request, timeout=self._timeout, metadata=_metadata(token))
        except grpc.aio.AioRpcError as error:
            raise self._told(endpoint, error) from error
        except grpc.aio.UsageError as error:
            raise Unavailable("the store was closed") from error
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        return answer

    # --- many answers -------------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(
        self, method: Method[Request, Response], request: Request, *, lane: str = "call"
    ) -> AsyncIterator[Stream[Response]]:
        """Ask once, read answers until you leave the block."""
        endpoint = await self._ready(lane, asyncio.get_running_loop().time() + self._timeout)
        token = await self._current_token()
        channel: Any = endpoint.channel(lane)  # the stubs do not know that one may write as one goes
        call = channel.stream_stream(
            method.path, request_serializer=_serialize, response_deserializer=method.response.FromString
        )(metadata=_metadata(token))
        try:
            await call.write(request)
            yield Stream(call, self._timeout)
        except grpc.aio.AioRpcError as error:
            told = self._told(endpoint, error)
            if isinstance(told, Unavailable):
                self._leave(lane, endpoint)
            elif isinstance(told, TokenRefused):
                self._forget_token(token)
            raise told from error
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            # grpc says so when the call ended before it was written to.
            self._leave(lane, endpoint)
            raise Unavailable(f"etcd at {endpoint.address} ended the call") from error
        except TokenRefused:
            self._forget_token(token)
            raise
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        finally:
            call.cancel()

    def _raise_if_closed(self) -> None:
        """Closing a channel cancels its calls, as if it were their tasks that somebody cancelled."""
        task = asyncio.current_task()
        if self.closed and task is not None and not task.cancelling():
            raise Unavailable("the store was closed")

    # --- endpoints ----------------------------------------------------------------------------------

    async def _ready(self, lane: str, until: float) -> _Endpoint:
        patience = TRY_ONE if len(self._endpoints) > 1 else self._timeout
        while True:
            for _ in self._endpoints:
                if self.closed:
                    raise Unavailable("the store was closed")
                endpoint = self._endpoints[self._using[lane]]
                if await endpoint.connected(lane, patience):
                    return endpoint
                self._leave(lane, endpoint)
            if asyncio.get_running_loop().time() > until:
                raise Unavailable(
                    f"{self} cannot be reached; check that it runs, the addresses and the TLS files"
                )
            await asyncio.sleep(0.05)

    def _leave(self, lane: str, endpoint: _Endpoint) -> None:
        """Go on with the next endpoint, unless another call has done so already."""
        if self._endpoints[self._using[lane]] is endpoint:
            self._using[lane] = (self._using[lane] + 1) % len(self._endpoints)

    # --- who we are ---------------------------------------------------------------------------------

    async def _current_token(self) -> str | None:
        if self._login is None or self._token is not None:
            return self._token
        async with self._logging_in:
            if self._token is None:
                endpoint = await self._ready("call", asyncio.get_running_loop().time() + self._timeout)
                request = pb.AuthenticateRequest(name=self._login.user, password=self._login.password)
                try:
                    answer = await self._ask(endpoint, "call", AUTHENTICATE, request, None)
                except Refusal as refusal:
                    raise StoreError(f"{self} refuses the user {self._login.user!r}: {refusal}") from refusal
                except Unavailable:
                    self._leave("call", endpoint)
                    raise
                self._token = answer.token
            return self._token

    def _forget_token(self, token: str | None) -> None:
        if self._token == token:
            self._token = None

    def _told(self, endpoint: _Endpoint, error: grpc.aio.AioRpcError) -> Exception:
        """An error of gRPC or etcd in our words. Its text counts only where codes are not enough."""
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAUTHENTICATED or "revision of auth store is old" in details:
            return TokenRefused(details)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return StoreError(f"{self} refuses the user: {details}; give it a role for the keys of the store")
        if "request is too large" in details or "too many operations" in details:
            return TooLarge(f"{self} refuses a transaction as too large: {details}")
        if "database space exceeded" in details:
            return Unavailable(
                f"{self} is out of space; compact it, defragment it, raise --quota-backend-bytes, "
                "then run `etcdctl alarm disarm`"
            )
        if code in (
            grpc.StatusCode.OUT_OF_RANGE,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.FAILED_PRECONDITION,
        ):
            return Refusal(details)
        return Unavailable(f"etcd at {endpoint.address}: {details or code.name}")


class Stream(Generic[Response]):
    def __init__(self, call: Any, timeout: float) -> None:
        self._call = call
        self._timeout = timeout

    async def next(self, *, wait: bool = False) -> Response:
        """The next answer; however long it takes, if you wait."""
        try:
            async with asyncio.timeout(None if wait else self._timeout):
                answer = await self._call.read()
        except TimeoutError as error:
            raise Unavailable(f"etcd has not answered in {self._timeout:g} seconds") from error
        if answer is grpc.aio.EOF:  # type: ignore[attr-defined]  # it is there; the stubs lack it
            raise Unavailable("etcd ended the call")
        got: Response = answer
        return got


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    # A member that has lost its leader says so at once, instead of leaving us to wait.
    leader = ("hasleader", "true")
    return (leader,) if token is None else (leader, ("token", token))
