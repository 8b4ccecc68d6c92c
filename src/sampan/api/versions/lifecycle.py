"""When each version of a kind came, was deprecated and went, and what to use instead: upstream's own record.

A line of the table is ``group/version: kinds introduced deprecated removed [replacement]``; 0 is a release that is not
set, and without a replacement the same kind of the group's stable version is meant. Sources: the lifecycle markers of
the API's types (``prerelease-lifecycle-gen``), of alpha versions that have none the releases' changelogs. Pure; used by
``served`` (Warning headers), by ``sampan.apireport`` and by tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from sampan.records import dataclass


class Release(NamedTuple):
    """A minor release of Kubernetes: ``v1.22``."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: What is served today.
TODAY = Release(1, 37)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """``replacement``: apiVersion and kind; None: there is nothing to use instead."""

    api_version: str
    kind: str
    introduced: Release
    deprecated: Release | None
    removed: Release | None
    replacement: tuple[str, str] | None

    @property
    def message(self) -> str:
        """The text of the Warning header, in upstream's words."""
        text = f"{self.api_version} {self.kind} is deprecated in v{self.deprecated}+"
        if self.removed is not None:
            text += f", unavailable in v{self.removed}+"
        if self.replacement is not None:
            text += f"; use {self.replacement[0]} {self.replacement[1]}"
        return text


