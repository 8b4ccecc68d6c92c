"""What the status of a ValidatingAdmissionPolicy warns of: expressions that types would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.expressions import typechecking
from sampan.api.expressions.builtin import type_of_node
from sampan.api.expressions.typechecking import Gvk
from sampan.api.registry import registry
from sampan.cel.types import Type

DEPLOYMENT = Gvk("apps", "v1", "Deployment")


def typed(gvk: Gvk) -> tuple[Gvk, Type]:
    kind = registry().by_gvk(*gvk)
    assert kind is not None
    return gvk, type_of_node(kind.node, kind.kind)


def warned(expression: str, gvk: Gvk = DEPLOYMENT, **spec: Any) -> str:
    return typechecking.warning({"spec": spec}, expression, [typed(gvk)], typed(Gvk("", "v1", "ConfigMap"))[1])


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas > 1",
        "object.metadata.namespace == 'a' && object.metadata.__namespace__ == 'a'",
        "object.metadata.labels['a'] == 'b'",
        "object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('a'))",
        "object.spec.template.spec.containers.all(c, c.resources.limits.all(k, c.resources.limits[k] != '0'))",
        "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '10%'",
        "oldObject == null || oldObject.spec.replicas == object.spec.replicas",
        "params.data['a'] == 'b'",
        "request.namespace == namespaceObject.metadata.name",
        "authorizer.path('/').check('get').allowed()",
    ],
)
def test_what_fits_the_types_is_not_warned_of(expression: str) -> None:
    assert warned(expression) == ""


def test_a_field_that_is_none_is_warned_of_with_its_kind_and_place() -> None:
    assert warned("object.spec.replica > 1") == (
        "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'\n"
        " | object.spec.replica > 1\n | ...........^\n"
    )


def test_types_of_variables_are_known() -> None:
    variables = [{"name": "n", "expression": "object.spec.replicas"}]
    assert "applied to '(int, string)'" in warned("variables.n == 'x'", variables=variables)


def test_rules_name_what_is_checked() -> None:
    rules = [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "deployments/scale", "*"]},
        {"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]},
        {"apiGroups": ["batch"], "apiVersions": ["v1", "*"], "resources": ["jobs"]},
    ]
    found = typechecking.resources_of({"spec": {"matchConstraints": {"resourceRules": rules}}})
    assert found == [typechecking.Resource("apps", "v1", "deployments")]
