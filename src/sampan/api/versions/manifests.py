"""What somebody wrote in a former version, written in the one to use instead: as short as it was.

The former version's own defaults are written out, for the new version has others; what means the same in both is not.
Pure. Used by ``sampan.apireport``.
"""

from __future__ import annotations

from sampan.api.objects import deep_copy
from sampan.api.types import Obj
from sampan.api.versions import served
from sampan.api.versions.convert import parts
from sampan.api.versions.lifecycle import Lifecycle, Release, lifecycle


class NotConvertible(Exception):
    """There is nothing to write instead, or the manifest is too odd; the text says which."""


def is_renamed_only(api_version: str, kind: str) -> bool:
    """The new version differs in nothing but its name."""
    return kind not in served.CONVERTED.get(api_version, ()) and kind not in served.DEFAULTED.get(api_version, ())


def modernised(manifest: Obj) -> Obj:
    """A copy in the version to use instead. Raises NotConvertible."""
    api_version, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
    entry = lifecycle(api_version, kind)
    if entry is None or entry.replacement is None or not served.is_convertible(entry):
        raise NotConvertible(f"nothing takes the place of {api_version} {kind}")
    obj: Obj = deep_copy(manifest)
    name = kind.lower()
    try:
        if kind in served.DEFAULTED.get(api_version, ()):
            served.find(api_version, f"default_{name}")(obj)
        if kind in served.CONVERTED.get(api_version, ()):
            obj = served.find(api_version, f"to_{name}")(obj)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise NotConvertible(f"{kind} is not of the form that {api_version} asks for") from None
    obj["apiVersion"], obj["kind"] = entry.replacement
    if not parts.part(obj, "status") and "status" not in manifest:
        obj.pop("status", None)
    return {key: obj[key] for key in (*manifest, *obj) if key in obj}


def former_target(manifest: Obj, to: Release) -> Lifecycle | None:
    """The version, gone in the release ``to``, by which an autoscaler of whatever version names what it scales: it
    would find nothing."""
    if manifest.get("kind") != "HorizontalPodAutoscaler":
        return None
    target = parts.part(parts.part(manifest, "spec"), "scaleTargetRef")
    entry = lifecycle(str(target.get("apiVersion")), str(target.get("kind")))
    gone = entry is not None and entry.replacement is not None and entry.removed is not None and entry.removed <= to
    return entry if gone else None


def retargeted(manifest: Obj, to: Release) -> Obj:
    """The same manifest where its target needs no other name; else a copy that names it in the version to use."""
    entry = former_target(manifest, to)
    if entry is None or entry.replacement is None:
        return manifest
    api_version, kind = entry.replacement
    target = {**manifest["spec"]["scaleTargetRef"], "apiVersion": api_version, "kind": kind}
    return {**manifest, "spec": {**manifest["spec"], "scaleTargetRef": target}}
