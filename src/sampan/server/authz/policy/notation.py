"""A line notation for policy rules, so that the default policy reads as a table.

``"get list watch | core apps | pods deployments/scale"`` is one PolicyRule; a fourth column holds resourceNames;
``"get | /healthz /version"`` is a rule on paths. ``core`` stands for the group "", ``read``, ``write`` and ``all`` for
the usual verbs. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.types import Obj
from sampan.server.authz.rules import Rule

RBAC = "rbac.authorization.k8s.io"
_VERBS = {
    "read": ("get", "list", "watch"),
    "write": ("create", "delete", "deletecollection", "patch", "update"),
    "all": ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
}
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}


def parse_rule(line: str) -> Rule:
    columns = [column.split() for column in line.split("|")]
    verbs = tuple(verb for word in columns[0] for verb in _VERBS.get(word, (word,)))
    if len(columns) == 2:
        return Rule(verbs, paths=tuple(columns[1]))
    groups = tuple("" if group == "core" else group for group in columns[1])
    return Rule(verbs, groups, tuple(columns[2]), tuple(columns[3]) if len(columns) > 3 else ())


def parse_rules(lines: str) -> tuple[Rule, ...]:
    return tuple(parse_rule(line) for line in lines.strip().splitlines())


def _metadata(name: str, namespace: str, labels: dict[str, str] | None = None) -> Obj:
    metadata: Obj = {"name": name, "labels": {**LABELS, **(labels or {})}, "annotations": dict(ANNOTATIONS)}
    if namespace:
        metadata["namespace"] = namespace
    return metadata


def role(
    name: str,
    rules: str,
    *,
    namespace: str = "",
    labels: dict[str, str] | None = None,
    aggregate: Iterable[str] = (),
) -> Obj:
    """A ClusterRole, or a Role when a namespace is given. ``aggregate``: labels whose roles it sums up."""
    obj: Obj = {
        "kind": "Role" if namespace else "ClusterRole",
        "apiVersion": f"{RBAC}/v1",
        "metadata": _metadata(name, namespace, labels),
        "rules": [rule.wire() for rule in parse_rules(rules)],
    }
    selectors = [{"matchLabels": {label: "true"}} for label in aggregate]
    if selectors:
        obj["aggregationRule"] = {"clusterRoleSelectors": selectors}
    return obj


def binding(name: str, role_name: str, *subjects: str, namespace: str = "", role_kind: str = "ClusterRole") -> Obj:
    """A binding of ``User:x``, ``Group:x`` and ``ServiceAccount:namespace/name`` subjects."""
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "apiVersion": f"{RBAC}/v1",
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role_name},
        "subjects": [_subject(text) for text in subjects],
    }


def _subject(text: str) -> Obj:
    kind, _, name = text.partition(":")
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"apiGroup": RBAC, "kind": kind, "name": name}
