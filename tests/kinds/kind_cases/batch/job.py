"""Job (batch/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    ANY,
    GONE,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    invalid,
    not_supported,
    required,
)
from kind_templates import stored, template

_GENERATED = {
    "batch.kubernetes.io/controller-uid": ANY,
    "batch.kubernetes.io/job-name": "a",
    "controller-uid": ANY,
    "job-name": "a",
}
_SELECTOR = {"matchLabels": {"batch.kubernetes.io/controller-uid": ANY}}
_RULES = "spec.podFailurePolicy.rules[0]"
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    {"action": "FailIndex", "onExitCodes": {"containerName": "c", "operator": "In", "values": [1, 42]}},
]
_SHOWN_SUCCESS = '{"Rules":[{"SucceededIndexes":"0-1","SucceededCount":1}]}'
_STARTED = {"status.startTime": "2026-11-21T11:00:00Z"}
_FINISHED = {
    **_STARTED,
    "status.completionTime": "2026-11-21T11:30:00Z",
    "status.conditions": [
        {"type": "SuccessCriteriaMet", "status": "True"},
        {"type": "Complete", "status": "True"},
    ],
}
_RUNNING = {"spec.suspend": False}


def _conditions(*types: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True"} for kind in types]


def _shown(path: str) -> Cause:
    """A fault that shows a whole template: its words are not compared."""
    any_text: Any = ANY
    return Cause("FieldValueInvalid", path, any_text)


def _of_conditions(text: str) -> Cause:
    return Cause("FieldValueInvalid", "status.conditions", f"Invalid value: {text}")


CASES = KindCases(
    api_version="batch/v1",
    kind="Job",
    plural="jobs",
    generation=True,
    metadata_adds={"labels": _GENERATED},
    minimal={"metadata": {"name": "a"}, "spec": {"template": template(restartPolicy="Never")}},
    minimal_stored={
        "spec": {
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "completions": 1,
            "manualSelector": False,
            "parallelism": 1,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": _SELECTOR,
            "suspend": False,
            "template": stored(_GENERATED, restartPolicy="Never"),
        },
        "status": {},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "activeDeadlineSeconds": 3600,
            "backoffLimit": 9,
            "backoffLimitPerIndex": 1,
            "completionMode": "Indexed",
            "completions": 3,
            "managedBy": "acme.io/controller",
            "maxFailedIndexes": 2,
            "parallelism": 2,
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "podReplacementPolicy": "Failed",
            "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]},
            "suspend": True,
            "template": template(restartPolicy="Never"),
            "ttlSecondsAfterFinished": 60,
        },
    },
    full_stored={
        "spec": {
            "activeDeadlineSeconds": 3600,
            "backoffLimit": 9,
            "backoffLimitPerIndex": 1,
            "completionMode": "Indexed",
            "completions": 3,
            "managedBy": "acme.io/controller",
            "manualSelector": False,
            "maxFailedIndexes": 2,
            "parallelism": 2,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    _FAILURE_RULES[1],
                ]
            },
            "podReplacementPolicy": "Failed",
            "selector": _SELECTOR,
            "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]},
            "suspend": True,
            "template": stored(_GENERATED, restartPolicy="Never"),
            "ttlSecondsAfterFinished": 60,
        },
        "status": {},
    },
    invalid=[
        Invalid(
            "numbers below zero",
            {"spec.parallelism": -1, "spec.activeDeadlineSeconds": -2, "spec.ttlSecondsAfterFinished": -3},
            [
                invalid(f"spec.{key}", value, "must be greater than or equal to 0")
                for key, value in (("parallelism", "-1"), ("activeDeadlineSeconds", "-2"),
                                   ("ttlSecondsAfterFinished", "-3"))
            ],
        ),
        Invalid(
            "no policy for restarts",
            {"spec.template.spec.restartPolicy": GONE},
            [required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')],
            on="minimal",
        ),
        Invalid(
            "an unknown mode",
            {"spec.completionMode": "Sorted"},
            [not_supported("spec.completionMode", '"Sorted"', "NonIndexed", "Indexed")],
            on="minimal",
        ),
        Invalid(
            "a controller without its domain",
            {"spec.managedBy": "controller"},
            [invalid("spec.managedBy", '"controller"', 'must be a domain-prefixed path (such as "acme.io/foo")')],
        ),
        Invalid(
            "a controller with a long name",
            {"spec.managedBy": "acme.io/" + "c" * 60},
            [Cause("FieldValueTooLong", "spec.managedBy", "Too long: may not be more than 63 bytes")],
        ),
        Invalid(
            "what counts by index without indexes",
            {"spec.completionMode": "NonIndexed"},
            [
                invalid("spec.backoffLimitPerIndex", "1", "requires indexed completion mode"),
                invalid("spec.maxFailedIndexes", "2", "requires indexed completion mode"),
                invalid("spec.successPolicy", _SHOWN_SUCCESS, "requires indexed completion mode"),
            ],
            together=True,
        ),
        Invalid(
            "most failures without failures by index",
            {"spec.backoffLimitPerIndex": GONE, "spec.podFailurePolicy": GONE},
            [required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified")],
            together=True,
        ),
        Invalid(
            "more failures than indexes",
            {"spec.maxFailedIndexes": 4},
            [invalid("spec.maxFailedIndexes", "4", "must be less than or equal to completions")],
            together=True,
        ),
        Invalid(
            "many indexes, and as many at once",
            {"spec.completions": 100_001, "spec.parallelism": 100_001, "spec.maxFailedIndexes": GONE},
            [
                invalid("spec.parallelism", "100001",
                        "must be less than or equal to 100000 when completion mode is Indexed"),
                required("spec.maxFailedIndexes", "must be specified when completions is above 100000"),
                invalid("spec.parallelism", "100001",
                        "must be less than or equal to 10000 when completions are above 100000 and used with backoff "
                        "limit per index"),
            ],
            together=True,
        ),
        Invalid(
            "an index as failure without a limit for it",
            {"spec.backoffLimitPerIndex": GONE, "spec.maxFailedIndexes": GONE},
            [invalid("spec.podFailurePolicy.rules[1].action", '"FailIndex"',
                     "requires the backoffLimitPerIndex to be set")],
            together=True,
        ),
        Invalid(
            "pods that are restarted and judged",
            {"spec.template.spec.restartPolicy": "OnFailure"},
            [invalid("spec.template.spec.restartPolicy", '"OnFailure"',
                     'only "Never" is supported when podFailurePolicy is specified')],
            together=True,
        ),
        Invalid(
            "pods that are replaced early and judged",
            {"spec.podReplacementPolicy": "TerminatingOrFailed"},
            [not_supported("spec.podReplacementPolicy", '"TerminatingOrFailed"', "Failed")],
            together=True,
        ),
        Invalid(
            "exit codes of another container, unordered, with a success among them",
            {"spec.podFailurePolicy.rules": [
                {"action": "Count", "onExitCodes": {"containerName": "d", "operator": "In", "values": [3, 0, 3]}},
            ]},
            [
                invalid(f"{_RULES}.onExitCodes.containerName", '"d"',
                        "must be one of the container or initContainer names in the pod template"),
                invalid(f"{_RULES}.onExitCodes.values[1]", "0", "must not be 0 for the In operator"),
                duplicate(f"{_RULES}.onExitCodes.values[2]", "3"),
                invalid(f"{_RULES}.onExitCodes.values", "[3,0,3]", "must be ordered"),
            ],
        ),
        Invalid(
            "a rule about nothing, one about both, and one that does nothing",
            {"spec.podFailurePolicy.rules": [
                {"action": "Count"},
                {"action": "Stop", "onExitCodes": {"operator": "In", "values": [1]},
                 "onPodConditions": [{"type": "a b", "status": "Maybe"}]},
                {"action": "", "onExitCodes": {"operator": "", "values": []}},
            ]},
            [
                Cause("FieldValueInvalid", _RULES,
                      "Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
                not_supported("spec.podFailurePolicy.rules[1].action", '"Stop"',
                              "Count", "FailIndex", "FailJob", "Ignore"),
                invalid("spec.podFailurePolicy.rules[1].onPodConditions[0].type", '"a b"',
                        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
                        "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
                        "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"),
                not_supported("spec.podFailurePolicy.rules[1].onPodConditions[0].status", '"Maybe"',
                              "False", "True", "Unknown"),
                Cause("FieldValueInvalid", "spec.podFailurePolicy.rules[1]",
                      "Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"),
                required("spec.podFailurePolicy.rules[2].action",
                         'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'),
                required("spec.podFailurePolicy.rules[2].onExitCodes.operator", 'valid values: ["In" "NotIn"]'),
                invalid("spec.podFailurePolicy.rules[2].onExitCodes.values", "null", "at least one value is required"),
            ],
        ),
        Invalid(
            "more successes than indexes",
            {"spec.successPolicy.rules": [{"succeededIndexes": "0-1", "succeededCount": 4}, {}]},
            [
                invalid("spec.successPolicy.rules[0].succeededCount", "4",
                        "must be less than or equal to 3 (the number of specified completions)"),
                invalid("spec.successPolicy.rules[0].succeededCount", "4",
                        "must be less than or equal to 2 (the number of indexes in the specified succeededIndexes "
                        "field)"),
                required("spec.successPolicy.rules[1]",
                         "at least one of succeededCount or succeededIndexes must be specified"),
            ],
            together=True,
        ),
        *(
            Invalid(
                f"successes at {indexes}",
                {"spec.successPolicy.rules": [{"succeededIndexes": indexes}]},
                [invalid("spec.successPolicy.rules[0].succeededIndexes", f'"{indexes}"',
                         f"error parsing succeededIndexes: {text}")],
                together=True,
            )
            for indexes, text in (
                ("1-3", 'too large index: "3"'),
                ("1,0", "non-increasing order, previous: 1, current: 0"),
                ("x", 'cannot convert string to integer for index: "x"'),
                ("0-1-2", 'the fragment "0-1-2" violates the requirement that an index interval can have at most two '
                          "parts separated by '-'"),
            )
        ),
        Invalid(
            "no rule of success",
            {"spec.successPolicy.rules": []},
            [required("spec.successPolicy.rules",
                      "at least one rules must be specified when the successPolicy is specified")],
        ),
        Invalid(
            "a name too long for its pods",
            {"metadata.name": "a" * 62},
            [invalid("metadata.name", f'"{"a" * 62}"',
                     f"will not able to create pod with invalid DNS label: {'a' * 62}-2")],
            together=True,
        ),
        Invalid(
            "a selector by hand that is missing",
            {"spec.manualSelector": True},
            [
                required("spec.selector"),
                invalid("spec.template.metadata.labels", "null", "`selector` does not match template `labels`"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "a selector by hand for other pods",
            {
                "spec.manualSelector": True,
                "spec.selector": {"matchLabels": {"a": "b"}},
                "spec.template.metadata.labels": {"app": "web"},
            },
            [invalid("spec.template.metadata.labels", '{"app":"web"}', "`selector` does not match template `labels`")],
            together=True,
        ),
        Invalid(
            "a label that is the server's to set",
            {"spec.template.metadata": {"labels": {"job-name": "b"}}, "metadata.labels": {"x": "y"}},
            [_shown("spec.template.metadata.labels[job-name]")],
            on="minimal",
            together=True,
        ),
    ],
    updates=[
        Update("paused and resumed", {"spec.suspend": False}, allowed=True),
        Update("more at once", {"spec.parallelism": 3}, allowed=True),
        Update("more in all, as many at once", {"spec.parallelism": 5, "spec.completions": 5}, allowed=True),
        Update(
            "more in all alone", {"spec.completions": 5},
            [invalid("spec.completions", "5", "can only be modified in tandem with spec.parallelism")],
        ),
        Update(
            "more in all without indexes", {"spec.completions": 5},
            [invalid("spec.completions", "5", "field is immutable")], on="minimal",
        ),
        Update(
            "none in all", {"spec.completions": GONE},
            [invalid("spec.completions", "null", "field is immutable")], on="minimal",
        ),
        Update(
            "policies", {"spec.podFailurePolicy": GONE, "spec.successPolicy.rules.0.succeededCount": 2},
            [
                invalid("spec.podFailurePolicy", "null", "field is immutable"),
                invalid("spec.successPolicy", '{"Rules":[{"SucceededIndexes":"0-1","SucceededCount":2}]}',
                        "field is immutable"),
            ],
        ),
        Update(
            "who manages it, and by what limit", {"spec.managedBy": "acme.io/other", "spec.backoffLimitPerIndex": 2},
            [
                invalid("spec.backoffLimitPerIndex", "2", "field is immutable"),
                invalid("spec.managedBy", '"acme.io/other"', "field is immutable"),
            ],
        ),
        Update("where pods of one that has not started go", {"spec.template.spec.nodeSelector": {"a": "b"}},
               allowed=True),
        Update("labels of pods of one that has not started", {"spec.template.metadata.labels.app": "api"},
               allowed=True),
        Update(
            "where pods of one that runs go", {"spec.template.spec.nodeSelector": {"a": "b"}},
            [_shown("spec.template")], on="minimal",
        ),
        Update(
            "where pods of one at rest go", {"spec.template.spec.tolerations": [{"operator": "Exists"}]},
            allowed=True, before={**_STARTED, "status.conditions": _conditions("Suspended")},
        ),
        Update(
            "where pods go that are being stopped", {"spec.template.spec.tolerations": [{"operator": "Exists"}]},
            [_shown("spec.template")],
            before={**_STARTED, "status.active": 1, "status.conditions": _conditions("Suspended")},
        ),
        Update(
            "what pods of one at rest ask for",
            {"spec.template.spec.containers.0.resources": {"requests": {"cpu": "2"}}},
            allowed=True, before={"status.conditions": _conditions("Suspended")},
        ),
        Update(
            "the image of pods of one at rest", {"spec.template.spec.containers.0.image": "nginx:2"},
            [_shown("spec.template.spec")],
            before={"status.conditions": _conditions("Suspended")},
        ),
        Update(
            "a fault is told twice", {"spec.parallelism": -1},
            [invalid("spec.parallelism", "-1", "must be greater than or equal to 0")] * 2, on="minimal",
        ),
        Update("status of one that is done", dict(_FINISHED), allowed=True, through="status"),
        Update(
            "done without an end", {**_STARTED, "status.conditions": _conditions("SuccessCriteriaMet", "Complete")},
            [required("status.completionTime", "completionTime is required for Complete jobs")], through="status",
        ),
        Update(
            "done without having met what it takes",
            {**_STARTED, "status.completionTime": "2026-11-21T11:30:00Z", "status.conditions": _conditions("Complete")},
            [
                _of_conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
                _of_conditions("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"),
            ],
            through="status",
        ),
        Update(
            "done and failed, with pods, before it started",
            {
                "status.startTime": "2026-11-21T12:00:00Z",
                "status.completionTime": "2026-11-21T11:30:00Z",
                "status.active": 1,
                "status.ready": 2,
                "status.terminating": 1,
                "status.uncountedTerminatedPods": {"succeeded": ["u", ""], "failed": ["u"]},
                "status.conditions": _conditions("SuccessCriteriaMet", "Complete", "Failed", "FailureTarget"),
            },
            [
                invalid("status.uncountedTerminatedPods.succeeded[1]", '""', "must not be empty"),
                duplicate("status.uncountedTerminatedPods.failed[0]", '"u"'),
                _of_conditions("cannot set Complete=True and Failed=true conditions"),
                _of_conditions("cannot set Complete=True and FailureTarget=true conditions"),
                invalid("status.completionTime", '"2026-11-21T11:30:00Z"', "must be equal to or after `startTime`"),
                invalid("status.active", "1", "active>0 is invalid for finished job"),
                invalid("status.uncountedTerminatedPods", '{"Succeeded":["u",""],"Failed":["u"]}',
                        "must be empty for finished job"),
                invalid("status.terminating", "1", "terminating>0 is invalid for finished job"),
                invalid("status.ready", "2", "cannot set more ready pods than active"),
                _of_conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions"),
                _of_conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
            ],
            through="status",
        ),
        Update(
            "failed without a start or a target", {"status.conditions": _conditions("Failed")},
            [
                _of_conditions("cannot set Failed=True condition without the FailureTarget=true condition"),
                required("status.startTime", "startTime is required for finished job"),
            ],
            through="status",
        ),
        Update(
            "an end of one that goes on", {**_STARTED, "status.completionTime": "2026-11-21T11:30:00Z"},
            [invalid("status.completionTime", '"2026-11-21T11:30:00Z"',
                     "cannot set completionTime when there is no Complete=True condition")],
            through="status",
        ),
        Update(
            "indexes that are done and failed", {"status.completedIndexes": "0,2", "status.failedIndexes": "1-2"},
            [invalid("status.failedIndexes", '"1-2"', "failedIndexes and completedIndexes overlap at index: 2")],
            through="status",
        ),
        Update(
            "indexes beyond the last", {"status.completedIndexes": "0,3", "status.failedIndexes": "4"},
            [
                invalid("status.completedIndexes", '"0,3"', 'error parsing completedIndexes: too large index: "3"'),
                invalid("status.failedIndexes", '"4"', 'error parsing failedIndexes: too large index: "4"'),
            ],
            through="status",
        ),
        Update(
            "indexes of one without", {"status.completedIndexes": "0", "status.failedIndexes": "0"},
            [
                invalid("status.completedIndexes", '"0"',
                        "cannot set non-empty completedIndexes when non-indexed completion mode"),
                invalid("status.failedIndexes", '"0"',
                        "cannot set non-null failedIndexes when backoffLimitPerIndex is null"),
                invalid("status.failedIndexes", '"0"', "failedIndexes and completedIndexes overlap at index: 0"),
            ],
            on="minimal", through="status",
        ),
        Update(
            "undone", {"status.conditions": GONE, "status.completionTime": GONE},
            [
                _of_conditions("cannot disable the terminal Complete=True condition"),
                _of_conditions("cannot disable the SuccessCriteriaMet=True condition"),
            ],
            before=_FINISHED, through="status",
        ),
        Update(
            "done at another time", {"status.completionTime": "2026-11-21T11:40:00Z"},
            [invalid("status.completionTime", '"2026-11-21T11:40:00Z"', "field is immutable")],
            before=_FINISHED, through="status",
        ),
        Update(
            "fewer than there were", {"status.succeeded": 1, "status.failed": 1},
            [
                invalid("status.failed", "1", "cannot decrease the failed counter"),
                invalid("status.succeeded", "1", "cannot decrease the succeeded counter"),
            ],
            before={"status.succeeded": 2, "status.failed": 2}, through="status",
        ),
        Update(
            "started anew", {"status.startTime": GONE},
            [required("status.startTime", "startTime cannot be removed for unsuspended job")],
            before=_STARTED, on="minimal", through="status",
        ),
    ],
    rows=[
        Row("new", {}, ["a", "Running", "0/1", "", "60m", "c", "nginx:1", ANY]),
        Row("suspended", {"status.conditions": _conditions("Suspended")},
            ["a", "Suspended", "0/3", "", "60m", "c", "nginx:1", ANY], on="full"),
        Row("running", {"status.startTime": "2026-11-21T11:58:00Z"},
            ["a", "Running", "0/1", "2m", "60m", "c", "nginx:1", ANY]),
        Row("complete", {**_FINISHED, "status.succeeded": 1},
            ["a", "Complete", "1/1", "30m", "60m", "c", "nginx:1", ANY]),
        Row("failed", {**_STARTED, "status.conditions": _conditions("Failed", "FailureTarget")},
            ["a", "Failed", "0/1", "60m", "60m", "c", "nginx:1", ANY]),
        Row("about to fail", {"status.conditions": _conditions("FailureTarget")},
            ["a", "FailureTarget", "0/1", "", "60m", "c", "nginx:1", ANY]),
        Row("about to succeed", {"status.conditions": _conditions("SuccessCriteriaMet")},
            ["a", "SuccessCriteriaMet", "0/1", "", "60m", "c", "nginx:1", ANY]),
        Row("going", {"metadata.deletionTimestamp": "2026-11-21T12:00:00Z"},
            ["a", "Terminating", "0/1", "", "60m", "c", "nginx:1", ANY]),
        Row("a queue of many", {"spec.completions": GONE, "spec.parallelism": 3},
            ["a", "Running", "0/1 of 3", "", "60m", "c", "nginx:1", ANY]),
        Row("a queue of one", {"spec.completions": GONE, "spec.selector": GONE},
            ["a", "Running", "0/1", "", "60m", "c", "nginx:1", "<none>"]),
    ],
    warned=[
        Warned("more indexes than can be kept in mind",
               {"metadata.name": "b", "spec.completions": 100_001, "spec.parallelism": 10_001,
                "spec.completionMode": "Indexed"},
               ["spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"],
               on="minimal"),
    ],
)  # fmt: skip
