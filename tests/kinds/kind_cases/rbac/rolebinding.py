"""RoleBinding and ClusterRoleBinding (rbac.authorization.k8s.io/v1): but for who may be bound to what, the same."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, not_supported, required

_GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = [
    {"kind": "User", "apiGroup": _GROUP, "name": "alice"},
    {"kind": "Group", "apiGroup": _GROUP, "name": "system:authenticated"},
    {"kind": "ServiceAccount", "namespace": "kube-system", "name": "bot"},
    {"kind": "User", "apiGroup": _GROUP, "name": "bob"},
]


def _cases(kind: str, *, namespaced: bool) -> KindCases:
    role = "Role" if namespaced else "ClusterRole"
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    reference = {"apiGroup": _GROUP, "kind": role, "name": "r"}
    shown = f'{{"APIGroup":"{_GROUP}","Kind":"{role}","Name":"other"}}'
    homeless: list[object] = [] if namespaced else [required("subjects[2].namespace")]
    return KindCases(
        api_version=f"{_GROUP}/v1",
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=namespaced,
        minimal={"metadata": {"name": "a"}, "roleRef": {"kind": role, "name": "r"}},
        minimal_stored={"roleRef": reference},
        full={
            "metadata": {"name": "system:a"},
            "roleRef": reference,
            "subjects": [{k: v for k, v in _SUBJECTS[0].items() if k != "apiGroup"}, *_SUBJECTS[1:]],
        },
        full_stored={"roleRef": reference, "subjects": _SUBJECTS},
        invalid=[
            Invalid(
                "a name with a slash",
                {"metadata.name": "a/b"},
                [invalid("metadata.name", '"a/b"', "may not contain '/'")],
            ),
            Invalid("no role", {"roleRef.name": ""}, [required("roleRef.name")]),
            Invalid(
                "a role with a slash",
                {"roleRef.name": "a/b"},
                [invalid("roleRef.name", '"a/b"', "may not contain '/'")],
            ),
            Invalid(
                "no reference",
                {"roleRef": GONE},
                [not_supported("roleRef.kind", '""', *kinds), required("roleRef.name")],
            ),
            Invalid(
                "a role of another group",
                {"roleRef.apiGroup": "ex.io"},
                [not_supported("roleRef.apiGroup", '"ex.io"', _GROUP)],
            ),
            Invalid("what is no role", {"roleRef.kind": "Pod"}, [not_supported("roleRef.kind", '"Pod"', *kinds)]),
            Invalid(
                "a subject of no kind",
                {"subjects.0": {"name": "a"}},
                [not_supported("subjects[0].kind", '""', "ServiceAccount", "User", "Group")],
            ),
            Invalid("a subject without name", {"subjects.1.name": ""}, [required("subjects[1].name")]),
            Invalid(
                "an account with capitals",
                {"subjects.2.name": "Bot"},
                [invalid("subjects[2].name", '"Bot"', SUBDOMAIN)],
            ),
            Invalid(
                "an account of a group",
                {"subjects.2.apiGroup": "ex.io"},
                [not_supported("subjects[2].apiGroup", '"ex.io"', "")],
                together=True,
            ),
            Invalid(
                "a user of another group",
                {"subjects.0.apiGroup": "ex.io"},
                [not_supported("subjects[0].apiGroup", '"ex.io"', _GROUP)],
                together=True,
            ),
            Invalid(
                "an account without name, group or namespace of its own",
                {"subjects.2": {"kind": "ServiceAccount", "name": "", "apiGroup": "x"}},
                [required("subjects[2].name"), not_supported("subjects[2].apiGroup", '"x"', ""), *homeless],
                together=True,
            ),
        ],
        updates=[
            Update("another role", {"roleRef.name": "other"}, [invalid("roleRef", shown, "cannot change roleRef")]),
            Update("other subjects", {"subjects": _SUBJECTS[:1]}, allowed=True),
            Update("no subjects", {"subjects": GONE}, allowed=True),
        ],
        rows=[
            Row("nobody", {}, ["a", f"{role}/r", "60m", "", "", ""]),
            Row(
                "each kind of subject",
                {},
                ["system:a", f"{role}/r", "60m", "alice, bob", "system:authenticated", "kube-system/bot"],
                on="full",
            ),
        ],
    )


CASES = [_cases("RoleBinding", namespaced=True), _cases("ClusterRoleBinding", namespaced=False)]
