"""A full object of each kind, read in every version that it is served in and written back there, is what it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kind_harness import KindCases
from test_both_encodings import send
from test_kinds import TABLES, Asking, _prepare, ask  # noqa: F401  # the fixture

from sampan.api import protobuf
from sampan.api.kind import Kind
from sampan.api.registry import registry


def versions(cases: KindCases) -> list[Kind]:
    """The others that show the same objects."""
    own = registry().by_api_version(cases.api_version, cases.kind)
    assert own is not None
    stored = registry().storage(own)
    return [kind for kind in registry().kinds() if registry().storage(kind) is stored and kind is not own]


def url_of(kind: Kind) -> str:
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


def content(obj: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "resourceVersion")}
    return {**obj, "metadata": kept}


EACH = [
    pytest.param(cases, kind, id=f"{cases} in {kind.api_version}")
    for cases in TABLES
    for kind in versions(cases)
    if {"get", "update"} <= set(kind.verbs)
]


@pytest.mark.parametrize(("cases", "kind"), EACH)
async def test_what_is_read_and_written_back_in_another_version_stays_what_it_was(
    ask: Asking,  # noqa: F811
    cases: KindCases,
    kind: Kind,
) -> None:
    await _prepare(ask, cases)
    manifest = cases.manifest("full")
    manifest["metadata"].setdefault("labels", {"a": "b"})  # where there are none, workloads of old take their pods'
    made = await ask("POST", cases.url, manifest)
    assert made.status == 201, made.obj
    name = made.obj["metadata"]["name"]
    shown = await ask("GET", f"{url_of(kind)}/{name}", {})
    assert (shown.status, shown.obj["apiVersion"], shown.obj["kind"]) == (200, kind.api_version, kind.kind)
    back = await ask("PUT", f"{url_of(kind)}/{name}", copy.deepcopy(shown.obj))
    assert (back.status, content(back.obj)) == (200, content(shown.obj))
    if protobuf.encodable(kind.api_version, kind.kind):
        status, said = await send(ask, "GET", f"{url_of(kind)}/{name}")
        assert status == 200
        assert (await send(ask, "PUT", f"{url_of(kind)}/{name}", said))[0] == 200
    now = await ask("GET", f"{cases.url}/{name}", {})
    assert content(now.obj) == content(made.obj)


def test_every_version_beside_the_tables_own_is_tried() -> None:
    tried = {(each.values[1].api_version, each.values[1].kind) for each in EACH}
    former = {(kind.api_version, kind.kind) for kind in registry().kinds() if kind.former}
    asked = {(version, kind) for version, kind in former if kind.endswith(("Review", "Eviction"))}
    assert former - asked - tried == set()
