"""Facts about definitions that upstream's JSON schema cannot express: the types with a decoder of their own.

Used by ``catalog`` when it builds a node. Source: the ``UnmarshalJSON`` methods of apimachinery and apiextensions
v1.37.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sampan.api.schema import scalars
from sampan.api.schema.nodes import AnyNode, DecodeError, Node, Place, ScalarNode, Settle, Walk

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

#: The node of a definition, by its name.
Definition = Callable[[str], Node]


class SchemaOr(Node):
    """A schema, or what else may stand in its place."""

    __slots__ = ("_definition",)

    def __init__(self, go_type: str, definition: Definition) -> None:
        super().__init__(go_type)
        self._definition = definition

    @property
    def schema(self) -> Node:
        """Asked for late: it is made of this."""
        return self._definition(_APIEXTENSIONS + "JSONSchemaProps")


class SchemaOrArray(SchemaOr):
    """A list of schemas is refused by validation; anything else counts as nothing."""

    __slots__ = ()

    def _compile(self) -> Settle:
        return lambda value: type(value) is dict and self.schema.settle(value)

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if type(value) is list:
            return [walk.into(self.schema, item, place.item(index)) for index, item in enumerate(value)]
        return self.schema.decode(value, walk, place) if type(value) is dict else None


class SchemaOrBool(SchemaOr):
    __slots__ = ()

    def _compile(self) -> Settle:
        return lambda value: type(value) is bool or (type(value) is dict and self.schema.settle(value))

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if type(value) is dict:
            return self.schema.decode(value, walk, place)
        if type(value) is not bool and not walk.tolerant:
            raise DecodeError("boolean or JSON schema expected")
        return value


SPECIAL: Final[Mapping[str, Callable[[Definition], Node]]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": lambda of: ScalarNode(scalars.QUANTITY),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": lambda of: ScalarNode(scalars.INT_OR_STRING),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": lambda of: AnyNode("runtime.RawExtension"),
    _META + "Time": lambda of: ScalarNode(scalars.TIME),
    _META + "MicroTime": lambda of: ScalarNode(scalars.MICRO_TIME),
    _META + "FieldsV1": lambda of: AnyNode("v1.FieldsV1"),
    _META + "Patch": lambda of: AnyNode("v1.Patch"),
    _APIEXTENSIONS + "JSON": lambda of: AnyNode("v1.JSON"),
    _APIEXTENSIONS + "JSONSchemaPropsOrArray": lambda of: SchemaOrArray("v1.JSONSchemaPropsOrArray", of),
    _APIEXTENSIONS + "JSONSchemaPropsOrBool": lambda of: SchemaOrBool("v1.JSONSchemaPropsOrBool", of),
    _APIEXTENSIONS + "JSONSchemaPropsOrStringArray": lambda of: AnyNode("v1.JSONSchemaPropsOrStringArray"),
}
