"""Every list that can be asked for, compared with a simple model: versions, match, limit, continue, selectors."""

from __future__ import annotations

import importlib.util
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api import protobuf

pytestmark = pytest.mark.every_store


def _model() -> Any:
    import sys

    path = Path(__file__).with_name("model.py")
    spec = importlib.util.spec_from_file_location("lists_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lists_model"] = module
    spec.loader.exec_module(module)
    return module


model = _model()
PARTIAL = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FORMS = {
    "json": "application/json",
    "yaml": "application/yaml",
    "protobuf": "application/vnd.kubernetes.protobuf",
    "table": "application/json;as=Table;g=meta.k8s.io;v=v1",
    "old table": "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
    "metadata": f"application/json;{PARTIAL}",
    "metadata in protobuf": f"application/vnd.kubernetes.protobuf;{PARTIAL}",
}
VERSIONS = ("", "0", "exact", "newest", "forgotten")
MATCHES = ("", "Exact", "NotOlderThan", "Bogus")


@pytest.fixture
async def history(api: Any, request: pytest.FixtureRequest) -> Any:
    made = model.History(api, random.Random(f"lists {request.node.name}"))
    await made.begin()
    await made.run(12)
    made.forgotten = made.newest
    await made.run(6)
    made.exact = made.newest
    await made.run(6)
    await model.forget(api, made.exact)
    return made


def shown(form: str, answer: Any) -> tuple[list[tuple[str, str, str]], Any]:
    """(namespace, name, resourceVersion) of the items, and the list's metadata."""
    obj = answer.obj
    if form == "yaml":
        obj = yaml.load(obj, Loader=yaml.CSafeLoader)
    kind, version = obj["kind"], obj["apiVersion"]
    if "table" in form:
        assert (kind, version) == ("Table", "meta.k8s.io/v1beta1" if form == "old table" else "meta.k8s.io/v1")
        assert [row["cells"][0] for row in obj["rows"]] == [row["object"]["metadata"]["name"] for row in obj["rows"]]
        assert {row["object"]["apiVersion"] for row in obj["rows"]} <= {version}
        items = [row["object"] for row in obj["rows"]]
    else:
        assert kind == ("PartialObjectMetadataList" if "metadata" in form else "ConfigMapList")
        items = obj.get("items") or []
        assert "metadata" in form or all("data" in item for item in items)
    found = [(i["metadata"]["namespace"], i["metadata"]["name"], i["metadata"]["resourceVersion"]) for i in items]
    return found, obj["metadata"]


def wanted(objects: list[Any]) -> list[tuple[str, str, str]]:
    return [(o["metadata"]["namespace"], o["metadata"]["name"], o["metadata"]["resourceVersion"]) for o in objects]


