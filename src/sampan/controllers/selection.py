"""Which controllers run: what ``--controllers`` of kube-controller-manager means, with its old names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sampan.controllers.context import OFF_BY_DEFAULT

#: What controllers were called before 1.28, and may still be called.
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "serviceaccount-token": "serviceaccount-token-controller",
        "endpoint": "endpoints-controller",
        "endpointslice": "endpointslice-controller",
        "endpointslicemirroring": "endpointslice-mirroring-controller",
        "replicationcontroller": "replicationcontroller-controller",
        "podgc": "pod-garbage-collector-controller",
        "resourcequota": "resourcequota-controller",
        "namespace": "namespace-controller",
        "serviceaccount": "serviceaccount-controller",
        "garbagecollector": "garbage-collector-controller",
        "daemonset": "daemonset-controller",
        "job": "job-controller",
        "deployment": "deployment-controller",
        "replicaset": "replicaset-controller",
        "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
        "disruption": "disruption-controller",
        "statefulset": "statefulset-controller",
        "cronjob": "cronjob-controller",
        "csrsigning": "certificatesigningrequest-signing-controller",
        "csrapproving": "certificatesigningrequest-approving-controller",
        "csrcleaner": "certificatesigningrequest-cleaner-controller",
        "ttl": "ttl-controller",
        "bootstrapsigner": "bootstrap-signer-controller",
        "tokencleaner": "token-cleaner-controller",
        "nodeipam": "node-ipam-controller",
        "nodelifecycle": "node-lifecycle-controller",
        "service": "service-lb-controller",
        "route": "node-route-controller",
        "cloud-node-lifecycle": "cloud-node-lifecycle-controller",
        "persistentvolume-binder": "persistentvolume-binder-controller",
        "attachdetach": "persistentvolume-attach-detach-controller",
        "persistentvolume-expander": "persistentvolume-expander-controller",
        "clusterrole-aggregation": "clusterrole-aggregation-controller",
        "pvc-protection": "persistentvolumeclaim-protection-controller",
        "pv-protection": "persistentvolume-protection-controller",
        "ttl-after-finished": "ttl-after-finished-controller",
        "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
        "ephemeral-volume": "ephemeral-volume-controller",
        "storage-version-gc": "storageversion-garbage-collector-controller",
        "resource-claim-controller": "resourceclaim-controller",
        "legacy-service-account-token-cleaner": "legacy-serviceaccount-token-cleaner-controller",
    }
)
#: Names of upstream's that have no old one.
_OTHERS: Final = frozenset(
    {
        "device-taint-eviction-controller",
        "kube-apiserver-serving-clustertrustbundle-publisher-controller",
        "podcertificaterequest-cleaner-controller",
        "selinux-warning-controller",
        "service-cidr-controller",
        "storage-version-migrator-controller",
        "taint-eviction-controller",
        "validatingadmissionpolicy-status-controller",
        "volumeattributesclass-protection-controller",
    }
)
#: Every name that upstream's manager knows. What is not built here can be named, and nothing comes of it.
UPSTREAM: Final = frozenset(ALIASES.values()) | _OTHERS


class UnknownControllers(ValueError):
    """Some patterns name no controller; the message has upstream's words."""


def check(patterns: Iterable[str], known: Iterable[str]) -> None:
    """Raises UnknownControllers."""
    names = {*known, *UPSTREAM}
    unknown = [
        bare for each in patterns if each != "*" and ALIASES.get(bare := each.removeprefix("-"), bare) not in names
    ]
    if unknown:
        raise UnknownControllers("; ".join(f'"{name}" is not in the list of known controllers' for name in unknown))


def is_enabled(name: str, patterns: Sequence[str]) -> bool:
    """By the first pattern that names it, and else by ``*``, which leaves out what is off by default."""
    for pattern in map(_today, patterns):
        if pattern == name:
            return True
        if pattern == f"-{name}":
            return False
    return "*" in patterns and name not in OFF_BY_DEFAULT


def disabled(patterns: Sequence[str], known: Iterable[str]) -> frozenset[str]:
    """What does not run, of ``known`` controllers. Raises UnknownControllers."""
    known = list(known)
    check(patterns, known)
    return frozenset(name for name in known if not is_enabled(name, patterns))


def asked_in_vain(patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    """Controllers that somebody asks for by name and that are not there."""
    present = set(known)
    return [
        name for each in patterns if each != "*" and not (name := _today(each)).startswith("-") and name not in present
    ]


def _today(pattern: str) -> str:
    sign = "-" if pattern.startswith("-") else ""
    bare = pattern.removeprefix("-")
    return sign + ALIASES.get(bare, bare)
