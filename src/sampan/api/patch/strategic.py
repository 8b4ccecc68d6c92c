"""Strategic merge patch: a merge patch that knows lists, by each field's merge strategy. Called by ``apply_patch``;
pure.

Semantics of apimachinery ``strategicpatch.StrategicMergePatch`` (v1.37), the server's side: nulls that match nothing
are dropped. Directives in a patch:

* ``$patch: replace|delete`` in an object, or in an element of a list of objects;
* ``$retainKeys: [...]``: all other fields of this object go (unions such as a volume's source);
* ``$deleteFromPrimitiveList/<field>``: values to take out of a list of scalars;
* ``$setElementOrder/<field>``: the order of a list; elements it does not name keep their place relative to the others.

Ordering of lists is in ``element_order``. Malformed directives are BadRequest.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from sampan.api import go_text, objects
from sampan.api.errors import ApiError, BadRequest, quoted
from sampan.api.patch import element_order
from sampan.api.patch.json_patch import DoesNotApply
from sampan.api.schema.nodes import AnyNode, Field, ListNode, MapNode, Node, ObjectNode
from sampan.api.types import Obj

DIRECTIVE: Final = "$patch"
RETAIN_KEYS: Final = "$retainKeys"
DELETE_FROM_PRIMITIVES: Final = "$deleteFromPrimitiveList/"
SET_ELEMENT_ORDER: Final = "$setElementOrder/"

#: Structs whose content is no fields of theirs.
_OPAQUE: Final = {"runtime.RawExtension": "RawExtension", "v1.JSON": "JSON", "v1.FieldsV1": "FieldsV1"}
_UNKNOWN = Field(AnyNode("interface {}"))


def apply(node: Node, current: Obj, patch: Obj) -> Obj:
    """A new object; shares nothing with its arguments but managed fields that the patch says nothing of. Raises
    BadRequest, or Invalid for lists of lists."""
    metadata = patch.get("metadata")
    speaks = isinstance(metadata, dict) and any("managedFields" in key for key in metadata)
    copied = objects.deep_copy(current) if speaks else objects.copy_of(current)
    return _merge_map(copied, objects.deep_copy(patch), node)


def _field(node: Node, key: str) -> Field:
    """How the schema treats ``key`` of a value of this node."""
    if isinstance(node, ObjectNode):
        return node.fields.get(key, _UNKNOWN)
    return Field(node.values) if isinstance(node, MapNode) else _UNKNOWN


def _bad_directive(value: Any, where: Obj) -> ApiError:
    return BadRequest(f"unknown patch type: {go_text.show(value)} in map: {go_text.show(where)}")


def _known(node: Node, key: str) -> None:
    """Raises BadRequest: what is merged here is no field of this struct."""
    if isinstance(node, ObjectNode) and node.type_name and not node.preserve_unknown:
        struct = "" if key in node.fields else node.type_name
    else:
        struct = _OPAQUE.get(node.go_type, "") if isinstance(node, AnyNode) else ""
    if struct:
        raise BadRequest(f"unable to find api field in struct {struct} for the json field {quoted(key)}")


def _not_a_list(value: Any) -> ApiError:
    return BadRequest(f"expected a []interface {{}}, but received a {go_text.type_name(value)}")


def _merge_map(original: Obj, patch: Obj, node: Node) -> Obj:
    """Merge ``patch`` into ``original``; both are consumed."""
    if DIRECTIVE in patch:
        directive = patch.pop(DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise _bad_directive(directive, {DIRECTIVE: directive, **patch})
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, node)
    for key, value in patch.items():
        is_deletion = key.startswith(DELETE_FROM_PRIMITIVES)
        if is_deletion:
            key = key.removeprefix(DELETE_FROM_PRIMITIVES)
        if value is None:
            original.pop(key, None)
            continue
        before = original.get(key)
        same_shape = (isinstance(before, dict) and isinstance(value, dict)) or (
            isinstance(before, list) and isinstance(value, list)
        )
        if same_shape:
            _known(node, key)
            original[key] = _merge_value(before, value, _field(node, key), is_deletion)
        elif is_deletion:
            if not isinstance(value, list):
                raise BadRequest("invalid patch format of primitive list")
        else:
            original[key] = _drop_directives(value)
    return original


def _merge_value(before: Any, value: Any, field: Field, is_deletion: bool) -> Any:
    """Both objects, or both lists."""
    if isinstance(value, dict):
        return value if "replace" in field.strategy else _merge_map(before, value, field.node)
    if is_deletion:
        return _delete_scalars(before, value)
    if "merge" in field.strategy:
        return _merge_list(before, value, field)
    return value


# --- $retainKeys


def _retain_keys(original: Obj, patch: Obj) -> None:
    if RETAIN_KEYS not in patch:
        return
    retained = patch.pop(RETAIN_KEYS)
    if not isinstance(retained, list) or not all(isinstance(key, str) for key in retained):
        raise BadRequest("invalid patch format of retainKeys")
    keep = set(retained)
    for key, value in patch.items():
        is_directive = key.startswith((DELETE_FROM_PRIMITIVES, SET_ELEMENT_ORDER))
        if value is not None and not is_directive and key not in keep:
            raise BadRequest("invalid patch format of retainKeys")
    for key in original.keys() - keep:
        del original[key]


# --- $setElementOrder


def _merge_ordered_lists(original: Obj, patch: Obj, node: Node) -> None:
    """Lists with an order of their own: merged and put in order here, and taken out of the patch."""
    for directive in [key for key in patch if key.startswith(SET_ELEMENT_ORDER)]:
        order = patch.pop(directive)
        key = directive.removeprefix(SET_ELEMENT_ORDER)
        field = _field(node, key)
        before, change = original.get(key), patch.get(key)
        if not isinstance(order, list):
            raise _not_a_list(order)
        for part in (original, patch):
            if key in part and not isinstance(part[key], list):
                raise _not_a_list(part[key])
        _known(node, key)
        if before is None and change is None:
            continue
        element_order.check(change or [], order, field.merge_key)
        merged: list[Any]
        if change is None:
            merged = before or []
        elif before is None:
            merged = _drop_directives(change)
        else:
            merged = _merge_value(before, change, field, False)
        original[key] = element_order.arrange(merged, order, before or [], field.merge_key)
        patch.pop(key, None)


# --- lists


def _is_map_list(*lists: list[Any]) -> bool:
    """Whether these are lists of objects. Raises when they hold lists, or are mixed."""
    shapes = {type(item) for part in lists for item in part}
    kinds = {shape if shape in (dict, list) else str for shape in shapes}
    if list in kinds:
        raise DoesNotApply("lists of lists are not supported")
    if len(kinds) > 1:
        raise BadRequest(f"list element types are not identical: {go_text.show(list(lists))}")
    return kinds == {dict}


def _delete_scalars(original: list[Any], values: list[Any]) -> list[Any]:
    if original and values and _is_map_list(original, values):
        raise BadRequest("invalid patch format of primitive list")
    gone = set(map(element_order.identity, values))
    return [item for item in original if element_order.identity(item) not in gone]


def _merge_list(original: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if not original and not patch:
        return original
    if not _is_map_list(original, patch):
        merged = list(dict.fromkeys([*original, *patch]))
        return element_order.arrange(merged, patch, original, "")
    if not field.merge_key:
        raise BadRequest("cannot merge lists without merge key")
    rest, changes, replaced = _special_elements(list(original), patch, field.merge_key)
    if replaced:
        return [_drop_directives(item) for item in changes]
    merged = _merge_elements(rest, changes, field)
    return element_order.arrange(merged, changes, original, field.merge_key)


def _special_elements(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any], bool]:
    """Carries out elements with ``$patch``: (what is left of the original, the plain elements, replace all?)."""
    changes: list[Any] = []
    deleted: set[Hashable] = set()
    replaced = False
    for element in patch:
        directive = element.get(DIRECTIVE)
        if DIRECTIVE not in element:
            changes.append(element)
        elif directive == "replace":
            replaced = True
        elif directive == "delete":
            deleted.add(element_order.identity(element_order.merge_value(element, merge_key)))
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, element)
    if deleted:
        original = [item for item in original if element_order.identity(item.get(merge_key)) not in deleted]
    return original, changes, replaced


def _merge_elements(original: list[Any], changes: list[Any], field: Field) -> list[Any]:
    element_node = field.node.items if isinstance(field.node, ListNode) else _UNKNOWN.node
    positions = element_order.ranks(original, field.merge_key)
    for change in changes:
        identity = element_order.identity(element_order.merge_value(change, field.merge_key))
        at = positions.get(identity)
        if at is None:
            positions[identity] = len(original)
            original.append(_drop_directives(change))
        else:
            original[at] = _merge_map(original[at], change, element_node)
    return original


def _drop_directives(value: Any) -> Any:
    """A patch's part that meets nothing in the original, as plain content: no directives, no nulls in objects."""
    if isinstance(value, dict):
        return {
            key: _drop_directives(item)
            for key, item in value.items()
            if item is not None and key not in (DIRECTIVE, RETAIN_KEYS) and not _is_list_directive(key)
        }
    if isinstance(value, list):
        return [_drop_directives(item) for item in value if not (isinstance(item, dict) and _is_special(item))]
    return value


def _is_list_directive(key: str) -> bool:
    return key.startswith((DELETE_FROM_PRIMITIVES, SET_ELEMENT_ORDER))


def _is_special(element: Obj) -> bool:
    """Of no content: an element that only deletes or replaces."""
    return element.get(DIRECTIVE) in ("delete", "replace")
