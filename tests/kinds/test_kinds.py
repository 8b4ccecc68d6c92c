"""Each built-in kind: defaults, faults, what may change, table rows and warnings, as its table in ``kind_cases`` says.

The server is whole but for admission plugins and authorization: what is seen is the kind's own.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from kind_harness import Cause, Invalid, KindCases, Obj, Row, Update, Warned, changed

from sampan.api import schema, table
from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.registry import registry
from sampan.server.admission import names
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.request import Request
from sampan.store.memory import MemoryStore

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
AN_HOUR_AGO = "2026-11-21T11:00:00Z"
#: of metadata, what the server makes of every object
_MADE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")

# Loaded here, not by whichever test comes first: its two seconds are for itself.
registry()
schema.load()


def _tables() -> list[KindCases]:
    folder = Path(__file__).parent / "kind_cases"
    files = sorted(file.relative_to(folder).with_suffix("") for file in folder.glob("*/*.py"))
    found = [importlib.import_module(".".join(("kind_cases", *file.parts))).CASES for file in files]
    return [cases for item in found for cases in (item if isinstance(item, list | tuple) else [item])]


TABLES = _tables()


def _each(part: str) -> list[Any]:
    return [pytest.param(cases, case, id=f"{cases}: {case.what}") for cases in TABLES for case in getattr(cases, part)]


@dataclass
class Answer:
    status: int
    obj: Obj
    warnings: list[str]


class Asking:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, method: str, url: str, body: Obj) -> Answer:
        path, _, raw_query = url.partition("?")
        lists = {key: [value] for key, _, value in (pair.partition("=") for pair in raw_query.split("&") if pair)}
        request = Request(
            method, path, {key: values[0] for key, values in lists.items()}, {"content-type": "application/json"},
            orjson.dumps(body), query_lists=lists, raw_query=raw_query,
        )  # fmt: skip
        response = await self._server.handler(request)
        assert isinstance(response.body, bytes)
        return Answer(response.status, orjson.loads(response.body), request.warnings)


@pytest.fixture
async def ask() -> AsyncIterator[Asking]:
    clock = FixedClock(NOW)
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        bootstrap=False,
        openapi=False,
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=tuple(names.ON_BY_DEFAULT),
        clock=clock,
        random=Random(1),
    )
    async with Server(config, store=MemoryStore(clock=clock)) as server:
        asking = Asking(server)
        made = await asking("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        assert made.status == 201
        yield asking


async def _prepare(ask: Asking, cases: KindCases) -> None:
    for url, obj in cases.setup:
        made = await ask("POST", url, obj)
        assert made.status == 201, made.obj


def _refusal(answer: Answer) -> tuple[list[Cause], str]:
    causes = answer.obj.get("details", {}).get("causes", [])
    return [Cause(c.get("reason", ""), c.get("field", ""), c["message"]) for c in causes], answer.obj["message"]


def _sentence(cases: KindCases, name: str, causes: list[Cause]) -> str:
    """The message of an Invalid answer: apimachinery's ``errors.NewInvalid`` over ``field.ErrorList.ToAggregate``."""
    group = cases.api_version.rpartition("/")[0] if cases.group_said is None else cases.group_said
    told = list(dict.fromkeys(f"{c.field}: {c.message}" for c in causes))
    said = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    return f'{cases.kind}{"." + group if group else ""} "{name}" is invalid: {said}'


@pytest.mark.parametrize("base", ["minimal", "full"])
@pytest.mark.parametrize("cases", TABLES, ids=str)
async def test_a_manifest_gets_exactly_its_defaults(ask: Asking, cases: KindCases, base: Any) -> None:
    await _prepare(ask, cases)
    manifest = cases.manifest(base)
    answer = await ask("POST", f"{cases.url}?fieldValidation=Strict", manifest)
    assert answer.status == 201, answer.obj
    metadata = answer.obj.pop("metadata")
    for key in _MADE:
        metadata.pop(key, None)
    wanted = {**manifest["metadata"], **cases.metadata_adds}
    wanted |= {"namespace": "default"} if cases.namespaced else {}
    wanted |= {"generation": 1} if cases.generation else {}
    assert metadata == wanted
    assert answer.obj.pop("apiVersion") == cases.api_version
    assert answer.obj.pop("kind") == cases.kind
    assert answer.obj == getattr(cases, f"{base}_stored")


