"""Pod (v1)."""

from __future__ import annotations

from kind_harness import KindCases, Warned
from pod_changes import UPDATES
from pod_faults import INVALID
from pod_manifests import FULL_POD_STORED, FULL_SPEC, MINIMAL_POD_STORED, MINIMAL_SPEC
from pod_rows import ROWS

CASES = KindCases(
    api_version="v1",
    kind="Pod",
    plural="pods",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": MINIMAL_SPEC},
    minimal_stored={"spec": MINIMAL_POD_STORED, "status": {"phase": "Pending", "qosClass": "BestEffort"}},
    full={"metadata": {"name": "a", "labels": {"app": "web"}, "annotations": {"a.io/b": "c"}}, "spec": FULL_SPEC},
    full_stored={
        "spec": FULL_POD_STORED,
        "status": {
            "phase": "Pending",
            "qosClass": "Burstable",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": "2026-11-21T12:00:00Z",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ],
        },
    },
    invalid=INVALID,
    updates=UPDATES,
    rows=ROWS,
    warned=[
        Warned("nothing", {}, [], on="minimal"),
        Warned(
            "a name that is no hostname",
            {"metadata.name": "a.b"},
            [
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS "
                "label is recommended: [must not contain dots]"
            ],
            on="minimal",
        ),
        Warned(
            "a profile that only an annotation says",
            {"metadata.annotations": {"container.apparmor.security.beta.kubernetes.io/c": "runtime/default"}},
            [
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use "
                'the "appArmorProfile" field instead'
            ],
            on="minimal",
        ),
        Warned(
            "a variable twice, and no grace",
            {"spec.containers.0.env": [{"name": "A"}, {"name": "A"}], "spec.terminationGracePeriodSeconds": -1},
            [
                'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated "
                "as 1",
            ],
            on="minimal",
        ),
    ],
)
