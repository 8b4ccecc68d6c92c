"""Versions that Kubernetes removed or deprecates are served: by conversion, with their own defaults and a Warning."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sampan.api.registry import registry
from sampan.api.versions.lifecycle import lifecycle

Ask = Callable[..., Awaitable[Any]]

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
OLD_DEPLOYMENTS = "/apis/extensions/v1beta1/namespaces/default/deployments"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "extensions/v1beta1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": TEMPLATE, **spec},
    }


async def test_an_object_made_in_a_former_version_is_one_of_today(api: Ask) -> None:
    made = await api("POST", OLD_DEPLOYMENTS, deployment())
    assert (made.status, made.obj["apiVersion"]) == (201, "extensions/v1beta1")
    today = await api("GET", f"{DEPLOYMENTS}/web")
    assert today.obj["apiVersion"] == "apps/v1"
    assert today.obj["metadata"]["uid"] == made.obj["metadata"]["uid"]


async def test_a_former_version_has_its_own_defaults(api: Ask) -> None:
    spec = (await api("POST", OLD_DEPLOYMENTS, deployment())).obj["spec"]
    assert spec["selector"] == {"matchLabels": {"app": "web"}}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    assert (spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (2147483647, 2147483647)
    assert (await api("GET", f"{DEPLOYMENTS}/web")).obj["metadata"]["labels"] == {"app": "web"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "/apis/extensions/v1beta1/namespaces/default/ingresses",
            "extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; "
            "use networking.k8s.io/v1 Ingress",
        ),
        (
            "/apis/policy/v1beta1/poddisruptionbudgets",
            "policy/v1beta1 PodDisruptionBudget is deprecated in v1.21+, unavailable in v1.25+; "
            "use policy/v1 PodDisruptionBudget",
        ),
        (
            "/apis/batch/v1beta1/cronjobs?limit=1",
            "batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob",
        ),
        ("/api/v1/componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
        (
            "/api/v1/endpoints",
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ),
    ],
)
async def test_whoever_uses_a_deprecated_version_is_warned(api: Ask, url: str, text: str) -> None:
    """[sig-api-machinery] the server warns of deprecated versions, in words that say what to use instead."""
    answer = await api("GET", url)
    assert (answer.status, answer.warnings) == (200, [text])


async def test_the_versions_of_today_warn_nobody(api: Ask) -> None:
    assert (await api("GET", DEPLOYMENTS)).warnings == []


async def test_kinds_that_today_deprecates_warn_in_the_words_of_the_table(api: Ask) -> None:
    for kind in registry().kinds():
        entry = lifecycle(kind.api_version, kind.kind)
        if kind.deprecation_warning:
            assert entry is not None
            assert entry.message == kind.deprecation_warning


async def test_the_unknown_is_reported_as_the_former_version_has_it(api: Ask) -> None:
    ingress = {"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s"}}}}
    url = "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses?fieldValidation=Strict"
    answer = await api("POST", url, ingress)
    assert answer.status == 400
    assert answer.message.endswith('strict decoding error: unknown field "spec.defaultBackend"')
    del ingress["spec"]["defaultBackend"]
    ingress["spec"] = {"backend": {"serviceName": "s", "servicePort": {"a": 1}}}
    answer = await api("POST", url, ingress)
    assert answer.status == 400


async def test_an_ingress_of_each_version_is_the_same_ingress(api: Ask) -> None:
    rule = {"host": "a.io", "http": {"paths": [{"path": "/x", "backend": {"serviceName": "s", "servicePort": "http"}}]}}
    old = {"metadata": {"name": "i"}, "spec": {"rules": [rule], "backend": {"serviceName": "d", "servicePort": 80}}}
    made = await api("POST", "/apis/extensions/v1beta1/namespaces/default/ingresses", old)
    assert made.status == 201, made.obj
    assert made.obj["spec"]["backend"] == {"serviceName": "d", "servicePort": 80}
    today = await api("GET", "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i")
    assert today.obj["spec"]["defaultBackend"] == {"service": {"name": "d", "port": {"number": 80}}}
    (path,) = today.obj["spec"]["rules"][0]["http"]["paths"]
    assert path == {
        "path": "/x",
        "pathType": "ImplementationSpecific",
        "backend": {"service": {"name": "s", "port": {"name": "http"}}},
    }


async def test_a_write_in_one_version_keeps_what_only_the_other_can_say(api: Ask) -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    new = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "behavior": behavior}}
    url = "/namespaces/default/horizontalpodautoscalers"
    assert (await api("POST", f"/apis/autoscaling/v2{url}", new)).status == 201
    old = (await api("GET", f"/apis/autoscaling/v2beta1{url}/h")).obj
    assert old["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 80}}]
    old["spec"]["maxReplicas"] = 5
    assert (await api("PUT", f"/apis/autoscaling/v2beta1{url}/h", old)).status == 200
    found = (await api("GET", f"/apis/autoscaling/v2{url}/h")).obj
    assert found["spec"]["maxReplicas"] == 5
    assert found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert "annotations" not in found["metadata"]


async def test_patches_of_every_form_reach_a_former_version(api: Ask) -> None:
    await api("POST", OLD_DEPLOYMENTS, deployment())
    forms = {
        "application/merge-patch+json": {"spec": {"replicas": 2}},
        "application/strategic-merge-patch+json": {"spec": {"replicas": 3}},
        "application/json-patch+json": [{"op": "replace", "path": "/spec/replicas", "value": 4}],
    }
    for replicas, (form, patch) in enumerate(forms.items(), start=2):
        answer = await api("PATCH", f"{OLD_DEPLOYMENTS}/web", patch, content_type=form)
        assert (answer.status, answer.obj["spec"]["replicas"]) == (200, replicas), answer.obj
    assert (await api("GET", f"{DEPLOYMENTS}/web")).obj["spec"]["replicas"] == 4


async def test_what_was_applied_in_a_former_version_stays_its_managers(api: Ask) -> None:
    """[sig-api-machinery] ServerSideApply: a field that another version's manager owns is in conflict."""
    headers = {"content_type": "application/apply-patch+yaml"}
    old = await api("PATCH", f"{OLD_DEPLOYMENTS}/web?fieldManager=old", deployment(replicas=1), **headers)
    assert old.status == 201, old.obj
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    new = await api("PATCH", f"{DEPLOYMENTS}/web?fieldManager=new", applied, **headers)
    assert (new.status, new.causes) == (409, [("FieldManagerConflict", ".spec.replicas")])


