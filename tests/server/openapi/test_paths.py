"""The paths of v1.36's documents, replayed: each operation with its name, its action and its group, version and kind.

``data/paths-1.36.json`` was recorded from a kube-apiserver.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson

from sampan.api import schema
from sampan.api.registry import registry
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.operations import Operation, document_paths

#: What v1.37 has no more, or this server has none of, and why.
GONE = {
    **{
        f"/apis/{version}/watch/": "a former version"
        for version in (
            "admissionregistration.k8s.io/v1alpha1",
            "admissionregistration.k8s.io/v1beta1",
            "coordination.k8s.io/v1alpha2",
            "networking.k8s.io/v1beta1",
            "resource.k8s.io/v1beta1",
            "resource.k8s.io/v1beta2",
            "storage.k8s.io/v1beta1",
        )
    },
    "/apis/resource.k8s.io/v1alpha3/watch/devicetaintrules": "v1 since v1.37",
    "/apis/resource.k8s.io/v1alpha3/devicetaintrules": "v1 since v1.37",
    "/apis/resource.k8s.io/v1beta2/devicetaintrules": "v1 since v1.37",
}


@cache
def recorded() -> dict[str, dict[str, dict[str, list[str]]]]:
    found: dict[str, Any] = orjson.loads((Path(__file__).parent / "data/paths-1.36.json").read_bytes())
    return found


def told(operation: Operation) -> list[str]:
    kind = ["/".join(filter(None, operation.gvk))] if operation.gvk is not None else []
    return [operation.operation_id, operation.action or "", *kind]


def test_every_recorded_operation_is_described_as_it_was() -> None:
    definitions = Definitions(schema.load(), {})
    documents = document_paths(registry(), lambda name: name in definitions)
    missing: dict[str, Any] = {}
    for document, paths in recorded().items():
        ours = {path.path: {o.method: told(o) for o in path.operations} for path in documents.get(document, ())}
        for path, methods in paths.items():
            for method, operation in methods.items():
                if ours.get(path, {}).get(method) != operation:
                    missing[f"{document} {path} {method}"] = (operation, ours.get(path, {}).get(method))
    unexplained = {key: value for key, value in missing.items() if not any(gone in key for gone in GONE)}
    assert unexplained == {}
    assert [gone for gone in GONE if not any(gone in key for key in missing)] == []
