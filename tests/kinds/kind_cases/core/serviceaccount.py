"""ServiceAccount (v1)."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Invalid, KindCases, Row, Update, Warned, invalid

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"

_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

CASES = KindCases(
    api_version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={},
    full={
        "metadata": {"name": "a"},
        "secrets": [{"name": "s", "namespace": "other", "kind": "Secret"}, {"kind": "Secret"}],
        "imagePullSecrets": [{"name": "registry"}],
        "automountServiceAccountToken": False,
    },
    full_stored={
        "secrets": [{"name": "s"}, {}],
        "imagePullSecrets": [{"name": "registry"}],
        "automountServiceAccountToken": False,
    },
    invalid=[Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)])],
    few_rules="only its name has rules",
    updates=[
        Update("secrets", {"secrets": [{"name": "t", "uid": "u"}]}, allowed=True),
        Update(
            "a name of no label",
            {"metadata.labels": {"a b": "c"}},
            [
                invalid(
                    "metadata.labels",
                    '"a b"',
                    _NAME_PART,
                ),
            ],
        ),
    ],
    rows=[Row("any", {}, ["a", "60m"], on="full")],
    warned=[
        Warned("nothing", {}, []),
        Warned(
            "an annotation of old",
            {f"metadata.annotations[{_MOUNTABLE}]": "true"},
            [
                f"metadata.annotations[{_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate "
                "access to "
                "mounted secrets",
            ],
        ),
    ],
)
