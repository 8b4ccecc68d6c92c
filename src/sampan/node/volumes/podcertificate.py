"""podCertificate: a key and a certificate for each such source of a pod's volumes, by PodCertificateRequests.

``PodCertificates`` makes the key, asks for the certificate, and asks for the next when it is time; who mounts volumes
asks it each time, and is told when an answer came (``ObjectRef`` of the pod's requests). Keys are in memory and in the
pod's volume: after a restart every source has a new one, as upstream (pkg/kubelet/podcertificate). One request of a
source is open at a time; old requests are the API's cleaner's.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sampan.api import resources
from sampan.api.clock import Clock, Random, parse_time
from sampan.api.errors import ApiError, NotFound, quoted
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.api.validation import pem
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.client.keys import revision_of
from sampan.node.env.lazy import LazyInformer
from sampan.node.env.sources import ObjectRef
from sampan.node.volumes import keypairs
from sampan.node.volumes.errors import SetupError
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: so that pods that began together do not renew together
_JITTER_SECONDS = 300
_OVERDUE = timedelta(minutes=10)
#: how long until a renewal is looked at again, whatever happens; at most twice that
_AGAIN_SECONDS = 60
#: how long a mount waits for a first certificate before it fails, and is tried again when there is one
_PATIENCE_SECONDS = 2.0
_ASK_AGAIN = timedelta(seconds=10)
#: of keys that are made at a time
_MAKING = 2
_NOT_YET = "credential bundle is not issued yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One source. ``index``: its place in the volume."""

    pod: Obj
    volume: str
    index: int
    source: Obj


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    key: bytes
    chain: bytes
    renew_at: datetime


class CertificateSource(Protocol):
    async def credentials(self, wanted: Wanted) -> Credentials:
        """Good until ``renew_at`` at least, as far as the signer does its part. Raises SetupError."""
        ...

    def forget_pod(self, uid: str) -> None: ...


class NoCertificates:
    """For whoever has no API to ask."""

    async def credentials(self, wanted: Wanted) -> Credentials:
        raise SetupError("podCertificate volumes are not supported by this node")

    def forget_pod(self, uid: str) -> None: ...


class Recorder(Protocol):
    def event(self, about: Obj, kind: Any, reason: str, message: str) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class _Asked:
    """An open request."""

    name: str
    revision: int
    key: bytes


@dataclass(slots=True, repr=False)
class _Issued:
    key: bytes
    chain: bytes
    refresh_at: datetime
    not_after: datetime
    #: Events that were told of it
    told: set[str] = field(default_factory=set)


@dataclass(slots=True, repr=False)
class _Projection:
    asked: _Asked | None = None
    issued: _Issued | None = None
    #: why there will be none, ever
    refused: str = ""
    ask_after: datetime | None = None


