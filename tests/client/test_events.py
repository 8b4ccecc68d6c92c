"""Events: correlation, limits, and what becomes of those that cannot be written."""

from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import EVENTS
from sampan.client import events
from sampan.client.client import Client
from sampan.client.events import EventRecorder

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "default", "uid": "u"}}


@pytest.fixture
def clock():
    return FixedClock(NOW)


@pytest.fixture
def recorder(client, clock):
    return EventRecorder(client, "kubelet", "n1", clock)


async def test_event_refers_to_its_object(api, recorder):
    recorder.event(POD, "Normal", "Started", "Started container c", field_path="spec.containers{c}")
    await recorder.flush()
    (event,) = api.all(EVENTS)
    assert event["involvedObject"] == {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": "default",
        "name": "p",
        "uid": "u",
        "fieldPath": "spec.containers{c}",
    }
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert event["metadata"]["name"].startswith("p.")


async def test_repeats_raise_the_count(api, recorder, clock):
    for seconds in range(3):
        clock.set(NOW + timedelta(seconds=seconds))
        recorder.event(POD, "Warning", "BackOff", "again")
    await recorder.flush()
    (event,) = api.all(EVENTS)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:00:02Z"


async def test_expired_event_is_made_anew(api, recorder):
    recorder.event(POD, "Warning", "BackOff", "again")
    await recorder.flush()
    api.remove(EVENTS, "default", api.all(EVENTS)[0]["metadata"]["name"])
    recorder.event(POD, "Warning", "BackOff", "again")
    await recorder.flush()
    assert [event["count"] for event in api.all(EVENTS)] == [1]


async def test_flood_about_one_object_is_cut_and_refills(api, recorder, clock):
    for _ in range(100):
        recorder.event(POD, "Normal", "Flood", "same")
    await recorder.flush()
    assert api.all(EVENTS)[0]["count"] == 25
    clock.set(NOW + timedelta(seconds=600))
    recorder.event(POD, "Normal", "Flood", "same")
    await recorder.flush()
    assert api.all(EVENTS)[0]["count"] == 26


async def test_many_similar_events_are_combined(api, recorder):
    for number in range(15):
        recorder.event(POD, "Normal", "Probe", f"failed {number}")
    await recorder.flush()
    messages = [event["message"] for event in api.all(EVENTS)]
    assert len(messages) == 11
    assert "(combined from similar events): failed 14" in messages


async def test_lost_event_disturbs_nobody(api, recorder):
    api.fail_next = [("POST", "events", ServiceUnavailable("down"))]
    recorder.event(POD, "Normal", "Lost", "x")
    recorder.event(POD, "Normal", "Kept", "x")
    await recorder.flush()
    assert [event["reason"] for event in api.all(EVENTS)] == ["Kept"]


@pytest.mark.logs_errors("not written")
async def test_an_event_that_cannot_be_written_for_a_bug_costs_only_itself(api, recorder, monkeypatch, caplog):
    create, failed = Client.create, []

    async def fails_once(self, *arguments, **options):
        if not failed:
            failed.append(1)
            raise RuntimeError("a bug")
        return await create(self, *arguments, **options)

    monkeypatch.setattr(Client, "create", fails_once)
    about = POD
    recorder.event(about, "Normal", "First", "lost")
    recorder.event(about, "Normal", "Second", "written")
    await recorder.flush()
    assert [event["reason"] for event in api.all(EVENTS)] == ["Second"]


def test_what_recorders_share_is_bounded(recorder, clock):
    for number in range(2 * events._MESSAGES_KEPT):
        recorder.event({**POD, "metadata": {"name": f"p{number}"}}, "Normal", "Started", f"Started container {number}")
        assert len(events._messages) <= events._MESSAGES_KEPT
