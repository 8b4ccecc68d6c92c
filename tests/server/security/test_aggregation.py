"""Aggregated ClusterRoles follow the roles they select, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.errors import ApiError, Conflict, ServiceUnavailable
from sampan.api.resources import CLUSTER_ROLES
from sampan.api.transport import Call
from sampan.server.authz.aggregation import AggregationController, plan_aggregation
from sampan.server.authz.policy.notation import role


class Writer:
    """A transport that fails first, and puts what it is given into the reader after that."""

    def __init__(self, reader: Any, *failures: ApiError) -> None:
        self.reader, self.failures = reader, list(failures)
        self.written = asyncio.Event()

    async def call(self, call: Call) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        self.reader.put(CLUSTER_ROLES, call.body)
        self.written.set()


def fill(reader: Any) -> None:
    reader.put(CLUSTER_ROLES, role("a", "get | core | pods", labels={"agg": "true"}))
    reader.put(CLUSTER_ROLES, role("total", "", aggregate=["agg"]))


@pytest.mark.parametrize("failures", [[], [ServiceUnavailable("no")] * 5, [Conflict("x"), ServiceUnavailable("no")]])
async def test_a_failed_write_is_tried_again_and_ends_nothing(reader: Any, failures: list[ApiError]) -> None:
    fill(reader)
    writer = Writer(reader, *failures)
    controller = AggregationController(reader, writer, first_wait_seconds=0)  # type: ignore[arg-type]  # calls only
    running = asyncio.create_task(controller.run())
    await writer.written.wait()
    total = reader.get(CLUSTER_ROLES, None, "total")
    assert [rule["resources"] for rule in total["rules"]] == [["pods"]]
    writer.written.clear()
    reader.put(CLUSTER_ROLES, role("b", "list | core | nodes", labels={"agg": "true"}))
    await writer.written.wait()
    assert len(reader.get(CLUSTER_ROLES, None, "total")["rules"]) == 2
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_role_that_cannot_be_written_holds_up_no_other(reader: Any) -> None:
    fill(reader)
    reader.put(CLUSTER_ROLES, role("another", "", aggregate=["agg"]))
    writer = Writer(reader, ServiceUnavailable("no"))
    controller = AggregationController(reader, writer)  # type: ignore[arg-type]  # calls only
    assert not await controller.sync()
    assert [len(reader.get(CLUSTER_ROLES, None, name)["rules"]) for name in ("another", "total")] == [1, 0] or [
        len(reader.get(CLUSTER_ROLES, None, name)["rules"]) for name in ("another", "total")
    ] == [0, 1]
    assert await controller.sync()
    assert plan_aggregation(reader.list(CLUSTER_ROLES)) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {"name": "x"}, "aggregationRule": 3},
        {"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{}]}]}},
        {"metadata": {"name": "x", "labels": 3}, "rules": 3},
        {"metadata": {"name": "x", "labels": {"agg": "true"}}, "rules": [3]},
    ],
)
def test_a_damaged_role_holds_up_no_other(reader: Any, broken: Any) -> None:
    fill(reader)
    reader.put(CLUSTER_ROLES, broken)
    assert [changed["metadata"]["name"] for changed in plan_aggregation(reader.list(CLUSTER_ROLES))] == ["total"]
