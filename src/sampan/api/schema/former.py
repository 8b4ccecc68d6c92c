"""Structures of versions that upstream no longer publishes, as differences from those that it does.

A former package looks like a present one (``bases``, tried in order): a type is the base's of the same name, with
references to the base's types turned into references to the package's own. ``types`` says what differs; a type without
a base stands there whole. Nothing is built before ``catalog`` asks for a name, and nothing is kept here.
Sources: the types and generated OpenAPI of the last releases that served each version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final

from sampan.records import dataclass

Raw = dict[str, Any]
#: A published definition and what Go writes of its fields; None: there is none of the name.
Published = Callable[[str], "tuple[Raw, Mapping[str, Any]] | None"]

_API: Final = "io.k8s.api."
_CORE: Final = "io.k8s.api.core.v1."
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CRD: Final = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions"
_AGGREGATOR: Final = "io.k8s.kube-aggregator.pkg.apis.apiregistration"

STRING: Final[Raw] = {"type": "string"}
INT32: Final[Raw] = {"format": "int32", "type": "integer"}
INT64: Final[Raw] = {"format": "int64", "type": "integer"}
BOOL: Final[Raw] = {"type": "boolean"}
QUANTITY: Final[Raw] = {"$ref": "io.k8s.apimachinery.pkg.api.resource.Quantity"}
INT_OR_STRING: Final[Raw] = {"$ref": "io.k8s.apimachinery.pkg.util.intstr.IntOrString"}
SELECTOR: Final[Raw] = {"$ref": f"{_META}LabelSelector"}
STRINGS: Final[Raw] = {"additionalProperties": STRING, "type": "object"}


@dataclass(frozen=True, slots=True)
class Type:
    """``drop`` and ``add`` change the base's fields. ``own``: there is no base. ``renamed``: the base's type of another
    name. ``required`` replaces the base's. ``presence``: of added fields that are not omitted when empty."""

    drop: tuple[str, ...] = ()
    add: Mapping[str, Raw] = field(default_factory=dict)
    required: tuple[str, ...] | None = None
    presence: Mapping[str, str] = field(default_factory=dict)
    own: bool = False
    renamed: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    group: str
    version: str
    bases: tuple[str, ...]
    types: Mapping[str, Type] = field(default_factory=dict)
    #: types of the base that are referred to as they are
    shared: frozenset[str] = frozenset()


def _ref(name: str) -> Raw:
    """A reference within the package."""
    return {"$ref": f"~{name}"}


def _list(items: Raw) -> Raw:
    return {"items": items, "type": "array"}


