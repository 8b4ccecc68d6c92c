"""A change of a webhook's configuration holds for every write that comes after it, whatever becomes of the write that
compiles it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.registry import registry
from sampan.server.admission.webhooks import VALIDATING, configurations
from sampan.server.admission.webhooks.configurations import Webhooks
from sampan.server.admission.webhooks.hooks import Hook

KIND = registry().by_resource("", "v1", "configmaps")


class Reader:
    """Nothing but the changes that a test makes."""

    def subscribe(self, _: object, changed: Callable[..., None], *, keep: bool) -> Callable[[], None]:
        self.changed = changed
        return lambda: None

    def list(self, _: object) -> list[Any]:
        return []


def configuration(name: str, conditions: int = 1) -> dict[str, Any]:
    hook = {
        "name": "h.example.com",
        "clientConfig": {"url": "https://h.example.com"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        "matchConditions": [{"name": f"c{number}", "expression": "true"} for number in range(conditions)],
    }
    return {"metadata": {"name": name}, "webhooks": [hook]}


class Slowly:
    """``paced`` whose work ends when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(configurations, "paced", self._paced)

    async def _paced(self, _: bool, work: Callable[..., Any], *args: Any) -> Any:
        self.begun.set()
        await self.may_end.wait()
        return work(*args)


async def concerning(webhooks: Webhooks) -> tuple[Hook, ...]:
    assert KIND is not None
    return await webhooks.concerning(KIND, registry())


@pytest.fixture
async def reader() -> Reader:
    return Reader()


@pytest.fixture
async def webhooks(reader: Any) -> Webhooks:
    made = Webhooks(reader, VALIDATING, "validating")
    assert await concerning(made) == ()
    assert made.none
    return made


async def test_a_write_waits_for_what_another_compiles(
    webhooks: Webhooks, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly = Slowly(monkeypatch)
    reader.changed("ADDED", configuration("a"), None, 1)
    first = asyncio.create_task(concerning(webhooks))
    await slowly.begun.wait()
    assert not webhooks.none
    second = asyncio.create_task(concerning(webhooks))
    await asyncio.sleep(0)
    slowly.may_end.set()
    assert [len(await each) for each in (first, second)] == [1, 1]


async def test_a_write_that_is_given_up_takes_no_webhook_with_it(
    webhooks: Webhooks, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly = Slowly(monkeypatch)
    reader.changed("ADDED", configuration("a"), None, 1)
    first = asyncio.create_task(concerning(webhooks))
    await slowly.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    slowly.may_end.set()
    assert not webhooks.none
    assert len(await concerning(webhooks)) == 1


async def test_what_changes_while_it_is_compiled_is_compiled_again(
    webhooks: Webhooks, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly = Slowly(monkeypatch)
    reader.changed("ADDED", configuration("a"), None, 1)
    first = asyncio.create_task(concerning(webhooks))
    await slowly.begun.wait()
    reader.changed("MODIFIED", configuration("a", 2), None, 2)
    slowly.may_end.set()
    assert [len(hook.conditions) for hook in await first] == [2]
