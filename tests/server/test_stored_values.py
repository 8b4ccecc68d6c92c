"""What a stored value takes in memory."""

from __future__ import annotations

import tracemalloc

from sampan.api.resources import CONFIG_MAPS
from sampan.testing.api import api_server

NUMBER = 50
LONG = 3000


async def test_a_stored_value_takes_no_more_memory_than_its_bytes() -> None:
    """orjson's own bytes hold on to the 8 KiB that they were written to."""
    async with api_server() as api:

        def config_map(name: str, text: str) -> dict[str, object]:
            meta = {"name": name, "namespace": "default"}
            return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"a": text}}

        async def grown(text: str, prefix: str) -> float:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(NUMBER):
                await api.client.create(CONFIG_MAPS, config_map(f"{prefix}{number}", text))
            return (tracemalloc.get_traced_memory()[0] - before) / NUMBER

        await grown("", "warm")
        tracemalloc.start()
        try:
            short, long = await grown("x", "short"), await grown("x" * LONG, "long")
        finally:
            tracemalloc.stop()
    # The long ones differ by their text alone; with a buffer of 8 KiB each, both would take the same.
    assert LONG * 0.6 < long - short < LONG * 2
    assert short < 6000