def faults(version: str, match: str) -> list[str]:
    """What upstream's validation says of a list's resourceVersionMatch."""
    found = []
    if match:
        if not version:
            found.append("Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
        if match == "Bogus":
            found.append('Unsupported value: "Bogus": supported values: "Exact", "NotOlderThan", ""')
        if match == "Exact" and version == "0":
            found.append('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    return found


@pytest.mark.parametrize("form", FORMS)
async def test_every_combination_answers_as_the_model_says(api: Any, history: Any, form: str) -> None:
    numbers = {"": "", "0": "0", **{name: str(getattr(history, name)) for name in ("exact", "newest", "forgotten")}}
    questions = model.QUESTIONS if form == "json" else model.QUESTIONS[:4]
    for question, version, match, limit in product(questions, VERSIONS, MATCHES, (0, 2)):
        query = f"{question.selector}&resourceVersion={numbers[version]}&resourceVersionMatch={match}&limit={limit}"
        answer = await api("GET", f"{question.path}?{query}", accept=FORMS[form])
        at = (query, answer.obj)
        if faults(version, match):
            if isinstance(answer.obj, str):
                answer.obj = yaml.load(answer.obj, Loader=yaml.CSafeLoader)
            causes = answer.obj["details"]["causes"]
            assert (answer.status, [cause["message"] for cause in causes]) == (422, faults(version, match)), at
            continue
        exactly = match == "Exact" or (not match and limit and version not in ("", "0"))
        if exactly and version == "forgotten":
            assert answer.status == 410, at
            continue
        assert answer.status == 200, at
        revision = history.exact if exactly and version == "exact" else history.newest
        objects = model.listed(history.at(revision), question)
        items, metadata = shown(form, answer)
        assert int(metadata["resourceVersion"]) == revision, at
        cut = limit if limit and (version != "0" or exactly) else len(objects)
        assert items == wanted(objects[:cut]), at
        assert bool(metadata.get("continue")) == (cut < len(objects)), at
        counted = cut < len(objects) and not question.selector
        assert metadata.get("remainingItemCount") == (len(objects) - cut if counted else None), at


@pytest.mark.parametrize("changes", [0, 1, 2, 3])
async def test_the_pages_of_a_list_are_of_one_moment_whatever_changes_between_them(
    api: Any, history: Any, changes: int
) -> None:
    rng = random.Random(changes)
    for question in model.QUESTIONS:
        limit = rng.choice((1, 2, 3))
        begun = rng.choice(("", f"&resourceVersion={history.newest}&resourceVersionMatch=Exact"))
        answer = await api("GET", f"{question.path}?{question.selector}&limit={limit}{begun}")
        revision = int(answer.obj["metadata"]["resourceVersion"])
        assert revision == history.newest
        objects = model.listed(history.at(revision), question)
        found = answer.obj["items"]
        while token := answer.obj["metadata"].get("continue"):
            await history.run(rng.randint(min(changes, 1), changes))
            limit = rng.choice((1, 2, 3, 0))
            more = f"&limit={limit}" if limit else ""
            answer = await api("GET", f"{question.path}?{question.selector}{more}&continue={token}")
            assert answer.status == 200, answer.obj
            assert int(answer.obj["metadata"]["resourceVersion"]) == revision
            found += answer.obj["items"]
            left = len(objects) - len(found)
            assert answer.obj["metadata"].get("remainingItemCount") == (
                left if left and not question.selector else None
            )
        assert wanted(found) == wanted(objects), question


async def test_an_expired_token_is_410_and_offers_one_that_reads_the_rest_as_it_is_now(api: Any, history: Any) -> None:
    first = await api("GET", "/api/v1/configmaps?limit=2")
    shown_last = first.obj["items"][-1]["metadata"]
    await history.run(9)
    await model.forget(api, history.newest)
    expired = await api("GET", f"/api/v1/configmaps?limit=2&continue={first.obj['metadata']['continue']}")
    assert (expired.status, expired.reason, expired.obj["code"]) == (410, "Expired", 410)
    assert expired.message.startswith("The provided continue parameter is too old to display a consistent list result.")
    token = expired.obj["metadata"]["continue"]
    rest = await api("GET", f"/api/v1/configmaps?continue={token}")
    state = history.at(history.newest)
    after = {key: obj for key, obj in state.items() if key > (shown_last["namespace"], shown_last["name"])}
    assert wanted(rest.obj["items"]) == wanted(model.listed(after, model.QUESTIONS[len(model.SELECTORS)]))
    assert int(rest.obj["metadata"]["resourceVersion"]) == history.newest


#: a start that is half a surrogate pair
HALF_A_PAIR = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJcdWQ4MDAifQ"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("a!b", "continue key is not valid: illegal base64 data at input byte 1"),
        ("AAAAA", "continue key is not valid: illegal base64 data at input byte 4"),
        ("YQ", "continue key is not valid: invalid character 'a' looking for beginning of value"),
        ("e30", "continue key is not valid: server does not recognize this encoded version "),
        ((0, "a"), "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        ((5, ""), "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"),
        ((5, "../secrets/"), "continue key is not valid: ../secrets/"),
        ((5, "a/"), "continue key is not valid: a/"),
        ((5, "a//b"), "continue key is not valid: a//b"),
        (HALF_A_PAIR, "continue key is not valid: it is no token that this server made"),
        ("W" * 10_000, "continue key is not valid: it is no token that this server made"),
    ],
)
async def test_a_token_that_nobody_gave_is_refused(api: Any, token: Any, said: str) -> None:
    text = token if isinstance(token, str) else model.token_of(*token)
    answer = await api("GET", f"/api/v1/configmaps?continue={text}")
    assert (answer.status, answer.reason, answer.message) == (400, "BadRequest", f"invalid continue token: {said}")


async def test_a_token_goes_with_neither_a_version_nor_a_match(api: Any) -> None:
    token = model.token_of(1, "a")
    answer = await api("GET", f"/api/v1/configmaps?continue={token}&resourceVersion=5")
    said = "specifying resource version is not allowed when using continue"
    assert (answer.status, answer.message) == (400, said)
    query = f"continue={token}&resourceVersion=5&resourceVersionMatch=NotOlderThan&sendInitialEvents=false"
    answer = await api("GET", f"/api/v1/configmaps?{query}")
    assert [cause["message"] for cause in answer.obj["details"]["causes"]] == [
        "Forbidden: resourceVersionMatch is forbidden when continue is provided",
        "Forbidden: sendInitialEvents is forbidden for list",
    ]


@pytest.mark.parametrize("query", ["resourceVersion={}", "resourceVersion={}&resourceVersionMatch=Exact"])
async def test_a_version_that_has_not_happened_is_504(
    api: Any, history: Any, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.rest.get.FUTURE_WAIT_SECONDS", 0.01)
    answer = await api("GET", "/api/v1/configmaps?" + query.format(history.newest + 1000))
    assert (answer.status, answer.reason, answer.causes) == (504, "Timeout", [("ResourceVersionTooLarge", "")])
    assert answer.message.startswith(f"Timeout: Too large resource version: {history.newest + 1000}, current: ")


async def test_a_continued_protobuf_list_says_what_a_json_one_says(api: Any, history: Any) -> None:
    accept = protobuf.CONTENT_TYPE
    first = await api("GET", "/api/v1/configmaps?limit=1", accept=accept)
    assert first.obj["metadata"] == (await api("GET", "/api/v1/configmaps?limit=1")).obj["metadata"]
