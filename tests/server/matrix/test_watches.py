"""Every watch that can be asked for, compared with a simple model: where it begins, what it selects, in every form."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.protobuf.numbers import META, message_of
from sampan.server import frames

pytestmark = pytest.mark.every_store


def _helper(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"watches_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


model = _helper(Path(__file__).with_name("model.py"))
google = _helper(Path(__file__).parents[2] / "protobuf/google_reader.py")
PROTOBUF = "application/vnd.kubernetes.protobuf"
PARTIAL = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
FORMS = {
    "json": "application/json",
    "json stream": "application/json;stream=watch",
    "protobuf": PROTOBUF,
    "protobuf stream": f"{PROTOBUF};stream=watch",
    "table": "application/json;as=Table;g=meta.k8s.io;v=v1",
    "old table": "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
    "metadata": f"application/json;{PARTIAL}",
    "metadata in protobuf": f"{PROTOBUF};{PARTIAL}",
}
STREAMED = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"


@pytest.fixture
async def history(api: Any, request: pytest.FixtureRequest) -> Any:
    made = model.History(api, random.Random(f"watches {request.node.name}"))
    await made.begin()
    await made.run(20)
    return made


class Reading:
    """A watch that is read to where ``expect`` says."""

    def __init__(self, api: Any, url: str, form: str = "json") -> None:
        self._events: list[Any] = []
        self._grown = asyncio.Event()
        self._form, self._protobuf = form, "protobuf" in form
        self._task = asyncio.ensure_future(self._read(api, url))

    async def _read(self, api: Any, url: str) -> None:
        async with aclosing(api.stream(url, accept=FORMS[self._form])) as chunks:
            async for chunk in chunks:
                self._events += self._decoded(chunk)
                self._grown.set()

    def _decoded(self, chunk: bytes) -> list[Any]:
        if not self._protobuf:
            return [orjson.loads(line) for line in chunk.splitlines()]
        found = google.read_events(chunk, lambda version, kind: message_of(version, kind) or META + kind)
        return [{"type": event_type, "object": obj} for event_type, obj in found]

    @property
    def seen(self) -> list[Any]:
        return self._events

    async def expect(self, count: int) -> list[Any]:
        """All events, of which there are so many at least."""
        async with asyncio.timeout(20):
            while len(self._events) < count:
                self._grown.clear()
                await self._grown.wait()
        return self._events

    async def ended(self) -> list[Any]:
        async with asyncio.timeout(20):
            await self._task
        return self._events

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def objects(form: str, events: list[Any]) -> list[Any]:
    """The same events with the objects that their forms show; checks what is true of the form."""
    if "table" not in form:
        kind = "PartialObjectMetadata" if "metadata" in form else "ConfigMap"
        assert {event["object"]["kind"] for event in events} <= {kind}
        return events
    version = "meta.k8s.io/v1beta1" if form == "old table" else "meta.k8s.io/v1"
    assert {(event["object"]["kind"], event["object"]["apiVersion"]) for event in events} <= {("Table", version)}
    columns = [[column["name"] for column in event["object"]["columnDefinitions"] or ()] for event in events]
    assert columns[:1] == [["Name", "Data", "Age"]][: len(events)]
    assert not any(columns[1:])
    found = []
    for event in events:
        (row,) = event["object"]["rows"]
        assert row["cells"][0] == row["object"]["metadata"]["name"]
        assert event["object"]["metadata"]["resourceVersion"] == row["object"]["metadata"]["resourceVersion"]
        found.append({"type": event["type"], "object": row["object"]})
    return found


@pytest.mark.parametrize("form", FORMS)
async def test_what_came_after_a_revision_and_what_comes_is_sent_once_and_in_order(
    api: Any, history: Any, form: str
) -> None:
    """[sig-api-machinery] Watchers should receive events on concurrent watches in same order [Conformance]"""
    starts = sorted(history.states)[::6]
    questions = model.QUESTIONS if form == "json" else model.QUESTIONS[:3]
    readings = [
        (question, start, Reading(api, f"{question.path}?watch=1&{question.selector}&resourceVersion={start}", form))
        for question in questions
        for start in starts
    ]
    await history.run(8)
    for question, start, reading in readings:
        wanted = model.watched([each for each in history.changes if each.revision > start], question)
        events = objects(form, await reading.expect(len(wanted)))
        assert [model.event_of(event) for event in events] == wanted, (question, start)
        await reading.close()


@pytest.mark.parametrize("begin", ["", "resourceVersion=0", STREAMED, f"{STREAMED}&resourceVersion=0", "at the newest"])
@pytest.mark.parametrize("bookmarks", [False, True])
async def test_what_is_there_comes_first_then_its_bookmark_then_what_happens(
    api: Any, history: Any, begin: str, bookmarks: bool
) -> None:
    """[sig-api-machinery] Watchers should be able to start watching from a specific resource version [Conformance]"""
    if begin == "at the newest":
        begin = f"{STREAMED}&resourceVersion={history.newest}"
    present, revision, count = history.at(history.newest), history.newest, len(history.changes)
    readings = []
    for question in model.QUESTIONS:
        url = f"{question.path}?watch=1&{question.selector}&{begin}&allowWatchBookmarks={str(bookmarks).lower()}"
        reading = Reading(api, url)
        there = model.listed(present, question)
        readings.append((question, there, reading))
        await reading.expect(len(there) + bookmarks)
    await history.run(6)
    for question, there, reading in readings:
        later = model.watched(history.changes[count:], question)
        events = await reading.expect(len(there) + bookmarks + len(later))
        first, mark, rest = events[: len(there)], events[len(there) :][:bookmarks], events[len(there) + bookmarks :]
        wanted = [
            ("ADDED", o["metadata"]["namespace"], o["metadata"]["name"], int(o["metadata"]["resourceVersion"]))
            for o in there
        ]
        assert sorted(map(model.event_of, first)) == sorted(wanted), question
        assert [model.event_of(event) for event in rest] == later, question
        for event in mark:
            metadata = {
                "resourceVersion": str(revision), "creationTimestamp": None,
                "annotations": {"k8s.io/initial-events-end": "true"},
            }  # fmt: skip
            assert event["type"] == "BOOKMARK"
            assert event["object"] == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}
        await reading.close()


async def test_a_watch_without_initial_events_begins_with_what_happens_next(api: Any, history: Any) -> None:
    url = "/api/v1/configmaps?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    reading = Reading(api, url + "&allowWatchBookmarks=true")
    count = len(history.changes)
    async with asyncio.timeout(20):
        while not reading.seen:  # it begins once the server has asked the store how far it is
            await history.run(1)
            await turns()
    await history.run(5)
    since = model.watched(history.changes[count:], model.QUESTIONS[len(model.SELECTORS)])
    wanted = since[since.index(model.event_of(reading.seen[0])) :]
    assert [model.event_of(event) for event in await reading.expect(len(wanted))] == wanted
    await reading.close()


async def turns() -> None:
    """Until a watch that was just asked for has caught up."""
    for _ in range(300):
        await asyncio.sleep(0)


@pytest.mark.parametrize("form", ["json", "protobuf", "metadata", "metadata in protobuf"])
async def test_the_bookmark_at_the_end_of_what_is_there_has_the_form_of_the_watch(
    api: Any, history: Any, form: str
) -> None:
    reading = Reading(api, f"/api/v1/configmaps?watch=1&{STREAMED}&allowWatchBookmarks=true", form)
    events = await reading.expect(len(history.at(history.newest)) + 1)
    metadata = events[-1]["object"]["metadata"]
    assert events[-1]["type"] == "BOOKMARK"
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(metadata["resourceVersion"]) == history.newest
    objects(form, events)
    await reading.close()


@pytest.mark.parametrize(
    ("include", "row"),
    [
        ("None", {"cells"}),
        ("Metadata", {"cells", "object"}),
        ("Object", {"cells", "object"}),
        ("", {"cells", "object"}),
    ],
)
async def test_a_table_carries_as_much_of_the_objects_as_was_asked_for(
    api: Any, history: Any, include: str, row: set[str]
) -> None:
    kind = "ConfigMap" if include == "Object" else "PartialObjectMetadata"
    count = len(history.at(history.newest))
    reading = Reading(api, f"/api/v1/configmaps?watch=1&includeObject={include}", "table")
    for event in (await reading.expect(count))[:count]:
        (shown,) = event["object"]["rows"]
        assert shown.keys() == row
        assert include == "None" or shown["object"]["kind"] == kind
        assert ("data" in shown.get("object", {})) == (include == "Object")
    await reading.close()


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("/api/v1/watch/configmaps", "/api/v1/configmaps?"),
        ("/api/v1/watch/namespaces/other/configmaps", "/api/v1/namespaces/other/configmaps?"),
        (
            "/api/v1/watch/namespaces/other/configmaps/b",
            "/api/v1/namespaces/other/configmaps?fieldSelector=metadata.name%3Db",
        ),
    ],
)
async def test_the_old_paths_of_watches_are_other_names_of_the_new(
    api: Any, history: Any, path: str, question: str
) -> None:
    start = min(history.states)
    old = Reading(api, f"{path}?resourceVersion={start}")
    new = Reading(api, f"{question}&watch=1&resourceVersion={start}")
    namespace = "other" if "other" in path else ""
    one = model.SELECTORS[4] if path.endswith("/b") else model.SELECTORS[0]
    wanted = model.watched(history.changes, model.Question(namespace, *one))
    seen = [model.event_of(event) for event in await old.expect(len(wanted))]
    assert seen == wanted
    assert [model.event_of(event) for event in await new.expect(len(wanted))] == seen
    await old.close()
    await new.close()


@pytest.mark.parametrize("form", ["json", "protobuf", "table", "metadata"])
async def test_a_forgotten_revision_is_one_error_event_and_the_end(api: Any, history: Any, form: str) -> None:
    await model.forget(api, history.newest)
    start = sorted(history.states)[2]
    (event,) = await Reading(api, f"/api/v1/configmaps?watch=1&resourceVersion={start}", form).ended()
    status = event["object"]
    assert (event["type"], status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("resourceVersion=abc", 400, 'invalid resource version "abc"'),
        ("resourceVersion=-1", 400, 'invalid resource version "-1"'),
        (
            "sendInitialEvents=true",
            422,
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "sendInitialEvents=false&resourceVersionMatch=Exact",
            422,
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
            'NotOlderThan, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]',
        ),
        (
            "resourceVersion=5&resourceVersionMatch=NotOlderThan",
            422,
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            "provided",
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Exact",
            422,
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            'provided, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]',
        ),
        (
            f"{STREAMED}&continue=x",
            422,
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        ("labelSelector=a+b", 400, None),
        ("fieldSelector=data%3Dx", 400, "field label not supported: data"),
        ("includeObject=All", 400, 'unrecognized includeObject value "All"'),
    ],
)
async def test_a_watch_that_means_nothing_is_refused_before_it_begins(
    api: Any, query: str, status: int, said: str | None
) -> None:
    answer = await api("GET", f"/api/v1/configmaps?watch=1&{query}")
    assert answer.status == status
    prefix = 'ListOptions.meta.k8s.io "" is invalid: ' if status == 422 else ""
    assert said is None or answer.message == prefix + said


async def test_a_watch_from_a_revision_to_come_sends_what_comes_after_it(api: Any, history: Any) -> None:
    start = history.newest + 3
    reading = Reading(api, f"/api/v1/configmaps?watch=1&resourceVersion={start}")
    await turns()
    await history.run(8)
    changes = [each for each in history.changes if each.revision > start]
    wanted = model.watched(changes, model.QUESTIONS[len(model.SELECTORS)])
    assert [model.event_of(event) for event in await reading.expect(len(wanted))] == wanted
    await reading.close()


async def test_a_streamed_list_of_a_revision_that_does_not_come_ends_in_an_error_event(
    api: Any, history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.rest.get.FUTURE_WAIT_SECONDS", 0.01)
    url = f"/api/v1/configmaps?watch=1&{STREAMED}&resourceVersion={history.newest + 1000}"
    (event,) = await Reading(api, url).ended()
    status = event["object"]
    assert (event["type"], status["code"], status["reason"]) == ("ERROR", 504, "Timeout")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize("form", ["protobuf", "table", "metadata"])
async def test_what_a_watch_begins_with_is_encoded_aside_of_the_loop(
    api: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await api("POST", "/api/v1/namespaces/default/configmaps", {**config_map(number), "data": {"k": "v" * 2000}})
    encoded: list[bool] = []
    line = frames.Encoder.line

    def noted(self: frames.Encoder, event: Any) -> bytes:
        encoded.append(threading.current_thread() is threading.main_thread())
        return line(self, event)

    monkeypatch.setattr(frames.Encoder, "line", noted)
    async with aclosing(api.stream("/api/v1/configmaps?watch=1", accept=FORMS[form])) as chunks:
        async with asyncio.timeout(20):
            await anext(chunks)
            assert encoded == [False] * 20
            await api("POST", "/api/v1/namespaces/default/configmaps", config_map(20))
            await anext(chunks)
    assert encoded[20:] == [True]


def config_map(number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"c{number}"}}
