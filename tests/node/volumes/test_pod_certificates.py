"""podCertificate volumes: one request at a time, what came of it, its renewal, and where the key is.

Upstream's facts: pkg/kubelet/podcertificate, pkg/volume/projected.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sampan.api import resources
from sampan.api.clock import FixedClock, format_time
from sampan.api.errors import ServiceUnavailable
from sampan.api.groups.certificates.podcertificaterequest import KINDS
from sampan.api.transport import Call, WatchEvent
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.env.sources import ObjectRef
from sampan.node.simulated_volumes import SimulatedVolumes
from sampan.node.volumes import keypairs
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.podcertificate import PodCertificates

World = Any  # the fixture of conftest.py
CHAIN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
HOUR = timedelta(hours=1)
UIDS = {"nodes": "node-uid", "serviceaccounts": "account-uid"}


class Half(random.Random):
    def random(self) -> float:
        return 0.5


class Api:
    """An API server that has this node, an account, and the requests that are made; its signer is the test."""

    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.made: list[Obj] = []
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.queries: list[dict[str, str]] = []
        self.away = False
        self.revision = 1
        #: what a signer says at once; None: it takes its time
        self.at_once: Obj | None = None

    async def call(self, call: Call) -> Any:
        if self.away:
            raise ServiceUnavailable("away")
        if call.method == "POST":
            return self._made(call.body)
        if call.path.endswith("/podcertificaterequests"):
            self.queries.append(dict(call.query))
            return {"metadata": {"resourceVersion": "1"}, "items": []}
        plural = call.path.split("/")[-2]
        return {"metadata": {"name": "x", "uid": UIDS[plural]}}

    def _made(self, body: Obj) -> Obj:
        self.revision += 1
        meta = {**body["metadata"], "name": f"req-{len(self.made)}", "resourceVersion": str(self.revision)}
        made = {**body, "metadata": meta}
        self.made.append(made)
        self.events.put_nowait(WatchEvent("ADDED", made))
        if self.at_once is not None:
            self.answer(self.at_once)
        return made

    def answer(self, status: Obj, index: int = -1) -> None:
        self.revision += 1
        request = self.made[index]
        meta = {**request["metadata"], "resourceVersion": str(self.revision)}
        self.events.put_nowait(WatchEvent("MODIFIED", {**request, "metadata": meta, "status": status}))

    def delete(self) -> None:
        self.revision += 1
        request = self.made[-1]
        meta = {**request["metadata"], "resourceVersion": str(self.revision)}
        self.events.put_nowait(WatchEvent("DELETED", {**request, "metadata": meta}))

    def issued(self, chain: str = CHAIN, *, life: timedelta = 2 * HOUR, refresh: timedelta = HOUR) -> Obj:
        now = self.clock.now()
        return {
            "conditions": [{"type": "Issued", "status": "True"}],
            "certificateChain": chain,
            "notBefore": format_time(now),
            "beginRefreshAt": format_time(now + refresh),
            "notAfter": format_time(now + life),
        }

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async def events() -> AsyncIterator[WatchEvent]:
            while True:
                yield await self.events.get()

        yield events()

    def cache_view(self, resource: object) -> None:
        return None

    async def close(self) -> None:
        pass


class Node:
    """The volume manager of a node with ``Api``, without patience for signers."""

    def __init__(self, world: World) -> None:
        self.clock: FixedClock = world.clock
        self.api = Api(self.clock)
        self.told: list[tuple[str, str]] = []
        self.changes: asyncio.Queue[ObjectRef] = asyncio.Queue()
        client = Client(self.api)  # a transport in all that matters
        self.certificates = PodCertificates(
            client,
            "here",
            self.clock,
            Half(),
            self,
            self.changes.put_nowait,
            patience_seconds=0,
        )
        self.manager = VolumeManager(
            world.root, world.source, world.tokens, self.clock, certificates=self.certificates, mounter=world.mounter
        )

    def event(self, about: Obj, kind: str, reason: str, message: str) -> None:
        assert (about["metadata"]["uid"], kind) == ("u1", "Warning")
        self.told.append((reason, message))

    async def mount(self, pod: Obj) -> Path:
        return (await self.manager.mount_pod(pod))["v"].host_path

    async def changed(self, times: int = 1) -> None:
        """Until the node has seen so many changes of its requests; the volume manager is told as the agent does."""
        for _ in range(times):
            self.manager.object_changed(await self.changes.get())

    async def mount_issued(self, pod: Obj, **status: Any) -> Path:
        with pytest.raises(VolumeError, match="credential bundle is not issued yet"):
            await self.mount(pod)
        self.api.answer(self.api.issued(**status))
        await self.changed(2)
        return await self.mount(pod)

    def forward(self, time: timedelta) -> datetime:
        self.clock.set(self.clock.now() + time)
        return self.clock.now()


@pytest.fixture
async def node(world: World) -> AsyncIterator[Node]:
    made = Node(world)
    task = asyncio.create_task(made.certificates.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


def pod(*sources: Obj, **spec: Any) -> Obj:
    given = [{"podCertificate": source} for source in sources or (SOURCE,)]
    volumes = [{"name": "v", "projected": {"sources": given}}]
    meta = {"name": "web", "namespace": "ns", "uid": "u1"}
    containers = [{"name": "c"}]
    return {
        "metadata": meta,
        "spec": {"containers": containers, "volumes": volumes, "serviceAccountName": "sa", **spec},
    }


SOURCE: Obj = {"signerName": "example.com/mtls", "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}
FULL: Obj = {
    "signerName": "example.com/mtls",
    "keyType": "ED25519",
    "maxExpirationSeconds": 7200,
    "keyPath": "tls.key",
    "certificateChainPath": "tls.crt",
    "userAnnotations": {"example.com/domain": "a"},
}


async def test_a_request_names_the_pod_its_account_and_its_node_and_shows_the_key(node: Node) -> None:
    await node.mount_issued(pod(FULL))
    request = node.api.made[0]
    meta, spec = request["metadata"], dict(request["spec"])
    stub = x509.load_der_x509_csr(base64.b64decode(spec.pop("stubPKCS10Request")))
    assert stub.is_signature_valid
    assert stub.subject == x509.Name([])
    assert meta["generateName"] == "req-"
    assert meta["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"}]
    assert spec == {
        "signerName": "example.com/mtls",
        "podName": "web",
        "podUID": "u1",
        "serviceAccountName": "sa",
        "serviceAccountUID": "account-uid",
        "nodeName": "here",
        "nodeUID": "node-uid",
        "maxExpirationSeconds": 7200,
        "unverifiedUserAnnotations": {"example.com/domain": "a"},
    }
    assert KINDS[0].validate is not None
    assert KINDS[0].validate(request) == []
    assert [query["fieldSelector"] for query in node.api.queries] == ["spec.nodeName=here"]


async def test_nothing_is_asked_before_a_pod_wants_a_certificate(world: World, node: Node) -> None:
    world.add_config_map("cm", a="1")
    await node.manager.mount_pod(
        {**pod(), "spec": {"containers": [], "volumes": [{"name": "v", "configMap": {"name": "cm"}}]}}
    )
    assert node.api.queries == []


async def test_key_and_chain_are_files_of_their_own_and_belong_together(node: Node) -> None:
    path = await node.mount_issued(pod(FULL))
    key = load_pem_private_key((path / "tls.key").read_bytes(), None)
    stub = x509.load_der_x509_csr(base64.b64decode(node.api.made[0]["spec"]["stubPKCS10Request"]))
    shown, kept = (
        each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for each in (stub.public_key(), key.public_key())
    )
    assert shown == kept
    assert (path / "tls.crt").read_text() == CHAIN
    assert sorted(each.name for each in path.iterdir() if not each.name.startswith("..")) == ["tls.crt", "tls.key"]


async def test_a_bundle_is_the_key_and_then_the_chain_without_what_is_no_certificate(node: Node) -> None:
    path = await node.mount_issued(pod(), chain=f"# leaf\n{CHAIN}between\n{CHAIN}")
    private, _, chain = (path / "bundle.pem").read_text().partition("-----END PRIVATE KEY-----\n")
    assert private.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert chain == CHAIN * 2


async def test_the_key_is_the_pods_users_alone_where_there_is_one(node: Node) -> None:
    path = await node.mount_issued(pod(securityContext={"fsGroup": 0}))
    assert (path / "bundle.pem").stat().st_mode & 0o707 == 0o600


async def test_a_mount_waits_a_moment_for_a_signer_that_is_quick(node: Node) -> None:
    node.certificates._patience_seconds = 60.0
    node.api.at_once = node.api.issued()
    assert (await node.mount(pod()) / "bundle.pem").exists()
    assert len(node.api.made) == 1


async def test_one_request_of_a_source_is_open_at_a_time(node: Node) -> None:
    for _ in range(3):
        with pytest.raises(VolumeError, match="credential bundle is not issued yet"):
            await node.mount(pod(SOURCE, {**FULL}))
        node.forward(timedelta(minutes=1))
    assert {each["spec"].get("maxExpirationSeconds") for each in node.api.made} == {None, 7200}
    assert len(node.api.made) == 2


@pytest.mark.parametrize(
    ("outcome", "text", "told"),
    [
        ("Denied", "denied", 'was denied, reason="No", message="never \\"you\\""'),
        ("Failed", "failed", 'failed, reason="No", message="never \\"you\\""'),
    ],
)
async def test_a_refusal_is_told_and_final(node: Node, outcome: str, text: str, told: str) -> None:
    with pytest.raises(VolumeError):
        await node.mount(pod())
    node.api.answer({"conditions": [{"type": outcome, "status": "True", "reason": "No", "message": 'never "you"'}]})
    await node.changed(2)
    for _ in range(2):
        with pytest.raises(VolumeError) as raised:
            await node.mount(pod())
        node.forward(HOUR)
    detail = f'PodCertificateRequest was permanently {text}: reason="No" message="never \\"you\\""'
    assert str(raised.value) == f'MountVolume.SetUp failed for volume "v" : {detail}'
    assert node.told == [(outcome, f"PodCertificateRequest ns/req-0 {told}")]
    assert len(node.api.made) == 1


async def test_a_certificate_is_renewed_with_a_new_key_after_the_signers_time_and_some_jitter(node: Node) -> None:
    path = await node.mount_issued(pod())
    before = (path / "bundle.pem").read_text()
    node.forward(HOUR + timedelta(seconds=149))
    await node.manager.refresh_due()
    assert len(node.api.made) == 1
    node.forward(timedelta(seconds=1))
    await node.manager.refresh_due()
    assert len(node.api.made) == 2
    assert (path / "bundle.pem").read_text() == before
    node.api.answer(node.api.issued())
    await node.changed(2)
    await node.manager.refresh_due()
    assert (path / "bundle.pem").read_text() != before
    assert node.told == []


async def test_who_cannot_renew_keeps_what_it_has_tries_again_and_is_told_when_it_is_late_and_over(node: Node) -> None:
    path = await node.mount_issued(pod())
    before = (path / "bundle.pem").read_text()
    node.api.away = True
    node.forward(HOUR + timedelta(seconds=150))
    for minutes in (0, 11, 2, 60, 2):
        node.forward(timedelta(minutes=minutes))
        await node.manager.refresh_due()
    assert (path / "bundle.pem").read_text() == before
    assert node.told == [
        ("CertificateOverdueForRefresh", "PodCertificate refresh overdue"),
        ("CertificateExpired", "PodCertificate expired"),
    ]
    assert node.manager._seconds_until_due() == 90.0
    node.api.away = False
    node.forward(timedelta(seconds=90))
    await node.manager.refresh_due()
    assert len(node.api.made) == 2


async def test_a_request_that_is_deleted_is_made_again_but_not_at_once(node: Node) -> None:
    with pytest.raises(VolumeError):
        await node.mount(pod())
    node.api.delete()
    await node.changed(2)
    with pytest.raises(VolumeError, match="not issued yet"):
        await node.mount(pod())
    assert len(node.api.made) == 1
    node.forward(timedelta(seconds=10))
    await node.mount_issued(pod())
    assert len(node.api.made) == 2


async def test_a_signer_that_wants_renewal_in_the_past_is_not_asked_without_end(node: Node) -> None:
    await node.mount_issued(pod(), refresh=-HOUR)
    for _ in range(3):
        node.forward(timedelta(seconds=15))
        await node.mount(pod())
    assert len(node.api.made) == 1


async def test_why_no_request_could_be_made_is_said(node: Node) -> None:
    await node.mount_issued(pod())
    node.api.away = True
    with pytest.raises(VolumeError) as raised:
        await node.mount(pod({**SOURCE, "signerName": "example.com/other"}, SOURCE))
    assert str(raised.value).endswith("while creating initial PodCertificateRequest: while creating on API: away")


async def test_a_pod_that_is_gone_is_forgotten(node: Node) -> None:
    await node.mount_issued(pod())
    await node.manager.unmount_pod("u1")
    assert node.certificates._projections == {}
    assert not (node.manager._root / "pods/u1").exists()


async def test_a_hollow_node_asks_for_no_certificate(world: World) -> None:
    volumes = SimulatedVolumes(world.source)
    assert set(await volumes.mount_pod(pod())) == {"v"}


@pytest.mark.parametrize(
    ("key_type", "curve"), [("ECDSAP256", "secp256r1"), ("ECDSAP384", "secp384r1"), ("ECDSAP521", "secp521r1")]
)
def test_a_key_on_a_curve(key_type: str, curve: str) -> None:
    key = x509.load_der_x509_csr(keypairs.make(key_type).request_der).public_key()
    assert key.curve.name == curve


@pytest.mark.parametrize(("key_type", "bits"), [("RSA3072", 3072), ("RSA4096", 4096)])
def test_an_rsa_key_of_a_length(monkeypatch: pytest.MonkeyPatch, key_type: str, bits: int) -> None:
    """Not made: a long one takes its time."""
    asked = []
    short = rsa.generate_private_key(65537, 2048)
    monkeypatch.setattr(rsa, "generate_private_key", lambda exponent, size: asked.append((exponent, size)) or short)
    assert x509.load_der_x509_csr(keypairs.make(key_type).request_der).is_signature_valid
    assert asked == [(65537, bits)]


def test_no_other_key_is_made() -> None:
    with pytest.raises(keypairs.UnknownKeyType, match='unknown key type "DSA"'):
        keypairs.make("DSA")


def test_changes_of_a_pods_requests_are_the_pods() -> None:
    from sampan.node.env.sources import pod_references

    assert pod_references(pod()) == {ObjectRef(resources.POD_CERTIFICATE_REQUESTS, "ns", "u1")}