class PodCertificates:
    """Invariant: a projection with ``refused`` has no open request."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        clock: Clock,
        random: Random,
        recorder: Recorder,
        changed: Callable[[ObjectRef], None],
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """``changed``: told when something came of a request of a pod."""
        self._client = client
        self._node_name = node_name
        self._clock = clock
        self._random = random
        self._recorder = recorder
        self._changed = changed
        self._patience_seconds = patience_seconds
        selector = f"spec.nodeName={node_name}"
        resource = resources.POD_CERTIFICATE_REQUESTS
        self._requests = LazyInformer(client, resource, random, self._tell, field_selector=selector)
        self._making = asyncio.Semaphore(_MAKING)
        #: by the pod's UID, then by volume and index
        self._projections: dict[str, dict[tuple[str, int], _Projection]] = {}

    async def run(self) -> None:
        """Follows this node's requests, from the first on; returns only when cancelled."""
        await self._requests.run()

    def forget_pod(self, uid: str) -> None:
        self._projections.pop(uid, None)

    async def credentials(self, wanted: Wanted) -> Credentials:
        of_pod = self._projections.setdefault(wanted.pod["metadata"]["uid"], {})
        projection = of_pod.setdefault((wanted.volume, wanted.index), _Projection())
        try:
            await self._advance(projection, wanted)
        except SetupError as error:
            if projection.issued is None:
                raise
            log.info("certificate of pod %s is not renewed yet: %s", _name(wanted.pod), error)
        if projection.refused:
            raise SetupError(projection.refused)
        issued = projection.issued
        if issued is None:
            raise SetupError(_NOT_YET)
        now = self._clock.now()
        self._tell_of_age(wanted.pod, issued, now)
        again = now + timedelta(seconds=_AGAIN_SECONDS * (1 + self._random.random()))
        return Credentials(issued.key, issued.chain, issued.refresh_at if issued.refresh_at > now else again)

    async def _advance(self, projection: _Projection, wanted: Wanted) -> None:
        """Takes what came of the open request, or opens one if it is time. Raises SetupError."""
        if projection.refused:
            return
        try:
            requests = await self._requests.informer()
        except ApiError as error:
            raise SetupError(error.message) from error
        self._settle(projection, wanted, requests)
        now = self._clock.now()
        issued = projection.issued
        if projection.asked or projection.refused or (issued is not None and now < issued.refresh_at):
            return
        if projection.ask_after is not None and now < projection.ask_after:
            return
        projection.ask_after = now + _ASK_AGAIN
        projection.asked = await self._ask(wanted, "initial" if issued is None else "refresh")
        if issued is None:
            await self._wait(projection.asked, wanted, requests)
            self._settle(projection, wanted, requests)

    async def _wait(self, asked: _Asked, wanted: Wanted, requests: Informer) -> None:
        namespace = wanted.pod["metadata"]["namespace"]
        try:
            async with asyncio.timeout(self._patience_seconds):
                await requests.wait_until(lambda: _outcome(requests.get(namespace, asked.name)) is not None)
        except (TimeoutError, NotFound):
            pass  # it is looked at again when something comes of it

    def _settle(self, projection: _Projection, wanted: Wanted, requests: Informer) -> None:
        asked, namespace = projection.asked, wanted.pod["metadata"]["namespace"]
        if asked is None:
            return
        request = requests.get(namespace, asked.name)
        if request is None:
            if requests.revision >= asked.revision:
                projection.asked = None  # somebody deleted it
            return
        condition = _outcome(request)
        if condition is None:
            return
        projection.asked = None
        if condition["type"] == "Issued":
            projection.issued = self._issued(asked.key, request)
            return
        reason, message = quoted(text(condition, "reason")), quoted(text(condition, "message"))
        word = condition["type"].lower()
        projection.refused = f"PodCertificateRequest was permanently {word}: reason={reason} message={message}"
        happened = "was denied" if word == "denied" else "failed"
        told = f"PodCertificateRequest {namespace}/{asked.name} {happened}, reason={reason}, message={message}"
        self._recorder.event(wanted.pod, "Warning", condition["type"], told)

    def _issued(self, key: bytes, request: Obj) -> _Issued:
        status, now = part(request, "status"), self._clock.now()
        chain = b"".join(
            pem.certificate_block(each.der) for each in pem.blocks(text(status, "certificateChain").encode())
        )
        refresh_at = parse_time(status["beginRefreshAt"]) + timedelta(seconds=_JITTER_SECONDS * self._random.random())
        # Whatever the signer says, the next is not asked for at once.
        refresh_at = max(refresh_at, now + timedelta(seconds=_AGAIN_SECONDS))
        return _Issued(key, chain, refresh_at, parse_time(status["notAfter"]))

    async def _ask(self, wanted: Wanted, which: str) -> _Asked:
        try:
            async with self._making:
                pair = await asyncio.to_thread(keypairs.make, wanted.source.get("keyType") or "")
            created = await self._create(wanted, pair)
        except keypairs.UnknownKeyType as error:
            raise SetupError(
                f"while creating {which} PodCertificateRequest: while generating keypair: {error}"
            ) from error
        except (ApiError, OSError, TimeoutError) as error:
            detail = error.message if isinstance(error, ApiError) else "the API server does not answer"
            raise SetupError(
                f"while creating {which} PodCertificateRequest: while creating on API: {detail}"
            ) from error
        return _Asked(created["metadata"]["name"], revision_of(created), pair.private_pem)

    async def _create(self, wanted: Wanted, pair: keypairs.KeyPair) -> Obj:
        meta, source = wanted.pod["metadata"], wanted.source
        account = wanted.pod["spec"].get("serviceAccountName") or "default"
        node = await self._client.get(resources.NODES, self._node_name)
        owner = await self._client.get(resources.SERVICE_ACCOUNTS, account, meta["namespace"])
        spec = {
            "signerName": source.get("signerName"),
            "podName": meta["name"],
            "podUID": meta["uid"],
            "serviceAccountName": account,
            "serviceAccountUID": owner["metadata"]["uid"],
            "nodeName": self._node_name,
            "nodeUID": node["metadata"]["uid"],
            "stubPKCS10Request": base64.b64encode(pair.request_der).decode(),
        }
        if source.get("maxExpirationSeconds") is not None:
            spec["maxExpirationSeconds"] = source["maxExpirationSeconds"]
        if source.get("userAnnotations"):
            spec["unverifiedUserAnnotations"] = source["userAnnotations"]
        request = {
            "apiVersion": resources.POD_CERTIFICATE_REQUESTS.api_version,
            "kind": resources.POD_CERTIFICATE_REQUESTS.kind,
            "metadata": {
                "namespace": meta["namespace"],
                "generateName": "req-",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}],
            },
            "spec": spec,
        }
        return await self._client.create(resources.POD_CERTIFICATE_REQUESTS, request)

    def _tell_of_age(self, pod: Obj, issued: _Issued, now: datetime) -> None:
        """Once each: that it should long have been renewed, and that it is over."""
        for reason, message, moment in (
            ("CertificateOverdueForRefresh", "PodCertificate refresh overdue", issued.refresh_at + _OVERDUE),
            ("CertificateExpired", "PodCertificate expired", issued.not_after),
        ):
            if now > moment and reason not in issued.told:
                issued.told.add(reason)
                self._recorder.event(pod, "Warning", reason, message)

    def _tell(self, request: Obj) -> None:
        uid = text(part(request, "spec"), "podUID")
        if uid in self._projections:
            namespace = request["metadata"]["namespace"]
            self._changed(ObjectRef(resources.POD_CERTIFICATE_REQUESTS, namespace, uid))


def _outcome(request: Obj | None) -> Obj | None:
    """The condition that says what came of it; None: nothing yet."""
    conditions = parts(part(request or {}, "status"), "conditions")
    return next((each for each in conditions if each.get("type") in ("Denied", "Failed", "Issued")), None)


def _name(pod: Obj) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
