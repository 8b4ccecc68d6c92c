"""HorizontalPodAutoscaler (autoscaling/v2, which is stored, and autoscaling/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import GONE, Invalid, KindCases, Row, Update, forbidden, invalid, not_supported, required

_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
_CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
_STATUS: dict[str, Any] = {"currentMetrics": None, "desiredReplicas": 0}
_POPULATE = "must populate information for the given metric source"
_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_UP = "spec.behavior.scaleUp"


def _metric(kind: str, field: str, source: dict[str, Any], **target: Any) -> dict[str, Any]:
    return {"type": kind, field: {**source, "target": target}}


_ALL = [
    _metric("Resource", "resource", {"name": "memory"}, type="AverageValue", averageValue="64Mi"),
    _metric("ContainerResource", "containerResource", {"name": "cpu", "container": "c"}, type="Utilization",
            averageUtilization=50),
    _metric("Pods", "pods", {"metric": {"name": "m"}}, type="AverageValue", averageValue="500m"),
    _metric("Object", "object", {"metric": {"name": "r"}, "describedObject": {"kind": "Service", "name": "s"}},
            type="Value", value="10"),
    _metric("External", "external", {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}}},
            type="AverageValue", averageValue="30"),
]  # fmt: skip
_BEHAVIOR = {
    "scaleDown": {"selectPolicy": "Min", "stabilizationWindowSeconds": 60, "tolerance": "50m",
                  "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
    "scaleUp": {"selectPolicy": "Disabled"},
}  # fmt: skip


def _one(change: dict[str, Any]) -> dict[str, Any]:
    return {"spec.metrics": [change]}


def _shown(metrics: list[dict[str, Any]], current: list[dict[str, Any]], cell: str) -> Row:
    return Row(f"metrics {cell}", {"spec.metrics": metrics, "status.currentMetrics": current},
               ["a", "Deployment/d", cell, "1", 3, 0, "60m"])  # fmt: skip


_V2 = KindCases(
    api_version="autoscaling/v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": _TARGET}},
    minimal_stored={
        "spec": {"maxReplicas": 3, "metrics": [_CPU], "minReplicas": 1, "scaleTargetRef": _TARGET},
        "status": _STATUS,
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "behavior": _BEHAVIOR,
            "maxReplicas": 9,
            "metrics": _ALL,
            "minReplicas": 0,
            "scaleTargetRef": _TARGET,
        },
    },
    full_stored={
        "spec": {
            "behavior": {
                "scaleDown": _BEHAVIOR["scaleDown"],
                "scaleUp": {
                    "selectPolicy": "Disabled",
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                    ],
                },
            },
            "maxReplicas": 9,
            "metrics": _ALL,
            "minReplicas": 0,
            "scaleTargetRef": _TARGET,
        },
        "status": _STATUS,
    },
    invalid=[
        Invalid(
            "bounds that are none", {"spec.minReplicas": -1, "spec.maxReplicas": -2},
            [
                invalid("spec.minReplicas", "-1", "must be greater than or equal to 0"),
                invalid("spec.maxReplicas", "-2", "must be greater than 0"),
                invalid("spec.maxReplicas", "-2", "must be greater than or equal to `minReplicas`"),
            ],
        ),
        Invalid("at least more than at most", {"spec.minReplicas": 10},
                [invalid("spec.maxReplicas", "9", "must be greater than or equal to `minReplicas`")], together=True),
        Invalid(
            "none at times, and nothing that tells when", {"spec.minReplicas": 0},
            [forbidden("spec.metrics",
                       "must specify at least one Object or External metric to support scaling to zero replicas")],
            on="minimal", together=True,
        ),
        Invalid("nothing to scale", {"spec.scaleTargetRef": {}},
                [required("spec.scaleTargetRef.kind"), required("spec.scaleTargetRef.name")]),
        Invalid("a target with a path", {"spec.scaleTargetRef.name": "a/b", "spec.scaleTargetRef.kind": ".."},
                [
                    invalid("spec.scaleTargetRef.kind", '".."', "may not be '..'"),
                    invalid("spec.scaleTargetRef.name", '"a/b"', "may not contain '/'"),
                ]),
        Invalid("no type", _one({}),
                [
                    required("spec.metrics[0].type", "must specify a metric source type"),
                    *[not_supported("spec.metrics[0].type", '""', *_TYPES)] * 2,
                ], on="minimal"),
        Invalid("an unknown type", _one({"type": "Disk"}),
                [not_supported("spec.metrics[0].type", '"Disk"', *_TYPES)] * 2, on="minimal"),
        Invalid("a type without its source", _one({"type": "Pods"}),
                [required("spec.metrics[0].pods", _POPULATE)], on="minimal", together=True),
        Invalid(
            "another source as well", _one({**_ALL[2], "object": _ALL[3]["object"]}),
            [forbidden("spec.metrics[0].object", "must populate the given metric source only")], on="minimal",
            together=True,
        ),
        Invalid("the source of another type", _one({"type": "Pods", "resource": _CPU["resource"]}),
                [required("spec.metrics[0].pods", _POPULATE)], on="minimal", together=True),
        Invalid(
            "a resource without a name, twice aimed at",
            _one(_metric("Resource", "resource", {"name": ""}, type="", averageUtilization=0, averageValue="0")),
            [
                required("spec.metrics[0].resource.name", "must specify a resource name"),
                required("spec.metrics[0].resource.target.type", "must specify a metric target type"),
                invalid("spec.metrics[0].resource.target.type", '""',
                        "must be either Utilization, Value, or AverageValue"),
                invalid("spec.metrics[0].resource.target.averageValue", '"0"', "must be positive"),
                invalid("spec.metrics[0].resource.target.averageUtilization", "0", "must be greater than 0"),
                forbidden("spec.metrics[0].resource.target.averageValue",
                          "may not set both a target raw value and a target utilization"),
            ],
            on="minimal",
        ),
        Invalid(
            "a container's resource without either",
            _one(_metric("ContainerResource", "containerResource", {"name": "cpu", "container": ""}, type="Value")),
            [
                required("spec.metrics[0].containerResource.container", "must specify a container"),
                required("spec.metrics[0].containerResource.target.averageUtilization",
                         "must set either a target raw value or a target utilization"),
            ],
            on="minimal",
        ),
        Invalid(
            "metrics of pods without a name and a value",
            _one(_metric("Pods", "pods", {"metric": {"name": ""}}, type="AverageValue", value="-1")),
            [
                required("spec.metrics[0].pods.metric.name", "must specify a metric name"),
                invalid("spec.metrics[0].pods.target.value", '"-1"', "must be positive"),
                required("spec.metrics[0].pods.target.averageValue", "must specify a positive target averageValue"),
            ],
            on="minimal",
        ),
        Invalid(
            "an object that is none", _one(_metric("Object", "object", {"metric": {"name": "a/b"}}, type="Value")),
            [
                required("spec.metrics[0].object.describedObject.kind"),
                required("spec.metrics[0].object.describedObject.name"),
                invalid("spec.metrics[0].object.metric.name", '"a/b"', "may not contain '/'"),
                required("spec.metrics[0].object.target.averageValue",
                         "must set either a target value or averageValue"),
            ],
            on="minimal",
        ),
        Invalid(
            "two external values",
            _one(_metric("External", "external", {"metric": {"name": "q"}}, type="Value", value="1", averageValue="1")),
            [forbidden("spec.metrics[0].external.target.value",
                       "may not set both a target value for metric and a per-pod target")],
            on="minimal", together=True,
        ),
        Invalid(
            "rules out of bounds",
            {_UP: {"selectPolicy": "Avg", "stabilizationWindowSeconds": 3601, "tolerance": "-1",
                   "policies": [{"type": "Nodes", "value": 0, "periodSeconds": 1801}]}},
            [
                invalid(f"{_UP}.stabilizationWindowSeconds", "3601", "must be less than or equal to 3600"),
                not_supported(f"{_UP}.selectPolicy", '"Avg"', "Disabled", "Max", "Min"),
                not_supported(f"{_UP}.policies[0].type", '"Nodes"', "Percent", "Pods"),
                invalid(f"{_UP}.policies[0].value", "0", "must be greater than zero"),
                invalid(f"{_UP}.policies[0].periodSeconds", "1801", "must be less than or equal to 1800"),
                invalid(f"{_UP}.tolerance", '"-1"', "must be greater than or equal to 0"),
            ],
        ),
        Invalid("a window before it opens", {f"{_UP}.stabilizationWindowSeconds": -1},
                [invalid(f"{_UP}.stabilizationWindowSeconds", "-1", "must be greater than or equal to zero")]),
    ],
    updates=[
        Update("more", {"spec.maxReplicas": 20}, allowed=True),
        Update("at least more than at most", {"spec.minReplicas": 20},
               [invalid("spec.maxReplicas", "9", "must be greater than or equal to `minReplicas`")]),
        Update(
            "counters below zero", {"status.currentReplicas": -1, "status.desiredReplicas": -2},
            [
                invalid("status.currentReplicas", "-1", "must be greater than or equal to 0"),
                invalid("status.desiredReplicas", "-2", "must be greater than or equal to 0"),
            ],
            through="status",
        ),
    ],
    rows=[
        Row("new", {}, ["a", "Deployment/d", "cpu: <unknown>/80%", "1", 3, 0, "60m"]),
        Row("no bound below", {"spec.minReplicas": GONE, "spec.metrics": GONE, "status.currentReplicas": 2},
            ["a", "Deployment/d", "<none>", "<unset>", 3, 2, "60m"]),
        Row("all kinds of metrics", {},
            ["a", "Deployment/d", "memory: <unknown>/64Mi, cpu: <unknown>/50% + 3 more...", "0", 9, 0, "60m"],
            on="full"),
        _shown([_CPU], [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}],
               "cpu: 12%/80%"),
        _shown(_ALL[:1], [{"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": "32Mi"}}}],
               "memory: 32Mi/64Mi"),
        _shown([_metric("Resource", "resource", {"name": "cpu"}, type="Utilization")], [], "cpu: <unknown>/<auto>"),
        _shown(_ALL[2:4], [{"type": "Pods", "pods": {"metric": {"name": "m"}, "current": {"averageValue": "250m"}}},
                           {"type": "Object", "object": {"current": {"value": "3"}}}],
               "250m/500m, 3/10"),
        _shown(_ALL[4:], [{"type": "External", "external": {"current": {"averageValue": "7"}}}], "7/30 (avg)"),
        _shown([_metric("External", "external", {"metric": {"name": "q"}}, type="Value", value="5")], [],
               "<unknown>/5"),
        _shown([_metric("Object", "object", {}, type="AverageValue", averageValue="5")],
               [{"type": "Object", "object": {"current": {}}}], "<unknown>/5 (avg)"),
        _shown([_metric("Pods", "pods", {}, type="AverageValue", averageValue="5")],
               [{"type": "Pods", "pods": {"current": {}}}], "<nil>/5"),
        _shown([{"type": "Disk"}], [], "<unknown type>"),
    ],
)  # fmt: skip

_V1 = KindCases(
    api_version="autoscaling/v1",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": _TARGET}},
    minimal_stored={
        "spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": _TARGET, "targetCPUUtilizationPercentage": 80},
        "status": {"currentReplicas": 0, "desiredReplicas": 0},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "maxReplicas": 3, "minReplicas": 2, "scaleTargetRef": _TARGET, "targetCPUUtilizationPercentage": 50,
        },
    },
    full_stored={
        "spec": {
            "maxReplicas": 3, "minReplicas": 2, "scaleTargetRef": _TARGET, "targetCPUUtilizationPercentage": 50,
        },
        "status": {"currentReplicas": 0, "desiredReplicas": 0},
    },
    few_rules="it is judged as autoscaling/v2",
    invalid=[
        Invalid("at least more than at most", {"spec.minReplicas": 4},
                [invalid("spec.maxReplicas", "3", "must be greater than or equal to `minReplicas`")], together=True),
        Invalid("no use at all", {"spec.targetCPUUtilizationPercentage": -1},
                [invalid("spec.metrics[0].resource.target.averageUtilization", "-1", "must be greater than 0")]),
        Invalid("nothing to scale", {"spec.scaleTargetRef": {}},
                [required("spec.scaleTargetRef.kind"), required("spec.scaleTargetRef.name")]),
    ],
    updates=[
        Update("more", {"spec.maxReplicas": 20}, allowed=True),
        Update("at least more than at most", {"spec.minReplicas": 20},
               [invalid("spec.maxReplicas", "3", "must be greater than or equal to `minReplicas`")]),
    ],
    rows=[Row("as v2 shows it", {}, ["a", "Deployment/d", "cpu: <unknown>/50%", "2", 3, 0, "60m"], on="full")],
)  # fmt: skip

CASES = [_V2, _V1]
