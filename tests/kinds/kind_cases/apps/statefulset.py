"""StatefulSet (apps/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    LABEL,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
)
from kind_templates import STORED_CONTAINER, stored, template

_APP = {"app": "web"}
_MISMATCH = "`selector` does not match template `labels`"
_ROLLING = "spec.updateStrategy.rollingUpdate"
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_MOUNTED = {"name": "data", "mountPath": "/data"}
_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)

CASES = KindCases(
    api_version="apps/v1",
    kind="StatefulSet",
    plural="statefulsets",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": _APP}, "template": template(_APP)}},
    minimal_stored={
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "podManagementPolicy": "OrderedReady",
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": _APP},
            "serviceName": "",
            "template": stored(_APP),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
        },
        "status": {"availableReplicas": 0, "replicas": 0},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "minReadySeconds": 3,
            "ordinals": {"start": 2},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
            "podManagementPolicy": "Parallel",
            "replicas": 3,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _APP},
            "serviceName": "web",
            "template": template(
                _APP, containers=[{"name": "c", "image": "nginx:1", "volumeMounts": [_MOUNTED]}]
            ),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": _CLAIM}],
        },
    },
    full_stored={
        "spec": {
            "minReadySeconds": 3,
            "ordinals": {"start": 2},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "podManagementPolicy": "Parallel",
            "replicas": 3,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _APP},
            "serviceName": "web",
            "template": stored(_APP, containers=[{**STORED_CONTAINER, "volumeMounts": [_MOUNTED]}]),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": "50%"}},
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"},
                    "spec": {**_CLAIM, "volumeMode": "Filesystem"},
                    "status": {"phase": "Pending"},
                }
            ],
        },
        "status": {"availableReplicas": 0, "replicas": 0},
    },
    invalid=[
        Invalid(
            "no selector", {"spec.selector": GONE},
            [required("spec.selector"), invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)],
            together=True,
        ),
        Invalid("an empty selector", {"spec.selector": {}},
                [invalid("spec.selector", "{}", "empty selector is invalid for statefulset")]),
        Invalid("other pods selected", {"spec.selector.matchLabels": {"app": "api"}},
                [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)], together=True),
        Invalid(
            "a selector that is none", {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            [
                invalid("spec.selector.matchExpressions[0].operator", '"Like"', "not a valid selector operator"),
                invalid("spec.selector", '{"matchExpressions":[{"key":"a","operator":"Like"}]}'),
            ],
        ),
        Invalid("an unknown order", {"spec.podManagementPolicy": "Reverse"},
                [invalid("spec.podManagementPolicy", '"Reverse"', "must be 'OrderedReady' or 'Parallel'")]),
        Invalid("an unknown strategy", {"spec.updateStrategy": {"type": "Recreate"}},
                [invalid("spec.updateStrategy", '{"Type":"Recreate","RollingUpdate":null}',
                         "must be 'RollingUpdate' or 'OnDelete'")]),
        Invalid("a rolling update of a strategy without", {"spec.updateStrategy.type": "OnDelete"},
                [invalid(_ROLLING, '{"Partition":0,"MaxUnavailable":"50%"}',
                         "only allowed for updateStrategy 'RollingUpdate'")], together=True),
        Invalid(
            "none away", {f"{_ROLLING}.maxUnavailable": 0, f"{_ROLLING}.partition": -1},
            [
                invalid(f"{_ROLLING}.partition", "-1", "must be greater than or equal to 0"),
                invalid(f"{_ROLLING}.maxUnavailable", "0", "cannot be 0"),
            ],
        ),
        Invalid("more than all away", {f"{_ROLLING}.maxUnavailable": "101%"},
                [invalid(f"{_ROLLING}.maxUnavailable", '"101%"', "must not be greater than 100%")]),
        Invalid(
            "unknown ends of claims",
            {"spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Keep", "whenScaled": "Drop"}},
            [
                not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{key}", value, "Retain", "Delete")
                for key, value in (("whenDeleted", '"Keep"'), ("whenScaled", '"Drop"'))
            ],
        ),
        Invalid(
            "numbers below zero", {"spec.replicas": -1, "spec.minReadySeconds": -2, "spec.ordinals.start": -3},
            [
                invalid("spec.replicas", "-1", "must be greater than or equal to 0"),
                invalid("spec.minReadySeconds", "-2", "must be greater than or equal to 0"),
                invalid("spec.ordinals.start", "-3", "must be greater than or equal to 0"),
            ],
        ),
        Invalid(
            "claims that are none", {"spec.volumeClaimTemplates.0.spec": {"accessModes": []}},
            [
                required("spec.volumeClaimTemplates[0].spec.accessModes", "at least 1 access mode is required"),
                required("spec.volumeClaimTemplates[0].spec.resources[storage]"),
            ],
        ),
        Invalid(
            "a mount of nothing", {"spec.volumeClaimTemplates.0.metadata.name": "log"},
            [not_found("spec.template.spec.containers[0].volumeMounts[0].name", '"data"')], together=True,
        ),
        Invalid("a service that is none", {"spec.serviceName": "Web"}, [invalid("spec.serviceName", '"Web"', LABEL)]),
        Invalid("a name with a dot", {"metadata.name": "a.b"},
                [invalid("metadata.name", '"a.b"', "must not contain dots")]),
        Invalid(
            "pods that end", {"spec.template.spec.restartPolicy": "Never",
                              "spec.template.spec.activeDeadlineSeconds": 1},
            [
                not_supported("spec.template.spec.restartPolicy", '"Never"', "Always"),
                forbidden("spec.template.spec.activeDeadlineSeconds",
                          "activeDeadlineSeconds in StatefulSet is not Supported"),
            ],
        ),
    ],
    updates=[
        Update("what may change", {
            "spec.replicas": 0, "spec.ordinals.start": 0, "spec.minReadySeconds": 0, "spec.revisionHistoryLimit": 3,
            "spec.updateStrategy": {"type": "OnDelete"}, "spec.template.spec.containers.0.image": "nginx:2",
            "spec.persistentVolumeClaimRetentionPolicy.whenDeleted": "Retain",
        }, allowed=True),
        Update("another service", {"spec.serviceName": "api"}, [forbidden("spec", _MAY_CHANGE)]),
        Update("another claim", {"spec.volumeClaimTemplates.0.spec.resources.requests.storage": "2Gi"},
               [forbidden("spec", _MAY_CHANGE)]),
        Update("other pods and fewer than none",
               {"spec.selector.matchLabels": {"app": "api"}, "spec.template.metadata.labels.app": "api",
                "spec.replicas": -1},
               [invalid("spec.replicas", "-1", "must be greater than or equal to 0"), forbidden("spec", _MAY_CHANGE)]),
        Update(
            "counters that do not fit",
            {"status.replicas": 1, "status.currentReplicas": 2, "status.updatedReplicas": 2,
             "status.readyReplicas": 0, "status.availableReplicas": 1},
            [
                invalid("status.currentReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.updatedReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "1", "cannot be greater than status.readyReplicas"),
            ],
            through="status",
        ),
        Update("fewer collisions", {"status.collisionCount": 1},
               [invalid("status.collisionCount", "1", "cannot be decremented")],
               before={"status.collisionCount": 2}, through="status"),
    ],
    rows=[
        Row("new", {}, ["a", "0/1", "60m", "c", "nginx:1"]),
        Row("some there", {"status.readyReplicas": 2}, ["a", "2/3", "60m", "c", "nginx:1"], on="full"),
    ],
    warned=[
        Warned("a fraction of a byte",
               {"spec.volumeClaimTemplates.0.spec.resources.requests.storage": "100m"},
               ['spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "100m" is invalid, '
                "must be an integer"]),
    ],
)  # fmt: skip
