"""Rules of the core that clients, fuzzers and reviews met: each stands for a class of faults."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.clock import FixedClock
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.horizon import Horizon
from sampan.server.request import Request
from sampan.server.rest.context import NoAdmission
from sampan.server.write import Write
from sampan.store.memory import MemoryStore

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"
MERGE = "application/merge-patch+json"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


# Numbers


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 20, "1e3", "٣", "-1", "0x1", " 1"])
@pytest.mark.parametrize("parameter", ["resourceVersion", "limit", "timeoutSeconds"])
async def test_numbers_that_are_none_are_400(api: Any, parameter: str, digits: str) -> None:
    answer = await api("GET", f"{MAPS}?{parameter}={digits}")
    assert answer.status == 400 or (parameter != "resourceVersion" and digits == "-1")
    assert len(answer.message) < 300


@pytest.mark.parametrize("query", ["watch", "watch=", "watch=1", "watch=true", "watch=yes"])
async def test_a_watch_parameter_is_true_unless_it_says_otherwise(api: Any, query: str) -> None:
    await api("POST", MAPS, config_map())
    watch = api.watch(f"{MAPS}?{query}")
    assert (await anext(watch))["type"] == "ADDED"
    await watch.aclose()


@pytest.mark.parametrize("query", ["watch=0", "watch=false", "watch=False"])
async def test_a_watch_parameter_may_say_no(api: Any, query: str) -> None:
    assert (await api("GET", f"{MAPS}?{query}")).obj["kind"] == "ConfigMapList"


# resourceVersion in bodies


@pytest.mark.parametrize("version", ["0", "", "abc", "-1", "99999999999999999999"])
async def test_a_create_may_bring_a_resource_version_that_means_nothing(api: Any, version: str) -> None:
    body = {"metadata": {"name": "a", "resourceVersion": version}}
    assert (await api("POST", MAPS, body)).status == 201


async def test_a_create_that_pins_a_revision_is_400(api: Any) -> None:
    answer = await api("POST", MAPS, {"metadata": {"name": "a", "resourceVersion": "7"}})
    assert (answer.status, answer.message) == (400, "resourceVersion should not be set on objects to be created")


async def test_a_cluster_scoped_object_has_no_namespace_whatever_its_body_says(api: Any) -> None:
    answer = await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n", "namespace": "x"}})
    assert answer.status == 201
    assert "namespace" not in answer.obj["metadata"]


# Size and depth


async def test_an_object_larger_than_etcd_takes_is_413(api: Any) -> None:
    revision = {"metadata": {"name": "r"}, "revision": 1, "data": {"big": "x" * 900_000}}
    assert (await api("POST", REVISIONS, revision)).status == 201
    grown = await api(
        "PATCH", f"{REVISIONS}/r", {"metadata": {"annotations": {"a": "y" * 200_000}}}, content_type=MERGE
    )
    assert grown.status == 200
    large = {"metadata": {"name": "s"}, "revision": 1, "data": {"big": "x" * 1_600_000}}
    refused = await api("POST", REVISIONS, large)
    assert (refused.status, refused.message) == (413, "etcdserver: request is too large")
    assert (await api("GET", f"{REVISIONS}/s")).status == 404


@pytest.mark.parametrize("depth", [200, 254, 255, 256, 399, 400, 1000, 100_000])
@pytest.mark.parametrize("content_type", [MERGE, "application/strategic-merge-patch+json"])
async def test_deep_patches_are_never_a_fault_of_the_server(api: Any, depth: int, content_type: str) -> None:
    assert (await api("POST", REVISIONS, {"metadata": {"name": "r"}, "revision": 1, "data": {"x": 1}})).status == 201
    deep = b'{"data":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    answer = await api("PATCH", f"{REVISIONS}/r", deep, content_type=content_type)
    assert answer.status in (200, 400, 413, 422)
    assert (await api("GET", f"{REVISIONS}/r")).status == 200


async def test_a_json_patch_that_copies_what_it_nested_too_deep_is_422(api: Any) -> None:
    assert (await api("POST", REVISIONS, {"metadata": {"name": "r"}, "revision": 1, "data": {"x": 1}})).status == 201
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    inner = "/data/x" + "/a" * 199
    patch = [
        {"op": "replace", "path": "/data/x", "value": deep},
        {"op": "replace", "path": f"{inner}/a", "value": deep},
        {"op": "copy", "from": "/data/x", "path": "/data/y"},
    ]
    answer = await api("PATCH", f"{REVISIONS}/r", patch, content_type="application/json-patch+json")
    assert answer.status in (400, 422)


async def test_200_000_duplicate_keys_are_answered_soon_and_with_few_warnings(api: Any) -> None:
    body = (
        b'{"metadata":{"name":"a"},"data":{' + b",".join(b'"k%d":"","k%d":""' % (i, i) for i in range(60_000)) + b"}}"
    )
    answer = await api("POST", f"{MAPS}?dryRun=All", body)
    assert answer.status == 201
    assert 0 < len(answer.warnings) <= 100


async def test_200_000_unknown_fields_are_answered_soon_and_with_few_warnings(api: Any) -> None:
    body = b'{"metadata":{"name":"a"},' + b",".join(b'"f%d":0' % i for i in range(200_000)) + b"}"
    answer = await api("POST", f"{MAPS}?dryRun=All", body)
    assert answer.status == 201
    assert 0 < len(answer.warnings) <= 100


# Bindings


async def test_a_binding_raises_no_generation(api: Any) -> None:
    await api("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    before = (await api("GET", f"{PODS}/p")).obj["metadata"]["generation"]
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert (await api("POST", f"{PODS}/p/binding", body)).status == 201
    assert (await api("GET", f"{PODS}/p")).obj["metadata"]["generation"] == before == 1


async def test_a_pod_that_gets_its_node_is_nominated_no_longer(api: Any) -> None:
    await api("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    await api("PATCH", f"{PODS}/p/status", {"status": {"nominatedNodeName": "n"}}, content_type=MERGE)
    assert (await api("GET", f"{PODS}/p")).obj["status"]["nominatedNodeName"] == "n"
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert (await api("POST", f"{PODS}/p/binding", body)).status == 201
    assert "nominatedNodeName" not in (await api("GET", f"{PODS}/p")).obj["status"]


async def test_a_binding_of_a_pod_as_it_was_is_409(api: Any) -> None:
    made = await api("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    old = made.obj["metadata"]["resourceVersion"]
    await api("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    body = {"metadata": {"name": "p", "resourceVersion": old}, "target": {"kind": "Node", "name": "n"}}
    refused = await api("POST", f"{PODS}/p/binding", body)
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert "nodeName" not in (await api("GET", f"{PODS}/p")).obj["spec"]


# Certificates


def certificate_request() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    made = x509.CertificateSigningRequestBuilder(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def test_an_approval_keeps_the_conditions_that_it_brings(api: Any) -> None:
    url = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": certificate_request(), "signerName": "example.com/s", "usages": ["client auth"]}
    await api("POST", url, {"metadata": {"name": "r"}, "spec": spec})
    conditions = [
        {"type": "Approved", "status": "True", "reason": "R"},
        {"type": "Custom", "status": "True", "reason": "R"},
    ]
    answer = await api("PATCH", f"{url}/r/approval", {"status": {"conditions": conditions}}, content_type=MERGE)
    assert answer.status == 200
    assert {c["type"] for c in (await api("GET", f"{url}/r")).obj["status"]["conditions"]} == {"Approved", "Custom"}


# Continue tokens


async def test_a_continue_token_lives_no_longer_than_upstreams(api: Any) -> None:
    for name in ("a", "b", "c"):
        await api("POST", MAPS, config_map(name))
    page = (await api("GET", f"{MAPS}?limit=1")).obj
    token = page["metadata"]["continue"]
    await api("POST", MAPS, config_map("d"))
    assert (await api("GET", f"{MAPS}?limit=1&continue={token}")).status == 200
    for _ in range(2):
        api.server._horizon.tick(api.server.store.revision)
    expired = await api("GET", f"{MAPS}?limit=1&continue={token}")
    assert (expired.status, expired.reason) == (410, "Expired")
    rest = await api("GET", f"{MAPS}?continue={expired.obj['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest.obj["items"]] == ["b", "c", "d"]


async def test_an_exact_read_expires_with_the_token_though_history_is_kept(api: Any) -> None:
    made = await api("POST", MAPS, config_map())
    version = made.obj["metadata"]["resourceVersion"]
    await api("POST", MAPS, config_map("b"))
    exact = f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
    assert len((await api("GET", exact)).obj["items"]) == 1
    for _ in range(2):
        api.server._horizon.tick(api.server.store.revision)
    assert (await api("GET", exact)).status == 410
    assert len((await api.server.store.range("/registry/core/configmaps/", revision=int(version))).entries) == 1


def test_the_horizon_is_a_tick_behind() -> None:
    horizon = Horizon()
    seen = []
    for revision in (10, 20, 30):
        horizon.tick(revision)
        seen.append(horizon.oldest)
    assert seen == [0, 10, 20]


@pytest.mark.parametrize("token", ["garbage", "AAAA", "%FF", "eyJ2IjoxfQ", "e30"])
async def test_a_token_that_is_none_is_400_in_words(api: Any, token: str) -> None:
    answer = await api("GET", f"{MAPS}?continue={token}")
    assert answer.status == 400
    assert answer.message.startswith("invalid continue token: continue key is not valid")
    assert not any(word in answer.message for word in ("UTF-8", "codec", "line 1", "str ", "b'"))


# Deletes


class Watchful(NoAdmission):
    """Admission that changes the object behind a delete's back, the first time, and remembers what it saw."""

    def __init__(self, api: Any) -> None:
        self._api, self.seen, self.busy = api, [], False

    async def admit(self, write: Write) -> None:
        if write.operation != "DELETE" or self.busy or write.old is None:
            return
        self.seen.append(write.old["metadata"]["labels"]["n"])
        if len(self.seen) == 1:
            self.busy = True
            await self._api("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"n": "2"}}}, content_type=MERGE)
            self.busy = False

    async def validate(self, write: Write) -> None:
        return


async def test_what_is_deleted_is_what_admission_saw(api: Any) -> None:
    await api("POST", MAPS, {"metadata": {"name": "a", "labels": {"n": "1"}}})
    api.server._context.admission = admission = Watchful(api)
    assert (await api("DELETE", f"{MAPS}/a")).status == 200
    assert admission.seen == ["1", "2"]


# CONNECT


class Recorder(NoAdmission):
    def __init__(self) -> None:
        self.seen: list[Write] = []

    async def admit(self, write: Write) -> None:
        if write.operation == "CONNECT":
            self.seen.append(write)

    async def validate(self, write: Write) -> None:
        return


async def test_a_connection_is_admitted_with_its_options(api: Any) -> None:
    api.server._context.admission = recorder = Recorder()
    await api("POST", f"{PODS}/p/exec?command=ls&command=-l&container=c&stdin=true")
    await api("GET", f"{PODS}/p/log")
    [write] = recorder.seen
    assert (write.kind.kind, write.subresource, write.name, write.namespace) == ("Pod", "exec", "p", "default")
    assert write.obj == {
        "kind": "PodExecOptions", "apiVersion": "v1", "stdin": True, "container": "c", "command": ["ls", "-l"],
    }  # fmt: skip


async def test_a_write_says_how_it_was_asked_for(api: Any) -> None:
    seen: list[Write] = []

    class Keep(Recorder):
        async def admit(self, write: Write) -> None:
            seen.append(write)

    api.server._context.admission = Keep()
    body = {
        "metadata": {"name": "e"}, "regarding": {"namespace": "default"}, "action": "A", "reason": "R",
        "type": "Normal", "reportingController": "x", "reportingInstance": "y",
        "eventTime": "2026-11-21T12:00:00.000000Z",
    }  # fmt: skip
    await api("POST", "/apis/events.k8s.io/v1/namespaces/default/events?fieldManager=me&dryRun=All", body)
    [write] = seen
    assert write.request_kind is not None
    assert (write.kind.api_version, write.request_kind.api_version) == ("v1", "events.k8s.io/v1")
    assert (write.manager, write.dry_run, write.operation) == ("me", True, "CREATE")


# Time to live


async def test_events_live_for_an_hour(api: Any) -> None:
    body = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}
    assert (await api("POST", "/api/v1/namespaces/default/events", body)).status == 201
    kinds = api.server.surface.kinds
    assert {kind.api_version for kind in kinds.kinds() if kind.ttl_seconds == 3600} >= {"v1"}


