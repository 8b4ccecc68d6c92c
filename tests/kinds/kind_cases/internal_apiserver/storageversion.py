"""StorageVersion (internal.apiserver.k8s.io/v1alpha1): alpha, and written by API servers alone."""

from __future__ import annotations

from kind_harness import Invalid, KindCases, Row, Update, invalid

_GROUP = (
    "the group segment a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

CASES = KindCases(
    api_version="internal.apiserver.k8s.io/v1alpha1",
    kind="StorageVersion",
    plural="storageversions",
    namespaced=False,
    minimal={"metadata": {"name": "apps.deployments"}, "spec": {}},
    minimal_stored={"spec": {}, "status": {}},
    full={"metadata": {"name": "apps.deployments"}, "spec": {}, "status": {"commonEncodingVersion": "v1"}},
    full_stored={"spec": {}, "status": {}},
    invalid=[
        Invalid(
            "a resource of no group",
            {"metadata.name": "deployments"},
            [invalid("metadata.name", '"deployments"', "name must be in the form of <group>.<resource>")],
        ),
        Invalid("a group with capitals", {"metadata.name": "A.b"}, [invalid("metadata.name", '"A.b"', _GROUP)]),
    ],
    few_rules="alpha",
    updates=[Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True)],
    rows=[
        Row("nobody said", {}, ["apps.deployments", "<unset>", "<unset>", "60m"]),
        Row(
            "two servers",
            {
                "status": {
                    "commonEncodingVersion": "apps/v1",
                    "storageVersions": [
                        {"apiServerID": "a", "encodingVersion": "apps/v1"},
                        {"apiServerID": "b", "encodingVersion": "apps/v1"},
                    ],
                }
            },
            ["apps.deployments", "apps/v1", "a=apps/v1,b=apps/v1", "60m"],
        ),
    ],
)
