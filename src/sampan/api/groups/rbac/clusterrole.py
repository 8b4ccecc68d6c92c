"""ClusterRole (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.rbac import rules
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(role: Obj) -> Errors:
    found = rules.validate_rules(role.get("rules"), namespaced=False)
    rule = role.get("aggregationRule")
    if rule is not None:
        selectors = rule.get("clusterRoleSelectors") or []
        if not selectors:
            text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            found.append(errors.required("aggregationRule.clusterRoleSelectors", text))
        for index, selector in enumerate(selectors):
            path = f"aggregationRule.clusterRoleSelectors[{index}]"
            if faults := common.label_selector(selector, path):
                found += [*faults, errors.invalid(path, None, "invalid label selector.")]
    return found


KINDS = (
    Kind(
        group="rbac.authorization.k8s.io",
        version="v1",
        kind="ClusterRole",
        plural="clusterroles",
        singular="clusterrole",
        namespaced=False,
        schema="io.k8s.api.rbac.v1.ClusterRole",
        name_check=names.path_segment,
        create_on_update=True,
        validate=_validate,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
