"""Nothing is mounted twice and nothing is left, whatever fails and whenever the agent dies: random orders."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import suite_samples
from csi_faults import DRIVER, FaultyDriver

from sampan.api.storage.attachments import unique_name
from sampan.csi.errors import driver_error, go_code
from sampan.csi.server import Refusal
from sampan.node.volumes.csi import requests
from sampan.node.volumes.csi.attachments import InUse
from sampan.node.volumes.csi.drivers import Driver
from sampan.node.volumes.csi.plugin import CsiPlugin, CsiVolume
from sampan.node.volumes.csi.preparing import Wanted
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.mount import DirectoryMounter
from sampan.node.volumes.operations import VolumeOperations
from sampan.node.volumes.ownership import Ownership
from sampan.node.volumes.plugins import Ready

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PODS, VOLUMES = ("u1", "u2", "u3"), ("v1", "v2")
#: a sample, two thousand with SAMPAN_LONG=1, or as many as SAMPAN_CSI_ORDERS says
ORDERS = int(os.environ.get("SAMPAN_CSI_ORDERS") or suite_samples.of(2000, 60))


class Killed(BaseException):
    """The agent is gone: nothing after this happens."""


class DirectCalls:
    """In place of ``Drivers``: the driver is asked without a socket."""

    def __init__(self, driver: FaultyDriver, root: Path, chance: random.Random) -> None:
        self.driver = driver
        self.chance = chance
        self.kills = 0.0
        self.known = Driver(DRIVER, None, frozenset(driver.capabilities), Path("s"), root, root)  # type: ignore[arg-type]

    def get(self, name: str) -> Driver:
        return self.known

    def call(self, driver: Driver, method: str, request: Any) -> Any:
        self._kill()
        try:
            answer = self.driver.answer(method, request)
        except Refusal as refusal:
            raise driver_error(go_code(refusal.code.name), refusal.details) from None
        self._kill()
        if isinstance(answer, bytes):
            raise driver_error("Internal", "nonsense")
        return answer

    def _kill(self) -> None:
        if self.chance.random() < self.kills:
            raise Killed


class Preparing:
    def changed(self) -> None: ...


class Node:
    """One root directory, and the agents that follow each other on it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        stages = self.chance.random() < 0.8
        self.driver = FaultyDriver(("STAGE_UNSTAGE_VOLUME",) if stages else ())
        self.calls = DirectCalls(self.driver, root, self.chance)
        self.mounter = DirectoryMounter()
        self.in_use = InUse()
        #: (pod, volume) that was published, and not asked to go since
        self.there: set[tuple[str, str]] = set()
        self.restart()

    def restart(self) -> None:
        self.in_use = InUse()
        made: Any = CsiPlugin(self.root, self.calls, Preparing(), None, self.in_use)  # type: ignore[arg-type]
        made.load()
        self.plugin = made
        self.operations = VolumeOperations(self.root, self.mounter, {"csi": made})

    def publish(self, uid: str, volume: str) -> None:
        wanted = Wanted(
            driver=self.calls.known,
            handle=volume,
            uid=uid,
            persistent=True,
            shown=volume,
            capability=requests.capability(mode=1, block=False),
            stages=self.calls.known.can("STAGE_UNSTAGE_VOLUME"),
            attached=True,
        )
        data = {"driver": DRIVER, "handle": volume, "stages": "true" if wanted.stages else "", "attached": "true"}
        prepared = CsiVolume(stage_id=f"{DRIVER}^{volume}", data=data, wanted=wanted)
        self.operations.publish(uid, Ready(volume, "csi", self.plugin, prepared, None), Ownership(), NOW)  # type: ignore[arg-type]
        self.there.add((uid, volume))

    def unpublish(self, uid: str) -> None:
        self.there = {each for each in self.there if each[0] != uid}
        self.operations.unpublish_pod(uid, NOW)

    def step(self) -> None:
        choice, uid = self.chance.random(), self.chance.choice(PODS)
        if choice < 0.5:
            self.publish(uid, self.chance.choice(VOLUMES))
        elif choice < 0.85:
            self.unpublish(uid)
        elif choice < 0.95:
            self.operations.unstage_unused(NOW)
        else:
            self.restart()

    def check(self) -> None:
        assert not self.driver.violations
        where = {(path.split("/pods/")[1].split("/")[0], volume) for path, volume in self.driver.published.items()}
        assert self.there <= where
        in_use = {unique_name(DRIVER, volume) for _, volume in self.there}
        assert in_use <= set(self.in_use.names())


def fault_of(chance: random.Random) -> Any:
    return lambda method: chance.choice(("refused", "lost", "nonsense")) if chance.random() < 0.25 else ""


@pytest.mark.timeout(60 + ORDERS)
@pytest.mark.parametrize("part", range(4))
def test_nothing_is_mounted_twice_and_nothing_is_left_after_any_order(tmp_path: Path, part: int) -> None:
    for seed in range(part, ORDERS, 4):
        node = Node(tmp_path / str(seed), seed)
        node.driver.fault, node.calls.kills = fault_of(node.chance), 0.05
        for _ in range(14):
            try:
                node.step()
            except Killed:
                node.restart()
            except (SetupError, OSError):
                pass  # told, and tried again or not
            node.check()
        node.driver.fault, node.calls.kills = (lambda method: ""), 0.0
        node.restart()
        for uid in PODS:
            node.unpublish(uid)
        node.operations.unstage_unused(NOW)
        assert (node.driver.staged, node.driver.published, node.driver.violations) == ({}, {}, []), seed
        assert node.in_use.names() == []
        left = [path for path in node.root.rglob("*") if path.is_file() or path.name in (*PODS, "globalmount", "mount")]
        assert left == [], seed
