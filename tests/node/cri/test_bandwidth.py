"""What a pod may send and receive a second, by its annotations: read back from the kernel."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import Any

import orjson
import pytest

ON_CONTAINERD = pytest.param("containerd", marks=[pytest.mark.e2e, pytest.mark.timeout(240)])


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("bench", [ON_CONTAINERD], indirect=True)
async def test_the_kernel_limits_a_pod_as_its_annotations_say_and_forgets_it_with_the_pod(bench: Any) -> None:
    (file,) = bench.process.config.cni_conf_dir.glob("*.conflist")
    bridge = orjson.loads(file.read_bytes())["plugins"][0]["bridge"]

    def of_pods() -> list[str]:
        return [link["ifname"] for link in orjson.loads(said("ip", "-j", "link", "show", "master", bridge) or "[]")]

    plain = await bench.runtime.run_sandbox(bench.sandbox("plain"))
    (unlimited,) = of_pods()
    assert "tbf" not in said("tc", "qdisc", "show", "dev", unlimited)

    limits = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1k"}
    limited = await bench.runtime.run_sandbox(replace(bench.sandbox("limited"), annotations=limits))
    (veth,) = set(of_pods()) - {unlimited}
    assert re.search(r"tbf .*rate 10Mbit ", said("tc", "qdisc", "show", "dev", veth))
    # What the pod sends goes by an interface that is slow.
    detour = re.search(r"Egress Redirect to device (\w+)", said("tc", "filter", "show", "dev", veth, "parent", "ffff:"))
    assert detour is not None
    assert re.search(r"tbf .*rate 1Kbit ", said("tc", "qdisc", "show", "dev", detour[1]))

    await bench.runtime.stop_sandbox(limited)
    assert of_pods() == [unlimited]
    assert detour[1] not in said("ip", "-o", "link", "show", "type", "ifb")
    await bench.runtime.stop_sandbox(plain)
