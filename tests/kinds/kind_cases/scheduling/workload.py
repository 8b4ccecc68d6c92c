"""Workload, PodGroup and CompositePodGroup (scheduling.k8s.io, off by default)."""

from __future__ import annotations

from kind_harness import GONE, LABEL, Cause, Invalid, KindCases, Row, Update, duplicate, invalid, required

_BASIC = {"name": "g", "schedulingPolicy": {"basic": {}}}
_GANG = {"name": "h", "schedulingPolicy": {"gang": {"minCount": 2}}}
_SPEC = {
    "controllerRef": {"apiGroup": "batch", "kind": "Job", "name": "j"},
    "podGroupTemplates": [
        _GANG,
        {
            **_BASIC,
            "schedulingConstraints": {"topology": [{"key": "topology.kubernetes.io/zone"}]},
            "resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}],
            "disruptionMode": {"all": {}},
            "priorityClassName": "high",
            "priority": 5,
            "preemptionPolicy": "Never",
        },
    ],
}
_STORED = {**_SPEC, "podGroupTemplates": [{**_GANG, "schedulingConstraints": None}, _SPEC["podGroupTemplates"][1]]}
_FIRST = "spec.podGroupTemplates.0"
_AT = "spec.podGroupTemplates[0]"
_MANY = [{**_BASIC, "name": f"g{index}"} for index in range(9)]
_BOTH = "exactly one of `basic`, `gang` is required, but multiple fields are set"

_WORKLOAD = KindCases(
    api_version="scheduling.k8s.io/v1beta1",
    kind="Workload",
    plural="workloads",
    minimal={"metadata": {"name": "a"}, "spec": {"podGroupTemplates": [_BASIC]}},
    minimal_stored={"spec": {"podGroupTemplates": [{**_BASIC, "schedulingConstraints": None}]}},
    full={"metadata": {"name": "a"}, "spec": _SPEC},
    full_stored={"spec": _STORED},
    invalid=[
        Invalid("no groups", {"spec": {}}, [required("spec.podGroupTemplates")]),
        Invalid("too many groups", {"spec.podGroupTemplates": _MANY},
                [Cause("FieldValueTooMany", "spec.podGroupTemplates", "Too many: 9: must have at most 8 items")]),
        Invalid("a controller without a name", {"spec.controllerRef": {"kind": "a/b"}},
                [
                    invalid("spec.controllerRef.kind", '"a/b"', "may not contain '/'"),
                    required("spec.controllerRef.name"),
                ]),
        Invalid("a group without a name", {f"{_FIRST}.name": ""}, [required(f"{_AT}.name")]),
        Invalid("a name that is none", {f"{_FIRST}.name": "G"}, [invalid(f"{_AT}.name", '"G"', LABEL)]),
        Invalid("a gang of none", {f"{_FIRST}.schedulingPolicy.gang.minCount": 0},
                [required(f"{_AT}.schedulingPolicy.gang.minCount")]),
        Invalid("a gang of less", {f"{_FIRST}.schedulingPolicy.gang.minCount": -1},
                [invalid(f"{_AT}.schedulingPolicy.gang.minCount", "-1", "must be greater than or equal to 1")]),
        Invalid("no policy", {f"{_FIRST}.schedulingPolicy": {}},
                [invalid(f"{_AT}.schedulingPolicy", '""', "must specify one of: `basic`, `gang`")], together=True),
        Invalid("two policies", {f"{_FIRST}.schedulingPolicy.basic": {}},
                [invalid(f"{_AT}.schedulingPolicy", '"{`basic`, `gang`}"', _BOTH)], together=True),
        Invalid("the same name twice", {"spec.podGroupTemplates": [_BASIC, _BASIC]},
                [duplicate("spec.podGroupTemplates[1]",
                           '{"name":"g","schedulingPolicy":{"basic":{}},"schedulingConstraints":null}')],
                together=True),
    ],
    updates=[
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
        Update("other groups", {"spec.podGroupTemplates": [_BASIC]},
               [invalid("spec.podGroupTemplates",
                        '[{"name":"g","schedulingPolicy":{"basic":{}},"schedulingConstraints":null}]',
                        "field is immutable")]),
        Update("no controller", {"spec.controllerRef": GONE},
               [invalid("spec.controllerRef", "null", "field is immutable")]),
    ],
    rows=[Row("as it is", {}, ["a", "60m"])],
)  # fmt: skip