async def test_a_watch_in_a_former_version_shows_what_is_made_in_another(api: Any) -> None:
    made = await api("POST", OLD_DEPLOYMENTS, deployment())
    since = made.obj["metadata"]["resourceVersion"]
    new = deployment("other") | {"apiVersion": "apps/v1"}
    new["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    new["metadata"]["annotations"] = {"deprecated.deployment.rollback.revision": "3"}
    assert (await api("POST", DEPLOYMENTS, new)).status == 201
    async for event in api.watch(f"{OLD_DEPLOYMENTS}?watch=1&resourceVersion={since}"):
        assert event["type"] == "ADDED"
        assert event["object"]["apiVersion"] == "extensions/v1beta1"
        assert event["object"]["spec"]["rollbackTo"] == {"revision": 3}
        break


async def test_tables_of_a_former_version_have_the_cells_of_today(api: Ask) -> None:
    await api("POST", OLD_DEPLOYMENTS, deployment())
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    old = (await api("GET", OLD_DEPLOYMENTS, accept=accept)).obj
    new = (await api("GET", DEPLOYMENTS, accept=accept)).obj
    assert [row["cells"] for row in old["rows"]] == [row["cells"] for row in new["rows"]]
    assert old["columnDefinitions"] == new["columnDefinitions"]


async def test_scale_and_status_are_served_too(api: Ask) -> None:
    await api("POST", OLD_DEPLOYMENTS, deployment())
    scale = (await api("GET", f"{OLD_DEPLOYMENTS}/web/scale")).obj
    scale["spec"]["replicas"] = 7
    assert (await api("PUT", f"{OLD_DEPLOYMENTS}/web/scale", scale)).status == 200
    status = (await api("GET", f"{OLD_DEPLOYMENTS}/web/status")).obj
    assert (status["apiVersion"], status["spec"]["replicas"]) == ("extensions/v1beta1", 7)


async def test_what_is_wrong_is_refused_as_today(api: Ask) -> None:
    wrong = deployment(selector={"matchLabels": {"app": "other"}})
    answer = await api("POST", OLD_DEPLOYMENTS, wrong)
    assert (answer.status, answer.causes) == (422, [("FieldValueInvalid", "spec.template.metadata.labels")])


async def test_discovery_lists_former_versions_after_those_of_today(api: Ask) -> None:
    """[sig-api-machinery] Discovery: the preferred version of each group is the one of today."""
    groups = {each["name"]: each for each in (await api("GET", "/apis")).obj["groups"]}
    assert list(groups)[-1] == "extensions"
    batch = groups["batch"]
    assert batch["preferredVersion"]["version"] == "v1"
    assert [each["version"] for each in batch["versions"]] == ["v1", "v1beta1", "v2alpha1"]
    listed = (await api("GET", "/apis/extensions/v1beta1")).obj["resources"]
    assert {each["name"] for each in listed if "/" not in each["name"]} == {
        "daemonsets", "deployments", "ingresses", "networkpolicies", "replicasets",
    }  # fmt: skip
    assert not any("shortNames" in each or "categories" in each for each in listed)


async def test_pod_security_policies_are_gone_as_upstream_has_it(api: Ask) -> None:
    assert (await api("GET", "/apis/policy/v1beta1/podsecuritypolicies")).status == 404
    assert (await api("GET", "/apis/extensions/v1beta1/podsecuritypolicies")).status == 404


async def test_a_definition_of_the_former_version_is_served(api: Ask) -> None:
    names = {"plural": "foos", "kind": "Foo"}
    old = {"metadata": {"name": "foos.a.io"}, "spec": {"group": "a.io", "version": "v1", "names": names}}
    made = await api("POST", "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions", old)
    assert made.status == 201, made.obj
    spec = made.obj["spec"]
    assert (spec["version"], spec["scope"], spec["preserveUnknownFields"]) == ("v1", "Namespaced", True)
    today = (await api("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.a.io")).obj
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert today["spec"]["versions"][0]["schema"] == {"openAPIV3Schema": schema}
    again = (await api("GET", "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions/foos.a.io")).obj
    assert "annotations" not in again["metadata"]
    assert "validation" not in again["spec"]


async def test_reviews_of_the_former_version_are_answered_in_it(api: Ask) -> None:
    spec = {"user": "u", "group": ["g"], "resourceAttributes": {"verb": "get", "resource": "pods"}}
    url = "/apis/authorization.k8s.io/v1beta1/subjectaccessreviews"
    answer = await api("POST", url, {"spec": spec})
    assert answer.status == 201, answer.obj
    assert answer.obj["apiVersion"] == "authorization.k8s.io/v1beta1"
    assert answer.obj["spec"]["group"] == ["g"]


async def test_events_of_the_former_version_are_events(api: Ask) -> None:
    event = {"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "R", "type": "Normal",
             "action": "A", "reportingController": "c.io/x", "reportingInstance": "i",
             "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}}  # fmt: skip
    made = await api("POST", "/apis/events.k8s.io/v1beta1/namespaces/default/events", event)
    assert made.status == 201, made.obj
    assert (await api("GET", "/api/v1/namespaces/default/events/e")).obj["involvedObject"]["name"] == "p"


async def test_a_policy_for_the_version_of_today_holds_for_former_ones(guarded_api: Ask) -> None:
    """Who asks for the deployments of apps/v1 is shown those of extensions/v1beta1, too, as they are today."""
    group = "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    expression = (
        "object.apiVersion == 'apps/v1' && object.spec.selector.matchLabels.app == 'web' && object.spec.replicas < 3"
    )
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    policy = {"metadata": {"name": "p"}, "spec": spec}
    binding = {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}}
    for plural, obj in (("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)):
        made = await guarded_api("POST", f"{group}/{plural}", obj)
        assert made.status == 201, made.obj
    denied = await guarded_api("POST", OLD_DEPLOYMENTS, deployment("many", replicas=5))
    assert (denied.status, denied.reason) == (422, "Invalid"), denied.obj
    assert "ValidatingAdmissionPolicy 'p' with binding 'b' denied request" in denied.message
    assert (await guarded_api("POST", OLD_DEPLOYMENTS, deployment("few", replicas=2))).status == 201


async def test_who_may_use_the_version_of_today_may_not_use_another_groups(
    guarded_api: Any, certificate_of: Callable[..., bytes], api_of: Any
) -> None:
    group = "rbac.authorization.k8s.io"
    rules = [{"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments"]}]
    await guarded_api("POST", f"/apis/{group}/v1/clusterroles", {"metadata": {"name": "apps"}, "rules": rules})
    bound = {"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "apps"}}
    subject = {"apiGroup": group, "kind": "User", "name": "jane"}
    binding = {"metadata": {"name": "jane"}, **bound, "subjects": [subject]}
    await guarded_api("POST", f"/apis/{group}/v1/clusterrolebindings", binding)
    jane = api_of(guarded_api.server, guarded_api.clock, certificate_of("jane"))
    assert (await jane("GET", DEPLOYMENTS)).status == 200
    assert (await jane("GET", "/apis/apps/v1beta1/namespaces/default/deployments")).status == 200
    assert (await jane("GET", OLD_DEPLOYMENTS)).status == 403


async def test_who_scrapes_sees_which_deprecated_versions_are_asked_for(api: Ask) -> None:
    await api("GET", "/apis/batch/v1beta1/cronjobs")
    await api("GET", "/apis/batch/v1/cronjobs")
    await api("GET", "/api/v1/componentstatuses")
    lines = (await api("GET", "/metrics")).obj.splitlines()
    found = sorted(line for line in lines if line.startswith("apiserver_requested_deprecated_apis{"))
    none = 'group="",removed_release="",resource="componentstatuses",subresource="",version="v1"'
    one = 'group="batch",removed_release="1.25",resource="cronjobs",subresource="",version="v1beta1"'
    assert found == [f"apiserver_requested_deprecated_apis{{{labels}}} 1.0" for labels in (none, one)]
