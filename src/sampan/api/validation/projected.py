"""Files that a volume is made of: keys of ConfigMaps and Secrets, fields of the pod, tokens, certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, references, signers
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options

_FIELDS: Final = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_TEN_MINUTES: Final = 600


def mode(value: int | None, path: str) -> Errors:
    if value is None or 0 <= value <= 0o777:
        return []
    return [errors.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive")]


def items(source: Obj, path: str) -> Errors:
    found: Errors = []
    for index, item in enumerate(source.get("items") or ()):
        where, target = f"{path}.items[{index}]", item.get("path", "")
        if not item.get("key"):
            found.append(errors.required(f"{where}.key"))
        if not target:
            found.append(errors.required(f"{where}.path"))
        found += common.local_path(target, f"{where}.path")
        found += mode(item.get("mode"), f"{where}.mode")
    return found


def downward_item(item: Obj, path: str) -> Errors:
    """``path``: of the volume; upstream names no item."""
    found: Errors = []
    if not item.get("path"):
        found.append(errors.required(f"{path}.path"))
    found += common.local_path(item.get("path", ""), f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        found += references.field(field, f"{path}.fieldRef", _FIELDS)
        if resource is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            found.append(errors.invalid(path, "resource", text))
    elif resource is not None:
        found += references.resource(resource, f"{path}.resourceFieldRef", of_volume=True)
    else:
        found.append(errors.required(path, "one of fieldRef and resourceFieldRef is required"))
    return found + mode(item.get("mode"), f"{path}.mode")


class _Paths:
    """The paths of a projected volume so far: no two sources write the same file."""

    __slots__ = ("_taken", "_volume")

    def __init__(self, volume: str) -> None:
        self._volume = volume
        self._taken: set[str] = set()

    def take(self, path: str, shown: str) -> Errors:
        if path not in self._taken:
            self._taken.add(path)
            return []
        return [errors.invalid(self._volume, shown, "conflicting duplicate paths")]


def projected(source: Obj, path: str, options: Options) -> Errors:
    found = mode(source.get("defaultMode"), f"{path}.defaultMode")
    taken = _Paths(path)
    for index, projection in enumerate(source.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        given = [kind for kind in _PROJECTIONS if projection.get(kind) is not None]
        for kind in given:
            if kind == "serviceAccountToken":
                found += _token(projection[kind], f"{where}.{kind}", path, options)
            else:
                found += _PROJECTIONS[kind](projection[kind], f"{where}.{kind}", taken)
        if len(given) > 1:
            found.append(errors.forbidden(where, "may not specify more than 1 volume type per source"))
    return found


def _keyed(source: Obj, path: str, taken: _Paths) -> Errors:
    found: Errors = []
    name = source.get("name", "")
    if not name:
        found.append(errors.required(f"{path}.name"))
    found += items(source, path)
    for item in source.get("items") or ():
        if item.get("path"):
            found += taken.take(item["path"], name)
    return found


def _downward(source: Obj, path: str, taken: _Paths) -> Errors:
    found: Errors = []
    for item in source.get("items") or ():
        found += downward_item(item, path)
        if item.get("path"):
            found += taken.take(item["path"], item["path"])
    return found


def _token(source: Obj, path: str, volume: str, options: Options) -> Errors:
    found: Errors = []
    seconds = source.get("expirationSeconds", 0)
    if seconds < _TEN_MINUTES:
        text = "may not specify a duration less than 10 minutes"
        found.append(errors.invalid(f"{path}.expirationSeconds", seconds, text))
    if seconds > 1 << 32:
        text = "may not specify a duration larger than 2^32 seconds"
        found.append(errors.invalid(f"{path}.expirationSeconds", seconds, text))
    if not source.get("path"):
        found.append(errors.required(f"{volume}.path"))
    elif not options.non_local_token_paths:
        found += common.local_path(source["path"], f"{volume}.path")
    return found


def _trust_bundle(source: Obj, path: str, taken: _Paths) -> Errors:
    name, signer, selector = source.get("name"), source.get("signerName"), source.get("labelSelector")
    found: Errors = []
    if name is not None and signer is not None:
        shown = go_values.struct(source, go_values.of_pods("ClusterTrustBundleProjection"))
        found.append(errors.invalid(path, shown, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            found.append(errors.required(f"{path}.name", "must be a valid object name"))
        for text in signers.trust_bundle_name(name):
            found.append(errors.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {text}"))
        if selector is not None:
            text = "labelSelector must be unset if name is specified"
            found.append(errors.invalid(f"{path}.labelSelector", selector, text))
    elif signer is not None:
        if not signer:
            found.append(errors.required(f"{path}.signerName", "must be a valid signer name"))
        found += signers.signer_name(signer, f"{path}.signerName")
        found += common.label_selector(selector, f"{path}.labelSelector")
    else:
        found.append(errors.required(path, "either name or signerName must be specified"))
    target = source.get("path", "")
    if not target:
        found.append(errors.required(f"{path}.path"))
    found += common.local_path(target, f"{path}.path")
    return found + taken.take(target, target)


def _pod_certificate(source: Obj, path: str, taken: _Paths) -> Errors:
    found = signers.pod_certificate(source, path)
    given = [key for key in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(key)]
    for key in given:
        found += common.local_path(source[key], f"{path}.{key}")
        found += taken.take(source[key], source[key])
    if not given:
        text = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        found.append(errors.required(path, text))
    return found


_PROJECTIONS: Final[dict[str, Callable[[Obj, str, _Paths], Errors]]] = {
    "secret": _keyed,
    "configMap": _keyed,
    "downwardAPI": _downward,
    "serviceAccountToken": _keyed,  # the place in the order: ``_token`` judges it
    "clusterTrustBundle": _trust_bundle,
    "podCertificate": _pod_certificate,
}