_POD_GROUP = KindCases(
    api_version="scheduling.k8s.io/v1beta1",
    kind="PodGroup",
    plural="podgroups",
    minimal={"metadata": {"name": "a"}, "spec": {"schedulingPolicy": {"basic": {}}}},
    minimal_stored={"spec": {"schedulingPolicy": {"basic": {}}}, "status": {}},
    full={
        "metadata": {"name": "a"},
        "spec": {
            "schedulingPolicy": {"gang": {"minCount": 3}},
            "workloadRef": {"workloadName": "w", "templateName": "t"},
            "disruptionMode": {"single": {}},
        },
    },
    full_stored={
        "spec": {
            "schedulingPolicy": {"gang": {"minCount": 3}},
            "workloadRef": {"workloadName": "w", "templateName": "t"},
            "disruptionMode": {"single": {}},
        },
        "status": {},
    },
    few_rules="it is what a Workload's templates are; those show the rules",
    invalid=[
        Invalid("no policy", {"spec.schedulingPolicy": {}},
                [invalid("spec.schedulingPolicy", '""', "must specify one of: `basic`, `gang`")], together=True),
        Invalid("of no template", {"spec.workloadRef": {"workloadName": "w"}},
                [required("spec.workloadRef.templateName")]),
        Invalid("both modes", {"spec.disruptionMode.all": {}},
                [invalid("spec.disruptionMode", '"{`single`, `all`}"',
                         "exactly one of `single`, `all` is required, but multiple fields are set")], together=True),
    ],
    updates=[
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
        Update("more at once", {"spec.schedulingPolicy.gang.minCount": 4}, allowed=True),
        Update("no gang any more", {"spec.schedulingPolicy": {"basic": {}}},
               [invalid("spec.schedulingPolicy", '{"basic":{}}', "field is immutable")]),
    ],
    rows=[Row("as it is", {}, ["a", "60m"])],
)  # fmt: skip

_COMPOSITE = KindCases(
    api_version="scheduling.k8s.io/v1alpha3",
    kind="CompositePodGroup",
    plural="compositepodgroups",
    minimal={
        "metadata": {"name": "a"},
        "spec": {"schedulingPolicy": {"basic": {}}, "workloadRef": {"workloadName": "w", "templateName": "t"}},
    },
    minimal_stored={
        "spec": {"schedulingPolicy": {"basic": {}}, "workloadRef": {"workloadName": "w", "templateName": "t"}},
        "status": {},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "schedulingPolicy": {"gang": {"minGroupCount": 3}},
            "workloadRef": {"workloadName": "w", "templateName": "t"},
            "parentCompositePodGroupName": "p",
        },
    },
    full_stored={
        "spec": {
            "schedulingPolicy": {"gang": {"minGroupCount": 3}},
            "workloadRef": {"workloadName": "w", "templateName": "t"},
            "parentCompositePodGroupName": "p",
        },
        "status": {},
    },
    few_rules="it is what a Workload's templates are; those show the rules",
    invalid=[
        Invalid("a gang of none", {"spec.schedulingPolicy.gang.minGroupCount": 0},
                [required("spec.schedulingPolicy.gang.minGroupCount")]),
        Invalid("of no workload", {"spec.workloadRef": {}},
                [required("spec.workloadRef.workloadName"), required("spec.workloadRef.templateName")]),
    ],
    updates=[
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
        Update("another parent", {"spec.parentCompositePodGroupName": "q"},
               [invalid("spec.parentCompositePodGroupName", '"q"', "field is immutable")]),
    ],
    rows=[Row("as it is", {}, ["a", "60m"])],
)  # fmt: skip

CASES = [_WORKLOAD, _POD_GROUP, _COMPOSITE]
