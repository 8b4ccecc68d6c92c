"""RuntimeClass (node.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import LABEL, Invalid, KindCases, Row, Update, Warned, duplicate, invalid, not_supported

CASES = KindCases(
    api_version="node.k8s.io/v1",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "handler": "h"},
    minimal_stored={"handler": "h"},
    full={
        "metadata": {"name": "a"},
        "handler": "h",
        "overhead": {"podFixed": {"cpu": "0.1", "memory": "64Mi"}},
        "scheduling": {
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        },
    },
    full_stored={
        "handler": "h",
        "overhead": {"podFixed": {"cpu": "100m", "memory": "64Mi"}},
        "scheduling": {
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        },
    },
    invalid=[
        Invalid("no handler", {"handler": ""}, [invalid("handler", '""', LABEL)]),
        Invalid("a handler with a slash", {"handler": "a/b"}, [invalid("handler", '"a/b"', LABEL)]),
        Invalid("less than nothing on top", {"overhead.podFixed.cpu": "-1"},
                [invalid("overhead.limits[cpu]", '"-1"', "must be greater than or equal to 0")]),
        Invalid("a node label that is none", {"scheduling.nodeSelector": {"a": "b c"}},
                [invalid("scheduling.nodeSelector", '"b c"',
                         "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
                         "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
                         "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")]),
        Invalid("an unknown effect", {"scheduling.tolerations.0": {"key": "k", "effect": "Ignore"}},
                [not_supported("scheduling.tolerations[0].effect", '"Ignore"',
                               "NoSchedule", "PreferNoSchedule", "NoExecute")]),
        Invalid("a value of what only has to exist", {"scheduling.tolerations.0.value": "v"},
                [invalid("scheduling.tolerations[0].operator", '"v"',
                         "value must be empty when `operator` is 'Exists'")], together=True),
        Invalid("a time for what is not evicted", {"scheduling.tolerations.0.effect": "NoSchedule"},
                [invalid("scheduling.tolerations[0].effect", '"NoSchedule"',
                         "effect must be 'NoExecute' when `tolerationSeconds` is set")], together=True),
        Invalid("the same twice",
                {"scheduling.tolerations": [{"key": "k", "operator": "Exists"}, {"key": "k", "operator": "Exists"}]},
                [duplicate("scheduling.tolerations[1]",
                           '{"Key":"k","Operator":"Exists","Value":"","Effect":"","TolerationSeconds":null}')],
                together=True),
    ],
    updates=[
        Update("somewhere else", {"scheduling.nodeSelector": {"c": "d"}}, allowed=True),
        Update("by somebody else", {"handler": "i"}, [invalid("handler", '"i"', "field is immutable")]),
    ],
    rows=[Row("as it is", {}, ["a", "h", "60m"])],
    warned=[
        Warned("labels of old", {"scheduling.nodeSelector": {"beta.kubernetes.io/os": "linux",
                                                             "node-role.kubernetes.io/master": ""}},
               [
                   'scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/os" instead',
                   'scheduling.nodeSelector: use "node-role.kubernetes.io/control-plane" instead',
               ]),
    ],
)  # fmt: skip
