"""ConversionReview (apiextensions.k8s.io): what a conversion webhook is asked, and what its answer is worth.

Pure. Texts are upstream's (apiextensions ``apiserver/conversion``): people match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from sampan.api import metadata
from sampan.api.errors import FieldError
from sampan.api.objects import deep_copy
from sampan.api.types import Obj

_GROUP: Final = "apiextensions.k8s.io"
_LONGEST_SHOWN: Final = 2048
KNOWN: Final = ("v1", "v1beta1")


class BadAnswer(Exception):
    """The webhook did not convert; says what it did."""


def review_version(accepted: Sequence[str]) -> str | None:
    """The first that both sides know."""
    return next((version for version in accepted if version in KNOWN), None)


def question(version: str, uid: str, wanted: str, found: Sequence[Obj]) -> bytes:
    """``wanted``: the apiVersion that the objects are to have."""
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": found}
    review = {"kind": "ConversionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}
    try:
        return orjson.dumps(review)
    except orjson.JSONEncodeError as error:
        raise BadAnswer("the objects cannot be encoded") from error


def answered(body: bytes, version: str, uid: str) -> list[Any]:
    """The objects of an answer. Raises BadAnswer."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"the answer is no JSON: {error}") from error
    if not isinstance(review, dict):
        raise BadAnswer("the answer is no object")
    wanted = f"{_GROUP}/{version}, Kind=ConversionReview"
    got = f"{_shown(review.get('apiVersion'))}, Kind={_shown(review.get('kind'))}"
    if wanted != got:
        raise BadAnswer(f"expected webhook response of {wanted}, got {got}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("no response provided")
    if version == "v1" and response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{_shown(response.get("uid"))}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        if message := result.get("message"):
            raise BadAnswer(_shown(message))
        raise BadAnswer(f"response.result.status was '{_shown(result.get('status'))}', not 'Success'")
    objects = response.get("convertedObjects")
    return objects if isinstance(objects, list) else []


def _shown(value: Any) -> str:
    """What a webhook wrote where a text belongs, cut where it is longer than anybody reads."""
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = "..."  # nested deeper than can be written
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def accept(original: Obj, converted: Any, wanted: str) -> Obj:
    """The converted object, with the metadata of the original but for labels and annotations. Raises BadAnswer."""
    if not isinstance(converted, dict):
        raise BadAnswer("invalid object: it is no object")
    api_version, kind = converted.get("apiVersion"), converted.get("kind")
    if api_version != wanted:
        raise BadAnswer(f"invalid groupVersion (expected {wanted}, received {_shown(api_version)})")
    if kind != original.get("kind"):
        raise BadAnswer(f"invalid kind (expected {original.get('kind')}, received {_shown(kind)})")
    meta, before = converted.get("metadata"), original.get("metadata") or {}
    if "metadata" not in converted:
        raise BadAnswer("missing metadata in converted object")
    if not isinstance(meta, dict):
        raise BadAnswer("invalid metadata in converted object: it is no object")
    for key, word in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if (meta.get(key) or "") != (before.get(key) or ""):
            raise BadAnswer(f"must have the same {word}: {before.get(key) or ''} != {_shown(meta.get(key))}")
    converted["metadata"] = _restored(meta, before)
    try:
        orjson.dumps(converted)
    except orjson.JSONEncodeError as error:
        raise BadAnswer("it is nested too deep") from error
    return converted


def _restored(meta: Obj, before: Obj) -> Obj:
    kept: Obj = deep_copy(before)
    for key in ("labels", "annotations"):
        found = meta.get(key)
        if found is None:
            kept.pop(key, None)
            continue
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise BadAnswer(f"invalid metadata.{key} in converted object: it is no map of strings")
        if found != before.get(key):
            problems = _problems(key, found)
            if problems:
                raise BadAnswer(f"invalid metadata: {'; '.join(str(one.detail) for one in problems)}")
        kept[key] = found
    return kept


def _problems(key: str, found: dict[str, str]) -> list[FieldError]:
    if key == "labels":
        return metadata.validate_labels(found, "metadata.labels")
    return metadata.validate_annotations(found, "metadata.annotations")
