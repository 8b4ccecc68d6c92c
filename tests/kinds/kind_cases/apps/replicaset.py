"""ReplicaSet (apps/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, not_supported, required
from kind_templates import DOTTED_NAME, OLD_LABEL, stored, template

_APP = {"app": "web"}
_MISMATCH = "`selector` does not match template `labels`"

CASES = KindCases(
    api_version="apps/v1",
    kind="ReplicaSet",
    plural="replicasets",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": _APP}, "template": template(_APP)}},
    minimal_stored={
        "spec": {"replicas": 1, "selector": {"matchLabels": _APP}, "template": stored(_APP)},
        "status": {"replicas": 0},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "minReadySeconds": 5, "replicas": 3, "selector": {"matchLabels": _APP}, "template": template(_APP),
        },
    },
    full_stored={
        "spec": {"minReadySeconds": 5, "replicas": 3, "selector": {"matchLabels": _APP}, "template": stored(_APP)},
        "status": {"replicas": 0},
    },
    invalid=[
        Invalid(
            "no selector", {"spec.selector": GONE},
            [required("spec.selector"), invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)],
            together=True,
        ),
        Invalid("an empty selector", {"spec.selector": {}},
                [invalid("spec.selector", "{}", "empty selector is invalid for deployment")]),
        Invalid("a selector for other pods", {"spec.selector.matchLabels": {"app": "api"}},
                [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)], together=True),
        Invalid("a template without labels", {"spec.template.metadata": GONE},
                [invalid("spec.template.metadata.labels", "null", _MISMATCH)], together=True),
        Invalid(
            "values without a choice", {"spec.selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            [
                required("spec.selector.matchExpressions[0].values",
                         "must be specified when `operator` is 'In' or 'NotIn'"),
                invalid("spec.selector", '{"matchExpressions":[{"key":"app","operator":"In"}]}',
                        "invalid label selector"),
            ],
        ),
        Invalid("fewer than none", {"spec.replicas": -1},
                [invalid("spec.replicas", "-1", "must be greater than or equal to 0")]),
        Invalid("ready before it is", {"spec.minReadySeconds": -1},
                [invalid("spec.minReadySeconds", "-1", "must be greater than or equal to 0")]),
        Invalid("pods that end", {"spec.template.spec.restartPolicy": "OnFailure"},
                [not_supported("spec.template.spec.restartPolicy", '"OnFailure"', "Always")]),
        Invalid(
            "pods with an end", {"spec.template.spec.activeDeadlineSeconds": 9},
            [forbidden("spec.template.spec.activeDeadlineSeconds",
                       "activeDeadlineSeconds in ReplicaSet is not Supported")],
        ),
    ],
    updates=[
        Update("as many as wanted", {"spec.replicas": 0}, allowed=True),
        Update("another image", {"spec.template.spec.containers.0.image": "nginx:2"}, allowed=True),
        Update("a fault is told twice", {"spec.replicas": -1},
               [invalid("spec.replicas", "-1", "must be greater than or equal to 0")] * 2),
        Update(
            "other pods", {"spec.selector.matchLabels": {"app": "api"}, "spec.template.metadata.labels.app": "api"},
            [invalid("spec.selector", '{"matchLabels":{"app":"api"}}', "field is immutable")],
        ),
        Update(
            "counters that do not fit",
            {"status.replicas": 1, "status.fullyLabeledReplicas": 2, "status.availableReplicas": 1},
            [
                invalid("status.fullyLabeledReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "1", "cannot be greater than readyReplicas"),
            ],
            through="status",
        ),
    ],
    rows=[
        Row("new", {}, ["a", 1, 0, 0, "60m", "c", "nginx:1", "app=web"]),
        Row("half there", {"status.replicas": 2, "status.readyReplicas": 1},
            ["a", 3, 2, 1, "60m", "c", "nginx:1", "app=web"], on="full"),
        Row("a selector that is none", {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "?"}]}},
            ["a", 1, 0, 0, "60m", "c", "nginx:1", "<error>"]),
    ],
    warned=[
        Warned("a name with a dot, and a label of old",
               {"metadata.name": "a.b", "spec.template.spec.nodeSelector": {"beta.kubernetes.io/os": "linux"}},
               [
                   DOTTED_NAME,
                   f"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {OLD_LABEL}",
               ]),
    ],
)  # fmt: skip
