"""LimitRange (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import Invalid, KindCases, Row, Update, duplicate, forbidden, invalid, required

_AT = "spec.limits[0]"
_NOT_STANDARD = "must be a standard resource type or fully qualified"
_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def _item(kind: str = "Container", **lists: Any) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": kind, **lists}]}}


CASES = KindCases(
    api_version="v1",
    kind="LimitRange",
    plural="limitranges",
    minimal={"metadata": {"name": "a"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}}]}},
    minimal_stored={
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "max": {"cpu": "2"},
                    "default": {"cpu": "2"},
                    "defaultRequest": {"cpu": "2"},
                }
            ],
        },
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "max": {"cpu": "2", "memory": "1Gi"},
                    "min": {"cpu": "100m", "ephemeral-storage": "1Mi"},
                    "default": {"cpu": "1"},
                    "defaultRequest": {"cpu": "500m"},
                    "maxLimitRequestRatio": {"cpu": "10"},
                },
                {"type": "Pod", "max": {"cpu": "4"}, "min": {"cpu": "100m"}},
                {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}},
                {
                    "type": "example.com/Thing",
                    "default": {"example.com/a": "1"},
                    "defaultRequest": {"example.com/a": "1"},
                },
            ],
        },
    },
    full_stored={
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "max": {"cpu": "2", "memory": "1Gi"},
                    "min": {"cpu": "100m", "ephemeral-storage": "1Mi"},
                    "default": {"cpu": "1", "memory": "1Gi"},
                    "defaultRequest": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Mi"},
                    "maxLimitRequestRatio": {"cpu": "10"},
                },
                {"type": "Pod", "max": {"cpu": "4"}, "min": {"cpu": "100m"}},
                {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}},
                {
                    "type": "example.com/Thing",
                    "default": {"example.com/a": "1"},
                    "defaultRequest": {"example.com/a": "1"},
                },
            ],
        },
    },
    invalid=[
        Invalid(
            "a type that nobody knows",
            _item("Node"),
            [
                invalid(f"{_AT}.type", '"Node"', "must be a standard limit type or fully qualified"),
            ],
        ),
        Invalid(
            "no type",
            _item(""),
            [
                invalid(f"{_AT}.type", '""', "name part must be non-empty"),
                invalid(f"{_AT}.type", '""', _NAME_PART),
            ],
        ),
        Invalid(
            "a type twice",
            {"spec.limits": [{"type": "Pod"}, {"type": "Pod"}]},
            [
                duplicate("spec.limits[1].type", '"Pod"'),
            ],
            together=True,
        ),
        Invalid(
            "a resource that nobody knows",
            _item("Pod", max={"foo": "1"}),
            [
                invalid(f"{_AT}.max[foo]", '"foo"', _NOT_STANDARD),
                invalid(f"{_AT}.max[foo]", '"foo"', "must be a standard resource for containers"),
            ],
        ),
        Invalid(
            "a resource that containers have none of",
            _item("Pod", min={"storage": "1"}),
            [
                invalid(f"{_AT}.min[storage]", '"storage"', "must be a standard resource for containers"),
            ],
            together=True,
        ),
        Invalid(
            "defaults of pods",
            _item("Pod", default={"cpu": "1"}, defaultRequest={"cpu": "1"}),
            [
                forbidden(f"{_AT}.default", "may not be specified when `type` is 'Pod'"),
                forbidden(f"{_AT}.defaultRequest", "may not be specified when `type` is 'Pod'"),
            ],
            together=True,
        ),
        Invalid(
            "claims without amounts of storage",
            _item("PersistentVolumeClaim", max={"cpu": "1"}),
            [
                required(
                    f"{_AT}.limits", "either minimum or maximum storage value is required, but neither was provided"
                ),
            ],
            together=True,
        ),
        Invalid(
            "every order reversed",
            _item(
                min={"cpu": "5"},
                max={"cpu": "1"},
                default={"cpu": "3"},
                defaultRequest={"cpu": "4"},
            ),
            [
                invalid(f"{_AT}.min[cpu]", '"5"', "min value 5 is greater than max value 1"),
                invalid(f"{_AT}.defaultRequest[cpu]", '"4"', "min value 5 is greater than default request value 4"),
                invalid(f"{_AT}.defaultRequest[cpu]", '"4"', "default request value 4 is greater than max value 1"),
                invalid(
                    f"{_AT}.defaultRequest[cpu]", '"4"', "default request value 4 is greater than default limit value 3"
                ),
                invalid(f"{_AT}.default[cpu]", '"5"', "min value 5 is greater than default value 3"),
                invalid(f"{_AT}.default[cpu]", '"1"', "default value 3 is greater than max value 1"),
            ],
            together=True,
        ),
        Invalid(
            "a ratio below one",
            _item("Pod", maxLimitRequestRatio={"memory": "500m"}),
            [
                invalid(f"{_AT}.maxLimitRequestRatio[memory]", '"500m"', "ratio 500m is less than 1"),
            ],
        ),
        Invalid(
            "a ratio beyond what the bounds allow",
            _item(
                "Pod",
                min={"cpu": "300m"},
                max={"cpu": "1"},
                maxLimitRequestRatio={"cpu": "4"},
            ),
            [
                invalid(f"{_AT}.maxLimitRequestRatio[cpu]", '"4"', "ratio 4 is greater than max/min = 3.333333"),
            ],
            together=True,
        ),
        Invalid(
            "a request of less than there is of what cannot be overcommitted",
            _item(
                default={"example.com/gpu": "2"},
                defaultRequest={"example.com/gpu": "1"},
            ),
            [
                invalid(
                    f"{_AT}.defaultRequest[example.com/gpu]",
                    '"1"',
                    "default value 2 must equal to defaultRequest value 1 in example.com/gpu",
                ),
            ],
            together=True,
        ),
    ],
    updates=[
        Update("a type twice", {"spec.limits.+": {"type": "Pod"}}, [duplicate("spec.limits[4].type", '"Pod"')]),
        Update("another maximum", {"spec.limits.0.max.cpu": "3"}, allowed=True),
    ],
    rows=[Row("any", {}, ["a", "2026-11-21T11:00:00Z"])],
)
