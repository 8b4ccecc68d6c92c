"""Sets up, keeps current and takes down the volumes of this node's pods.

The pod workers call ``mount_pod`` before containers start (again on each try: it is idempotent), ``container_mounts``
for each container, ``unmount_pod`` when all containers are gone. ``run`` is the one background task: it rewrites
volumes whose sources changed and renews tokens and certificates. What a type of volume means is its
plug-in's (``plugin``).

All state that matters is on disk (``records``), so a restarted agent calls ``mount_pod`` for the pods it adopts and
``cleanup_orphans`` with the UIDs it knows. File work is done in threads; one pod's work never overlaps itself
(``podlocks``).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from sampan.api import objects
from sampan.api.clock import Clock
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.signal import Signal
from sampan.node.env.expansion import expand_strict
from sampan.node.env.fields import PodFacts
from sampan.node.env.sources import ObjectRef, ObjectSource, pod_references
from sampan.node.runtime import Device, Mount, Propagation
from sampan.node.safepath import UnsafePath
from sampan.node.volumes import lanes, layout, teardown
from sampan.node.volumes.errors import SetupError, VolumeError, setup_failed, teardown_failed
from sampan.node.volumes.mount import LinuxMounter, Mounter
from sampan.node.volumes.operations import VolumeOperations
from sampan.node.volumes.orphans import Orphans
from sampan.node.volumes.ownership import Ownership, pod_ownership
from sampan.node.volumes.plugin import AnyPlugin, Context
from sampan.node.volumes.plugins import BUILT_IN, Plugins, Ready, prepare_volume
from sampan.node.volumes.podcertificate import CertificateSource, NoCertificates
from sampan.node.volumes.podlocks import PodLocks, Turn
from sampan.node.volumes.subpath import bind_subpath
from sampan.node.volumes.tokens import TokenSource
from sampan.node.volumes.usage import FileSystems, VolumeUsage
from sampan.records import dataclass

log = logging.getLogger(__name__)

_PROPAGATIONS: Mapping[str, Propagation] = {
    "None": "private",
    "HostToContainer": "host_to_container",
    "Bidirectional": "bidirectional",
}

#: a volume that could not be refreshed is tried again after this time
_RETRY_SECONDS = 60.0
#: so long one pod's refresh may keep the others waiting; then it goes on by itself
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class MountedVolume:
    name: str
    type: str
    host_path: Path
    read_only: bool = False
    block: bool = False
    #: nobody can write to it however it is mounted: containers get it with the flags that its mount has
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    """A volume that stands for a claim, where a pod of this node has it. ``asked``: whose matter it is to say how much
    of it is used."""

    pod: Obj
    name: str
    claim: str
    plugin: AnyPlugin
    data: Mapping[str, str]
    path: Path
    block: bool

    @property
    def key(self) -> tuple[str, str]:
        return str(self.pod["metadata"]["uid"]), self.name

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def asked(self) -> str:
        return self.plugin.lane(self.data) or self.plugin.name


@dataclass(slots=True)
class _PodState:
    pod: Obj
    facts: PodFacts
    mounted: dict[str, MountedVolume] = field(default_factory=dict)
    claimed: tuple[ClaimedVolume, ...] = ()
    renew_at: datetime | None = None
    #: whose threads undo what was done; None: it was not this process that did it
    lane: str | None = None


class VolumeManager:
    def __init__(
        self,
        root_dir: Path,
        sources: ObjectSource,
        tokens: TokenSource,
        clock: Clock,
        *,
        certificates: CertificateSource | None = None,
        mounter: Mounter | None = None,
        plugins: Plugins = BUILT_IN,
    ) -> None:
        self._root = root_dir
        self._sources = sources
        self._tokens = tokens
        self._certificates = certificates or NoCertificates()
        self._clock = clock
        self._mounter = mounter or LinuxMounter()
        self._plugins = plugins
        self._lanes = lanes.Lanes()
        self._file_systems = FileSystems()
        self._operations = VolumeOperations(root_dir, self._mounter, plugins)
        self._locks = PodLocks()
        self._orphans = Orphans()
        self._pods: dict[str, _PodState] = {}
        self._dirty: set[str] = set()
        #: uid -> loop time of the next try
        self._retries: dict[str, float] = {}
        #: pods that are being refreshed beside the others
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._wake = Signal()
        #: set when there are more volumes of claims than before
        self.claims_news = Signal()

    def claimed(self) -> list[ClaimedVolume]:
        return [each for state in self._pods.values() for each in state.claimed]

    async def measure(self, volume: ClaimedVolume) -> VolumeUsage | None:
        """None: nobody can say. Raises Unmeasured."""
        plugin = volume.plugin
        if not plugin.is_a_file_system:
            return await plugin.measure(volume.data, volume.path)
        if volume.block:
            return None
        return await self._file_systems.look(volume.path)

    async def mount_pod(self, pod: Obj, facts: PodFacts | None = None) -> dict[str, MountedVolume]:
        """Makes every volume of the pod present and current, by name. Idempotent.

        ``facts`` carries the node's allocatable, for downwardAPI files of containers without limits; None keeps
        those of the last call. Raises VolumeError for the first volume that cannot be; what is done stays done.
        """
        uid = pod["metadata"]["uid"]
        state = self._pods.setdefault(uid, _PodState(pod, facts or PodFacts()))
        state.pod = pod
        if facts is not None:
            state.facts = facts
        async with self._locks.turn(uid) as turn:
            if self._pods.get(uid) is not state:
                raise VolumeError(f'volumes of pod "{uid}" are being removed')
            return await self._mount_locked(uid, state, turn)

    async def container_mounts(
        self,
        pod: Obj,
        container: Obj,
        mounted: Mapping[str, MountedVolume],
        environment: Mapping[str, str] | None = None,
    ) -> list[Mount]:
        """The container's ``volumeMounts``, with subPaths bound. ``environment`` serves subPathExpr.

        Raises VolumeError, whose text is the container's CreateContainerConfigError.
        """
        mounts = []
        for index, wanted in enumerate(container.get("volumeMounts") or ()):
            volume = mounted.get(wanted["name"])
            if volume is None:
                raise VolumeError(
                    f'cannot find volume "{wanted["name"]}" to mount into container "{container["name"]}"'
                )
            subpath = _subpath(wanted, environment or {})
            host_path = volume.host_path
            if subpath:
                host_path = await self._bind(pod, container, volume, subpath, index)
            mounts.append(plan_mount(wanted, volume, host_path))
        return mounts

    async def unmount_pod(self, uid: str) -> None:
        """Removes the pod's directory, all of it. Only call when no container of the pod runs. Idempotent.

        Raises VolumeError when something cannot be taken off; call again later.
        """
        state = self._pods.pop(uid, None)
        self._tokens.forget_pod(uid)
        self._certificates.forget_pod(uid)
        self._dirty.discard(uid)
        try:
            layout.pod_directory(self._root, uid)
            async with self._locks.turn(uid) as turn:
                name = state.lane if state is not None else None
                if name is None:
                    name = await turn.in_thread(self._operations.lane, uid)
                lane = self._lanes.executor(name)
                await turn.in_thread(self._operations.unpublish_pod, uid, self._clock.now(), lane=lane)
        except (OSError, layout.BadUid) as error:
            raise teardown_failed(uid, error) from error
        for plugin in self._plugins.values():
            plugin.forget_pod(uid)

    async def cleanup_orphans(self, known_uids: Collection[str]) -> list[str]:
        """Takes down what pods left that are not known any more; returns their UIDs. Failures are logged.

        What somebody's driver holds up goes on without the caller, who is not kept for long.
        """
        present = await asyncio.to_thread(teardown.present_pods, self._root)
        removed = await self._orphans.clear(
            [uid for uid in present if uid not in known_uids and uid not in self._pods], self.unmount_pod
        )
        await self._orphans.clear([""], self._unstage_unused)
        return removed

    async def _unstage_unused(self, _: str) -> None:
        lane = self._lanes.executor("unstage")
        await asyncio.get_running_loop().run_in_executor(lane, self._operations.unstage_unused, self._clock.now())

    def object_changed(self, ref: ObjectRef) -> None:
        """Call when a source changed (``ClientObjects.subscribe``): its volumes are rewritten at once."""
        for uid, state in self._pods.items():
            if state.mounted and ref in pod_references(state.pod):
                self._dirty.add(uid)
                self._wake.set()

    def pod_changed(self, pod: Obj) -> None:
        """Call when a mounted pod's metadata changed: downwardAPI files are rewritten."""
        state = self._pods.get(pod["metadata"]["uid"])
        if state is not None and state.mounted:
            state.pod = pod
            self._dirty.add(pod["metadata"]["uid"])
            self._wake.set()

    async def run(self) -> None:
        """Keeps mounted volumes current; returns only when cancelled."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._seconds_until_due()):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # a renewal or a retry is due
                self._wake.clear()
                await self.refresh_due()
        finally:
            await self._orphans.close()
            await tasks.cancel_and_wait(*self._refreshing.values())
            self._lanes.close()

    async def refresh_due(self) -> None:
        """Refreshes the pods whose sources changed, whose tokens are due, or whose retry is due: one after the other,
        but what waits for somebody's driver or disk, or takes long for another reason, goes on by itself."""
        now = asyncio.get_running_loop().time()
        due = self._dirty | self._renewals_due() | {uid for uid, when in self._retries.items() if when <= now}
        due -= self._refreshing.keys()
        self._dirty &= self._refreshing.keys()
        for uid in due:
            self._retries.pop(uid, None)
            state = self._pods.get(uid)
            if state is None:
                continue
            task = self._refreshing[uid] = tasks.detach(self._refresh(uid, state), f"refresh of volumes of pod {uid}")
            task.add_done_callback(functools.partial(self._refreshed, uid))
            if not state.lane:
                await asyncio.wait((task,), timeout=_PATIENCE_SECONDS)

    async def _refresh(self, uid: str, state: _PodState) -> None:
        try:
            await self.mount_pod(state.pod)
            return
        except VolumeError as error:
            log.warning("refresh of volumes of pod %s: %s", uid, error)
        except Exception:  # a fault of ours is told, and is this pod's alone
            log.exception("refresh of volumes of pod %s", uid)
        self._retries[uid] = asyncio.get_running_loop().time() + _RETRY_SECONDS

    def _refreshed(self, uid: str, task: asyncio.Task[None]) -> None:
        self._refreshing.pop(uid, None)
        self._wake.set()

    def _renewals_due(self) -> set[str]:
        now = self._clock.now()
        return {uid for uid, state in self._pods.items() if state.renew_at is not None and state.renew_at <= now}

    def _seconds_until_due(self) -> float | None:
        """None: nothing is due until something changes."""
        now, loop_now = self._clock.now(), asyncio.get_running_loop().time()
        waits = [
            max((state.renew_at - now).total_seconds(), 0.0)
            for uid, state in self._pods.items()
            if state.renew_at is not None and uid not in self._retries and uid not in self._refreshing
        ]
        waits += [max(when - loop_now, 0.0) for uid, when in self._retries.items() if uid not in self._refreshing]
        return min(waits, default=None)

    async def _mount_locked(self, uid: str, state: _PodState, turn: Turn) -> dict[str, MountedVolume]:
        volumes = state.pod["spec"].get("volumes") or []
        ownership = pod_ownership(state.pod)
        context = Context(state.pod, self._sources, self._tokens, ownership, state.facts, self._certificates)
        prepared = await asyncio.gather(
            *(prepare_volume(volume, context, self._plugins) for volume in volumes), return_exceptions=True
        )
        ready: list[Ready] = []
        for each in prepared:
            if isinstance(each, BaseException):
                raise each
            ready.append(each)
        state.lane = lanes.of_pod(each.plugin.lane(each.prepared.data) for each in ready)
        lane = self._lanes.executor(state.lane)
        state.mounted = await turn.in_thread(self._publish, uid, state.mounted, ready, ownership, lane=lane)
        for each in _leaders(ready).values():
            await each.plugin.published(each.prepared, each.context, state.mounted[each.name].host_path)
        claimed = tuple(_claimed(state.pod, each, state.mounted[each.name]) for each in ready if each.context.claim)
        if len(claimed) > len(state.claimed):
            self.claims_news.set()
        state.claimed = claimed
        state.renew_at = min((each.prepared.renew_at for each in ready if each.prepared.renew_at), default=None)
        if state.renew_at is not None:
            self._wake.set()  # the loop must reckon with the new moment
        return dict(state.mounted)

    def _publish(
        self, uid: str, before: Mapping[str, MountedVolume], ready: list[Ready], ownership: Ownership
    ) -> dict[str, MountedVolume]:
        layout.pod_directory(self._root, uid).mkdir(parents=True, exist_ok=True, mode=0o750)
        mounted = {}
        for each in _leaders(ready).values():
            had = before[each.name].host_path if each.name in before else None
            try:
                path = self._operations.publish(uid, each, ownership, self._clock.now(), had)
            except (SetupError, OSError, ValueError) as error:
                raise setup_failed(each.name, error) from error
            mounted[each.name] = MountedVolume(
                each.name, each.type, path, each.prepared.read_only, each.prepared.block, each.plugin.seals_its_mounts
            )
        leaders = _leaders(ready)
        return {
            each.name: replace(mounted[leaders[_shared(each)].name], name=each.name, read_only=each.prepared.read_only)
            for each in ready
        }

    async def _bind(self, pod: Obj, container: Obj, volume: MountedVolume, subpath: str, index: int) -> Path:
        uid = pod["metadata"]["uid"]
        target = layout.subpath_target(self._root, uid, volume.name, container["name"], index)
        try:
            async with self._locks.turn(uid) as turn:
                state = self._pods.get(uid)
                lane = self._lanes.executor((state and state.lane) or "")
                return await turn.in_thread(bind_subpath, volume.host_path, subpath, target, self._mounter, lane=lane)
        except (OSError, UnsafePath) as error:
            log.warning("subPath %r of volume %s: %s", subpath, volume.name, error)
            raise VolumeError(
                f'failed to prepare subPath for volumeMount "{volume.name}" of container "{container["name"]}"'
            ) from error


