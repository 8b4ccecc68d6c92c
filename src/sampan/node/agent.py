"""The node agent: watches the pods bound to its node and keeps one worker for each; registers the node.

Made by ``sampan.node.main`` (and by simulations, with a simulated runtime). It dispatches: API events and runtime
events to workers, changed ConfigMaps, Secrets and certificates to those who use
them. What to do for a pod is the worker's matter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from sampan.api.clock import Clock, Random
from sampan.api.errors import ApiError, NotFound
from sampan.api.pods.origin import is_mirror
from sampan.api.pods.requests import amounts
from sampan.api.pods.status import is_terminal, is_terminal_phase
from sampan.api.pods.status import started as started_at
from sampan.api.resources import PODS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import ChangeType, InformerFactory
from sampan.keeping import Keeper
from sampan.node import reception, runtime
from sampan.node.config import NodeConfig
from sampan.node.cpumanager.manager import make_cpu_manager
from sampan.node.devices.interface import MakeDevices, NoDevices, Sharing
from sampan.node.env.objects import ClientObjects
from sampan.node.env.sources import ObjectRef, ObjectSource, pod_references
from sampan.node.eviction.words import render_metrics as render_evictions
from sampan.node.extensions import Extensions
from sampan.node.gate import PodGate, in_order_of_claims
from sampan.node.host import Host
from sampan.node.host_linux import LinuxHost
from sampan.node.images.making import image_manager
from sampan.node.images.records import FileRecords, folder
from sampan.node.memorymanager.manager import make_memory_manager
from sampan.node.node_status import check_reservations, render_allocatable
from sampan.node.pods import render, spec
from sampan.node.pods.absorb import REJECTED
from sampan.node.pods.context import NetworkReady, NodeContext, Volumes, open_network
from sampan.node.pods.resizing_desk import Claim, ResizeDesk
from sampan.node.pods.state import PodState, observe_all
from sampan.node.pods.swap import swap_of
from sampan.node.pods.worker import PodWorker
from sampan.node.protection import PodsOfNode, Protection
from sampan.node.reception import Reception
from sampan.node.registration import NodeRegistration
from sampan.node.runtimewatch import RuntimeWatch
from sampan.node.shutdown import Request as ShutdownRequest
from sampan.node.staticpods.keeper import StaticPods
from sampan.node.staticpods.workplace import Workplace
from sampan.node.topology import metrics, policies
from sampan.node.topology.aligning import Alignment, GivesNothing
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.measuring import VolumeMeasuring
from sampan.node.volumes.plugins import BUILT_IN
from sampan.node.volumes.podcertificate import PodCertificates
from sampan.node.volumes.tokens import ClientTokens
from sampan.node.volumes.usage import Measurements

log = logging.getLogger(__name__)

_TOLD_SECONDS = 2.0
_WORKER_RETRY_SECONDS = 10.0
_REGISTER_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class NodeAgent:
    """Invariant: ``_workers`` has one entry for each pod of this node that is not completely gone."""

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        source: runtime.Runtime,
        clock: Clock,
        random: Random,
        *,
        host: Host | None = None,
        make_volumes: Callable[[ObjectSource], Volumes] | None = None,
        make_devices: MakeDevices | None = None,
        shutdown: ShutdownRequest | None = None,
        network_ready: NetworkReady | None = None,
    ) -> None:
        """``host``: the machine, ``make_volumes``: its volumes; None: those of the machine that this runs on.
        ``make_devices``: those that plug-ins lend; None: there are none. ``shutdown``: set when the machine is about to
        go off. ``network_ready``: as in ``NodeContext``; None: every pod's network is ready when it is there."""
        self.config = config
        self._host = host or LinuxHost(config)
        self._recorder = EventRecorder(client, "kubelet", config.node_name, clock)
        self.registration = NodeRegistration(config, client, source, self._host, clock, self._recorder)
        self._client = client
        self._runtime = source
        self._informers = InformerFactory(client, random=random)
        self._pods = self._informers.informer(PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._services = self._informers.informer(SERVICES)
        self._objects = ClientObjects(client, random)
        self._certificates = PodCertificates(
            client, config.node_name, clock, random, self._recorder, self._object_changed
        )
        records = FileRecords(folder(config.root_dir)) if isinstance(self._host, LinuxHost) else None
        self._images = image_manager(config, source, client, ClientTokens(client, clock), records)
        self._devices = (
            make_devices(lambda: [pod["metadata"]["uid"] for pod in self._claiming()], self.registration.look)
            if make_devices
            else NoDevices()
        )
        self.registration.devices = self._devices.amounts
        #: what extends a node that is a machine: None for one that is not
        self._extensions = None if make_volumes else self._make_extensions(clock, random)
        self._volumes: Volumes = (
            make_volumes(self._objects)
            if make_volumes
            else VolumeManager(
                config.root_dir,
                self._objects,
                ClientTokens(client, clock),
                clock,
                certificates=self._certificates,
                plugins={**BUILT_IN, **(self._extensions.volumes if self._extensions else {})},
            )
        )
        #: None: a node that is no machine has no disks
        self._measuring = (
            VolumeMeasuring(self._volumes, self._recorder, health=config.volume_health)
            if isinstance(self._volumes, VolumeManager)
            else None
        )
        machine = self.registration.machine
        check_reservations(config, cpus=machine.cpus, memory_bytes=machine.memory_bytes, disk_bytes=machine.disk_bytes)
        allocatable = render_allocatable(machine, config)
        swap = swap_of(machine, config.swap_behaviour, self.registration.tell)
        self._desk = ResizeDesk(
            self._claims,
            amounts(dict(allocatable)),
            clock,
            self._room_for,
            static_cpus=config.cpu_manager_policy == "static",
            static_memory=config.memory_manager_policy == "Static",
            swap=swap,
        )
        self.context = NodeContext(
            config=config,
            devices=self._devices,
            client=client,
            runtime=source,
            clock=clock,
            images=self._images,
            volumes=self._volumes,
            objects=self._objects,
            recorder=self._recorder,
            host=self._host,
            host_dns=render.parse_resolv_conf(self._host.resolv_conf()),
            services=self._services.list,
            allocatable=allocatable,
            memory_capacity_bytes=machine.memory_bytes,
            unified_cgroups=machine.unified_cgroups,
            swap=swap,
            features=lambda: self.registration.features,
            weigh_resize=self._desk.weigh,
            cpus=lambda uid, name: self._cpus.cpus(uid, name),
            page_sizes=tuple(machine.hugepages) if machine.bounds_hugepages else (),
            memory_nodes=lambda uid, name: self._memory.nodes(uid, name),
            room_made=self._room_made,
            starts=asyncio.Semaphore(config.parallel_starts),
            network_ready=network_ready or open_network,
        )
        #: told of every container that ended (the node API ends followed logs by it)
        self.on_exit: Callable[[str], None] = lambda container_id: None
        self._workers: dict[str, PodWorker] = {}
        self._adoptable: dict[str, PodState] = {}
        self._group: asyncio.TaskGroup | None = None
        self._protection = Protection(
            config,
            self._host,
            source,
            self._images,
            self.registration,
            PodsOfNode(
                present=self._evictable,
                ended=self._ended,
                known=lambda: {*self._workers, *self._watch.cleaning, *self._reception.looking},
                doubt=self._view_doubted,
            ),
            shutdown,
        )
        self._cpus = make_cpu_manager(
            config,
            self._host,
            source,
            active=self._active,
            running=lambda: ((uid, each) for uid, worker in self._workers.items() for each in worker.state.running()),
        )
        self._memory = make_memory_manager(config, self._host, active=self._active)
        self._alignment = Alignment(
            policies.read(config.topology_policy, config.topology_scope, config.topology_options),
            self._host.cells(),
            [self._cpus, self._memory],
        )
        self._reception = Reception(
            PodGate(config, self.registration, self.context.allocatable, self._protection.pressures),
            self._devices,
            self._alignment,
            reception.Agent(
                closed=self._protection.refusal,
                claiming=self._claiming,
                newest=self._newest,
                is_worked_on=self._workers.__contains__,
                take=self._take,
            ),
        )
        self._watch = RuntimeWatch(
            config,
            source,
            self._host,
            self._volumes,
            self._workers,
            claims=self._claiming,
            judged=lambda: self._reception.looking,
            ended=lambda container_id: self.on_exit(container_id),
            cleanup=self._devices.cleanup,
        )
        self._static = StaticPods(
            config, client, clock, Workplace(self._workers, self._pods, self.registration, self._pod_changed)
        )

    # For the node API (``sampan.node.api.containers.PodSource``).

    def pods(self) -> list[Obj]:
        return [self._view(worker) for worker in self._workers.values() if not worker.gone]

    def metrics(self) -> str:
        """Lines for the node's ``/metrics``."""
        return render_evictions(self._protection.evictions) + metrics.render(self._alignment.metrics())

    @property
    def protection(self) -> Protection:
        return self._protection

    def get_pod(self, namespace: str, name: str) -> Obj | None:
        for worker in self._workers.values():
            meta = worker.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name) and not worker.gone:
                return self._view(worker)
        return None

    @staticmethod
    def _view(worker: PodWorker) -> Obj:
        return {**worker.pod, "status": worker.sender.newest}

    async def run(self, started: asyncio.Event) -> None:
        """Until cancelled; ``started`` is set when the node is registered and its pods are being served.

        Cancelling leaves containers running: the next agent adopts them.
        """
        unsubscribe = self._objects.subscribe(self._object_changed)
        try:
            # Each loop is kept by itself: none that fails ends another, or the work on a pod.
            async with Keeper() as keeper, asyncio.TaskGroup() as group:
                self._group = self._reception.group = group
                keeper.keep("informers", self._informers.run)
                keeper.keep("objects", self._objects.run)
                keeper.keep("certificates", self._certificates.run)
                keeper.keep("volumes", self._volumes.run)
                if self._measuring is not None:
                    keeper.keep("volume-stats", self._measuring.run)
                if self._extensions is not None:
                    keeper.keep("csi", self._extensions.csi.run)
                    keeper.keep("plugins", self._extensions.registry.run)
                keeper.keep("events", self._recorder.run)
                keeper.keep("devices", self._devices.run)
                sharing = Sharing(
                    self._claiming,
                    self._cpus.exclusive,
                    self._cpus.assignable,
                    self._memory.blocks,
                    self._memory.allocatable,
                )
                keeper.keep("pod-resources", lambda: self._devices.tell(sharing))
                self.registration.tell("Normal", "Starting", "Starting kubelet.")
                await self._informers.synced()
                await self._devices.load()
                await self._adopt()
                await self._read_node()
                await self._static.load()
                for pod in in_order_of_claims(self._pods.list(), self._adoptable):
                    self._pod_changed("ADDED", pod, None)
                self._pods.add_handler(self._pod_changed)
                self._watch.group = group
                # Who sees the node Ready sees no pod as an agent before this one left it.
                await self._tell_of_pods()
                if self.config.register_node:
                    await self._register()
                    keeper.keep("registration", self.registration.run)
                await self._protection.hold_pods_together()
                await self._watch.sweep_cgroups()
                if not isinstance(self._cpus, GivesNothing):
                    keeper.keep("cpu-manager", self._cpus.run)
                if not isinstance(self._memory, GivesNothing):
                    keeper.keep("memory-manager", self._memory.run)
                keeper.keep("static-pods", self._static.run)
                keeper.keep("runtime-events", self._watch.follow)
                keeper.keep("relist", self._watch.relist_forever)
                self._protection.keep(keeper)
                started.set()
                await tasks.forever()
        finally:
            self._group = self._watch.group = self._reception.group = None
            unsubscribe()

    def _make_extensions(self, clock: Clock, random: Random) -> Extensions:
        return Extensions(
            self.config,
            self._client,
            clock,
            random,
            self._recorder,
            self.registration,
            self._driver_came,
            self._images,
            self._devices.handlers(),
        )

    def _driver_came(self) -> None:
        for worker in self._workers.values():
            worker.objects_changed()

    def claimed_volumes(self) -> Measurements:
        """What volumes of claims were measured to use."""
        return {} if self._measuring is None else self._measuring.latest()

    async def _read_node(self) -> None:
        """Admission judges by the labels and taints that the Node has, if there is one yet."""
        try:
            await self.registration.refresh()
        except NotFound:
            pass
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("node %s: %s", self.config.node_name, error)

    async def _tell_of_pods(self) -> None:
        """Until the API has the status of every pod that was here before; not for long."""
        known = [worker.told.wait() for worker in self._workers.values() if started_at(worker.pod)]
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                await asyncio.gather(*known)
        except TimeoutError:
            log.info("node %s: not all pods' statuses were told before it is Ready", self.config.node_name)

    async def _register(self) -> None:
        attempt = 0
        while True:
            try:
                await self.registration.register()
                return
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("node %s is not registered yet: %s", self.config.node_name, error)
                await asyncio.sleep(_REGISTER_RETRY_SECONDS[min(attempt, len(_REGISTER_RETRY_SECONDS) - 1)])
                attempt += 1

    # Pods.

    async def _adopt(self) -> None:
        """Reads what runs before the first worker begins, so that nothing is started twice."""
        while True:
            try:
                self.registration.features = await self._runtime.features()
                self._adoptable = await observe_all(self._runtime)
                return
            except runtime.RuntimeCallError as error:
                log.warning("runtime: %s", error)
                await asyncio.sleep(1.0)

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        if is_mirror(pod):
            self._static.mirror_changed(pod, gone=kind == "DELETED")
            return
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker is not None:
                worker.deleted(pod)
            return
        if worker is not None:
            self._desk.changed(uid)
            worker.update(pod)
            return
        if self._group is None:
            return
        state = self._adoptable.pop(uid, None)
        if state is not None or is_terminal(pod):
            if state is not None:
                self._alignment.adopt(pod)  # it has had all from the agent before, unless what that one kept is lost
            self._take(pod, state)
            return
        self._reception.come(pod)

    def _newest(self, pod: Obj) -> Obj | None:
        meta = pod["metadata"]
        if meta["uid"] in self._static.working:
            return self._static.newest(meta["uid"])
        newest = self._pods.get(meta["namespace"], meta["name"])
        return newest if newest is not None and newest["metadata"]["uid"] == meta["uid"] else None

    def _take(self, pod: Obj, state: PodState | None = None) -> None:
        assert self._group is not None
        uid = pod["metadata"]["uid"]
        # Everything was read before the first pod was taken: the runtime has nothing of one that was not seen then.
        worker = self._workers[uid] = self._make_worker(pod, state or PodState())
        self._objects.register_pod(pod)
        tasks.spawn_apart(self._group, self._serve(uid, worker), f"pod {spec.full_name(pod)}")

    def _make_worker(self, pod: Obj, state: PodState | None = None) -> PodWorker:
        """What was refused stays so, whoever works on it."""
        uid = pod["metadata"]["uid"]
        worker = PodWorker(self.context, pod, state, claim=self._claim(uid))
        if (refusal := self._reception.refused.get(uid)) is not None:
            worker.evict(refusal.reason, REJECTED + refusal.message)
        if uid in self._static.working:
            worker.mirrored(self._static.mirror_of(pod))
        return worker

    def _claiming(self) -> list[Obj]:
        """Pods that have a part of the node, as it was promised them."""
        return [self._desk.promised(claim) for claim in self._claims()]

    def _claims(self) -> list[Claim]:
        working = [Claim(worker.pod, worker.record.allocated) for worker in self._evictable()]
        return [*working, *(Claim(pod, {}) for pod in self._reception.equipping.values())]

    def _active(self) -> set[str]:
        """Uids of pods that have a part of the node, or may have; first of all those that run and are taken soon."""
        soon = self._adoptable if self._watch.group is None else ()
        return {*(claim.uid for claim in self._claims()), *self._reception.looking, *soon}

    def _evictable(self) -> list[PodWorker]:
        return [
            worker
            for uid, worker in self._workers.items()
            if uid not in self._reception.refused
            and not worker.gone
            and not is_terminal_phase(str(worker.sender.newest.get("phase", "")))
        ]

    def _ended(self) -> list[str]:
        """Pods of which nothing will run again, by uid."""
        return [uid for uid, worker in self._workers.items() if worker.machine.phase == "lingering"]

    def _view_doubted(self, uids: Collection[str]) -> None:
        for uid in uids:
            if (worker := self._workers.get(uid)) is not None:
                worker.refresh()

    def _room_made(self) -> None:
        self._desk.room()
        self._cpus.freed()
        self._memory.freed()

    def _room_for(self, uid: str) -> None:
        if (worker := self._workers.get(uid)) is not None:
            worker.room()

    def _claim(self, uid: str) -> Callable[[str], None]:
        def claim(runtime_id: str) -> None:
            if (worker := self._workers.get(uid)) is not None:
                self._watch.owners[runtime_id] = worker

        return claim

    async def _serve(self, uid: str, worker: PodWorker) -> None:
        """Until nothing is left of the pod. What fails in it its worker retries; one that ends all the same is followed
        by another."""
        while True:
            try:
                await worker.run()
                break
            except* Exception:
                log.exception("pod %s: its worker ended", spec.full_name(worker.pod))
            await asyncio.sleep(_WORKER_RETRY_SECONDS)
            before, worker = worker, self._make_worker(worker.pod)
            self._workers[uid] = worker
            if before.gone:
                worker.deleted(before.pod)
        self._objects.unregister_pod(uid)
        self._watch.forget(worker)
        self._workers.pop(uid, None)
        self._reception.forget(uid)
        self._static.ended(uid)
        self._desk.forget(uid)
        self._room_made()

    def _object_changed(self, ref: ObjectRef) -> None:
        self._volumes.object_changed(ref)
        for worker in self._workers.values():
            if ref in pod_references(worker.pod):
                worker.objects_changed()
