"""APIService (apiregistration.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import ANY, GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, not_supported, required

_LOCAL = {"group": "ex.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}
_REMOTE = {**_LOCAL, "service": {"namespace": "default", "name": "api"}, "insecureSkipTLSVerify": True}
_LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_AVAILABLE = {
    "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
    "lastTransitionTime": ANY,
}  # fmt: skip


def _status(status: str, reason: str) -> dict[str, object]:
    return {"status.conditions": [{"type": "Available", "status": status, "reason": reason}]}


CASES = KindCases(
    api_version="apiregistration.k8s.io/v1",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    minimal={"metadata": {"name": "v1.ex.io"}, "spec": _LOCAL},
    minimal_stored={"spec": _LOCAL, "status": {"conditions": [_AVAILABLE]}},
    full={"metadata": {"name": "v1.ex.io"}, "spec": _REMOTE},
    full_stored={
        "spec": {**_REMOTE, "service": {"namespace": "default", "name": "api", "port": 443}},
        "status": {},
    },
    invalid=[
        Invalid(
            "another name",
            {"metadata.name": "ex.io"},
            [invalid("metadata.name", '"ex.io"', 'must be `spec.version+"."+spec.group`: "v1.ex.io"')],
            together=True,
        ),
        Invalid(
            "a group with capitals",
            {"metadata.name": "v1.Ex", "spec.group": "Ex"},
            [invalid("spec.group", '"Ex"', SUBDOMAIN)],
        ),
        Invalid(
            "a version with capitals",
            {"metadata.name": "V1.ex.io", "spec.version": "V1"},
            [invalid("spec.version", '"V1"', _LABEL)],
        ),
        Invalid(
            "a version of no group",
            {"metadata.name": "v2.", "spec.group": GONE, "spec.version": "v2"},
            [required("spec.group", "only v1 may have an empty group and it better be legacy kube")],
            together=True,
        ),
        Invalid(
            "no priorities",
            {"spec.groupPriorityMinimum": 0, "spec.versionPriority": 1001},
            [
                invalid("spec.groupPriorityMinimum", "0", "must be positive and less than 20000"),
                invalid("spec.versionPriority", "1001", "must be positive and less than 1000"),
            ],
        ),
        Invalid(
            "a service of no name",
            {"spec.service": {"namespace": "", "name": ""}},
            [required("spec.service.namespace"), required("spec.service.name")],
        ),
        Invalid(
            "trusted blindly, and by a CA",
            {"spec.caBundle": "YQ=="},
            [invalid("spec.insecureSkipTLSVerify", "true", "may not be true if caBundle is present")],
            together=True,
        ),
        Invalid(
            "a local one that is trusted",
            {"spec.caBundle": "YQ==", "spec.insecureSkipTLSVerify": True},
            [
                invalid("spec.caBundle", '"1 bytes"', "local APIServices may not have a caBundle"),
                invalid("spec.insecureSkipTLSVerify", "true", "local APIServices may not have insecureSkipTLSVerify"),
            ],
            together=True,
            on="minimal",
        ),
    ],
    updates=[
        Update("another service", {"spec.service.name": "other"}, allowed=True),
        Update(
            "no service",
            {"spec.service": GONE},
            [invalid("spec.insecureSkipTLSVerify", "true", "local APIServices may not have insecureSkipTLSVerify")],
        ),
        Update(
            "a condition of no status",
            {"status.conditions": [{"type": "Available", "status": "Maybe"}]},
            [not_supported("status.conditions[0].status", '"Maybe"', "True", "False", "Unknown")],
            through="status",
        ),
    ],
    rows=[
        Row("local", {}, ["v1.ex.io", "Local", "True", "60m"]),
        Row("nobody looked", {}, ["v1.ex.io", "default/api", "Unknown", "60m"], on="full"),
        Row("there", _status("True", "Passed"), ["v1.ex.io", "default/api", "True", "60m"], on="full"),
        Row(
            "not there",
            _status("False", "MissingEndpoints"),
            ["v1.ex.io", "default/api", "False (MissingEndpoints)", "60m"],
            on="full",
        ),
    ],
)
