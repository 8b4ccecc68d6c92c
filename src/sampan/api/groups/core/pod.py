"""Pod (v1): what it is called, and the strategy of its writes.

Its parts stand beside it: defaults in ``pod_defaults``, what is completed when one is made in ``pod_strategy``, what
may change in ``pod_update``, ``pod_subresources`` and ``pod_status_rules``, the printed status in ``pod_printing``; the
rules for its spec, which templates share, in ``sampan.api.validation.pod``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sampan.api import gates
from sampan.api.groups.core import (
    pod_known,
    pod_printing,
    pod_status_rules,
    pod_strategy,
    pod_subresources,
    pod_update,
    pod_warnings,
)
from sampan.api.groups.core.pod_defaults import default_pod
from sampan.api.kind import Kind, Subresource
from sampan.api.pods.qos import QosClass, compute_qos_class
from sampan.api.pods.status import is_terminal
from sampan.api.types import Obj
from sampan.api.validation import pod as pod_validation
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options

PROXY_VERBS = ("create", "delete", "get", "patch", "update")

_SELECTABLE = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
)


def _selectable(pod: Obj) -> Mapping[str, str]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    addresses = [address.get("ip", "") for address in status.get("podIPs") or ()]
    address = addresses[0] if addresses else status.get("podIP", "")
    return {
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.restartPolicy": spec.get("restartPolicy", ""),
        "spec.schedulerName": spec.get("schedulerName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": status.get("phase", ""),
        "status.podIP": address,
        "status.podIPs": address,
        "status.nominatedNodeName": status.get("nominatedNodeName", ""),
    }


def _grace_seconds(pod: Obj, wanted_seconds: int | None) -> int:
    """The client's wish, or the pod's own; at least one second, unless no node has anything to stop."""
    spec = pod.get("spec") or {}
    if not spec.get("nodeName") or is_terminal(pod):
        return 0
    seconds = spec.get("terminationGracePeriodSeconds") if wanted_seconds is None else wanted_seconds
    if seconds is None:
        return 30
    return 1 if seconds < 0 else int(seconds)


def _prepare_create(pod: Obj) -> Sequence[str]:
    spec = pod.get("spec") or {}
    pod["status"] = {"phase": "Pending", "qosClass": _qos_class(pod)}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": (pod.get("metadata") or {}).get("creationTimestamp"),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    return pod_strategy.complete(pod)


def _qos_class(pod: Obj) -> QosClass:
    known = pod_known.of(pod)
    if known is None:
        return compute_qos_class(pod)
    if known.qos is None:
        known.qos = compute_qos_class(pod)
    return known.qos


def _validate(pod: Obj) -> Errors:
    known = pod_known.of(pod)
    if known is not None and known.sound:
        return []
    name = (pod.get("metadata") or {}).get("name", "")
    found = pod_validation.new_pod(pod, Options(is_pod=True, pod_name=name))
    if known is not None:
        known.sound = not found
    return found


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Pod",
        plural="pods",
        singular="pod",
        namespaced=True,
        schema="io.k8s.api.core.v1.Pod",
        gated=gates.POD,
        returns_deleted=True,
        short_names=("po",),
        categories=("all",),
        status=True,
        generation=True,
        subresources=(
            Subresource("attach", "PodAttachOptions", "", "v1", ("create", "get")),
            Subresource("binding", "Binding", "", "v1", ("create",)),
            Subresource(
                "ephemeralcontainers",
                "Pod",
                "",
                "v1",
                ("get", "patch", "update"),
                pod_subresources.EPHEMERAL_CONTAINERS,
            ),
            Subresource("eviction", "Eviction", "policy", "v1", ("create",)),
            Subresource("exec", "PodExecOptions", "", "v1", ("create", "get")),
            Subresource("log", "Pod", "", "v1", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", "", "v1", ("create", "get")),
            Subresource("proxy", "PodProxyOptions", "", "v1", PROXY_VERBS),
            Subresource("resize", "Pod", "", "v1", ("get", "patch", "update"), pod_subresources.RESIZE),
        ),
        grace_seconds=_grace_seconds,
        default=default_pod,
        validate=_validate,
        validate_update=pod_update.validate_update,
        validate_status=pod_status_rules.validate_status,
        warnings=pod_warnings.of_pod,
        prepare_create=_prepare_create,
        ratchets=True,
        columns=pod_printing.COLUMNS,
        row=pod_printing.row,
        selectable_fields=_selectable,
        selectable_names=_SELECTABLE,
    ),
)
