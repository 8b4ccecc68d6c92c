"""ReplicationController (v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, not_supported, required
from kind_templates import DOTTED_NAME, OLD_LABEL, stored, template

_APP = {"app": "web"}
_MISMATCH = "`selector` does not match template `labels`"

CASES = KindCases(
    api_version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    generation=True,
    metadata_adds={"labels": _APP},
    minimal={"metadata": {"name": "a"}, "spec": {"template": template(_APP)}},
    minimal_stored={
        "spec": {"replicas": 1, "selector": _APP, "template": stored(_APP)},
        "status": {"replicas": 0},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {"minReadySeconds": 5, "replicas": 3, "selector": _APP, "template": template(_APP)},
    },
    full_stored={
        "spec": {"minReadySeconds": 5, "replicas": 3, "selector": _APP, "template": stored(_APP)},
        "status": {"replicas": 0},
    },
    invalid=[
        Invalid("nothing to make", {"spec": {}}, [required("spec.selector"), required("spec.template")],
                on="minimal"),
        Invalid("a selector and nothing to make", {"spec.template": GONE}, [required("spec.template")], together=True),
        Invalid("nothing selected", {"spec.template.metadata": GONE}, [required("spec.selector")], on="minimal",
                together=True),
        Invalid("other pods selected", {"spec.selector": {"app": "api"}},
                [invalid("spec.template.metadata.labels", '{"app":"web"}', _MISMATCH)], together=True),
        Invalid("a template without labels", {"spec.template.metadata": GONE},
                [invalid("spec.template.metadata.labels", "null", _MISMATCH)], together=True),
        Invalid("fewer than none", {"spec.replicas": -1},
                [invalid("spec.replicas", "-1", "must be greater than or equal to 0")]),
        Invalid("ready before it is", {"spec.minReadySeconds": -1},
                [invalid("spec.minReadySeconds", "-1", "must be greater than or equal to 0")]),
        Invalid("pods that end", {"spec.template.spec.restartPolicy": "Never"},
                [not_supported("spec.template.spec.restartPolicy", '"Never"', "Always")]),
        Invalid(
            "pods with an end", {"spec.template.spec.activeDeadlineSeconds": 9},
            [forbidden("spec.template.spec.activeDeadlineSeconds",
                       "activeDeadlineSeconds in ReplicationController is not Supported")],
        ),
    ],
    updates=[
        Update("as many as wanted", {"spec.replicas": 0}, allowed=True),
        Update("other pods", {"spec.selector": {"app": "api"}, "spec.template.metadata.labels": {"app": "api"}},
               allowed=True),
        Update("a fault is told twice", {"spec.minReadySeconds": -1},
               [invalid("spec.minReadySeconds", "-1", "must be greater than or equal to 0")] * 2),
        Update(
            "counters that do not fit",
            {"status.replicas": 1, "status.readyReplicas": 2, "status.availableReplicas": 3},
            [
                invalid("status.readyReplicas", "2", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "3", "cannot be greater than status.replicas"),
                invalid("status.availableReplicas", "3", "cannot be greater than readyReplicas"),
            ],
            through="status",
        ),
    ],
    rows=[
        Row("new", {}, ["a", 1, 0, 0, "60m", "c", "nginx:1", "app=web"]),
        Row("half there", {"status.replicas": 2, "status.readyReplicas": 1},
            ["a", 3, 2, 1, "60m", "c", "nginx:1", "app=web"], on="full"),
        Row("without a template", {"spec.template": GONE, "spec.selector": GONE},
            ["a", 1, 0, 0, "60m", "", "", "<none>"]),
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