_POD_TEMPLATES_SELECT: Final = {
    # Selectors came from the labels of the template.
    "DaemonSetSpec": Type(
        add={"templateGeneration": INT64}, required=("template",), presence={"selector": "kept"}
    ),
    "DeploymentSpec": Type(
        add={"rollbackTo": _ref("RollbackConfig")}, required=("template",),
        presence={"rollbackTo": "kept", "selector": "kept"},
    ),
    "ReplicaSetSpec": Type(required=(), presence={"selector": "kept"}),
    "StatefulSetSpec": Type(required=("template", "serviceName"), presence={"selector": "kept"}),
    "RollbackConfig": Type(own=True, add={"revision": INT64}),
}  # fmt: skip
_INGRESS: Final = {
    "IngressSpec": Type(
        drop=("defaultBackend",), add={"backend": _ref("IngressBackend")}, presence={"backend": "kept"}
    ),
    "IngressBackend": Type(
        drop=("service",),
        add={"serviceName": STRING, "servicePort": INT_OR_STRING},
        presence={"servicePort": "always"},  # a struct: Go knows no empty one
    ),
    "HTTPIngressPath": Type(required=("backend",), presence={"pathType": "kept"}),
}  # fmt: skip
_AUTOSCALED: Final = {
    "HorizontalPodAutoscalerStatus": Type(presence={"conditions": "null", "currentMetrics": "null"}),
}
_AUTOSCALER: Final = {
    **_AUTOSCALED,
    "HorizontalPodAutoscalerSpec": Type(drop=("behavior",)),
    "MetricIdentifier": Type(drop=("name", "selector")),
    "ResourceMetricSource": Type(
        drop=("target",), required=("name",),
        add={"targetAverageUtilization": INT32, "targetAverageValue": QUANTITY},
        presence={"targetAverageUtilization": "kept", "targetAverageValue": "kept"},
    ),
    "ContainerResourceMetricSource": Type(
        drop=("target",), required=("name", "container"),
        add={"targetAverageUtilization": INT32, "targetAverageValue": QUANTITY},
        presence={"targetAverageUtilization": "kept", "targetAverageValue": "kept"},
    ),
    "PodsMetricSource": Type(
        drop=("metric", "target"), required=("metricName", "targetAverageValue"),
        add={"metricName": STRING, "targetAverageValue": QUANTITY, "selector": SELECTOR},
        presence={"metricName": "always", "targetAverageValue": "always", "selector": "kept"},
    ),
    "ObjectMetricSource": Type(
        drop=("describedObject", "metric", "target"), required=("target", "metricName", "targetValue"),
        add={"target": _ref("CrossVersionObjectReference"), "metricName": STRING, "targetValue": QUANTITY,
             "selector": SELECTOR, "averageValue": QUANTITY},
        presence={"target": "always", "metricName": "always", "targetValue": "always", "selector": "kept",
                  "averageValue": "kept"},
    ),
    "ExternalMetricSource": Type(
        drop=("metric", "target"), required=("metricName",),
        add={"metricName": STRING, "metricSelector": SELECTOR, "targetValue": QUANTITY,
             "targetAverageValue": QUANTITY},
        presence={"metricName": "always", "metricSelector": "kept", "targetValue": "kept",
                  "targetAverageValue": "kept"},
    ),
    "ResourceMetricStatus": Type(
        drop=("current",), required=("name", "currentAverageValue"),
        add={"currentAverageUtilization": INT32, "currentAverageValue": QUANTITY},
        presence={"currentAverageUtilization": "kept", "currentAverageValue": "always"},
    ),
    "ContainerResourceMetricStatus": Type(
        drop=("current",), required=("name", "currentAverageValue", "container"),
        add={"currentAverageUtilization": INT32, "currentAverageValue": QUANTITY},
        presence={"currentAverageUtilization": "kept", "currentAverageValue": "always"},
    ),
    "PodsMetricStatus": Type(
        drop=("metric", "current"), required=("metricName", "currentAverageValue"),
        add={"metricName": STRING, "currentAverageValue": QUANTITY, "selector": SELECTOR},
        presence={"metricName": "always", "currentAverageValue": "always", "selector": "kept"},
    ),
    "ObjectMetricStatus": Type(
        drop=("describedObject", "metric", "current"), required=("target", "metricName", "currentValue"),
        add={"target": _ref("CrossVersionObjectReference"), "metricName": STRING, "currentValue": QUANTITY,
             "selector": SELECTOR, "averageValue": QUANTITY},
        presence={"target": "always", "metricName": "always", "currentValue": "always", "selector": "kept",
                  "averageValue": "kept"},
    ),
    "ExternalMetricStatus": Type(
        drop=("metric", "current"), required=("metricName", "currentValue"),
        add={"metricName": STRING, "metricSelector": SELECTOR, "currentValue": QUANTITY,
             "currentAverageValue": QUANTITY},
        presence={"metricName": "always", "metricSelector": "kept", "currentValue": "always",
                  "currentAverageValue": "kept"},
    ),
}  # fmt: skip
_DEFINITION: Final = {
    "CustomResourceDefinitionSpec": Type(
        required=("group", "names", "scope"),
        add={
            "version": STRING, "validation": _ref("CustomResourceValidation"),
            "subresources": _ref("CustomResourceSubresources"),
            "additionalPrinterColumns": _list(_ref("CustomResourceColumnDefinition")),
            "selectableFields": _list(_ref("SelectableField")),
        },
        presence={"preserveUnknownFields": "kept", "subresources": "kept", "validation": "kept"},
    ),
    "CustomResourceColumnDefinition": Type(
        drop=("jsonPath",), add={"JSONPath": STRING}, required=("name", "type", "JSONPath"),
        presence={"JSONPath": "always"},
    ),
    "CustomResourceConversion": Type(
        drop=("webhook",),
        add={"webhookClientConfig": _ref("WebhookClientConfig"), "conversionReviewVersions": _list(STRING)},
        presence={"webhookClientConfig": "kept"},
    ),
}  # fmt: skip
_NOMINAL_LEVELS: Final = {
    "LimitedPriorityLevelConfiguration": Type(presence={"nominalConcurrencyShares": "always"}),
}
_PRIORITY_LEVELS: Final = {
    "LimitedPriorityLevelConfiguration": Type(
        drop=("nominalConcurrencyShares",), add={"assuredConcurrencyShares": INT32},
        presence={"assuredConcurrencyShares": "always"},
    ),
}  # fmt: skip
_RUNTIME_CLASS: Final = {
    "RuntimeClass": Type(
        drop=("handler", "overhead", "scheduling"), add={"spec": _ref("RuntimeClassSpec")}, required=("spec",),
        presence={"spec": "always"},
    ),
    "RuntimeClassSpec": Type(
        own=True, required=("runtimeHandler",),
        add={"runtimeHandler": STRING, "overhead": _ref("Overhead"), "scheduling": _ref("Scheduling")},
        presence={"runtimeHandler": "always", "overhead": "kept", "scheduling": "kept"},
    ),
}  # fmt: skip
_SUBJECT: Final = {
    "Subject": Type(drop=("apiGroup",), add={"apiVersion": STRING}),
}
_ACCESS: Final = {
    "SubjectAccessReviewSpec": Type(drop=("groups",), add={"group": _list(STRING)}),
}
_SCHEMAS: Final = frozenset(
    ("JSON", "JSONSchemaProps", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray",
     "ExternalDocumentation", "ValidationRule")
)  # fmt: skip

