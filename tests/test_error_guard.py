"""A line at error level fails the test that did not ask for it: here is seen what the guard in conftest.py sees."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest


def guard() -> Any:
    return next(handler for handler in logging.getLogger().handlers if type(handler).__name__ == "ErrorRecords")


def test_an_error_is_found_unless_its_text_is_expected() -> None:
    logging.getLogger("somebody").error("something %s", "broke")
    logging.getLogger("somebody").warning("no fault")
    assert guard().unexpected([]) == ["somebody: something broke"]
    assert guard().unexpected(["something broke"]) == []
    guard().records.clear()


async def test_the_exception_of_a_forgotten_task_is_found() -> None:
    async def fails() -> None:
        raise RuntimeError("forgotten")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    del task
    gc.collect()
    (found,) = guard().unexpected([])
    assert found.startswith("asyncio: Task exception was never retrieved")
    guard().records.clear()


@pytest.mark.logs_errors("asked for")
def test_one_that_was_asked_for_fails_nothing() -> None:
    logging.getLogger("somebody").error("this was asked for")