# Lists


async def test_a_kept_list_is_made_anew_after_every_kind_of_change(api: Any) -> None:
    async def names() -> list[str]:
        return [item["metadata"]["name"] for item in (await api("GET", MAPS)).obj["items"]]

    assert await names() == []
    await api("POST", MAPS, config_map("a"))
    assert await names() == ["a"]
    await api("POST", MAPS, config_map("b", k="1"))
    assert await names() == ["a", "b"]
    await api("PATCH", f"{MAPS}/b", {"data": {"k": "2"}}, content_type=MERGE)
    assert (await api("GET", MAPS)).obj["items"][1]["data"] == {"k": "2"}
    await api("DELETE", f"{MAPS}/a")
    assert await names() == ["b"]


async def test_a_list_kept_for_one_namespace_or_selector_is_not_another_s(api: Any) -> None:
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    for number, namespace in enumerate(("default", "other")):
        body = {"metadata": {"name": f"m{number}", "labels": {"n": str(number)}}}
        await api("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)

    async def names(url: str) -> list[str]:
        return [item["metadata"]["name"] for item in (await api("GET", url)).obj["items"]]

    for _ in range(2):
        assert await names("/api/v1/configmaps") == ["m0", "m1"]
        assert await names("/api/v1/namespaces/other/configmaps") == ["m1"]
        assert await names("/api/v1/configmaps?labelSelector=n=0") == ["m0"]
        assert await names("/api/v1/configmaps?labelSelector=n!=0") == ["m1"]
        assert await names("/api/v1/configmaps?fieldSelector=metadata.name=m1") == ["m1"]
        assert await names("/api/v1/configmaps?labelSelector=n") == ["m0", "m1"]


async def test_a_long_yaml_list_is_the_same_list(api: Any) -> None:
    for number in range(60):
        await api("POST", MAPS, config_map(f"m{number:02}", k="v"))
    as_yaml = await api("GET", MAPS, accept="application/yaml")
    assert as_yaml.obj.count("- metadata:") == 60
    table = await api("GET", MAPS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert len(table.obj["rows"]) == 60


# The server's own components


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    clock = FixedClock(datetime(2026, 11, 21, tzinfo=UTC))
    config = ServerConfig(listen=False, bootstrap=False, clock=clock, random=Random(1), openapi=False)
    async with Server(config) as made:
        yield made


@pytest.mark.logs_errors("test failed")
async def test_a_component_that_fails_ends_nothing_else_and_shows_in_the_metrics(server: Server) -> None:
    async def failing() -> None:
        raise RuntimeError("a 503 from somewhere")

    failed = asyncio.Event()
    server.components.listen(lambda kept: failed.set())
    server.components.keep("test", failing)
    await asyncio.wait_for(failed.wait(), 20)
    assert not server.fatal.is_set()
    response = await server.metrics.handle(Request("GET", "/metrics", {}, {}))
    assert response is not None and isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'sampan_component_running{component="test"} 0.0' in lines
    assert 'sampan_component_failures_total{component="test"} 1.0' in lines
    assert 'sampan_component_running{component="age resource versions"} 1.0' in lines


async def test_a_server_that_cannot_start_lets_go_of_what_it_had() -> None:
    closed: list[str] = []

    class Closing(MemoryStore):
        async def close(self) -> None:
            closed.append("store")
            await super().close()

    config = ServerConfig(listen=False, bootstrap=False, authorization_modes=("Nonsense",))
    with pytest.raises(ValueError, match="unknown authorization mode"):
        async with Server(config, store=Closing()):
            pass
    assert closed == ["store"]


async def test_messages_show_no_python(api: Any) -> None:
    bodies = [b"\xff", b"{", b'{"metadata":{"name":1}}', b'{"metadata":[]}', b"[]", b'{"data":{"a":{}}}', b"nul"]
    for body in bodies:
        answer = await api("POST", MAPS, body)
        text = orjson.dumps(answer.obj).decode()
        assert answer.status in (400, 422)
        assert not any(
            word in text for word in ("Traceback", "dict", "NoneType", "codec", "<class", "b'", "line 1 column")
        )
