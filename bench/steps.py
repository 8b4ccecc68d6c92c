"""What a request costs in Python's instructions and calls of C functions: the same however busy the machine is.

    python bench/steps.py [--pods 3000]
    PYTHONPATH=<another tree>/src python bench/steps.py       the same of another tree, to compare

API server in memory, asked inside its process by an administrator, so the transport (TLS, HTTP) is not in it. Each
figure is the median of some requests after others like it. What C functions take (joining bytes, encoding JSON) is
a call here, however long; ``bench/api.py`` measures time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from hollow import pod

from sampan.api.resources import CONFIG_MAPS, PODS, Resource
from sampan.server.lists import ListMemo
from sampan.server.request import Request, UserInfo
from sampan.testing.api import api_server

WARM = 5
COUNTED = 9
LABELLED = 1500


class Steps:
    """Counts what runs in this thread between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self.instructions = self.calls = 0

    def begin(self) -> None:
        self.instructions = self.calls = 0
        sys.setprofile(self._profile)
        sys.settrace(self._trace)

    def end(self) -> tuple[int, int]:
        sys.settrace(None)
        sys.setprofile(None)
        return self.instructions, self.calls

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.instructions += 1
        else:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        self.calls += event == "c_call"


async def count(work: Callable[[int], Awaitable[Any]], before: Callable[[int], Awaitable[Any]] | None = None) -> str:
    steps, found = Steps(), []
    for number in range(WARM + COUNTED):
        if before is not None:
            await before(number)

        async def counted(number: int = number) -> tuple[int, int]:
            steps.begin()
            try:
                await work(number)
            finally:
                result = steps.end()
            return result

        # in a task of its own: frames that run already are not traced
        found.append(await asyncio.create_task(counted()))
    instructions, calls = (statistics.median(each[side] for each in found[WARM:]) for side in (0, 1))
    return f"{instructions:9,.0f} instructions {calls:7,.0f} calls"


def config_map(name: str, label: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "labels": {"app": label}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"key": "value"}}


async def measure(pods: int) -> None:
    async with api_server() as api:
        client, server = api.client, api.server
        user = UserInfo("admin", ("system:masters", "system:authenticated"))
        memo = ListMemo()

        async def listed(path: str, query: dict[str, str] | None = None) -> bytes:
            """As HTTP answers it."""
            request = Request(
                method="GET", raw_path=path, query=query or {}, headers={"accept": "application/json"},
                in_process=True, query_lists={key: [value] for key, value in (query or {}).items()}, raw_query="",
                user=user,
            )  # fmt: skip
            found = await server._pipeline.handle_in_process(request)
            return await memo.body(found.view, found.page, print)

        def patch(resource: Resource, name: str) -> Callable[[int], Awaitable[Any]]:
            def change(number: int) -> Awaitable[Any]:
                body = {"metadata": {"annotations": {"turn": f"{number}"}}}
                return client.patch(resource, name.format(number), body, "default")

            return change

        for number in range(pods):
            await client.create(PODS, pod(f"p{number}"))
        for number in range(2 * LABELLED):
            await client.create(CONFIG_MAPS, config_map(f"l{number}", ("listed", "other")[number % 2]))
        of_pods, of_maps = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/configmaps"
        chosen = {"labelSelector": "app=listed"}
        rows: list[tuple[str, Callable[[int], Awaitable[Any]], Callable[[int], Awaitable[Any]] | None]] = [
            ("GET a ConfigMap", lambda number: client.get(CONFIG_MAPS, "l1", "default"), None),
            ("create a ConfigMap", lambda number: client.create(CONFIG_MAPS, config_map(f"c{number}", "c")), None),
            ("merge patch a ConfigMap", patch(CONFIG_MAPS, "c{}"), None),
            ("delete a ConfigMap", lambda number: client.delete(CONFIG_MAPS, f"c{number}", "default"), None),
            ("create a Pod", lambda number: client.create(PODS, pod(f"c{number}")), None),
            (f"LIST {pods:,} pods", lambda number: listed(of_pods), None),
            ("... after each change", lambda number: listed(of_pods), patch(PODS, "p{}")),
            (f"LIST by label: {LABELLED:,} ConfigMaps", lambda number: listed(of_maps, chosen), None),
            ("... after each change", lambda number: listed(of_maps, chosen), patch(CONFIG_MAPS, "l{}")),
        ]
        for what, work, before in rows:
            print(f"{what:<40}{await count(work, before)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=3000)
    asyncio.run(measure(parser.parse_args().pods))


if __name__ == "__main__":
    main()
