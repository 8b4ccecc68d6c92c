"""Admin access to devices: asked for where the label of the namespace lets it, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

CLAIMS = "/apis/resource.k8s.io/v1/namespaces/{}/resourceclaims"
TEXT = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"  # noqa: E501 - upstream's sentence


def spec(admin: bool | None = True) -> Any:
    exactly = {"deviceClassName": "gpu", **({} if admin is None else {"adminAccess": admin})}
    first = {"name": "a", "exactly": {"deviceClassName": "gpu"}}
    return {"devices": {"requests": [first, {"name": "b", "exactly": exactly}]}}


@pytest.fixture
async def namespaces(api: Any) -> None:
    labels = {"resource.kubernetes.io/admin-access": "true"}
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "admins", "labels": labels}})


async def refused(api: Any, url: str, body: Any, method: str = "POST") -> tuple[int, list[tuple[str, str]]]:
    answer = await api(method, url, body)
    causes = answer.obj["details"]["causes"]
    return answer.status, [(cause["field"], cause["message"]) for cause in causes]


async def test_a_claim_may_ask_where_the_namespace_says_so(api: Any, namespaces: None) -> None:
    claim = {"metadata": {"name": "c"}, "spec": spec()}
    assert (await api("POST", CLAIMS.format("admins"), claim)).status == 201
    assert await refused(api, CLAIMS.format("default"), claim) == (
        422,
        [("spec.devices.requests[1].adminAccess", TEXT)],
    )


@pytest.mark.parametrize("admin", [None, False])
async def test_a_claim_that_asks_for_nothing_special_needs_no_label(api: Any, admin: bool | None) -> None:
    claim = {"metadata": {"name": "c"}, "spec": spec(admin)}
    assert (await api("POST", CLAIMS.format("default"), claim)).status == 201


async def test_a_template_is_held_to_the_same(api: Any, namespaces: None) -> None:
    template = {"metadata": {"name": "t"}, "spec": {"spec": spec()}}
    url = CLAIMS.replace("resourceclaims", "resourceclaimtemplates")
    assert (await api("POST", url.format("admins"), template)).status == 201
    status, causes = await refused(api, url.format("default"), template)
    assert (status, causes) == (422, [("spec.devices.requests[1].adminAccess", TEXT)])


async def test_a_status_cannot_give_what_the_namespace_does_not_let(api: Any, namespaces: None) -> None:
    result = {"request": "b", "driver": "d.io", "pool": "p", "device": "g", "adminAccess": True}
    status = {"allocation": {"devices": {"results": [result]}}}
    for namespace, code in (("admins", 200), ("default", 422)):
        url = CLAIMS.format(namespace)
        made = await api("POST", url, {"metadata": {"name": "s"}, "spec": spec(namespace == "admins")})
        answer = await api("PUT", f"{url}/s/status", {**made.obj, "status": status})
        assert answer.status == code, answer.obj
    assert answer.obj["details"]["causes"][0]["field"] == "status.allocation.devices.results[0].adminAccess"