PACKAGES: Final[Mapping[str, Package]] = {
    f"{_API}extensions.v1beta1": Package(
        "extensions", "v1beta1", (f"{_API}apps.v1", f"{_API}networking.v1"), {**_POD_TEMPLATES_SELECT, **_INGRESS}
    ),
    f"{_API}apps.v1beta1": Package(
        "apps", "v1beta1", (f"{_API}apps.v1",),
        {key: _POD_TEMPLATES_SELECT[key] for key in ("DeploymentSpec", "StatefulSetSpec", "RollbackConfig")},
    ),
    f"{_API}apps.v1beta2": Package("apps", "v1beta2", (f"{_API}apps.v1",)),
    f"{_API}admissionregistration.v1beta1": Package(
        "admissionregistration.k8s.io", "v1beta1", (f"{_API}admissionregistration.v1",),
        {"ValidatingWebhook": Type(required=("name", "clientConfig")),
         "MutatingWebhook": Type(required=("name", "clientConfig"))},
    ),
    f"{_API}admissionregistration.v1alpha1": Package(
        "admissionregistration.k8s.io", "v1alpha1", (f"{_API}admissionregistration.v1",)
    ),
    f"{_CRD}.v1beta1": Package("apiextensions.k8s.io", "v1beta1", (f"{_CRD}.v1",), _DEFINITION, _SCHEMAS),
    f"{_AGGREGATOR}.v1beta1": Package("apiregistration.k8s.io", "v1beta1", (f"{_AGGREGATOR}.v1",)),
    f"{_API}authentication.v1beta1": Package("authentication.k8s.io", "v1beta1", (f"{_API}authentication.v1",)),
    f"{_API}authentication.v1alpha1": Package("authentication.k8s.io", "v1alpha1", (f"{_API}authentication.v1",)),
    f"{_API}authorization.v1beta1": Package(
        "authorization.k8s.io", "v1beta1", (f"{_API}authorization.v1",), _ACCESS
    ),
    f"{_API}autoscaling.v2beta1": Package("autoscaling", "v2beta1", (f"{_API}autoscaling.v2",), _AUTOSCALER),
    f"{_API}autoscaling.v2beta2": Package("autoscaling", "v2beta2", (f"{_API}autoscaling.v2",), _AUTOSCALED),
    f"{_API}batch.v1beta1": Package("batch", "v1beta1", (f"{_API}batch.v1",), shared=frozenset(("JobSpec",))),
    f"{_API}batch.v2alpha1": Package("batch", "v2alpha1", (f"{_API}batch.v1",), shared=frozenset(("JobSpec",))),
    f"{_API}certificates.v1beta1": Package(
        "certificates.k8s.io", "v1beta1", (f"{_API}certificates.v1",),
        {"CertificateSigningRequestSpec": Type(required=("request",), presence={"signerName": "kept"}),
         "CertificateSigningRequestCondition": Type(required=("type",))},
    ),
    f"{_API}certificates.v1alpha1": Package(
        "certificates.k8s.io", "v1alpha1", (f"{_API}certificates.v1beta1", f"{_API}certificates.v1")
    ),
    f"{_API}coordination.v1beta1": Package("coordination.k8s.io", "v1beta1", (f"{_API}coordination.v1",)),
    f"{_API}coordination.v1alpha1": Package(
        "coordination.k8s.io", "v1alpha1", (f"{_API}coordination.v1beta1",),
        {"LeaseCandidateSpec": Type(
            drop=("strategy",), add={"preferredStrategies": _list(STRING)}, required=("leaseName",))},
    ),
    f"{_API}discovery.v1beta1": Package(
        "discovery.k8s.io", "v1beta1", (f"{_API}discovery.v1",),
        {"Endpoint": Type(drop=("deprecatedTopology", "zone"), add={"topology": STRINGS})},
    ),
    f"{_API}events.v1beta1": Package("events.k8s.io", "v1beta1", (f"{_API}events.v1",)),
    **{
        f"{_API}flowcontrol.{version}": Package(
            "flowcontrol.apiserver.k8s.io", version, (f"{_API}flowcontrol.v1",),
            _NOMINAL_LEVELS if version == "v1beta3" else _PRIORITY_LEVELS,
        )
        for version in ("v1alpha1", "v1beta1", "v1beta2", "v1beta3")
    },
    f"{_API}networking.v1beta1": Package("networking.k8s.io", "v1beta1", (f"{_API}networking.v1",), _INGRESS),
    f"{_API}networking.v1alpha1": Package("networking.k8s.io", "v1alpha1", (f"{_API}networking.v1",)),
    f"{_API}node.v1alpha1": Package("node.k8s.io", "v1alpha1", (f"{_API}node.v1",), _RUNTIME_CLASS),
    f"{_API}node.v1beta1": Package("node.k8s.io", "v1beta1", (f"{_API}node.v1",)),
    f"{_API}policy.v1beta1": Package("policy", "v1beta1", (f"{_API}policy.v1",)),
    f"{_API}rbac.v1alpha1": Package("rbac.authorization.k8s.io", "v1alpha1", (f"{_API}rbac.v1",), _SUBJECT),
    f"{_API}rbac.v1beta1": Package("rbac.authorization.k8s.io", "v1beta1", (f"{_API}rbac.v1",)),
    f"{_API}scheduling.v1alpha1": Package("scheduling.k8s.io", "v1alpha1", (f"{_API}scheduling.v1",)),
    f"{_API}scheduling.v1beta1": Package("scheduling.k8s.io", "v1beta1", (f"{_API}scheduling.v1",)),
    f"{_API}storage.v1alpha1": Package("storage.k8s.io", "v1alpha1", (f"{_API}storage.v1",)),
    f"{_API}storage.v1beta1": Package("storage.k8s.io", "v1beta1", (f"{_API}storage.v1",)),
    f"{_API}storagemigration.v1alpha1": Package(
        "storagemigration.k8s.io", "v1alpha1", (f"{_API}storagemigration.v1",),
        {"StorageVersionMigrationSpec": Type(
            drop=("resource",), add={"resource": _ref("GroupVersionResource"), "continueToken": STRING},
            required=("resource",), presence={"resource": "always"}),
         "GroupVersionResource": Type(own=True, add={"group": STRING, "version": STRING, "resource": STRING})},
    ),
}  # fmt: skip


