"""The names of the plugins that can be switched: for whoever reads flags before there is a server."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: as upstream's are; but ``DenyServiceExternalIPs`` is on (CVE-2020-8554)
ON_BY_DEFAULT: Final = frozenset({
    "CertificateApproval", "CertificateSigning", "CertificateSubjectRestriction", "ClusterTrustBundleAttest",
    "DefaultIngressClass", "DefaultStorageClass", "DefaultTolerationSeconds", "DenyServiceExternalIPs", "LimitRanger",
    "MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "NamespaceLifecycle", "NodeRestriction",
    "PersistentVolumeClaimResize", "PodSecurity", "PodTopologyLabels", "Priority", "ResourceQuota", "RuntimeClass",
    "ServiceAccount", "StorageObjectInUseProtection", "TaintNodesByCondition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
})  # fmt: skip
OFF_BY_DEFAULT: Final = frozenset({
    "AlwaysAdmit", "AlwaysDeny", "AlwaysPullImages", "EventRateLimit", "ExtendedResourceToleration",
    "LimitPodHardAntiAffinityTopology", "NamespaceAutoProvision", "NamespaceExists",
    "OwnerReferencesPermissionEnforcement", "PodNodeSelector", "PodTolerationRestriction",
})  # fmt: skip
ALL: Final = ON_BY_DEFAULT | OFF_BY_DEFAULT
#: upstream's that this server does not have
_LACKING: Final = frozenset({"ImagePolicyWebhook"})


def check(enable: Collection[str], disable: Collection[str]) -> None:
    """Raises ValueError for a name that is none, or that is in both."""
    for flag, given in (("enable-admission-plugins", enable), ("disable-admission-plugins", disable)):
        if lacking := sorted(set(given) & _LACKING):
            raise ValueError(
                f'{flag} plugin "{lacking[0]}" is not part of this server; use an admission webhook instead'
            )
        if unknown := sorted(set(given) - ALL):
            raise ValueError(f'{flag} plugin "{unknown[0]}" is unknown')
    if both := sorted(set(enable) & set(disable)):
        raise ValueError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")


def is_on(name: str, enable: Collection[str], disable: Collection[str]) -> bool:
    return name in enable or (name not in disable and name not in OFF_BY_DEFAULT)