@pytest.mark.parametrize("base", ["minimal", "full"])
@pytest.mark.parametrize("cases", TABLES, ids=str)
async def test_what_was_read_can_be_written_back_and_changes_nothing(ask: Asking, cases: KindCases, base: Any) -> None:
    await _prepare(ask, cases)
    made = await ask("POST", cases.url, cases.manifest(base))
    assert made.status == 201, made.obj
    again = await ask("PUT", f"{cases.url}/{made.obj['metadata']['name']}", made.obj)
    assert again.status == 200, again.obj
    assert again.obj == made.obj


@pytest.mark.parametrize(("cases", "case"), _each("invalid"))
async def test_a_manifest_is_refused_for_exactly_its_faults(ask: Asking, cases: KindCases, case: Invalid) -> None:
    await _prepare(ask, cases)
    manifest = cases.manifest(case.on, case.change)
    answer = await ask("POST", f"{cases.url}?fieldValidation=Strict", manifest)
    causes, message = _refusal(answer) if answer.status >= 400 else ([], "accepted")
    assert (answer.status, causes) == (case.code, list(case.causes)), message
    if case.message:
        assert message == case.message
    elif case.causes:
        assert message == _sentence(cases, manifest["metadata"].get("name", ""), causes)


@pytest.mark.parametrize(("cases", "case"), _each("updates"))
async def test_a_stored_object_changes_only_where_it_may(ask: Asking, cases: KindCases, case: Update) -> None:
    await _prepare(ask, cases)
    made = await ask("POST", cases.url, cases.manifest(case.on))
    assert made.status == 201, made.obj
    stored, url = made.obj, f"{cases.url}/{made.obj['metadata']['name']}"
    if case.before:
        wanted = changed(stored, case.before)
        for path in (url, f"{url}/status") if "status" in wanted else (url,):
            answer = await ask("PUT", path, {**wanted, "metadata": stored["metadata"]})
            assert answer.status == 200, answer.obj
            stored = answer.obj
    sent = changed(stored, case.change)
    answer = await ask("PUT", f"{url}/{case.through}" if case.through else url, sent)
    if case.allowed:
        assert answer.status == 200, answer.obj
        assert answer.obj["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"], "nothing changed"
        return
    causes, message = _refusal(answer) if answer.status >= 400 else ([], "accepted")
    assert (answer.status, causes) == (422, list(case.causes)), message
    assert message == _sentence(cases, stored["metadata"]["name"], causes)


@pytest.mark.parametrize(("cases", "case"), _each("rows"))
def test_a_table_shows_a_state_as_upstream_prints_it(cases: KindCases, case: Row) -> None:
    kind = registry().by_api_version(cases.api_version, cases.kind)
    assert kind is not None
    metadata = {**getattr(cases, case.on)["metadata"], "creationTimestamp": AN_HOUR_AGO}
    stored = {**getattr(cases, f"{case.on}_stored"), "metadata": metadata}
    assert list(table.cells(kind, changed(stored, case.change), NOW)) == list(case.cells)


@pytest.mark.parametrize(("cases", "case"), _each("warned"))
async def test_a_create_warns_of_what_upstream_warns_of(ask: Asking, cases: KindCases, case: Warned) -> None:
    await _prepare(ask, cases)
    answer = await ask("POST", cases.url, cases.manifest(case.on, case.change))
    assert answer.status == 201, answer.obj
    assert [text for text in answer.warnings if not text.startswith("Sampan ")] == list(case.warnings)


def test_every_stored_kind_has_its_table() -> None:
    """Those without are asked and never stored: reviews, bindings; and ComponentStatus, which nobody writes."""
    wanted = {
        (kind.api_version, kind.kind)
        for kind in registry().kinds()
        if kind.stored_as is None and not kind.former and "create" in kind.verbs and "get" in kind.verbs
    }
    unwritten = {kind.kind for kind in registry().kinds() if "create" not in kind.verbs}
    unstored = {kind.kind for kind in registry().kinds() if "get" not in kind.verbs}
    assert wanted - {(cases.api_version, cases.kind) for cases in TABLES} == set()
    assert unwritten == {"ComponentStatus"}
    assert unstored == {
        "Binding", "LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectReview", "SelfSubjectRulesReview",
        "SubjectAccessReview", "TokenReview",
    }  # fmt: skip


@pytest.mark.parametrize("cases", TABLES, ids=str)
def test_a_table_tells_enough(cases: KindCases) -> None:
    """Eight invalid manifests, three of them for two fields that do not go together, updates and rows: or why not."""
    together = sum(case.together for case in cases.invalid)
    assert cases.few_rules or (len(cases.invalid) >= 8 and together >= 3), f"{len(cases.invalid)}, {together} together"
    assert cases.invalid
    assert cases.rows
    assert cases.updates