_NOTHING = "-"
#: group/version · kinds · introduced, deprecated and removed in 1.x · replacement (group/version, or with a kind)
_TABLE = """
v1 ComponentStatus 0 19 0 -
v1 Endpoints 0 33 0 discovery.k8s.io/v1:EndpointSlice
extensions/v1beta1 DaemonSet,Deployment 1 8 16 apps/v1
extensions/v1beta1 ReplicaSet 2 8 16 apps/v1
extensions/v1beta1 Ingress 1 14 22 networking.k8s.io/v1
extensions/v1beta1 NetworkPolicy 3 9 16 networking.k8s.io/v1
extensions/v1beta1 PodSecurityPolicy 2 11 16 policy/v1beta1
apps/v1beta1 Deployment 6 8 16 apps/v1
apps/v1beta1 StatefulSet 5 8 16 apps/v1
apps/v1beta1 ControllerRevision 7 8 16 apps/v1
apps/v1beta2 ControllerRevision,DaemonSet,Deployment,ReplicaSet,StatefulSet 8 9 16 apps/v1
admissionregistration.k8s.io/v1beta1 MutatingWebhookConfiguration,ValidatingWebhookConfiguration 9 16 22 admissionregistration.k8s.io/v1
admissionregistration.k8s.io/v1beta1 ValidatingAdmissionPolicy,ValidatingAdmissionPolicyBinding 28 31 34 admissionregistration.k8s.io/v1
admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicy,MutatingAdmissionPolicyBinding 34 37 40 admissionregistration.k8s.io/v1
admissionregistration.k8s.io/v1alpha1 ValidatingAdmissionPolicy,ValidatingAdmissionPolicyBinding 26 29 32 admissionregistration.k8s.io/v1
admissionregistration.k8s.io/v1alpha1 MutatingAdmissionPolicy,MutatingAdmissionPolicyBinding 32 35 38 admissionregistration.k8s.io/v1
apiextensions.k8s.io/v1beta1 CustomResourceDefinition 7 16 22 apiextensions.k8s.io/v1
apiregistration.k8s.io/v1beta1 APIService 7 19 22 apiregistration.k8s.io/v1
authentication.k8s.io/v1beta1 TokenReview 4 19 22 authentication.k8s.io/v1
authentication.k8s.io/v1beta1 SelfSubjectReview 27 30 33 authentication.k8s.io/v1
authentication.k8s.io/v1alpha1 SelfSubjectReview 26 29 32 authentication.k8s.io/v1
authorization.k8s.io/v1beta1 LocalSubjectAccessReview,SelfSubjectAccessReview,SubjectAccessReview 2 19 22 authorization.k8s.io/v1
authorization.k8s.io/v1beta1 SelfSubjectRulesReview 8 19 22 authorization.k8s.io/v1
autoscaling/v2beta1 HorizontalPodAutoscaler 8 22 25 autoscaling/v2
autoscaling/v2beta2 HorizontalPodAutoscaler 12 23 26 autoscaling/v2
batch/v1beta1 CronJob 8 21 25 batch/v1
batch/v2alpha1 CronJob 5 8 21 batch/v1
certificates.k8s.io/v1beta1 CertificateSigningRequest 4 19 22 certificates.k8s.io/v1
certificates.k8s.io/v1alpha1 ClusterTrustBundle 26 34 37 certificates.k8s.io/v1
certificates.k8s.io/v1beta1 ClusterTrustBundle 33 37 40 certificates.k8s.io/v1
certificates.k8s.io/v1alpha1 PodCertificateRequest 34 37 40 certificates.k8s.io/v1
certificates.k8s.io/v1beta1 PodCertificateRequest 35 38 41 certificates.k8s.io/v1
coordination.k8s.io/v1beta1 Lease 14 19 22 coordination.k8s.io/v1
coordination.k8s.io/v1alpha1 LeaseCandidate 31 32 33 coordination.k8s.io/v1beta1
coordination.k8s.io/v1alpha2 LeaseCandidate 32 35 38 coordination.k8s.io/v1beta1
discovery.k8s.io/v1alpha1 EndpointSlice 16 17 20 discovery.k8s.io/v1
discovery.k8s.io/v1beta1 EndpointSlice 16 21 25 discovery.k8s.io/v1
events.k8s.io/v1beta1 Event 8 19 25 events.k8s.io/v1
flowcontrol.apiserver.k8s.io/v1alpha1 FlowSchema,PriorityLevelConfiguration 18 20 21 flowcontrol.apiserver.k8s.io/v1
flowcontrol.apiserver.k8s.io/v1beta1 FlowSchema,PriorityLevelConfiguration 20 23 26 flowcontrol.apiserver.k8s.io/v1
flowcontrol.apiserver.k8s.io/v1beta2 FlowSchema,PriorityLevelConfiguration 23 26 29 flowcontrol.apiserver.k8s.io/v1
flowcontrol.apiserver.k8s.io/v1beta3 FlowSchema,PriorityLevelConfiguration 26 29 32 flowcontrol.apiserver.k8s.io/v1
networking.k8s.io/v1alpha1 ClusterCIDR 25 28 31 -
networking.k8s.io/v1alpha1 IPAddress,ServiceCIDR 27 30 33 networking.k8s.io/v1
networking.k8s.io/v1beta1 Ingress 14 19 22 networking.k8s.io/v1
networking.k8s.io/v1beta1 IngressClass 18 19 22 networking.k8s.io/v1
networking.k8s.io/v1beta1 IPAddress,ServiceCIDR 31 34 37 networking.k8s.io/v1
node.k8s.io/v1alpha1 RuntimeClass 12 20 22 node.k8s.io/v1
node.k8s.io/v1beta1 RuntimeClass 14 22 25 node.k8s.io/v1
policy/v1beta1 PodDisruptionBudget 5 21 25 policy/v1
policy/v1beta1 Eviction 5 22 25 policy/v1
policy/v1beta1 PodSecurityPolicy 10 21 25 -
rbac.authorization.k8s.io/v1alpha1 ClusterRole,ClusterRoleBinding,Role,RoleBinding 5 17 22 rbac.authorization.k8s.io/v1
rbac.authorization.k8s.io/v1beta1 ClusterRole,ClusterRoleBinding,Role,RoleBinding 6 17 22 rbac.authorization.k8s.io/v1
resource.k8s.io/v1alpha1 PodScheduling,ResourceClaim,ResourceClaimTemplate,ResourceClass 26 27 27 resource.k8s.io/v1
resource.k8s.io/v1alpha2 PodSchedulingContext,ResourceClaim,ResourceClaimTemplate,ResourceClass 27 30 31 resource.k8s.io/v1
resource.k8s.io/v1beta1 DeviceClass,ResourceClaim,ResourceClaimTemplate,ResourceSlice 32 35 38 resource.k8s.io/v1
resource.k8s.io/v1beta2 DeviceClass,ResourceClaim,ResourceClaimTemplate,ResourceSlice 33 36 39 resource.k8s.io/v1
scheduling.k8s.io/v1alpha1 PriorityClass 8 14 22 scheduling.k8s.io/v1
scheduling.k8s.io/v1beta1 PriorityClass 11 14 22 scheduling.k8s.io/v1
storage.k8s.io/v1alpha1 CSIStorageCapacity 19 21 24 storage.k8s.io/v1
storage.k8s.io/v1alpha1 VolumeAttachment 9 19 22 storage.k8s.io/v1
storage.k8s.io/v1alpha1 VolumeAttributesClass 29 34 37 storage.k8s.io/v1
storage.k8s.io/v1beta1 CSIDriver 14 19 22 storage.k8s.io/v1
storage.k8s.io/v1beta1 CSINode 14 17 22 storage.k8s.io/v1
storage.k8s.io/v1beta1 CSIStorageCapacity 21 24 27 storage.k8s.io/v1
storage.k8s.io/v1beta1 StorageClass 4 19 22 storage.k8s.io/v1
storage.k8s.io/v1beta1 VolumeAttachment 10 19 22 storage.k8s.io/v1
storage.k8s.io/v1beta1 VolumeAttributesClass 31 34 37 storage.k8s.io/v1
storagemigration.k8s.io/v1alpha1 StorageVersionMigration 30 35 38 storagemigration.k8s.io/v1
storagemigration.k8s.io/v1beta1 StorageVersionMigration 35 38 41 storagemigration.k8s.io/v1
"""  # noqa: E501 (one line an entry: it is a table)


def _release(minor: str) -> Release | None:
    return Release(1, int(minor)) if minor != "0" else None


def _entries() -> Iterator[Lifecycle]:
    for line in _TABLE.strip().splitlines():
        api_version, kinds, introduced, deprecated, removed, instead = line.split()
        for kind in kinds.split(","):
            group_version, _, other = instead.partition(":")
            replacement = None if instead == _NOTHING else (group_version, other or kind)
            since = _release(introduced) or Release(1, 0)
            yield Lifecycle(api_version, kind, since, _release(deprecated), _release(removed), replacement)


@cache
def lifecycles() -> dict[tuple[str, str], Lifecycle]:
    """By apiVersion and kind: every version that is deprecated or gone."""
    return {(entry.api_version, entry.kind): entry for entry in _entries()}


def lifecycle(api_version: str, kind: str) -> Lifecycle | None:
    """None: nothing is wrong with this version, or nobody knows it."""
    return lifecycles().get((api_version, kind))
