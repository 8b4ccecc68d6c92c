"""What is said of a pod, or of a template, that is valid and still unlikely to be what was meant.

Called by Pod and by every kind with a pod template; the texts are those of upstream's ``pkg/api/pod/warnings.go``
(v1.37), in its order. Pods are warned about when they are made and never again (people do not update them);
templates when they are made, and when a change counts as a new generation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sampan.api import names
from sampan.api.errors import quoted
from sampan.api.groups.core import container_warnings, pod_known, volume_overlaps
from sampan.api.groups.core.container_warnings import SECCOMP_POD, SECCOMP_TEXT
from sampan.api.types import Obj
from sampan.api.validation import addresses

#: Labels of nodes that have other names now.
NODE_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}

_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}

_VOLUMES: Final = {
    "photonPersistentDisk": "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "scaleIO: deprecated in v1.16, non-functional in v1.22+",
    "flocker": "flocker: deprecated in v1.22, non-functional in v1.25+",
    "storageos": "storageOS: deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "quobyte: deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "glusterfs: deprecated in v1.25, non-functional in v1.26+",
    "ephemeral": "",
    "cephfs": "cephfs: deprecated in v1.28, non-functional in v1.31+",
    "rbd": "rbd: deprecated in v1.28, non-functional in v1.31+",
}

_HOSTNAME: Final = "which can result in surprising behavior; a DNS label is recommended"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def of_pod(new: Obj, old: Obj | None) -> Sequence[str]:
    """For ``Kind.warnings`` of Pod."""
    if old is not None:
        return ()
    of_name, known = name_in_hostnames(new, "the Pod's hostname"), pod_known.of(new)
    if known is not None and known.quiet:
        return of_name
    found = _of_spec(new.get("spec") or {}, new.get("metadata") or {}, "")
    if known is not None:
        known.quiet = not found
    return of_name + found


def of_template(template: Obj | None, path: str) -> list[str]:
    """``path``: where the template is (``spec.template``). Whether a change is worth a word is the kind's to say
    (``is_new_generation``)."""
    if not template:
        return []
    return _of_spec(template.get("spec") or {}, template.get("metadata") or {}, f"{path}.")


def is_new_generation(new: Obj, old: Obj | None) -> bool:
    """Whether a write is one that kinds with templates warn about."""
    return old is None or new["metadata"].get("generation") != old["metadata"].get("generation")


def name_in_hostnames(obj: Obj, where: str) -> list[str]:
    """``where``: what the name of the object becomes part of."""
    problems = names.dns1123_label((obj.get("metadata") or {}).get("name", ""))
    return [f"metadata.name: this is used in {where}, {_HOSTNAME}: [{' '.join(problems)}]"] if problems else []


def _of_spec(spec: Obj, metadata: Obj, path: str) -> list[str]:
    """``path``: empty for a pod, else what comes before ``spec`` and ``metadata``, with its dot."""
    where = f"{path}spec"
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    found = _of_nodes(spec, where)
    if annotations:
        found += [
            f"{path}metadata.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations
        ]
    if spec.get("volumes"):
        found += _of_volumes(spec["volumes"], f"{where}.volumes")
    found += _duplicates(spec.get("hostAliases"), f"{where}.hostAliases", "ip")
    if secrets := spec.get("imagePullSecrets"):
        found += _duplicates(secrets, f"{where}.imagePullSecrets", "name")
        found += [
            f'{where}.imagePullSecrets[{index}].name: invalid empty name ""'
            for index, secret in enumerate(secrets)
            if not secret.get("name")
        ]
    if spec.get("overhead"):
        found += container_warnings.fractions(spec["overhead"], f"{where}.overhead")
    if SECCOMP_POD in annotations and not (spec.get("securityContext") or {}).get("seccompProfile"):
        found.append(f"{path}metadata.annotations[{SECCOMP_POD}]: {SECCOMP_TEXT}")
    found += container_warnings.warnings(spec, annotations, path)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{where}.terminationGracePeriodSeconds: {text}")
    return found + _of_pod_affinity(spec, f"{where}.affinity") + _of_addresses(spec, where)


def _of_addresses(spec: Obj, path: str) -> list[str]:
    found: list[str] = []
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        found += addresses.ip_warnings(server, f"{path}.dnsConfig.nameservers[{index}]")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += addresses.ip_warnings(alias.get("ip", ""), f"{path}.hostAliases[{index}].ip")
    return found


# -- where it runs -----------------------------------------------------------------------------------------------


def of_node_term(term: Obj, path: str, *, values: bool = False) -> list[str]:
    """A node selector term. ``values``: those that no label can have are named too."""
    found: list[str] = []
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        where, key = f"{path}.matchExpressions[{index}]", expression.get("key", "")
        if key in NODE_LABELS:
            found.append(f"{where}.key: {key} is {NODE_LABELS[key]}")
        if values:
            for position, value in enumerate(expression.get("values") or ()):
                for problem in names.label_value(value):
                    found.append(f"{where}.values[{position}]: {value} is invalid, {problem}")
    return found


def _of_nodes(spec: Obj, path: str) -> list[str]:
    found = [
        f"{path}.nodeSelector[{key}]: {NODE_LABELS[key]}"
        for key in spec.get("nodeSelector") or ()
        if key in NODE_LABELS
    ]
    if affinity := (spec.get("affinity") or {}).get("nodeAffinity"):
        found += _of_node_affinity(affinity, f"{path}.affinity.nodeAffinity")
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        found += _of_spread(constraint, f"{path}.topologySpreadConstraints[{index}]")
    return found


def _of_node_affinity(affinity: Obj, path: str) -> list[str]:
    found: list[str] = []
    for index, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        found += of_node_term(term, f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]")
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}].preference"
        found += of_node_term(term.get("preference") or {}, where, values=True)
    return found


_NULL_SELECTOR: Final = "a null labelSelector results in matching no pod"


def _of_spread(constraint: Obj, path: str) -> list[str]:
    found: list[str] = []
    key = constraint.get("topologyKey", "")
    if key in NODE_LABELS:
        found.append(f"{path}.topologyKey: {key} is {NODE_LABELS[key]}")
    if constraint.get("labelSelector") is None:
        found.append(f"{path}.labelSelector: {_NULL_SELECTOR}")
    return found


def _of_pod_affinity(spec: Obj, path: str) -> list[str]:
    found: list[str] = []
    affinity = spec.get("affinity") or {}
    for key in ("podAffinity", "podAntiAffinity") if affinity else ():
        terms = affinity.get(key) or {}
        found += [
            f"{path}.{key}.{_REQUIRED}[{index}].labelSelector: {_NULL_SELECTOR}"
            for index, term in enumerate(terms.get(_REQUIRED) or ())
            if term.get("labelSelector") is None
        ]
        found += [
            f"{path}.{key}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_NULL_SELECTOR}"
            for index, term in enumerate(terms.get(_PREFERRED) or ())
            if (term.get("podAffinityTerm") or {}).get("labelSelector") is None
        ]
    return found


# -- its volumes -------------------------------------------------------------------------------------------------


def _of_volumes(volumes: Sequence[Obj], path: str) -> list[str]:
    found: list[str] = []
    for index, volume in enumerate(volumes):
        for kind in volume.keys() & _VOLUMES.keys():
            text = _VOLUMES[kind]
            if volume[kind] is None:
                continue
            if text:
                found.append(f"{path}[{index}].{text}")
            else:
                claim = volume["ephemeral"].get("volumeClaimTemplate") or {}
                found += of_claim(claim.get("spec") or {}, f"{path}[{index}].ephemeral.volumeClaimTemplate.spec")
    return found + volume_overlaps.warnings(volumes)


def of_claim(spec: Obj, path: str) -> list[str]:
    """The spec of a PersistentVolumeClaim."""
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return container_warnings.fraction(amount, f"{path}.resources.requests[storage]")


def _duplicates(values: Sequence[Obj] | None, path: str, key: str) -> list[str]:
    if not values or len(values) < 2:
        return []
    found: list[str] = []
    seen: set[str] = set()
    for index, value in enumerate(values):
        name = value.get(key, "")
        if name in seen:
            found.append(f"{path}[{index}].{key}: duplicate {key} {quoted(name)}")
        seen.add(name)
    return found
