"""Policies and bindings of either kind, in force once they are created."""

from __future__ import annotations

from typing import Any

import pytest

GROUP = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MAPS = "/api/v1/namespaces/default/configmaps"


def rules(*resources: str, operations: tuple[str, ...] = ("CREATE", "UPDATE"), group: str = "") -> dict[str, Any]:
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": list(resources)}
    return {"resourceRules": [rule]}


def config_map(name: str = "c", data: Any = None, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": data or {"a": "b"}}


def deployment(name: str = "d", replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


class Policies:
    def __init__(self, api: Any) -> None:
        self.api = api

    async def validating(self, name: str = "p", *, binding: Any = None, **spec: Any) -> None:
        """A policy about ConfigMaps unless ``spec`` says otherwise, with a binding that denies."""
        whole = {"matchConstraints": rules("configmaps"), **spec}
        await self._create("validatingadmissionpolicies", "ValidatingAdmissionPolicy", name, whole)
        bound = {"policyName": name, "validationActions": ["Deny"], **(binding or {})}
        await self._create("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", f"{name}-b", bound)

    async def mutating(self, name: str = "p", *, binding: Any = None, **spec: Any) -> None:
        whole = {"matchConstraints": rules("configmaps"), "reinvocationPolicy": "Never", **spec}
        await self._create("mutatingadmissionpolicies", "MutatingAdmissionPolicy", name, whole)
        bound = {"policyName": name, **(binding or {})}
        await self._create("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", f"{name}-b", bound)

    async def bind(self, name: str, policy: str = "p", **spec: Any) -> None:
        bound = {"policyName": policy, "validationActions": ["Deny"], **spec}
        await self._create("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", name, bound)

    async def _create(self, plural: str, kind: str, name: str, spec: Any) -> None:
        body = {"kind": kind, "apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}, "spec": spec}
        answer = await self.api("POST", f"{GROUP}/{plural}", body)
        assert answer.status == 201, answer.obj


@pytest.fixture
def policies(api: Any) -> Policies:
    return Policies(api)
