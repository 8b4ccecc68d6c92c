"""Faults that a pod, or a template, had before an update: upstream lets some of them be.

Looked for only when there are faults: most updates have none, and cost nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.types import Obj
from sampan.api.validation import common, pod_annotations, resources, scheduling, security
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options


def validated(new: Obj, old: Obj, check: Callable[[Obj, Options], Errors]) -> Errors:
    """The faults of ``new`` by ``check``, but for those that ``old`` had and that may stay."""
    options = Options(is_pod=True, pod_name=(new.get("metadata") or {}).get("name", ""))
    return check(new, of(old, options)) if check(new, options) else []


def of(old: Obj, options: Options) -> Options:
    """``old``: a pod or a template."""
    spec = old.get("spec") or {}
    cost = ((old.get("metadata") or {}).get("annotations") or {}).get(pod_annotations.DELETION_COST)
    return Options(
        is_pod=options.is_pod,
        pod_name=options.pod_name,
        invalid_deletion_cost=cost is not None and pod_annotations.deletion_cost(cost) is None,
        invalid_selector_values=_selector_values(spec.get("affinity") or {}),
        invalid_node_affinity_values=_node_affinity_values(spec.get("affinity") or {}),
        invalid_spread_selectors=any(
            common.label_selector(each.get("labelSelector"), "") for each in spec.get("topologySpreadConstraints") or ()
        ),
        indivisible_huge_pages=_indivisible(spec),
        non_local_token_paths=_non_local_tokens(spec),
        host_sysctls=_host_sysctls(spec),
        user_namespace_devices=spec.get("hostUsers") is False
        and any(container.get("volumeDevices") for container in _containers(spec)),
        comparing_tolerations=scheduling.compares(spec.get("tolerations") or ()),
        repeated_spread_keys=any(
            scheduling.label_keys(each["matchLabelKeys"], [], each.get("labelSelector"), "")
            for each in spec.get("topologySpreadConstraints") or ()
            if each.get("matchLabelKeys")
        ),
    )


def _containers(spec: Obj) -> list[Obj]:
    return [each for key in ("initContainers", "containers", "ephemeralContainers") for each in spec.get(key) or ()]


def _selector_values(affinity: Obj) -> bool:
    for key in ("podAffinity", "podAntiAffinity"):
        terms = [*((affinity.get(key) or {}).get(scheduling.REQUIRED) or ())]
        preferred = (affinity.get(key) or {}).get(scheduling.PREFERRED) or ()
        terms += [each.get("podAffinityTerm") or {} for each in preferred]
        selectors = [term.get(name) for term in terms for name in ("labelSelector", "namespaceSelector")]
        if any(common.label_selector(selector, "") for selector in selectors):
            return True
    return False


def _node_affinity_values(affinity: Obj) -> bool:
    required = (affinity.get("nodeAffinity") or {}).get(scheduling.REQUIRED)
    return required is not None and bool(scheduling.node_selector(required, ""))


def _indivisible(spec: Obj) -> bool:
    listed = [each.get("resources") or {} for each in _containers(spec)] + [{"limits": spec.get("overhead") or {}}]
    return any(
        resources.is_huge_page(name) and not resources.is_divisible(name, amount)
        for each in listed
        for kind in ("limits", "requests")
        for name, amount in (each.get(kind) or {}).items()
    )


def _non_local_tokens(spec: Obj) -> bool:
    return any(
        common.local_path((source.get("serviceAccountToken") or {}).get("path", ""), "")
        for volume in spec.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
    )


def _host_sysctls(spec: Obj) -> bool:
    host_network, host_ipc = bool(spec.get("hostNetwork")), bool(spec.get("hostIPC"))
    return any(
        security.sysctl_of_host(each.get("name", ""), host_network=host_network, host_ipc=host_ipc)
        for each in (spec.get("securityContext") or {}).get("sysctls") or ()
    )
