"""What is stored and not acted on says so, and the table that says it is held to what runs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.api.registry import registry
from sampan.controllers.manager import CONTROLLERS
from sampan.server.admission.chain import build_chain
from sampan.server.honesty import LACKS, warning

DATA = "what others keep here, for those who read it"

#: Every kind that does all it is for, and who does it: a controller, an admission plugin, or a module.
ACTING = {
    ("", "Binding"): "sampan.server.kinds.binding",
    ("", "ComponentStatus"): "sampan.server.kinds.componentstatus",
    ("", "ConfigMap"): "sampan.node.volumes.configmap",
    ("", "Endpoints"): "endpointslice-mirroring-controller",
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): "sampan.server.admission.webhooks.mutating",
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): "sampan.server.admission.webhooks.validating",
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): "MutatingAdmissionPolicy",
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): "MutatingAdmissionPolicy",
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): "ValidatingAdmissionPolicy",
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): "ValidatingAdmissionPolicy",
    ("apiregistration.k8s.io", "APIService"): "sampan.server.aggregation.aggregator",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "sampan.server.extensions",
    ("", "Event"): DATA,
    ("", "LimitRange"): "LimitRanger",
    ("", "Namespace"): "namespace-controller",
    ("", "Node"): "node-lifecycle-controller",
    ("", "PersistentVolume"): "persistentvolume-binder-controller",
    ("", "PersistentVolumeClaim"): "persistentvolume-binder-controller",
    ("", "Pod"): "sampan.node.pods.worker",
    ("", "PodTemplate"): DATA,
    ("", "ReplicationController"): "replicationcontroller-controller",
    ("", "Secret"): "sampan.node.volumes.secret",
    ("", "Service"): "endpointslice-controller",
    ("", "ServiceAccount"): "ServiceAccount",
    ("apps", "ControllerRevision"): DATA,
    ("apps", "DaemonSet"): "daemonset-controller",
    ("apps", "Deployment"): "deployment-controller",
    ("apps", "ReplicaSet"): "replicaset-controller",
    ("apps", "StatefulSet"): "statefulset-controller",
    ("authentication.k8s.io", "SelfSubjectReview"): "sampan.server.reviews",
    ("authentication.k8s.io", "TokenReview"): "sampan.server.reviews",
    ("authorization.k8s.io", "LocalSubjectAccessReview"): "sampan.server.reviews",
    ("authorization.k8s.io", "SelfSubjectAccessReview"): "sampan.server.reviews",
    ("authorization.k8s.io", "SelfSubjectRulesReview"): "sampan.server.reviews",
    ("authorization.k8s.io", "SubjectAccessReview"): "sampan.server.reviews",
    ("autoscaling", "HorizontalPodAutoscaler"): "horizontal-pod-autoscaler-controller",
    ("batch", "CronJob"): "cronjob-controller",
    ("batch", "Job"): "job-controller",
    ("certificates.k8s.io", "CertificateSigningRequest"): "certificatesigningrequest-signing-controller",
    ("certificates.k8s.io", "ClusterTrustBundle"): "sampan.node.volumes.trustbundle",
    ("certificates.k8s.io", "PodCertificateRequest"): "sampan.node.volumes.podcertificate",
    ("coordination.k8s.io", "Lease"): "sampan.client.leaderelection",
    ("discovery.k8s.io", "EndpointSlice"): "sampan.network.proxy.model",
    ("events.k8s.io", "Event"): DATA,
    ("networking.k8s.io", "NetworkPolicy"): "sampan.network.policy",
    ("networking.k8s.io", "IPAddress"): "sampan.server.allocators.addresses",
    ("networking.k8s.io", "Ingress"): "sampan.edge.ingress.source",
    ("networking.k8s.io", "IngressClass"): "sampan.edge.ingress.classes",
    ("networking.k8s.io", "ServiceCIDR"): "sampan.server.allocators.addresses",
    ("node.k8s.io", "RuntimeClass"): "RuntimeClass",
    ("policy", "PodDisruptionBudget"): "disruption-controller",
    ("rbac.authorization.k8s.io", "ClusterRole"): "sampan.server.authz.rbac",
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): "sampan.server.authz.rbac",
    ("rbac.authorization.k8s.io", "Role"): "sampan.server.authz.rbac",
    ("rbac.authorization.k8s.io", "RoleBinding"): "sampan.server.authz.rbac",
    ("resource.k8s.io", "DeviceClass"): "sampan.scheduler.plugins.dynamicresources",
    ("resource.k8s.io", "ResourceClaim"): "resourceclaim-controller",
    ("resource.k8s.io", "ResourceClaimTemplate"): "resourceclaim-controller",
    ("resource.k8s.io", "ResourceSlice"): "sampan.scheduler.plugins.dynamicresources",
    ("scheduling.k8s.io", "PriorityClass"): "Priority",
    ("", "ResourceQuota"): "ResourceQuota",
    ("storage.k8s.io", "CSIDriver"): "sampan.node.volumes.csi.preparing",
    ("storage.k8s.io", "CSINode"): "sampan.node.volumes.csi.nodeinfo",
    ("storage.k8s.io", "VolumeAttributesClass"): "sampan.sidecars.modifier",
    ("storage.k8s.io", "VolumeAttachment"): "persistentvolume-attach-detach-controller",
    ("storage.k8s.io", "CSIStorageCapacity"): "sampan.scheduler.plugins.volumebinding",
    ("storage.k8s.io", "StorageClass"): "local-path-provisioner",
}
KINDS = sorted({(kind.group, kind.kind) for kind in registry().kinds() if not kind.former})


#: true of some of their objects only, so they are in both lists
def is_there(component: str) -> bool:
    """Whether a controller, an admission plugin or a module of this name is part of the product."""
    if component == DATA or component in CONTROLLERS:
        return True
    if component.startswith("sampan."):
        try:
            return find_spec(component) is not None
        except ModuleNotFoundError:  # of the package above it
            return False
    unused: Any = None
    return component in build_chain(unused, unused, unused, Random(1)).names


@pytest.mark.parametrize("name", KINDS, ids=lambda name: f"{name[1]}.{name[0]}".rstrip("."))
def test_a_kind_either_acts_or_warns(name: tuple[str, str]) -> None:
    assert (name in ACTING) is not (name in LACKS)


def test_the_lists_name_only_kinds_that_there_are() -> None:
    assert (ACTING.keys() | LACKS.keys()) <= set(KINDS)


@pytest.mark.parametrize("name", ACTING, ids=lambda name: f"{name[1]}.{name[0]}".rstrip("."))
def test_what_a_kind_is_said_to_be_acted_on_by_is_there(name: tuple[str, str]) -> None:
    assert is_there(ACTING[name])


@pytest.mark.parametrize("name", LACKS, ids=lambda name: f"{name[1]}.{name[0]}".rstrip("."))
def test_a_kind_warns_only_until_what_it_waits_for_is_there(name: tuple[str, str]) -> None:
    assert LACKS[name].waits_for
    assert not any(is_there(component) for component in LACKS[name].waits_for)


def test_the_readme_lists_what_does_not_act_and_nothing_else() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = readme.partition("| area | kinds |")[2].partition("\n\n")[0]
    named = set(re.findall(r"\b[A-Z]\w+", rows)) - {"IP"}
    assert named == {kind for _, kind in LACKS}


LIMITED = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}
LEVEL = {"metadata": {"name": "n"}, "spec": {"type": "Limited", "limited": LIMITED}}
LEVELS = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
TOLD = warning(("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"), {})


async def test_who_creates_what_does_not_act_is_told_once(api: Any) -> None:
    answer = await api("POST", LEVELS, LEVEL)
    assert answer.status == 201
    assert answer.warnings == [TOLD]


async def test_a_rehearsal_is_told_too(api: Any) -> None:
    assert (await api("POST", f"{LEVELS}?dryRun=All", LEVEL)).warnings == [TOLD]


async def test_what_acts_is_created_without_a_word(api: Any) -> None:
    assert (await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})).warnings == []


async def test_an_update_of_what_was_told_of_is_not_told_again(api: Any) -> None:
    made = (await api("POST", LEVELS, LEVEL)).obj
    made["metadata"]["labels"] = {"a": "b"}
    answer = await api("PUT", f"{LEVELS}/n", made)
    assert answer.status == 200
    assert answer.warnings == []


async def test_components_of_the_process_are_not_told(api: Any) -> None:
    request = api.request("POST", LEVELS, LEVEL)
    request.in_process = True
    await api.server.handler(request)
    assert request.warnings == []
