"""Everything here lives in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sampan.testing.virtual import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
