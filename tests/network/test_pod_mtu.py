"""Pods' packets are as large as those of the interface by which the machine reaches the world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.network import mtu

ASK = "from sampan.network import mtu; print(mtu.of_default_route())"


def test_a_machine_without_a_default_route_has_the_usual_size(tmp_path: Path) -> None:
    assert mtu.of_default_route(tmp_path / "none", tmp_path / "neither") == mtu.USUAL


def test_the_default_route_of_the_process_own_network_says_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    name = f"smtu{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:

        def after(*lines: str) -> int:
            subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
            asked = ["ip", "netns", "exec", name, sys.executable, "-c", ASK]
            return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

        assert (
            after(
                "link add near mtu 9000 type veth peer name far",
                "link set far mtu 1400",
                "link set near up",
                "link set far up",
            )
            == 1500
        )
        assert after("addr add 2001:db8::1/64 dev far nodad", "route add ::/0 via 2001:db8::9") == 1400
        assert after("addr add 192.0.2.1/24 dev near", "route add default via 192.0.2.9 metric 10") == 9000
        # Another one that is preferred; and one that no pod could live with.
        assert after("addr add 198.51.100.1/24 dev far", "route add default via 198.51.100.9") == 1400
        assert after("link set far mtu 1000") == 1500
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
