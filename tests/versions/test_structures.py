"""A former version whose objects are served as they are stored has the fields of the stored one, and no others."""

from __future__ import annotations

import pytest

from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.schema import ListNode, MapNode, Node, ObjectNode

FORMER = [kind for kind in registry().kinds() if kind.former]
SAME = [kind for kind in FORMER if kind.to_stored is None]


def differences(here: Node, there: Node, path: str, seen: set[tuple[int, int]]) -> list[str]:
    if here is there or (id(here), id(there)) in seen:
        return []
    seen.add((id(here), id(there)))
    if type(here) is not type(there):
        return [f"{path}: {type(here).__name__}"]
    if isinstance(here, ListNode) and isinstance(there, ListNode):
        return differences(here.items, there.items, f"{path}[]", seen)
    if isinstance(here, MapNode) and isinstance(there, MapNode):
        return differences(here.values, there.values, f"{path}{{}}", seen)
    if not isinstance(here, ObjectNode) or not isinstance(there, ObjectNode):
        return []
    found = [f"{path}.{name}" for name in here.fields.keys() ^ there.fields.keys()]
    for name in here.fields.keys() & there.fields.keys():
        found += differences(here.fields[name].node, there.fields[name].node, f"{path}.{name}", seen)
    return found


@pytest.mark.parametrize("kind", SAME, ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_a_version_without_a_conversion_has_the_fields_of_the_stored_one(kind: Kind) -> None:
    assert differences(kind.node, registry().storage(kind).node, "", set()) == []


@pytest.mark.parametrize("kind", FORMER, ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_every_structure_names_its_own_group_and_version(kind: Kind) -> None:
    node = kind.node
    assert isinstance(node, ObjectNode)
    assert node.type_name == kind.kind
    assert node.go_type.partition(".")[0] in (kind.version, registry().storage(kind).version)
    assert {"metadata", "kind", "apiVersion"} <= node.fields.keys()
