"""DaemonSet (apps/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, not_supported, required
from kind_templates import OLD_LABEL, stored, template

_APP = {"app": "web"}
_MISMATCH = "`selector` does not match template `labels`"
_ROLLING = "spec.updateStrategy.rollingUpdate"
_COUNT = "metadata.annotations[deprecated.daemonset.template.generation]"
_STATUS = {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}

CASES = KindCases(
    api_version="apps/v1",
    kind="DaemonSet",
    plural="daemonsets",
    generation=True,
    metadata_adds={"annotations": {"deprecated.daemonset.template.generation": "1"}},
    minimal={"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": _APP}, "template": template(_APP)}},
    minimal_stored={
        "spec": {
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": _APP},
            "template": stored(_APP),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        },
        "status": _STATUS,
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "minReadySeconds": 2,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": _APP},
            "template": template(_APP, nodeSelector={"b": "c", "a": "b"}),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}},
        },
    },
    full_stored={
        "spec": {
            "minReadySeconds": 2,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": _APP},
            "template": stored(_APP, nodeSelector={"b": "c", "a": "b"}),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}},
        },
        "status": _STATUS,
    },
    invalid=[
        Invalid("no selector", {"spec.selector": GONE},
                [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)], together=True),
        Invalid("an empty selector", {"spec.selector": {}},
                [invalid("spec.selector", "{}", "empty selector is invalid for daemonset")]),
        Invalid("other pods selected", {"spec.selector.matchLabels": {"app": "api"}},
                [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)], together=True),
        Invalid("a selector that is none", {"spec.selector.matchExpressions": [{"key": "a", "operator": "Like"}]},
                [invalid("spec.selector.matchExpressions[0].operator", '"Like"', "not a valid selector operator")]),
        Invalid(
            "an unknown strategy", {"spec.updateStrategy.type": "Recreate"},
            [not_supported("spec.updateStrategy",
                           '{"Type":"Recreate","RollingUpdate":{"MaxUnavailable":0,"MaxSurge":"10%"}}',
                           "RollingUpdate", "OnDelete")],
        ),
        Invalid("some away and some more", {f"{_ROLLING}.maxUnavailable": 1},
                [invalid(f"{_ROLLING}.maxSurge", '"10%"', "may not be set when maxUnavailable is non-zero")],
                together=True),
        Invalid("nobody may go and nobody come", {f"{_ROLLING}.maxSurge": "0%"},
                [required(f"{_ROLLING}.maxUnavailable", "cannot be 0 when maxSurge is 0")], together=True),
        Invalid(
            "more than all", {f"{_ROLLING}.maxSurge": "101%", f"{_ROLLING}.maxUnavailable": -1},
            [
                invalid(f"{_ROLLING}.maxUnavailable", "-1", "must be greater than or equal to 0"),
                invalid(f"{_ROLLING}.maxSurge", '"101%"', "must not be greater than 100%"),
                invalid(f"{_ROLLING}.maxSurge", '"101%"', "may not be set when maxUnavailable is non-zero"),
            ],
        ),
        Invalid(
            "numbers below zero", {"spec.minReadySeconds": -1, "spec.revisionHistoryLimit": -2},
            [
                invalid("spec.minReadySeconds", "-1", "must be greater than or equal to 0"),
                invalid("spec.revisionHistoryLimit", "-2", "must be greater than or equal to 0"),
            ],
        ),
        Invalid(
            "pods that end", {"spec.template.spec.restartPolicy": "Never",
                              "spec.template.spec.activeDeadlineSeconds": 1},
            [
                not_supported("spec.template.spec.restartPolicy", '"Never"', "Always"),
                forbidden("spec.template.spec.activeDeadlineSeconds",
                          "activeDeadlineSeconds in DaemonSet is not Supported"),
            ],
        ),
        Invalid(
            "a count of templates that is none", {_COUNT: "one"}, code=400,
            message='DaemonSet in version "v1" cannot be handled as a DaemonSet: strconv.ParseInt: parsing "one": '
                    "invalid syntax",
        ),
    ],
    updates=[
        Update("another image", {"spec.template.spec.containers.0.image": "nginx:2"}, allowed=True),
        Update("on deletion", {"spec.updateStrategy": {"type": "OnDelete"}}, allowed=True),
        Update(
            "other pods", {"spec.selector.matchLabels": {"app": "api"}, "spec.template.metadata.labels.app": "api"},
            [invalid("spec.selector", '{"matchLabels":{"app":"api"}}', "field is immutable")],
        ),
        Update("a fault is told twice", {"spec.minReadySeconds": -1},
               [invalid("spec.minReadySeconds", "-1", "must be greater than or equal to 0")] * 2),
        Update(
            "counters below zero", {"status.numberReady": -1, "status.numberAvailable": -2},
            [
                invalid("status.numberReady", "-1", "must be greater than or equal to 0"),
                invalid("status.numberAvailable", "-2", "must be greater than or equal to 0"),
            ],
            through="status",
        ),
        Update("no collisions any more", {"status.collisionCount": GONE},
               [invalid("status.collisionCount", "0", "cannot be decremented")],
               before={"status.collisionCount": 2}, through="status"),
    ],
    rows=[
        Row("new", {}, ["a", 0, 0, 0, 0, 0, "<none>", "60m", "c", "nginx:1", "app=web"]),
        Row(
            "some there",
            {"status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
                        "updatedNumberScheduled": 2, "numberAvailable": 1}},
            ["a", 5, 4, 3, 2, 1, "a=b,b=c", "60m", "c", "nginx:1", "app=web"], on="full",
        ),
        Row("selects none", {"spec.selector": GONE},
            ["a", 0, 0, 0, 0, 0, "<none>", "60m", "c", "nginx:1", "<none>"]),
    ],
    warned=[
        Warned("a label of old", {"spec.template.spec.nodeSelector": {"beta.kubernetes.io/os": "linux"}},
               [f"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {OLD_LABEL}"]),
    ],
)  # fmt: skip
