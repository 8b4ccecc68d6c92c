"""The gRPC server of the endpoint: calls to the services, errors as answers, who may connect.

It listens where it is told to, and never beyond the machine without certificates of both sides: whoever can call it can
read every Secret.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# Programs are started by fork and exec here; gRPC's handlers for a fork that goes on in Python only warn about it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio

import sampan
from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.api.faults import fault
from sampan.records import dataclass
from sampan.store.embedded import EmbeddedStore
from sampan.store.endpoint import maintenance
from sampan.store.endpoint.leases import Leases
from sampan.store.endpoint.ranges import Ranges, Room
from sampan.store.endpoint.refusals import Refusal, invalid, of_store, unserved
from sampan.store.endpoint.transactions import Transactions
from sampan.store.endpoint.watches import WatchStream
from sampan.store.etcd.methods import KEEP_ALIVE, METHODS, SNAPSHOT, STREAMS, WATCH
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import StoreError, StoreUnavailable

log = logging.getLogger(__name__)

_LARGEST_MESSAGE = 2 * 1024 * 1024  # etcd's largest request, and its overhead
#: what is read of the store for one call, and by how many calls at once
_LARGEST_ANSWER = 1024 * 1024 * 1024
_READING = 4
#: the answer to a transaction, which is encoded in one go, may be so many times smaller
_TRANSACTION_PART = 8
_TERM = 1  # there are no elections
_PROGRESS_SECONDS = 5.0
_GRACE_SECONDS = 1.0
_NOT_SERVED = {
    "MemberAdd": "it has one member, and takes no other: `sampan store migrate` moves to etcd",
    "MemberRemove": "it has one member",
    "MemberUpdate": "it has one member",
    "MemberPromote": "it has one member",
    "MoveLeader": "it has one member",
    "AuthEnable": "who may connect is decided by certificates, not by users",
    "UserAdd": "who may connect is decided by certificates, not by users",
    "UserGrantRole": "who may connect is decided by certificates, not by users",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM. Clients must show a certificate of ``ca``."""

    ca: bytes
    certificate: bytes
    key: bytes


