"""Defaults of pod specs and templates (upstream ``pkg/apis/core/v1/defaults.go``).

Called by Pod and by every kind with a pod template. Admission adds more to pods (service account, priority,
tolerations); that is not done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from sampan.api import quantity
from sampan.api.types import Obj

_DEFAULT_MODE = 0o644


def default_resource_list(resources: Obj | None) -> None:
    """Amounts in canonical form (``0.5`` becomes ``500m``)."""
    if resources:
        for name, amount in resources.items():
            resources[name] = quantity.canonical(amount)


def default_pod_spec(spec: Obj) -> None:
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    # ``serviceAccount`` is the deprecated alias: both are always served.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if "hostNetwork" in spec and not spec["hostNetwork"]:
        del spec["hostNetwork"]
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for key in ("initContainers", "containers"):
        for container in spec.get(key) or ():
            _default_container(container)
    for container in spec.get("ephemeralContainers") or ():
        _default_container(container)
    default_resource_list(spec.get("overhead"))
    _default_resources(spec.get("resources"))


def default_pod_template(template: Obj) -> None:
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def default_pod(pod: Obj) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for key in ("initContainers", "containers"):
            for container in spec.get(key) or ():
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)
    for key in ("initContainers", "containers"):
        for container in spec.get(key) or ():
            _requests_from_limits(container.get("resources"))
    _default_pod_requests(spec)


def _default_pod_requests(spec: Obj) -> None:
    """Of the pod as a whole, where it has resources of its own: what its containers ask for together, else its
    limits."""
    resources = spec.get("resources")
    if resources is None:
        return
    together = _requests_together(spec)
    if together:
        resources["requests"] = {**together, **(resources.get("requests") or {})}
    _requests_from_limits(resources)


def _requests_together(spec: Obj) -> Obj:
    """Requests of all containers, as far as a pod may have such: init containers count while they run, those that
    are restarted for good always."""
    running: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"
        for name, amount in _pod_requests(container):
            total = running.get(name, Fraction()) + amount
            peak[name] = max(peak.get(name, total), total)
            if stays:
                running[name] = total
    for container in spec.get("containers") or ():
        for name, amount in _pod_requests(container):
            running[name] = running.get(name, Fraction()) + amount
    names = [*running, *(name for name in peak if name not in running)]
    most = {name: max(running.get(name, Fraction()), peak.get(name, Fraction())) for name in names}
    return {name: quantity.format_quantity(amount, _notation(name)) for name, amount in most.items()}


def _pod_requests(container: Obj) -> Iterator[tuple[str, Fraction]]:
    for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            yield name, quantity.parse(amount)


def _notation(resource: str) -> quantity.Format:
    return "DecimalSI" if resource == "cpu" else "BinarySI"


def _requests_from_limits(resources: Obj | None) -> None:
    """What is limited and not requested is requested in full."""
    limits = (resources or {}).get("limits")
    if resources is None or not limits:
        return
    requests = resources.setdefault("requests", {})
    for name, amount in limits.items():
        requests.setdefault(name, amount)


def pull_policy(image: str) -> str:
    """Always for ``:latest``, also when no tag is named; else IfNotPresent."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_container(container: Obj) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if container.get("resources") is None:
        container["resources"] = {}
    _default_resources(container["resources"])
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        _default_field_refs(source)
        if (file_ref := source.get("fileKeyRef")) is not None:
            file_ref.setdefault("optional", False)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(key)) is not None:
            _default_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_action(hook)


def _default_resources(resources: Obj | None) -> None:
    if resources:
        default_resource_list(resources.get("limits"))
        default_resource_list(resources.get("requests"))


def _default_field_refs(source: Obj) -> None:
    if (ref := source.get("fieldRef")) is not None:
        ref.setdefault("apiVersion", "v1")
    if (ref := source.get("resourceFieldRef")) is not None:
        ref["divisor"] = quantity.canonical(ref.get("divisor", "0"))


def _default_probe(probe: Obj) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(key):
            probe[key] = value
    _default_action(probe)


def _default_action(handler: Obj) -> None:
    if (get := handler.get("httpGet")) is not None:
        if not get.get("path"):
            get["path"] = "/"
        if not get.get("scheme"):
            get["scheme"] = "HTTP"
    if (grpc := handler.get("grpc")) is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _default_downward(source: Obj) -> None:
    for item in source.get("items") or ():
        _default_field_refs(item)


def default_volume(volume: Obj) -> None:
    if not any(value is not None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}
        return
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if (source := volume.get(key)) is not None:
            source.setdefault("defaultMode", _DEFAULT_MODE)
    if (source := volume.get("downwardAPI")) is not None:
        _default_downward(source)
    for projection in (volume.get("projected") or {}).get("sources") or ():
        if (source := projection.get("serviceAccountToken")) is not None:
            source.setdefault("expirationSeconds", 3600)
        if (source := projection.get("downwardAPI")) is not None:
            _default_downward(source)
        if (source := projection.get("podCertificate")) is not None:
            source.setdefault("maxExpirationSeconds", 86400)
    _default_other_sources(volume)


_LEGACY_SOURCES: Mapping[str, Mapping[str, Any]] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_legacy_sources(holder: Obj) -> None:
    """Of a volume, or of a PersistentVolume's spec."""
    for kind, defaults in _LEGACY_SOURCES.items():
        if (source := holder.get(kind)) is not None:
            for key, value in defaults.items():
                source.setdefault(key, value)


def _default_other_sources(volume: Obj) -> None:
    if (source := volume.get("emptyDir")) is not None and source.get("sizeLimit") is not None:
        source["sizeLimit"] = quantity.canonical(source["sizeLimit"])
    if (source := volume.get("hostPath")) is not None:
        source.setdefault("type", "")
    default_legacy_sources(volume)
    if (source := volume.get("image")) is not None and not source.get("pullPolicy"):
        source["pullPolicy"] = pull_policy(source.get("reference", ""))
    if (source := volume.get("ephemeral")) is not None:
        claim = (source.get("volumeClaimTemplate") or {}).get("spec")
        if claim is not None:
            claim.setdefault("volumeMode", "Filesystem")
