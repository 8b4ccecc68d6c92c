"""The checks that the level ``restricted`` adds: today's practice of hardening pods."""

from __future__ import annotations

from sampan.api.podsecurity.baseline import added_capabilities, profile_type, seccomp, unconfined
from sampan.api.podsecurity.findings import Finding, Subject, containers, plural, quoted, setters, unique
from sampan.api.reading import part, parts, text, texts

_VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
#: what the others are called, in the order in which upstream looks
_OTHER_VOLUMES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def allow_privilege_escalation(subject: Subject) -> Finding | None:
    bad = subject.names(lambda container: container.security.get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    detail = f"{containers(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def capabilities(subject: Subject) -> Finding | None:
    keeping = subject.names(lambda c: "ALL" not in texts(part(c.security, "capabilities"), "drop"))
    adding = subject.names(lambda c: any(name != "NET_BIND_SERVICE" for name in added_capabilities(c)))
    said = []
    if keeping:
        said.append(f'{containers(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        added = unique(name for container in subject.containers for name in added_capabilities(container))
        named = quoted(name for name in added if name != "NET_BIND_SERVICE")
        said.append(f"{containers(adding)} must not include {named} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(said)) if said else None


def volumes(subject: Subject) -> Finding | None:
    bad = [
        volume
        for volume in parts(subject.spec, "volumes")
        if not any(volume.get(source) is not None for source in _VOLUMES)
    ]
    if not bad:
        return None
    kinds = unique(
        next((source for source in _OTHER_VOLUMES if volume.get(source) is not None), "unknown") for volume in bad
    )
    who = f"{plural('volume', 'volumes', len(bad))} {quoted(text(volume, 'name') for volume in bad)}"
    word = plural("restricted volume type", "restricted volume types", len(kinds))
    return Finding("restricted volume types", f"{who} {plural('uses', 'use', len(bad))} {word} {quoted(kinds)}")


def run_as_non_root(subject: Subject) -> Finding | None:
    reason = "runAsNonRoot != true"
    of_pod = subject.security.get("runAsNonRoot")
    explicit = subject.names(lambda container: container.security.get("runAsNonRoot") is False)
    if of_pod is False or explicit:
        return Finding(reason, f"{setters(of_pod is False, explicit)} must not set securityContext.runAsNonRoot=false")
    silent = subject.names(lambda container: container.security.get("runAsNonRoot") is None)
    if of_pod is True or not silent:
        return None
    return Finding(reason, f"pod or {containers(silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(subject: Subject) -> Finding | None:
    of_pod = subject.security.get("runAsUser") == 0
    bad = subject.names(lambda container: container.security.get("runAsUser") == 0)
    return Finding("runAsUser=0", f"{setters(of_pod, bad)} must not set runAsUser=0") if of_pod or bad else None


def seccomp_required(subject: Subject) -> Finding | None:
    if (found := seccomp(subject)) is not None:
        return found
    of_pod, _, _ = unconfined(subject, "seccompProfile")
    if not of_pod and profile_type(subject.security, "seccompProfile") is not None:
        return None
    silent = subject.names(lambda container: profile_type(container.security, "seccompProfile") is None)
    if not silent:
        return None
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {containers(silent)} {wanted}")
