"""How CRI's words become ours: features a runtime tells of, signals, and what asks for isolation."""

from __future__ import annotations

import signal

import pytest

from sampan.node import runtime
from sampan.node.cri import convert
from sampan.node.cri.pb import cri_pb2 as pb


def test_features_are_those_that_the_runtime_tells_of_by_handler() -> None:
    answer = pb.StatusResponse(
        runtime_handlers=[
            pb.RuntimeHandler(name="", features=pb.RuntimeHandlerFeatures(recursive_read_only_mounts=True)),
            pb.RuntimeHandler(name="crun", features=pb.RuntimeHandlerFeatures(user_namespaces=True)),
        ],
        features=pb.RuntimeFeatures(supplemental_groups_policy=True),
    )
    told = convert.features(answer)
    assert told.supplemental_groups_policy
    assert told.of("") == runtime.HandlerFeatures(recursive_read_only_mounts=True)
    assert told.of("crun") == runtime.HandlerFeatures(user_namespaces=True)
    assert told.of("kata") == runtime.HandlerFeatures()


def test_an_old_runtime_that_tells_of_nothing_can_do_nothing() -> None:
    assert convert.features(pb.StatusResponse()) == runtime.Features()


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("SIGUSR1", signal.SIGUSR1, pb.SIGUSR1),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3, pb.SIGRTMINPLUS3),
        ("SIGRTMAX-2", signal.SIGRTMAX - 2, pb.SIGRTMAXMINUS2),
        ("SIGPOLL", signal.SIGIO, pb.SIGPOLL),
        ("SIGCLD", signal.SIGCHLD, pb.SIGCLD),
    ],
)
def test_signals_are_named_for_cri_and_numbered_for_linux(name: str, number: int, message: int) -> None:
    assert convert.signal_number(name) == number
    config = runtime.ContainerConfig(name="main", image="i", stop_signal=name)
    assert convert.container_config(config).stop_signal == message


def test_what_asks_for_isolation_reaches_the_runtime() -> None:
    selinux = runtime.SELinuxOptions("u", "r", "t", "s0")
    made = convert.container_config(
        runtime.ContainerConfig(
            name="main",
            image="i",
            mounts=(runtime.Mount("/h", "/c", readonly=True, recursive_readonly=True),),
            security=runtime.ContainerSecurity(selinux=selinux, strict_groups=True),
        )
    )
    assert made.mounts[0].recursive_read_only
    assert made.linux.security_context.selinux_options == pb.SELinuxOption(user="u", role="r", type="t", level="s0")
    assert made.linux.security_context.supplemental_groups_policy == pb.Strict
    sandbox = convert.sandbox_config(
        runtime.SandboxConfig(name="p", uid="u", namespace="n", selinux=selinux, strict_groups=True)
    )
    assert sandbox.linux.security_context.selinux_options.level == "s0"
    assert sandbox.linux.security_context.supplemental_groups_policy == pb.Strict


def test_a_container_of_which_nothing_is_measured_has_no_statistics() -> None:
    """One that has ended, an ephemeral one say, is listed: it would be shown as 0 at the beginning of time."""
    running, ended = pb.ContainerStats(), pb.ContainerStats()
    running.attributes.id, ended.attributes.id = "running", "ended"
    running.cpu.timestamp = 1_700_000_000_000_000_000
    answer = pb.ListContainerStatsResponse(stats=[running, ended])
    assert [each.container_id for each in convert.measured(answer)] == ["running"]
