"""Random objects of every kind, made of the compiled schema: each is answered, none is the server's fault, and what was
stored can be read in every form and written back in every way without a change."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import suite_samples
from fuzz_asking import Ask
from fuzz_form import faults, places
from fuzz_seeds import seed
from fuzz_values import Maker, keyed

from sampan.api import protobuf, schema
from sampan.api.kind import Kind
from sampan.api.protobuf import numbers
from sampan.api.registry import registry

#: changes of an object that is accepted; half of them are of any type at any place
TRIES = suite_samples.of(25, 10)
_PYTHON = re.compile(r"Traceback|NoneType|object has no attribute|not subscriptable|KeyError|<class '|unhashable")
_OBJECT_FORMS = ("application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io")
_METADATA = "application/json;as=PartialObjectMetadata{};v=v1;g=meta.k8s.io"

KINDS = [kind for kind in registry().kinds() if "create" in kind.verbs]
STORED = [kind for kind in KINDS if {"get", "update", "patch"} <= set(kind.verbs)]


def name_of(kind: Kind) -> str:
    return f"{kind.api_version}/{kind.kind}"


def url_of(kind: Kind) -> str:
    base = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    return f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"


async def grown(ask: Ask, kind: Kind, tries: int) -> dict[str, Any]:
    """The seed of the kind with the random changes that the server takes."""
    maker, obj = Maker(name_of(kind)), seed(kind)
    assert isinstance(kind.node, schema.ObjectNode)
    for _ in range(tries):
        changed = maker.changed(kind.node, obj)
        answer = await ask("POST", f"{url_of(kind)}?dryRun=All", changed)
        assert not _PYTHON.search(answer.body.decode()), answer.body
        if answer.status in (200, 201):
            obj = changed
            if (
                kind.kind != "SelfSubjectRulesReview"
            ):  # its answer is made, not decoded: upstream's lists are empty there
                assert list(faults(kind.schema, answer.obj)) == []
        answer = await ask("POST", f"{url_of(kind)}?dryRun=All", maker.hostile(kind.node, obj))
        assert not _PYTHON.search(answer.body.decode()), answer.body
    return obj


def without(obj: dict[str, Any], *of_metadata: str) -> dict[str, Any]:
    kept = {key: item for key, item in obj["metadata"].items() if key not in of_metadata}
    return {**copy.deepcopy(obj), "metadata": kept}


def _names_of(message: str) -> set[str]:
    found = set()
    for field in numbers.fields_of(message):
        found |= _names_of(field.kind.removeprefix("m:")) if field.embedded else {field.key}
    return found


def unnumbered(definition: str, obj: dict[str, Any]) -> list[str]:
    """Fields that protobuf has no number for (docs/known-flaws.md): alpha ones, and new ones in versions of old."""
    found = []
    for struct, way in places(definition, obj):
        if not numbers.known(struct):
            continue
        holder: Any = obj
        for step in way:
            holder = holder[step]
        found += [f"{struct}.{name}" for name in holder if name not in _names_of(struct) | {"kind", "apiVersion"}]
    return found


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
async def test_random_objects_are_answered_and_what_is_accepted_has_the_form_of_its_type(ask: Ask, kind: Kind) -> None:
    await grown(ask, kind, TRIES)


#: Components of the server write the status of the others at moments of their own.
QUIET = [kind for kind in STORED if kind.kind not in ("APIService", "CustomResourceDefinition")]


@pytest.mark.parametrize("kind", QUIET, ids=name_of)
async def test_what_is_stored_is_read_in_every_form_and_written_back_unchanged(ask: Ask, kind: Kind) -> None:
    maker, obj = Maker(f"stored {name_of(kind)}"), seed(kind)
    url, item = url_of(kind), f"{url_of(kind)}/{obj['metadata']['name']}"
    assert isinstance(kind.node, schema.ObjectNode)
    for _ in range(TRIES):
        changed = maker.changed(kind.node, obj)
        accepted = await ask("POST", f"{url}?dryRun=All&fieldValidation=Strict", changed)
        if accepted.status == 201 and keyed(kind.node, accepted.obj):
            obj = changed
    made = await ask("POST", url, obj)
    assert made.status == 201, f"the seed is refused: {made.body!r}"
    stored = (await ask("GET", item)).obj
    assert stored == made.obj
    assert list(faults(kind.schema, stored)) == []
    again = copy.deepcopy(stored)
    kind.default(again)
    assert again == stored, "defaults are not idempotent"
    for form in _OBJECT_FORMS:
        for path in (item, url):
            assert (await ask("GET", path, accept=form)).status == 200
    assert (await ask("GET", item, accept=_METADATA.format(""))).obj["metadata"] == stored["metadata"]
    assert (await ask("GET", url, accept=_METADATA.format("List"))).status == 200
    if protobuf.encodable(kind.api_version, kind.kind):
        said = await ask("GET", item, accept=protobuf.CONTENT_TYPE)
        assert (await ask("GET", url, accept=protobuf.CONTENT_TYPE)).status == said.status == 200
        if not unnumbered(kind.schema, stored):
            back = await ask("PUT", item, said.body, protobuf.CONTENT_TYPE)
            assert (back.status, back.obj) == (200, stored)
    plain, whole = without(stored, "managedFields"), [{"op": "replace", "path": "", "value": stored}]
    for method, body, content_type in (
        ("PUT", stored, "application/json"),
        ("PUT", plain, "application/json"),
        ("PATCH", plain, "application/merge-patch+json"),
        ("PATCH", whole, "application/json-patch+json"),
        ("PATCH", plain, "application/strategic-merge-patch+json"),
    ):
        answer = await ask(method, item, body, content_type)
        assert answer.status == 200, (content_type, answer.body)
        assert answer.obj == stored, content_type
    config = without(stored, "managedFields", "resourceVersion")
    applied = await ask("PATCH", f"{item}?fieldManager=a&force=true", config, "application/apply-patch+yaml")
    assert applied.status == 200, applied.body
    unowned = "managedFields", "resourceVersion"
    assert without(applied.obj, *unowned) == without(stored, *unowned)
