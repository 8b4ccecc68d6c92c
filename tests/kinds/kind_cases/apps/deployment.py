"""Deployment (apps/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, not_supported, required
from kind_templates import DOTTED_NAME, OLD_LABEL, stored, template

_APP = {"app": "web"}
_MISMATCH = "`selector` does not match template `labels`"
_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%', regex used for "
    "validation is '[0-9]+%')"
)
_ROLLING = "spec.strategy.rollingUpdate"

CASES = KindCases(
    api_version="apps/v1",
    kind="Deployment",
    plural="deployments",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": _APP}, "template": template(_APP)}},
    minimal_stored={
        "spec": {
            "progressDeadlineSeconds": 600,
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": _APP},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": stored(_APP),
        },
        "status": {},
    },
    full={
        "metadata": {"name": "a", "annotations": {"a": "b"}},
        "spec": {
            "minReadySeconds": 5,
            "paused": True,
            "progressDeadlineSeconds": 9,
            "replicas": 3,
            "revisionHistoryLimit": 0,
            "selector": {
                "matchLabels": _APP,
                "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}],
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "10%"}},
            "template": template(_APP),
        },
    },
    full_stored={
        "spec": {
            "minReadySeconds": 5,
            "paused": True,
            "progressDeadlineSeconds": 9,
            "replicas": 3,
            "revisionHistoryLimit": 0,
            "selector": {
                "matchLabels": _APP,
                "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}],
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "10%"}},
            "template": stored(_APP),
        },
        "status": {},
    },
    invalid=[
        Invalid(
            "no selector",
            {"spec.selector": GONE},
            [required("spec.selector"), invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)],
            together=True,
        ),
        Invalid(
            "an empty selector",
            {"spec.selector": {}},
            [invalid("spec.selector", "{}", "empty selector is invalid for deployment")],
        ),
        Invalid(
            "a selector for other pods",
            {"spec.selector": {"matchLabels": {"app": "api"}}},
            [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)],
            together=True,
        ),
        Invalid(
            "a template without labels",
            {"spec.template.metadata": GONE},
            [invalid("spec.template.metadata.labels", "null", _MISMATCH)],
            together=True,
        ),
        Invalid(
            "a selector that is none",
            {"spec.selector": {"matchExpressions": [{"key": "app", "operator": "Like", "values": ["w"]}]}},
            [
                invalid("spec.selector.matchExpressions[0].operator", '"Like"', "not a valid selector operator"),
                invalid(
                    "spec.selector",
                    '{"matchExpressions":[{"key":"app","operator":"Like","values":["w"]}]}',
                    "invalid label selector",
                ),
            ],
        ),
        Invalid(
            "an unknown strategy",
            {"spec.strategy": {"type": "BlueGreen"}},
            [
                not_supported(
                    "spec.strategy", '{"Type":"BlueGreen","RollingUpdate":null}', "Recreate", "RollingUpdate"
                )
            ],
        ),
        Invalid(
            "a rolling update of a strategy without",
            {"spec.strategy.type": "Recreate"},
            [forbidden(_ROLLING, "may not be specified when strategy `type` is 'Recreate'")],
            together=True,
        ),
        Invalid(
            "nobody may go and nobody come",
            {f"{_ROLLING}.maxSurge": "0%", f"{_ROLLING}.maxUnavailable": 0},
            [invalid(f"{_ROLLING}.maxUnavailable", "0", "may not be 0 when `maxSurge` is 0")],
            together=True,
        ),
        Invalid(
            "more than all away, and fewer than none more",
            {f"{_ROLLING}.maxUnavailable": "101%", f"{_ROLLING}.maxSurge": -1},
            [
                invalid(f"{_ROLLING}.maxSurge", "-1", "must be greater than or equal to 0"),
                invalid(f"{_ROLLING}.maxUnavailable", '"101%"', "must not be greater than 100%"),
            ],
        ),
        Invalid(
            "no percentage",
            {f"{_ROLLING}.maxUnavailable": "ten"},
            [invalid(f"{_ROLLING}.maxUnavailable", '"ten"', _PERCENT)],
        ),
        Invalid(
            "given up before it can be ready",
            {"spec.progressDeadlineSeconds": 5},
            [invalid("spec.progressDeadlineSeconds", "5", "must be greater than minReadySeconds")],
            together=True,
        ),
        Invalid(
            "numbers below zero",
            {"spec.replicas": -1, "spec.minReadySeconds": -2, "spec.revisionHistoryLimit": -3},
            [
                invalid("spec.replicas", "-1", "must be greater than or equal to 0"),
                invalid("spec.minReadySeconds", "-2", "must be greater than or equal to 0"),
                invalid("spec.revisionHistoryLimit", "-3", "must be greater than or equal to 0"),
            ],
        ),
        Invalid(
            "pods that end",
            {"spec.template.spec.restartPolicy": "Never", "spec.template.spec.activeDeadlineSeconds": 9},
            [
                not_supported("spec.template.spec.restartPolicy", '"Never"', "Always"),
                forbidden(
                    "spec.template.spec.activeDeadlineSeconds",
                    "activeDeadlineSeconds in ReplicaSet is not Supported",
                ),
            ],
        ),
    ],
    updates=[
        Update("another image", {"spec.template.spec.containers.0.image": "nginx:2"}, allowed=True),
        Update("as many as wanted", {"spec.replicas": 0}, allowed=True),
        Update(
            "other pods",
            {"spec.selector": {"matchLabels": {"app": "web", "tier": "front"}},
             "spec.template.metadata.labels.tier": "front"},
            [invalid("spec.selector", '{"matchLabels":{"app":"web","tier":"front"}}', "field is immutable")],
        ),
        Update(
            "counters that do not fit", {
                "status.replicas": 1, "status.updatedReplicas": 2, "status.readyReplicas": -1,
                "status.availableReplicas": 2,
            },
            [
                invalid("status.readyReplicas", "-1", "must be greater than or equal to 0"),
                invalid("status.updatedReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "2", "cannot be greater than readyReplicas"),
            ],
            through="status",
        ),
        Update(
            "fewer collisions", {"status.collisionCount": 1},
            [invalid("status.collisionCount", "1", "cannot be decremented")],
            before={"status.collisionCount": 2}, through="status",
        ),
        Update("counters that fit", {"status.replicas": 3, "status.readyReplicas": 2, "status.availableReplicas": 1},
               allowed=True, through="status"),
    ],
    rows=[
        Row("new", {}, ["a", "0/1", 0, 0, "60m", "c", "nginx:1", "app=web"]),
        Row(
            "rolling", {"status.readyReplicas": 2, "status.updatedReplicas": 1, "status.availableReplicas": 2},
            ["a", "2/3", 1, 2, "60m", "c", "nginx:1", "app=web,app in (api,web)"], on="full",
        ),
        Row("a selector that is none", {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "?"}]}},
            ["a", "0/1", 0, 0, "60m", "c", "nginx:1", "<invalid>"]),
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
