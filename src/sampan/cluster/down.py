"""``sampan down``: stops an instance; with ``purge`` removes everything it ever put on this machine.

State stays for the next ``up`` unless purged. Purging works on a broken instance too: every step looks for what is
there and is content when nothing is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
from pathlib import Path

from sampan.api.faults import fault
from sampan.cluster import boot, kubeconfigs, kubernetesdir, leftovers, locks, machine, podnetwork, supervisor, units
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.leftovers import LOOK_SECONDS
from sampan.cluster.mounts import detach_loops_of, unmount_below
from sampan.cluster.up import Progress
from sampan.node.cgroups.manager import remove_all
from sampan.node.volumes import removal
from sampan.node.volumes.loops import detach_below

STOP_SECONDS = 40


async def down(instance: Instance, progress: Progress) -> bool:
    """Stops pods, node, server and containerd, in this order. False: it was not running."""
    _require_right(instance, "down")
    machine.complete_path()
    async with locks.changing(instance, progress):
        return await _down(instance, progress)


async def _down(instance: Instance, progress: Progress) -> bool:
    was_running = supervisor.is_running(instance)
    if was_running:
        progress.step("Stopping pods and processes")
        await _stop_supervisor(instance)
    await leftovers.end(instance)
    # Stopped containers' shims have gone, or are about to. One of which containerd lost sight (it was killed while it
    # made the sandbox) would stay for ever, and so would the containers of a cluster whose supervisor was killed.
    await leftovers.end_shims(instance)
    if _may_run_containers(instance):
        await leftovers.end_containers(instance)
    return was_running


async def purge(instance: Instance, progress: Progress) -> None:
    """Removes processes, mounts, interfaces, rules, cgroups, files and the kubeconfig context. Idempotent."""
    _require_right(instance, "down --purge")
    machine.complete_path()
    async with locks.changing(instance, progress):
        if os.geteuid() == 0:
            await asyncio.to_thread(units.retire, instance)
        await _down(instance, progress)
        progress.step("Removing everything of this cluster")
        contained = _may_run_containers(instance)
        if os.geteuid() == 0:
            boot.remove(instance)
        if contained:
            await podnetwork.teardown(instance)
        # Before the state goes: it says where they are, and which files have the context.
        _leave_kubernetes_dir(instance)
        for problem in kubeconfigs.remove(instance):
            progress.warn(problem)
        if contained:
            unmount_below(instance.kubelet_root)
            await asyncio.to_thread(detach_loops_of, instance.kubelet_root)
        for place in (instance.run, instance.state):
            if contained:
                unmount_below(place)
                _detach_devices(place)
            await asyncio.to_thread(_remove, place)
        if contained:
            await asyncio.to_thread(remove_all, instance.cgroup)
    # The CNI library keeps its results there, whatever the instance; the last one takes the directories along.
    for parent in (instance.run_root, instance.state_root, Path("/var/lib/cni/results"), Path("/var/lib/cni")):
        with contextlib.suppress(OSError):
            parent.rmdir()


def _leave_kubernetes_dir(instance: Instance) -> None:
    """What ``init`` or ``join`` put into /etc/kubernetes, if this instance is known to be that one's."""
    with contextlib.suppress(ClusterError):  # its settings are gone or damaged: whose files they are cannot be told
        made = instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)
        kubernetesdir.remove(made)


def _require_right(instance: Instance, verb: str) -> None:
    """Raises ClusterError: it is root's, and whoever asks is not."""
    if instance.state_root == instances.SYSTEM_STATE_ROOT or _may_run_containers(instance):
        machine.require_root(instance.command(verb))


def _may_run_containers(instance: Instance) -> bool:
    """What is damaged may have run them; what was never made by anybody but root has not."""
    if not instance.exists() and not instances.is_roots(instance.name):
        return os.geteuid() == 0
    try:
        return instances.load(
            instance.name, state_root=instance.state_root, run_root=instance.run_root
        ).node.runs_containers
    except ClusterError:
        return True


async def _stop_supervisor(instance: Instance) -> None:
    supervisors = leftovers.supervisors(instance)
    for process in supervisors:
        leftovers.kill(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS + _shutdown_seconds(instance)):
            while supervisor.is_running(instance):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        for process in supervisors:
            leftovers.kill(process)


def _shutdown_seconds(instance: Instance) -> int:
    """How long the pods have to end, where the node gives them time."""
    try:
        made = instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)
    except ClusterError:
        return 0
    return made.node.shutdown_seconds


def _detach_devices(directory: Path) -> None:
    """Loop devices of volumes in it. Raises ClusterError."""
    try:
        detach_below(directory)
    except OSError as error:
        raise ClusterError(
            f"a loop device of {directory} cannot be detached: {fault(error)}", fix="end what uses it and try again"
        ) from error


def _remove(place: Path) -> None:
    """Pods and containers may have made trees of any depth. Raises OSError."""
    try:
        removal.remove(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Somebody put a file system of his own there, with what belongs to the cluster in it.
        shutil.rmtree(place, ignore_errors=False, onerror=_ignore_missing)


def _ignore_missing(function: object, path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
