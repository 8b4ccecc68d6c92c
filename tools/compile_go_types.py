"""Compile what Go's types say of each field, and OpenAPI does not, into ``src/sampan/api/schema/data``:

* ``presence-1.37.json``: what is written of a field that holds its zero value;
* ``types-1.37.json``: named types of fields, defaults, and the values of enumerations.

    python tools/compile_go_types.py FIELDS_JSON

The argument is a description of the API's Go types, ``{definition: {field: {kind, type, pointer, omitempty, omitzero,
default}}}`` with ``$type: {enum, enumMarker}`` of named types, as can be read out of their sources. ``presence`` names,
for every definition of the compiled schema, the fields of each ``Presence`` of ``sampan.api.schema.nodes`` but the
commonest: a field that is not named is left out when it holds its zero value. One definition a line, sorted: re-running
with the same input reproduces the files byte for byte.

Types and fields newer than the description take the facts of the same type in another version of their group, then
those of ``NEWER``, and what is left is guessed as upstream's types mostly have it: what is required is always written,
optional structs, numbers and booleans are pointers, all else omits.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.api import schema

DATA = Path(__file__).parent.parent / "src/sampan/api/schema/data"
TARGET = DATA / "presence-1.37.json"
TYPES_TARGET = DATA / "types-1.37.json"
Facts = Mapping[str, Any]
Types = Mapping[str, Facts]

ALWAYS, KEPT, NULL, OMITTED = "always", "kept", "null", "omitted"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CORE = "io.k8s.api.core.v1."
#: Structs that encode their zero as null.
_NULL_STRUCTS = frozenset((_META + "Time", _META + "MicroTime", "io.k8s.apimachinery.pkg.runtime.RawExtension"))
_LIFECYCLE = "io.k8s.api.lifecycle.v1alpha1."
_SCHEDULING = "io.k8s.api.scheduling.v1beta1."
_UID = "io.k8s.apimachinery.pkg.types.UID"
#: Constants that defaults refer to.
_CONSTANTS: Mapping[Any, str] = {
    "ref(AzureSharedBlobDisk)": "Shared",
    "ref(AzureDataDiskCachingReadWrite)": "ReadWrite",
}
#: Enumerations with constants that are made of another type's, which descriptions miss.
_ENUMS: Mapping[str, list[str]] = {"io.k8s.api.discovery.v1.AddressType": ["FQDN", "IPv4", "IPv6"]}
#: Of fields of v1.37 that the description does not know: their types, where those have a name.
NEWER: Mapping[str, str] = {
    _LIFECYCLE + "EvictionPodReference.uid": _UID,
    _LIFECYCLE + "EvictionRequestPodReference.uid": _UID,
    _LIFECYCLE + "EvictionRequestSpec.intent": _LIFECYCLE + "EvictionRequestIntent",
    _LIFECYCLE + "Requester.intent": _LIFECYCLE + "EvictionRequestIntent",
    _SCHEDULING + "CompositePodGroupTemplate.preemptionPolicy": _CORE + "PreemptionPolicy",
    _SCHEDULING + "PodGroupSpec.preemptionPolicy": _CORE + "PreemptionPolicy",
    _SCHEDULING + "PodGroupTemplate.preemptionPolicy": _CORE + "PreemptionPolicy",
    "io.k8s.api.storage.v1.StorageHealthCondition.accessMode": _CORE + "PersistentVolumeAccessMode",
    "io.k8s.api.storage.v1.StorageHealthCondition.volumeMode": _CORE + "PersistentVolumeMode",
    _CORE + "NodeAllocatableMappedResources.name": _CORE + "ResourceName",
    _CORE + "NodeAllocatableOverheadResources.name": _CORE + "ResourceName",
}


def presence(fact: Facts) -> str:
    """Of a field by its struct tag: ``omitempty`` never leaves out a struct, ``omitzero`` does."""
    pointer = fact.get("pointer", False)
    if fact.get("omitzero"):
        return OMITTED
    if fact.get("omitempty") and (pointer or fact["kind"] != "struct"):
        return KEPT if pointer else OMITTED
    return NULL if pointer or fact["kind"] in ("slice", "map", "bytes") or fact.get("type") in _NULL_STRUCTS else ALWAYS


def guess(name: str, raw: Facts, *, required: bool, new_type: bool) -> str:
    """Of a field that no description knows. What is added to an old type does not change what is written of it."""
    if new_type and "$ref" in raw and name in ("metadata", "spec", "status"):
        return ALWAYS
    if required:
        return NULL if raw.get("type") in ("array", "object") else ALWAYS
    return OMITTED if raw.get("type") in ("string", "array", "object") else KEPT


def versions(name: str, types: Types) -> dict[str, Facts]:
    """The facts of this type; of fields that it does not have those in other versions of its group, newest first."""
    package, _, kind = name.rpartition(".")
    group = package.rpartition(".")[0]
    others = [other for other in types if re.fullmatch(rf"{re.escape(group)}\.v\w+\.{kind}", other)]
    found: dict[str, Facts] = {}
    for other in (*sorted(others), name):
        found |= types.get(other, {})
    return found


def facts_of(name: str, types: Types, loaded: schema.Schema) -> dict[str, Facts]:
    """Of the fields of a definition; not those whose shape another version has otherwise."""
    facts = versions(name, types)
    scalars = ("string", "bool", "int32", "int64", "float64")
    return {
        key: facts[key]
        for key, raw in loaded.properties(name).items()
        if key in facts and not (facts[key]["kind"] in scalars and "$ref" in raw)
    }


def compile_presence(types: Types, loaded: schema.Schema) -> bytes:
    entries = {}
    for name in sorted(loaded.names()):
        raw = loaded.raw(name)
        facts = facts_of(name, types, loaded)
        fields: dict[str, list[str]] = {ALWAYS: [], KEPT: [], NULL: [], OMITTED: []}
        for key, part in raw.get("properties", {}).items():
            fact = facts.get(key)
            found = (
                presence(fact)
                if fact is not None
                else guess(key, part, required=key in raw.get("required", ()), new_type=not facts)
            )
            fields[found].append(key)
        entries[name] = {key: fields[key] for key in (ALWAYS, KEPT, NULL) if fields[key]}
    return render(entries)


def compile_types(types: Types, loaded: schema.Schema) -> bytes:
    """Of definitions ``{types: {field: Go type}, defaults: {field: value}}``, of the enumerations among these types
    ``{enum: [value]}``. Only types that say more than the schema does."""
    entries: dict[str, Any] = {}
    for name in loaded.names():
        facts = facts_of(name, types, loaded)
        found: dict[str, str] = {}
        defaults: dict[str, Any] = {}
        for key in loaded.properties(name):
            fact = facts.get(key, {})
            go_type = telling_type(fact) or NEWER.get(f"{name}.{key}", "")
            if go_type:
                found[key] = go_type
            if "default" in fact:
                defaults[key] = _CONSTANTS.get(fact["default"], fact["default"])
        entries[name] = {key: part for key, part in (("types", found), ("defaults", defaults)) if part}
    for go_type in {go_type for entry in list(entries.values()) for go_type in entry.get("types", {}).values()}:
        element = go_type.rpartition("]")[2]
        if values := enumeration(element, types):
            entries[element] = {"enum": values}
    return render(entries)


def enumeration(name: str, types: Types) -> list[str]:
    """The values of a type that is marked as an enumeration; constants of others are open sets. One without values is
    another name of the same type in the group's first version."""
    own = types.get(name, {}).get("$type", {})
    if not own.get("enumMarker"):
        return []
    if name in _ENUMS:
        return _ENUMS[name]
    group, _, kind = name.rpartition(".")
    original = types.get(f"{group.rpartition('.')[0]}.v1.{kind}", {}).get("$type", {})
    return sorted(own.get("enum") or original["enum"])


def telling_type(fact: Facts) -> str:
    """The Go type of a field if it, its elements or its keys are scalars, lists or maps with a name of their own."""
    kind, name = fact.get("kind", ""), fact.get("type", "")
    element = name.rpartition("]")[2]
    named_keys = name.startswith("map[io.")
    named = "." in element and (fact["elem"] if name != element else kind) not in ("struct", "bytes", "interface")
    return name if named or named_keys else ""


def render(entries: Mapping[str, Any]) -> bytes:
    """One definition a line; those of which nothing is said are left out."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}"
        for name, entry in sorted(entries.items())
        if entry
    ]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    loaded = schema.Schema((DATA / "kubernetes-1.37.json").read_bytes(), b"", b"")
    types = json.loads(Path(sys.argv[1]).read_bytes())
    for target, data in ((TARGET, compile_presence(types, loaded)), (TYPES_TARGET, compile_types(types, loaded))):
        target.write_bytes(data)
        print(f"{target.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
