"""Facts about definitions that upstream's JSON schema cannot express: the types with a decoder of their own.

Used by ``catalog`` when it builds a node. Source: the ``UnmarshalJSON`` methods of apimachinery and apiextensions
v1.37.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sampan.api.schema import scalars
from sampan.api.schema.nodes import AnyNode, Node, ScalarNode

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

SPECIAL: Final[Mapping[str, Callable[[], Node]]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": lambda: ScalarNode(scalars.QUANTITY),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": lambda: ScalarNode(scalars.INT_OR_STRING),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": lambda: AnyNode("runtime.RawExtension"),
    _META + "Time": lambda: ScalarNode(scalars.TIME),
    _META + "MicroTime": lambda: ScalarNode(scalars.MICRO_TIME),
    _META + "FieldsV1": lambda: AnyNode("v1.FieldsV1"),
    _META + "Patch": lambda: AnyNode("v1.Patch"),
    _APIEXTENSIONS + "JSON": lambda: AnyNode("v1.JSON"),
    _APIEXTENSIONS + "JSONSchemaPropsOrArray": lambda: AnyNode("v1.JSONSchemaPropsOrArray"),
    _APIEXTENSIONS + "JSONSchemaPropsOrBool": lambda: AnyNode("v1.JSONSchemaPropsOrBool"),
    _APIEXTENSIONS + "JSONSchemaPropsOrStringArray": lambda: AnyNode("v1.JSONSchemaPropsOrStringArray"),
}
