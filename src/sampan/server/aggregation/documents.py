"""What extension API servers say that they serve: read from either form of discovery, as far as it makes sense. Pure.

The documents are strangers': what is not of its type is left out, and what is left is bounded.
Spec: apidiscovery.k8s.io (KEP-3352); metav1 APIResourceList, and upstream's conversion of one into the other.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj

#: of one group version
MOST_RESOURCES: Final = 2000
_MOST_WORDS: Final = 100
_LONGEST_WORD: Final = 256
#: asks for the aggregated form, and takes the other
ACCEPT: Final = ",".join(
    [
        *(f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")),
        "application/json",
    ]
)


class Nonsense(ValueError):
    """The document is not what was asked for."""


def is_aggregated(document: Any) -> bool:
    return text(document, "kind") == "APIGroupDiscoveryList"


def from_aggregated(document: Any, group: str, version: str) -> list[Obj] | None:
    """The resources of a group version in an APIGroupDiscoveryList; None: it is not listed."""
    for item in parts(document, "items"):
        if text(part(item, "metadata"), "name") == group:
            for each in parts(item, "versions"):
                if text(each, "version") == version:
                    found = [_resource(resource, group, version) for resource in parts(each, "resources")]
                    return [resource for resource in found if resource["resource"]][:MOST_RESOURCES]
    return None


def from_list(document: Any, group: str, version: str) -> list[Obj]:
    """The same from an APIResourceList. Raises Nonsense."""
    if text(document, "kind") != "APIResourceList" or not isinstance(document.get("resources"), list):
        raise Nonsense(f"the answer for {group}/{version} is not an APIResourceList")
    found: dict[str, Obj] = {}
    below: list[tuple[str, Obj]] = []
    for item in parts(document, "resources"):
        name, _, sub = text(item, "name").partition("/")
        named = {
            "responseKind": {
                "group": text(item, "group") or group,
                "version": text(item, "version") or version,
                "kind": text(item, "kind"),
            },
            "verbs": item.get("verbs"),
        }
        if sub:
            below.append((name, {"subresource": sub, **named}))
            continue
        same: Obj = {key: item[key] for key in ("shortNames", "categories") if key in item}
        scope = "Namespaced" if item.get("namespaced") is True else "Cluster"
        found[name] = {
            "resource": name, "singularResource": text(item, "singularName"), "scope": scope, **named, **same,
        }  # fmt: skip
    for name, sub_resource in below:
        owner = found.setdefault(name, {"resource": name, "scope": "Cluster"})
        owner.setdefault("subresources", []).append(sub_resource)
    listed = [_resource(resource, group, version) for resource in found.values()]
    return [resource for resource in listed if resource["resource"]][:MOST_RESOURCES]


def _resource(item: Obj, group: str, version: str) -> Obj:
    resource: Obj = {
        "resource": _word(text(item, "resource")),
        "responseKind": _response_kind(item, group, version),
        "scope": "Namespaced" if text(item, "scope") == "Namespaced" else "Cluster",
        "singularResource": _word(text(item, "singularResource")),
        "verbs": _words(item, "verbs"),
    }
    for key in ("shortNames", "categories"):
        if words := _words(item, key):
            resource[key] = words
    subs = [
        {
            "subresource": _word(text(sub, "subresource")),
            "responseKind": _response_kind(sub, group, version),
            "verbs": _words(sub, "verbs"),
        }
        for sub in parts(item, "subresources")
    ]
    if subs:
        resource["subresources"] = subs[:_MOST_WORDS]
    return resource


def _response_kind(item: Obj, group: str, version: str) -> Obj:
    kind = part(item, "responseKind")
    return {
        "group": _word(text(kind, "group")) if kind else group,
        "version": _word(text(kind, "version")) or version,
        "kind": _word(text(kind, "kind")),
    }


def _words(item: Obj, key: str) -> list[str]:
    return [_word(word) for word in texts(item, key)][:_MOST_WORDS]


def _word(word: str) -> str:
    return word[:_LONGEST_WORD]
