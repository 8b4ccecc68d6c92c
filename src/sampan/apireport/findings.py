"""What of an object a release removed, deprecates, or warns of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from sampan.api import schema
from sampan.api.objects import deep_copy
from sampan.api.reading import part, text
from sampan.api.registry import registry
from sampan.api.types import Obj
from sampan.api.versions.lifecycle import Lifecycle, Release, lifecycle
from sampan.api.versions.manifests import former_target
from sampan.records import dataclass

Change = Literal["removed", "deprecated", "hint"]

#: What to do where no version takes the place of another.
_INSTEAD: Final = {
    "PodSecurityPolicy": "Pod Security admission (labels of namespaces) or an admission policy",
    "ComponentStatus": "the health endpoints /livez and /readyz",
    "ClusterCIDR": "the node's spec.podCIDRs, given by the network",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """``since``: the release that removed or deprecated it; ``before``: it already had when the report begins."""

    source: str
    api_version: str
    kind: str
    namespace: str
    name: str
    change: Change
    since: Release | None
    removed_in: Release | None
    replacement: str
    message: str
    before: bool = False

    def wire(self) -> Obj:
        return {
            "source": self.source,
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "change": self.change,
            "since": str(self.since or ""),
            "removedIn": str(self.removed_in or ""),
            "replacement": self.replacement,
            "message": self.message,
            "before": self.before,
        }


@dataclass(frozen=True, slots=True)
class Span:
    """From the release that the manifests are used with to the one that they are to be used with."""

    start: Release
    end: Release


def findings(obj: Obj, source: str, span: Span) -> Iterator[Finding]:
    """What of one object is to be told, the version first."""
    api_version, kind = text(obj, "apiVersion"), text(obj, "kind")
    entry = lifecycle(api_version, kind)
    if entry is not None and (found := _version(obj, source, entry, span)) is not None:
        yield found
    yield from _target(obj, source, span)
    for hint in dict.fromkeys(_hints(obj)):
        yield _finding(obj, source, "hint", message=hint)


def used_in(obj: Obj, span: Span, source: str) -> Iterator[Finding]:
    """The same of an object that a cluster stores: in which versions clients wrote it (its managed fields)."""
    seen: dict[str, str] = {}
    for entry in part(obj, "metadata").get("managedFields") or ():
        if isinstance(entry, dict):
            seen.setdefault(text(entry, "apiVersion"), text(entry, "manager"))
    for api_version, manager in seen.items():
        entry = lifecycle(api_version, text(obj, "kind"))
        written = {**obj, "apiVersion": api_version}
        if entry is not None and (found := _version(written, f"{source} (by {manager})", entry, span)) is not None:
            yield found
    yield from _target(obj, source, span)


def _target(obj: Obj, source: str, span: Span) -> Iterator[Finding]:
    """What an autoscaler names in a version that is gone; the finding has the version of the target."""
    entry = former_target(obj, span.end)
    if entry is not None and (found := _version({**obj, "apiVersion": entry.api_version}, source, entry, span)):
        yield replace(found, message=f"spec.scaleTargetRef: {found.message}")


def _version(obj: Obj, source: str, entry: Lifecycle, span: Span) -> Finding | None:
    instead = " ".join(entry.replacement) if entry.replacement is not None else _INSTEAD.get(entry.kind, "")
    message = entry.message if entry.replacement is not None or not instead else f"{entry.message}; use {instead}"
    if entry.removed is not None and entry.removed <= span.end:
        change: Change = "removed"
        since = entry.removed
    elif entry.deprecated is not None and entry.deprecated <= span.end:
        change, since = "deprecated", entry.deprecated
    else:
        return None
    before = since <= span.start
    return _finding(obj, source, change, since, entry.removed, instead, message, before)


def _finding(
    obj: Obj,
    source: str,
    change: Change,
    since: Release | None = None,
    removed: Release | None = None,
    instead: str = "",
    message: str = "",
    before: bool = False,
) -> Finding:
    metadata = part(obj, "metadata")
    name = text(metadata, "name") or text(metadata, "generateName")
    kind = text(obj, "kind")
    api_version = text(obj, "apiVersion")
    namespace = text(metadata, "namespace")
    return Finding(source, api_version, kind, namespace, name, change, since, removed, instead, message, before)


def _hints(obj: Obj) -> Iterator[str]:
    """Deprecated fields, labels and annotations: what the API server would warn of."""
    kind = registry().by_api_version(text(obj, "apiVersion"), text(obj, "kind"))
    if kind is None:
        return
    stored = registry().storage(kind)
    given: Obj = {"metadata": {}, **deep_copy(obj)}
    decoded = schema.decode(kind.node, given, kind.kind, collect_unknown=True)
    if decoded.error is not None:
        yield f"cannot be read as {kind.api_version} {kind.kind}: {decoded.error}"
        return
    for path in decoded.unknown:
        yield schema.unknown_field_message(path)
    try:
        kind.default(given)
        converted = kind.to_stored(given) if kind.to_stored is not None else given
        stored.default(converted)
        yield from stored.warnings(converted, None)
    except (AttributeError, KeyError, LookupError, TypeError, ValueError):
        return  # too odd to be judged: the server will say more
    spec = part(converted, "spec")
    pod = spec if stored.kind == "Pod" else part(part(spec, "template"), "spec")
    if text(pod, "serviceAccount") and not text(part(obj, "spec"), "serviceAccountName"):
        yield from _service_account(obj)


def _service_account(obj: Obj) -> Iterator[str]:
    spec = part(obj, "spec")
    for path, pod in (("spec", spec), ("spec.template.spec", part(part(spec, "template"), "spec"))):
        if "serviceAccount" in pod and "serviceAccountName" not in pod:
            yield f'{path}.serviceAccount: deprecated; use "serviceAccountName" instead'