def _shared(ready: Ready) -> str:
    """What volumes of one pod that are one volume have in common: their claim; others are alone."""
    claim = ready.context.claim
    return f"volume {ready.name}" if claim is None else f"claim {objects.uid(claim)}"


def _leaders(ready: Iterable[Ready]) -> dict[str, Ready]:
    """Those that are published: a claim that several volumes of a pod name is published once, and may be written to if
    any of them may. Pure."""
    found: dict[str, Ready] = {}
    for each in ready:
        first = found.setdefault(_shared(each), each)
        if first.prepared.read_only and not each.prepared.read_only:
            found[_shared(each)] = replace(first, prepared=replace(first.prepared, read_only=False))
    return found


def _claimed(pod: Obj, ready: Ready, mounted: MountedVolume) -> ClaimedVolume:
    claim, data = ready.context.claim, dict(ready.prepared.data)
    assert claim is not None, "it stands for one"
    return ClaimedVolume(pod, ready.name, objects.name(claim), ready.plugin, data, mounted.host_path, mounted.block)


def plan_mount(wanted: Obj, volume: MountedVolume, host_path: Path) -> Mount:
    """One of a container's ``volumeMounts``."""
    return Mount(
        str(host_path),
        "/" + wanted["mountPath"].lstrip("/"),
        (bool(wanted.get("readOnly")) or volume.read_only) and not volume.sealed,
        _PROPAGATIONS[wanted.get("mountPropagation") or "None"],
    )


def plan_devices(container: Obj, mounted: Mapping[str, MountedVolume]) -> list[Device]:
    """The container's ``volumeDevices``. Raises VolumeError."""
    devices = []
    for wanted in container.get("volumeDevices") or ():
        volume = mounted.get(wanted["name"])
        if volume is None or not volume.block:
            raise VolumeError(f'cannot find volume "{wanted["name"]}" to pass into container "{container["name"]}"')
        permissions = "r" if volume.read_only else "mrw"
        devices.append(Device(str(volume.host_path), wanted["devicePath"], permissions))
    return devices


def _subpath(mount: Obj, environment: Mapping[str, str]) -> str:
    if expression := mount.get("subPathExpr"):
        try:
            return expand_strict(expression, environment)
        except KeyError as error:
            raise VolumeError(f'missing value for "{error.args[0]}"') from error
    return str(mount.get("subPath") or "")