class Endpoint:
    """The services over one open store. ``directory``: of its files, for snapshots. Made on the event loop."""

    def __init__(
        self,
        store: EmbeddedStore,
        *,
        identity: str,
        directory: Path | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        progress_seconds: float = _PROGRESS_SECONDS,
        largest_answer: int = _LARGEST_ANSWER,
        most_calls: int | None = None,
    ) -> None:
        """``largest_answer``: bytes of the answer to one Range (an eighth: to a Txn); ``most_calls``: at once, watches
        among them; more are refused."""
        self._store = store
        self._directory = directory
        self._clock = clock or SystemClock()
        self._progress_seconds = progress_seconds
        self._ident = int.from_bytes(identity.encode()[:7].ljust(7, b"s"))
        self._leases = Leases(store, random or SystemRandom())
        self._ranges = Ranges(store, self._leases.of)
        self._transactions = Transactions(store, self._ranges, self._leases, largest_answer // _TRANSACTION_PART)
        self._urls: list[str] = []
        self._largest_answer, self._most_calls = largest_answer, most_calls
        self._reading, self._snapping = asyncio.Semaphore(_READING), asyncio.Semaphore(1)

    @asynccontextmanager
    async def listening(self, address: str, credentials: Credentials | None = None) -> AsyncIterator[int]:
        """Serves ``host:port`` while the block runs; gives the port. Raises ValueError: it may not, or cannot."""
        host = address.rpartition(":")[0].strip("[]")
        if credentials is None and not _is_local(host):
            raise ValueError(f"{address} is open to other machines, which needs certificates")
        _try_port(address)
        server = grpc.aio.server(
            maximum_concurrent_rpcs=self._most_calls,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_send_message_length", -1),
                # as etcd's: its clients ask whether the connection lives more often than gRPC lets them
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        server.add_generic_rpc_handlers(tuple(self._handlers()))
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                pairs = [(credentials.key, credentials.certificate)]
                secure = grpc.ssl_server_credentials(pairs, credentials.ca, require_client_auth=True)
                port = server.add_secure_port(address, secure)
        except RuntimeError as error:
            raise ValueError(
                f"cannot listen on {address}: it was taken just now, or the certificates are none"
            ) from error
        self._urls = [f"{'https' if credentials else 'http'}://{address.rpartition(':')[0]}:{port}"]
        await asyncio.to_thread(maintenance.sweep, self._directory)
        await server.start()
        try:
            yield port
        finally:
            await server.stop(_GRACE_SECONDS)

    def close(self) -> None:
        self._leases.close()

    # --- calls ------------------------------------------------------------------------------------------------------

    def _handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        services: dict[str, dict[str, Any]] = {"etcdserverpb.Watch": {}}
        for path, (request, _) in METHODS.items():
            _, service, name = path.split("/")
            act = getattr(self, f"_{name}", None) or _refusing(name)
            services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
                _answering(act), request.FromString, _serialized
            )
        read: dict[str, Any] = {path: request.FromString for path, (request, _) in STREAMS.items()}  # type: ignore[attr-defined]  # messages all
        both: dict[str, Callable[..., Any]] = {WATCH: self._watch, KEEP_ALIVE: self._keep_alive}
        for path, act in both.items():
            _, service, name = path.split("/")
            services[service][name] = grpc.stream_stream_rpc_method_handler(act, read[path], _serialized)
        _, service, name = SNAPSHOT.split("/")
        services[service][name] = grpc.unary_stream_rpc_method_handler(self._snapshot, read[SNAPSHOT], _serialized)
        return [grpc.method_handlers_generic_handler(name, calls) for name, calls in services.items()]

    def _header(self, revision: int | None = None) -> pb.ResponseHeader:
        at = self._store.revision if revision is None else revision
        return pb.ResponseHeader(cluster_id=self._ident, member_id=self._ident, revision=at, raft_term=_TERM)

    async def _Range(self, request: pb.RangeRequest) -> bytes:  # noqa: N802  # the calls have their names
        """As bytes: a large message would be encoded in one go, and others on the loop wait."""
        async with self._reading:
            at = self._store.revision
            pieces = [pb.RangeResponse(header=self._header(at)).SerializeToString()]
            room = Room(self._largest_answer)
            async for part in self._ranges.parts(request, at):
                pieces.append(part.SerializeToString())
                room.take(len(pieces[-1]))
            return b"".join(pieces)

    async def _Put(self, request: pb.PutRequest) -> pb.PutResponse:  # noqa: N802
        answer, revision = await self._transactions.put(request)
        answer.header.CopyFrom(self._header(revision))
        return answer

    async def _DeleteRange(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:  # noqa: N802
        answer, revision = await self._transactions.delete_range(request)
        answer.header.CopyFrom(self._header(revision))
        return answer

    async def _Txn(self, request: pb.TxnRequest) -> pb.TxnResponse:  # noqa: N802
        answer, revision = await self._transactions.txn(request)
        answer.header.CopyFrom(self._header(revision))
        for response in answer.responses:
            kind = response.WhichOneof("response")
            if kind is not None:
                getattr(response, kind).header.revision = revision
        return answer

    async def _Compact(self, request: pb.CompactionRequest) -> pb.CompactionResponse:  # noqa: N802
        await self._transactions.compact(request)
        return pb.CompactionResponse(header=self._header())

    async def _LeaseGrant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:  # noqa: N802
        lease = self._leases.grant(request.TTL, request.ID)
        return pb.LeaseGrantResponse(header=self._header(), ID=lease.ident, TTL=lease.ttl_seconds)

    async def _LeaseRevoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:  # noqa: N802
        await self._leases.revoke(self._leases.find(request.ID))
        return pb.LeaseRevokeResponse(header=self._header())

    async def _LeaseTimeToLive(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:  # noqa: N802
        try:
            lease = self._leases.find(request.ID)
        except Refusal:
            return pb.LeaseTimeToLiveResponse(header=self._header(), ID=request.ID, TTL=-1)
        keys = [key.encode() for key in lease.keys] if request.keys else []
        return pb.LeaseTimeToLiveResponse(
            header=self._header(),
            ID=lease.ident,
            TTL=int(self._leases.remaining_seconds(lease)),
            grantedTTL=lease.ttl_seconds,
            keys=keys,
        )

    async def _LeaseLeases(self, request: pb.LeaseLeasesRequest) -> pb.LeaseLeasesResponse:  # noqa: N802
        leases = [pb.LeaseStatus(ID=ident) for ident in self._leases.idents()]
        return pb.LeaseLeasesResponse(header=self._header(), leases=leases)

    async def _MemberList(self, request: pb.MemberListRequest) -> pb.MemberListResponse:  # noqa: N802
        member = pb.Member(ID=self._ident, name="sampan", clientURLs=self._urls)
        return pb.MemberListResponse(header=self._header(), members=[member])

    async def _Alarm(self, request: pb.AlarmRequest) -> pb.AlarmResponse:  # noqa: N802
        if request.action == pb.AlarmRequest.ACTIVATE:
            raise unserved("alarms are not set by hand")
        return pb.AlarmResponse(header=self._header())

    async def _Status(self, request: pb.StatusRequest) -> pb.StatusResponse:  # noqa: N802
        size = maintenance.store_bytes(self._directory)
        revision = self._store.revision
        return pb.StatusResponse(
            header=self._header(),
            version=maintenance.version(sampan.__version__),
            dbSize=size,
            dbSizeInUse=size,
            leader=self._ident,
            raftIndex=revision,
            raftTerm=_TERM,
            raftAppliedIndex=revision,
        )

    async def _Defragment(self, request: pb.DefragmentRequest) -> pb.DefragmentResponse:  # noqa: N802
        await self._store.release_room()
        return pb.DefragmentResponse(header=self._header())

    async def _Hash(self, request: pb.HashRequest) -> pb.HashResponse:  # noqa: N802
        at = self._store.revision
        return pb.HashResponse(header=self._header(at), hash=await maintenance.hash_of(self._ranges, at))

    async def _HashKV(self, request: pb.HashKVRequest) -> pb.HashKVResponse:  # noqa: N802
        at = request.revision or self._store.revision
        value = await maintenance.hash_of(self._ranges, at)
        return pb.HashKVResponse(header=self._header(), hash=value, compact_revision=self._store.oldest)

    async def _Authenticate(self, request: pb.AuthenticateRequest) -> pb.AuthenticateResponse:  # noqa: N802
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")

    # --- streams ----------------------------------------------------------------------------------------------------

    async def _watch(self, requests: AsyncIterator[pb.WatchRequest], context: Any) -> None:
        await WatchStream(self._store, self._header, self._progress_seconds).run(requests, context.write)

    async def _keep_alive(self, requests: AsyncIterator[pb.LeaseKeepAliveRequest], context: Any) -> None:
        async for request in requests:
            try:
                lease = self._leases.find(request.ID)
            except Refusal:  # as etcd says that it is gone
                await context.write(pb.LeaseKeepAliveResponse(header=self._header(), ID=request.ID))
                continue
            self._leases.keep_alive(lease)
            await context.write(pb.LeaseKeepAliveResponse(header=self._header(), ID=lease.ident, TTL=lease.ttl_seconds))

    async def _snapshot(self, request: pb.SnapshotRequest, context: Any) -> None:
        try:
            async with self._snapping:  # each is a file as large as the store
                async for piece in maintenance.snapshot(self._directory, self._clock):
                    await context.write(piece)
        except (Refusal, StoreError, OSError) as error:
            refusal = _refusal_of(error)
            await context.abort(refusal.code, refusal.words)


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    return of_store(error if isinstance(error, StoreError) else StoreUnavailable(str(error)))


def _answering(act: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        try:
            return await act(request)
        except (Refusal, StoreError) as error:
            refusal = _refusal_of(error)
        except ValueError as error:
            refusal = invalid(f"sampan: {error}")
        return await context.abort(refusal.code, refusal.words)

    return answer


def _refusing(name: str) -> Callable[[Any], Awaitable[Any]]:
    async def refuse(request: Any) -> Any:
        raise unserved(f"{name} is not served: {_NOT_SERVED.get(name, 'nothing here does that')}")

    return refuse


def _serialized(message: Any) -> bytes:
    data: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return data


def _try_port(address: str) -> None:
    """gRPC would only log why it cannot listen. Raises ValueError."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(found[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {address}: {fault(error)}") from error


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