def base_of(name: str, published: Callable[[str], bool]) -> str | None:
    """The published definition that a former one is like; None: it is none, or stands alone."""
    package_name, _, type_name = name.rpartition(".")
    package = PACKAGES.get(package_name)
    if package is None:
        return None
    wanted = package.types[type_name].renamed if type_name in package.types else ""
    for base in package.bases:
        if published(found := f"{base}.{wanted or type_name}"):
            return found
    return None


def exists(name: str, published: Callable[[str], bool]) -> bool:
    package_name, _, type_name = name.rpartition(".")
    package = PACKAGES.get(package_name)
    if package is None:
        return False
    change = package.types.get(type_name)
    return (change is not None and change.own) or base_of(name, published) is not None


def derive(name: str, published: Callable[[str], bool], raw: Callable[[str], Raw]) -> Raw:
    """The definition as OpenAPI would have it. ``raw`` gives a published one, the callee's own. KeyError: there is
    none."""
    package_name, _, type_name = name.rpartition(".")
    package = PACKAGES[package_name]
    change = package.types.get(type_name, _SAME)
    base = base_of(name, published)
    if base is None and not change.own:
        raise KeyError(name)
    found: Raw = {"properties": {}, "type": "object"} if change.own or base is None else raw(base)
    found = _Renaming(package_name, package, published).of(found)
    properties = found.get("properties")
    if properties is not None:
        for key in change.drop:
            properties.pop(key, None)
        for key, value in change.add.items():
            properties[key] = _local(value, package_name)
    if change.required is not None:
        found["required"] = list(change.required)
    if "x-kubernetes-group-version-kind" in found:
        gvk = {"group": package.group, "kind": type_name, "version": package.version}
        found["x-kubernetes-group-version-kind"] = [gvk]
    return found


