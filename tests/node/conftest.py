"""Fixtures of all tests of the node: the real API server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sampan.testing.api import Api, api_server


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with api_server() as made:
        yield made
