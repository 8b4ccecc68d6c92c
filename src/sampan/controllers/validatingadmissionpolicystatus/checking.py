"""What is wrong with the expressions of a ValidatingAdmissionPolicy, by the types that its rules name.

Built-in kinds are known; of others the API server's discovery and OpenAPI tell. What cannot be found is not checked.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.errors import ApiError
from sampan.api.expressions import typechecking
from sampan.api.expressions.builtin import type_of_node
from sampan.api.expressions.schemas import type_of_schema
from sampan.api.expressions.typechecking import Gvk
from sampan.api.reading import part, parts, text
from sampan.api.registry import registry
from sampan.api.types import Obj
from sampan.cel.types import FieldType, Type, object_type
from sampan.client.client import Client


async def warnings_of(policy: Obj, client: Client) -> list[Obj]:
    """As ``status.typeChecking.expressionWarnings`` has them."""
    return await _Checking(client).warnings(policy)


class _Checking:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def warnings(self, policy: Obj) -> list[Obj]:
        kinds = [found for each in typechecking.resources_of(policy) if (found := await self._typed(each)) is not None]
        kinds.sort(key=lambda found: found[0])
        params = await self._params(policy)
        warnings: list[Obj] = []
        for path, expression in typechecking.expressions_of(policy):
            told = typechecking.warning(policy, expression, kinds, params)
            if told:
                warnings.append({"fieldRef": path, "warning": told})
            await asyncio.sleep(0)  # one expression at a time
        return warnings

    async def _typed(self, resource: typechecking.Resource) -> tuple[Gvk, Type] | None:
        kind = registry().by_resource(resource.group, resource.version, resource.plural)
        name = kind.kind if kind is not None else await self._kind_of(resource)
        if not name:
            return None
        gvk = Gvk(resource.group, resource.version, name)
        found = await self._type_of(gvk)
        return (gvk, found) if found is not None else None

    async def _params(self, policy: Obj) -> Type | None:
        kind = part(part(policy, "spec"), "paramKind")
        group, _, version = text(kind, "apiVersion").rpartition("/")
        return await self._type_of(Gvk(group, version, text(kind, "kind"))) if kind else None

    async def _type_of(self, gvk: Gvk) -> Type | None:
        kind = registry().by_gvk(*gvk)
        if kind is not None:
            return type_of_node(kind.node, kind.kind)
        document = await self._asked(f"/openapi/v3/apis/{gvk.group}/{gvk.version}")
        for schema in part(part(document, "components"), "schemas").values():
            if any(_names(each, gvk) for each in parts(schema, "x-kubernetes-group-version-kind")):
                return _with_metadata(type_of_schema(schema, root=True, name=gvk.kind))
        return None

    async def _kind_of(self, resource: typechecking.Resource) -> str:
        listed = await self._asked(f"/apis/{resource.group}/{resource.version}")
        found = (text(each, "kind") for each in parts(listed, "resources") if text(each, "name") == resource.plural)
        return next(found, "")

    async def _asked(self, path: str) -> Any:
        try:
            return await self._client.raw("GET", path)
        except ApiError:  # not served, or not now: then it is not checked
            return None


def _names(listed: Obj, gvk: Gvk) -> bool:
    return (text(listed, "group"), text(listed, "version"), text(listed, "kind")) == gvk


def _with_metadata(kind: Type | None) -> Type | None:
    """A custom resource has the metadata that every object has."""
    if kind is None or kind.kind != "object":
        return kind
    config_map = registry().by_gvk("", "v1", "ConfigMap")
    assert config_map is not None
    metadata = type_of_node(config_map.node, kind.name).fields["metadata"]
    fields = {**kind.fields, "metadata": FieldType(metadata.type, "metadata")}
    return object_type(kind.name, lambda: fields)
