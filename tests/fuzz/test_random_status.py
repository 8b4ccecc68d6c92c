"""Random status of every kind that has one, sound and hostile: each write is answered, what is accepted has the form of
its type, is shown in every form (tables are made of status above all), and written back unchanged."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
import suite_samples
from fuzz_asking import Ask
from fuzz_form import faults
from fuzz_seeds import seed
from fuzz_values import Maker
from test_random_writes import _METADATA, QUIET, name_of, url_of

from sampan.api import protobuf, schema
from sampan.api.kind import Kind

TRIES = suite_samples.of(40, 3)
#: of what is judged strictly, more are drawn until one is accepted
_MOST = 60
_FORMS = (
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    _METADATA.format(""),
)
WITH_STATUS = [kind for kind in QUIET if kind.status]


def with_status(maker: Maker, kind: Kind, obj: dict[str, Any], *, hostile: bool) -> dict[str, Any]:
    """A copy with another status: of its type, or with values of any type in it."""
    assert isinstance(kind.node, schema.ObjectNode)
    node = kind.node.fields["status"].node
    assert isinstance(node, schema.ObjectNode)
    status: Any = obj.get("status") or {}
    for _ in range(maker.rng.choice((1, 3))):
        status = maker.changed(node, status)
    return {**copy.deepcopy(obj), "status": maker.hostile(node, status) if hostile else status}


@pytest.mark.parametrize("kind", WITH_STATUS, ids=name_of)
async def test_random_status_is_answered_shown_in_every_form_and_written_back_unchanged(ask: Ask, kind: Kind) -> None:
    maker, obj = Maker(f"status {name_of(kind)}"), seed(kind)
    item = f"{url_of(kind)}/{obj['metadata']['name']}"
    made = await ask("POST", url_of(kind), obj)
    assert made.status == 201, made.body
    forms = (*_FORMS, *((protobuf.CONTENT_TYPE,) if protobuf.encodable(kind.api_version, kind.kind) else ()))
    accepted = 0
    for number in range(_MOST):
        if number >= TRIES and accepted:
            break
        stored = (await ask("GET", item)).obj
        for content_type in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
            patch = {"status": with_status(maker, kind, stored, hostile=True)["status"]}
            await ask("PATCH", f"{item}/status", patch, content_type)
        stored = (await ask("GET", item)).obj
        answer = await ask("PUT", f"{item}/status", with_status(maker, kind, stored, hostile=number % 4 == 3))
        accepted += answer.status == 200
        now = (await ask("GET", item)).obj
        assert list(faults(kind.schema, now)) == []
        for form in forms:
            for path in (item, url_of(kind)):
                many = path != item
                wanted = form.replace("ObjectMetadata;", "ObjectMetadataList;") if many else form
                assert (await ask("GET", path, accept=wanted)).status == 200, wanted
        again = await ask("PUT", f"{item}/status", now)
        assert (again.status, again.obj) == (200, now), orjson.dumps(now.get("status"))
    assert accepted