def presence(name: str, of_base: Mapping[str, Any]) -> dict[str, Any]:
    """What Go writes of each field, from what it writes of the base's."""
    package_name, _, type_name = name.rpartition(".")
    change = PACKAGES[package_name].types.get(type_name, _SAME)
    kept = {} if change.own else {key: value for key, value in of_base.items() if key not in change.drop}
    return {**kept, **change.presence}


def said(name: str, of_base: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the fields of the base (types with a name of their own, defaults), of those that are still it."""
    package_name, _, type_name = name.rpartition(".")
    package = PACKAGES[package_name]
    change = package.types.get(type_name, _SAME)
    if change.own:
        return {}

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            for base in package.bases:
                value = value.replace(f"{base}.", f"{package_name}.")
        return value

    gone = (*change.drop, *change.add)
    return {key: renamed(value) for key, value in of_base.items() if key not in gone}


_SAME: Final = Type()


class _Renaming:
    """References to the types of a base become references to the package's own."""

    def __init__(self, package_name: str, package: Package, published: Callable[[str], bool]) -> None:
        self._package_name, self._package = package_name, package
        self._published = published

    def of(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._name(item) if key == "$ref" else self.of(item) for key, item in value.items()}
        return [self.of(item) for item in value] if isinstance(value, list) else value

    def _name(self, name: str) -> str:
        base, _, type_name = name.rpartition(".")
        if base not in self._package.bases or type_name in self._package.shared:
            return name
        return f"{self._package_name}.{type_name}"


def _local(value: Any, package_name: str) -> Any:
    if isinstance(value, dict):
        return {
            key: f"{package_name}.{item[1:]}" if key == "$ref" and item.startswith("~") else _local(item, package_name)
            for key, item in value.items()
        }
    return value
