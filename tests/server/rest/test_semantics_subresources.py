"""What goes through /status, /scale, /approval, /ephemeralcontainers, /resize, and what only connects."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sampan.server.request import UserInfo

pytestmark = pytest.mark.every_store

NS = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def make_pod(api: Any, **spec: Any) -> Any:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    return await api("POST", f"{NS}/pods", pod)


async def make_deployment(api: Any) -> Any:
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": PODS}
    return await api("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})


async def patch(api: Any, url: str, body: Any) -> Any:
    return await api("PATCH", url, body, content_type=MERGE)


async def test_the_status_of_a_pod_may_bring_labels(api: Any) -> None:
    await make_pod(api)
    changed = {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running"}, "spec": {"nodeName": "n"}}
    answer = await patch(api, f"{NS}/pods/p/status", changed)
    assert (answer.status, answer.obj["metadata"]["labels"], answer.obj["status"]["phase"]) == (
        200, {"x": "y"}, "Running",
    )  # fmt: skip
    assert "nodeName" not in answer.obj["spec"]


async def test_the_status_of_a_deployment_does_not_bring_labels(api: Any) -> None:
    await make_deployment(api)
    changed = {"metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}}, "status": {"replicas": 1}}
    answer = await patch(api, f"{DEPLOYMENTS}/d/status", changed)
    meta = answer.obj["metadata"]
    assert ("labels" in meta, meta["annotations"], answer.obj["status"]["replicas"]) == (False, {"x": "y"}, 1)
    assert meta["generation"] == 1


async def test_the_status_of_a_volume_attachment_brings_no_metadata(api: Any) -> None:
    url = "/apis/storage.k8s.io/v1/volumeattachments"
    spec = {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    assert (await api("POST", url, {"metadata": {"name": "va"}, "spec": spec})).status == 201
    changed = {"metadata": {"annotations": {"x": "y"}}, "status": {"attached": True}}
    answer = await patch(api, f"{url}/va/status", changed)
    assert (answer.status, answer.obj["status"]["attached"]) == (200, True)
    assert "annotations" not in answer.obj["metadata"]


async def test_the_main_resource_ignores_status(api: Any) -> None:
    await make_pod(api)
    answer = await patch(api, f"{NS}/pods/p", {"status": {"phase": "Failed"}})
    assert answer.obj["status"]["phase"] == "Pending"


@pytest.mark.parametrize("body", [{"spec": {"replicas": -1}}, {"spec": {"replicas": "x"}}])
async def test_a_scale_must_be_a_number_from_zero(api: Any, body: Any) -> None:
    await make_deployment(api)
    answer = await patch(api, f"{DEPLOYMENTS}/d/scale", body)
    assert (answer.status, answer.reason, answer.obj["details"]["kind"]) == (422, "Invalid", "Scale")


async def test_a_certificate_request_names_who_made_it(api: Any) -> None:
    spec = {
        "request": base64.b64encode(_pem_request()).decode(),
        "signerName": "example.com/x",
        "usages": ["client auth"],
        "username": "somebody-else",
        "groups": ["system:masters"],
    }
    answer = await api("POST", CSRS, {"metadata": {"name": "c"}, "spec": spec, "status": {"certificate": "YQ=="}})
    assert answer.status == 201, answer.obj
    who = UserInfo("system:anonymous", ("system:unauthenticated",))
    assert (answer.obj["spec"]["username"], answer.obj["spec"]["groups"]) == (who.name, list(who.groups))
    assert "certificate" not in answer.obj["status"]


def _pem_request() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


async def test_ephemeral_containers_are_only_added_and_only_whole(api: Any) -> None:
    await make_pod(api)
    url = f"{NS}/pods/p/ephemeralcontainers"
    pod = (await api("GET", url)).obj
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "i"}]
    assert (await api("PUT", url, pod)).status == 200
    changed = (await api("GET", url)).obj
    changed["spec"]["ephemeralContainers"][0]["image"] = "other"
    answer = await api("PUT", url, changed)
    assert (answer.status, answer.causes) == (422, [("FieldValueForbidden", "spec.ephemeralContainers")])
    taken = (await api("GET", url)).obj
    taken["spec"]["ephemeralContainers"].append({"name": "c", "image": "i"})
    answer = await api("PUT", url, taken)
    assert (answer.status, answer.causes[0][0]) == (422, "FieldValueDuplicate")


async def test_a_resize_changes_resources_only(api: Any) -> None:
    resources = {"requests": {"cpu": "100m"}}
    await make_pod(api, containers=[{"name": "c", "image": "i", "resources": resources}])
    url = f"{NS}/pods/p/resize"
    pod = (await api("GET", f"{NS}/pods/p")).obj
    pod["spec"]["containers"][0] |= {"image": "other", "resources": {"requests": {"cpu": "200m"}}}
    answer = await api("PUT", url, pod)
    container = answer.obj["spec"]["containers"][0]
    assert (answer.status, container["image"], container["resources"]["requests"]) == (200, "i", {"cpu": "200m"})
    pod = (await api("GET", f"{NS}/pods/p")).obj
    pod["spec"]["containers"][0]["resources"] = {}
    assert (await api("PUT", url, pod)).status == 422  # the QoS class would change


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward", "proxy"])
async def test_a_connection_cannot_be_rehearsed(api: Any, subresource: str) -> None:
    await make_pod(api)
    answer = await api("POST", f"{NS}/pods/p/{subresource}?dryRun=All")
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert "dryRun" in answer.message


async def test_a_job_labels_its_pods_with_its_uid(api: Any) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    answer = await api(
        "POST", "/apis/batch/v1/namespaces/default/jobs", {"metadata": {"name": "j"}, "spec": {"template": template}}
    )
    assert answer.status == 201, answer.obj
    labels = answer.obj["spec"]["template"]["metadata"]["labels"]
    uid = answer.obj["metadata"]["uid"]
    assert labels == {
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid, "job-name": "j",
    }  # fmt: skip
    assert answer.obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


@pytest.mark.parametrize("subresource", ["eviction", "binding"])
async def test_creating_subresources_honour_field_validation(api: Any, subresource: str) -> None:
    await make_pod(api)
    body = {"metadata": {"name": "p"}, "target": {"name": "n"}, "odd": 1}
    answer = await api("POST", f"{NS}/pods/p/{subresource}?fieldValidation=Strict", body)
    assert answer.status == 400
    assert 'unknown field "odd"' in answer.message


async def test_an_evicted_pod_says_why_it_ends_unless_it_is_a_rehearsal(api: Any) -> None:
    """KEP-3329: what a Job's failure policy reads."""
    pods = "/api/v1/namespaces/default/pods"
    held = {"metadata": {"name": "held", "finalizers": ["example.com/held"]}, "spec": PODS["spec"]}
    assert (await api("POST", pods, held)).status == 201
    eviction = {"metadata": {"name": "held"}}
    assert (await api("POST", f"{pods}/held/eviction?dryRun=All", eviction)).status == 201
    assert "conditions" not in (await api("GET", f"{pods}/held")).obj["status"]
    assert (await api("POST", f"{pods}/held/eviction", eviction)).status == 201
    pod = (await api("GET", f"{pods}/held")).obj
    [condition] = pod["status"]["conditions"]
    assert pod["metadata"]["deletionTimestamp"]
    assert (condition["type"], condition["status"], condition["reason"], condition["message"]) == (
        "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting",
    )  # fmt: skip
