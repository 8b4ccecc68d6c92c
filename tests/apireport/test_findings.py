"""What is found in odd manifests, and in the objects of a cluster."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from version_objects import random_object

from sampan.api.errors import ApiError, Forbidden, NotFound, ServiceUnavailable
from sampan.api.registry import registry
from sampan.api.versions.lifecycle import Release, lifecycles
from sampan.api.versions.manifests import NotConvertible, modernised
from sampan.apireport.cluster import objects
from sampan.apireport.findings import Span, findings, used_in
from sampan.apireport.judging import refusals
from sampan.apireport.rewriting import rewrite
from sampan.client.client import Client

SPAN = Span(Release(1, 20), Release(1, 37))


def test_the_managers_that_wrote_in_a_former_version_are_named() -> None:
    fields = [
        {"manager": "helm", "apiVersion": "policy/v1beta1"},
        {"manager": "kube-controller-manager", "apiVersion": "policy/v1"},
    ]
    obj = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "managedFields": fields}}
    (finding,) = used_in(obj, SPAN, "cluster")
    assert (finding.source, finding.api_version, finding.change) == ("cluster (by helm)", "policy/v1beta1", "removed")


class Pages:
    """A transport that answers lists with two pages of one budget each."""

    async def call(self, call: Any) -> Any:
        if "poddisruptionbudgets" not in call.path:
            return {"items": [], "metadata": {}}
        second = "continue" in call.query
        fields = [{"manager": "old", "apiVersion": "policy/v1beta1"}]
        item = {"metadata": {"name": f"b{int(second)}", "managedFields": fields}}
        return {"items": [item], "metadata": {} if second else {"continue": "more"}}


async def _all(found: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in found]


async def test_a_cluster_is_read_a_page_at_a_time() -> None:
    transport: Any = Pages()
    refused: list[str] = []
    found = await _all(objects(Client(transport), refused))
    assert refused == []
    assert [each["metadata"]["name"] for each in found] == ["b0", "b1"]
    assert [finding.name for each in found for finding in used_in(each, SPAN, "cluster")] == ["b0", "b1"]


class Old(Pages):
    """A cluster of v1.20: the budget's version of today is not served there."""

    async def call(self, call: Any) -> Any:
        if call.path == "/apis/policy/v1/poddisruptionbudgets":
            raise NotFound("the server could not find the requested resource")
        return await super().call(call)


async def test_an_old_cluster_is_asked_in_the_versions_that_it_serves() -> None:
    transport: Any = Old()
    found = await _all(objects(Client(transport), []))
    assert [(each["apiVersion"], each["metadata"]["name"]) for each in found] == [
        ("policy/v1beta1", "b0"), ("policy/v1beta1", "b1"),
    ]  # fmt: skip


class Refusing(Pages):
    def __init__(self, error: ApiError) -> None:
        self.error = error

    async def call(self, call: Any) -> Any:
        if "cronjobs" in call.path:
            raise self.error
        return await super().call(call)


async def test_what_may_not_be_listed_is_told_and_the_rest_looked_at() -> None:
    transport: Any = Refusing(Forbidden("cronjobs.batch is forbidden"))
    refused: list[str] = []
    assert len(await _all(objects(Client(transport), refused))) == 2
    assert refused == ["cronjobs.batch is forbidden"]


async def test_a_cluster_that_does_not_answer_is_told_once() -> None:
    transport: Any = Refusing(ServiceUnavailable("nobody there"))
    refused: list[str] = []
    assert await _all(objects(Client(transport), refused)) == []
    assert refused == ["nobody there"]


@pytest.mark.parametrize(
    "kind", [kind for kind in registry().kinds() if kind.former], ids=lambda kind: f"{kind.api_version}.{kind.kind}"
)
def test_whatever_is_written_is_judged_and_rewritten_without_a_fault(kind: Any) -> None:
    for seed in range(10):
        obj = random_object(kind, random.Random(seed))
        list(findings(obj, "x", SPAN))
        new = modernised(obj)
        refusals(new)
        entry = lifecycles()[kind.api_version, kind.kind]
        assert (new["apiVersion"], new["kind"]) == entry.replacement
        for key in list(obj):
            broken = {**obj, key: "text" if key not in ("apiVersion", "kind") else obj[key]}
            list(findings(broken, "x", SPAN))
            try:
                modernised(broken)
            except NotConvertible:
                pass


def test_what_is_no_plain_line_is_written_from_its_values() -> None:
    flow = b'{"kind": "CronJob", "apiVersion": "batch/v1beta1", "metadata": {"name": "a"}}\n'
    done = rewrite(flow, Release(1, 37))
    assert done.changed == 1
    assert done.text == b"kind: CronJob\napiVersion: batch/v1\nmetadata:\n  name: a\n"


def test_documents_that_need_nothing_keep_every_byte() -> None:
    text = b"# a\n---  # b\napiVersion: v1\r\nkind: X\n--- \n\n# c\n"
    assert rewrite(text, Release(1, 37)).text == text


def test_a_release_before_the_deprecation_changes_nothing() -> None:
    text = b"apiVersion: batch/v1beta1\nkind: CronJob\n"
    assert rewrite(text, Release(1, 20)).text == text


HOOK = b"""\
apiVersion: admissionregistration.k8s.io/v1beta1
kind: ValidatingWebhookConfiguration
metadata: {name: h}
webhooks: [{name: a.example.com, clientConfig: {url: "https://a.example.com/"}%s}]
"""


def test_what_the_new_version_refuses_has_to_be_decided_and_is_told_in_the_servers_words() -> None:
    unknown = 'webhooks[0].sideEffects: Unsupported value: "Unknown": supported values: "None", "NoneOnDryRun"'
    done = rewrite(HOOK % b"", Release(1, 37))
    assert (done.changed, done.refused) == (1, (f"ValidatingWebhookConfiguration h: {unknown}",))
    assert rewrite(HOOK % b", sideEffects: None", Release(1, 37)).refused == ()


NAMES_TARGET = """\
apiVersion: %s
kind: HorizontalPodAutoscaler
metadata: {name: w}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: %s, kind: Deployment, name: w}
"""


@pytest.mark.parametrize("version", ["autoscaling/v1", "autoscaling/v2", "autoscaling/v2beta1", "autoscaling/v2beta2"])
def test_an_autoscaler_that_names_its_target_in_a_version_that_is_gone_is_told_and_mended(version: str) -> None:
    text = NAMES_TARGET % (version, "extensions/v1beta1")
    told = list(findings(yaml.safe_load(text), "x", SPAN))[-1]
    assert (told.api_version, told.change, told.replacement) == ("extensions/v1beta1", "removed", "apps/v1 Deployment")
    assert told.message.startswith("spec.scaleTargetRef: extensions/v1beta1 Deployment is deprecated in v1.8+")
    new = yaml.safe_load(rewrite(text.encode(), Release(1, 37)).text)
    assert new["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}
    assert not list(findings(new, "x", SPAN))


def test_an_autoscaler_of_something_else_keeps_every_byte() -> None:
    for target in ("apps/v1", "example.com/v1beta1"):
        text = (NAMES_TARGET % ("autoscaling/v1", target)).encode()
        assert rewrite(text, Release(1, 37)).text == text
    text = (NAMES_TARGET % ("autoscaling/v1", "extensions/v1beta1")).encode()
    assert rewrite(text, Release(1, 15)).text == text
