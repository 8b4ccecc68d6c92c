"""A server in memory, whole but for authorization."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random

import pytest
from fuzz_asking import Ask

from sampan.api import schema
from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.registry import registry
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

# Loaded here, not by whichever test comes first: its two seconds are for itself.
registry()
schema.load()


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    clock = FixedClock(NOW)
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        bootstrap=False,
        openapi=False,
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount", "Priority"),  # they want objects that are not there
        clock=clock,
        random=Random(1),
    )
    async with Server(config, store=MemoryStore(clock=clock)) as server:
        asking = Ask(server)
        assert (await asking("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})).status == 201
        yield asking
