"""Keeps the devices of one node: which there are, who has them, and what that means for a container.

Used by the agent (admission), the registration (the Node's status) and the pod workers (a container's start). All
state changes on the event loop; while a plug-in is asked, only pods that want its resource wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.devices import cdi, checkpoint, hints, plan, registration
from sampan.node.devices.answers import cdi_names, given
from sampan.node.devices.checkpoint import Allocation
from sampan.node.devices.endpoint import Endpoint
from sampan.node.devices.interface import Given
from sampan.node.devices.plan import Need, Stock, Unavailable
from sampan.node.topology.aligning import HintProvider, Step
from sampan.node.topology.hints import Hint, Hints, Mask

log = logging.getLogger(__name__)

#: How long the Node shows a resource (with nothing to give) whose plug-in has gone.
GONE_SECONDS = 300.0
MOST_RESOURCES = 64


@dataclass(slots=True)
class _Resource:
    """``endpoint`` None: its plug-in has gone, since ``gone_at``."""

    endpoint: Endpoint | None = None
    stock: Stock = field(default_factory=Stock)
    gone_at: float = 0.0
    #: as its plug-in said last; a restart of the agent forgets it, as the kubelet's does
    wants_pre_start: bool = False
    watching: asyncio.Task[None] | None = None
    #: While its devices are being chosen for one container.
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)


class DeviceManager:
    def __init__(
        self,
        directory: Path,
        record: Path,
        *,
        holders: Callable[[], Collection[str]],
        changed: Callable[[], None] = lambda: None,
        cdi_directories: Sequence[Path] = cdi.DIRECTORIES,
    ) -> None:
        """``directory``: of the plug-ins' sockets; ``record``: the file of what is allocated; ``holders``: uids of the
        pods that have a part of the node; ``changed`` is called when there are other devices."""
        self._directory = directory
        self._record = record
        self._holders = holders
        self._changed = changed
        self._cdi = cdi_directories
        self._resources: dict[str, _Resource] = {}
        self._allocations: checkpoint.Allocations | None = None
        self._writing = asyncio.Lock()
        #: plug-ins may come
        self.serving = asyncio.Event()

    async def load(self) -> None:
        """Reads what was given before; to be awaited before anything is asked."""
        await self._known()

    async def run(self) -> None:
        """Until cancelled: plug-ins may come. Raises OSError."""
        try:
            await registration.serve(self._directory, self.connect, self.serving)
        finally:
            watching = [each.watching for each in self._resources.values() if each.watching is not None]
            await tasks.cancel_and_wait(*watching)

    async def connect(self, resource: str, socket_path: Path) -> None:
        """A plug-in has come, or come back. Raises ValueError for the plug-in to read."""
        held = self._resources.get(resource)
        if held is None and len(self._resources) >= MOST_RESOURCES:
            raise ValueError(f"{MOST_RESOURCES} resources are registered already")
        endpoint = Endpoint(socket_path)
        try:
            await endpoint.connect()
        except runtime.RuntimeCallError as error:
            await endpoint.close()
            raise ValueError(f"failed to dial device plugin: {error}") from error
        held = self._resources.setdefault(resource, _Resource())
        before, held.endpoint, held.wants_pre_start = held.watching, endpoint, endpoint.wants_pre_start
        held.watching = tasks.detach(self._watch(resource, held, endpoint), f"devices {resource}")
        if before is not None:
            await tasks.cancel_and_wait(before)

    async def _watch(self, resource: str, held: _Resource, endpoint: Endpoint) -> None:
        why = "it ended its list"
        try:
            async for stock in endpoint.watch():
                if held.endpoint is endpoint and stock != held.stock:
                    held.stock = stock
                    self._changed()
        except (runtime.RuntimeCallError, ValueError) as error:
            why = str(error)
        finally:
            await endpoint.close()
            if held.endpoint is endpoint:
                held.endpoint = None
                held.stock = replace(
                    held.stock, healthy=frozenset(), unhealthy=held.stock.healthy | held.stock.unhealthy
                )
                held.gone_at = asyncio.get_running_loop().time()
                self._changed()
        log.info("device plugin of %s is gone: %s", resource, why)

    # The Node.

    def amounts(self) -> dict[str, tuple[int, int]]:
        """Capacity and allocatable by resource. One whose plug-in went long ago has none of either."""
        found = {}
        for name, held in self._resources.items():
            if self._is_long_gone(held):
                held.stock = Stock()
            healthy = len(held.stock.healthy)
            found[name] = (healthy + len(held.stock.unhealthy), healthy)
        return found

    @staticmethod
    def _is_long_gone(held: _Resource) -> bool:
        return held.endpoint is None and asyncio.get_running_loop().time() - held.gone_at > GONE_SECONDS

    # Pods.

    def concerns(self, pod: Obj) -> bool:
        return bool(self._needs(pod))

    def _needs(self, pod: Obj) -> list[Need]:
        return plan.needs(pod, self._resources.keys()) if self._resources else []

    def placing(self, nodes: Sequence[int]) -> HintProvider:
        return _Placing(self, nodes)

    def hints(self, pod: Obj, nodes: Sequence[int], container: str = "") -> Hints:
        """On which of ``nodes`` the container can have its devices; "": all containers together."""
        found: dict[str, Sequence[Hint] | None] = {}
        needs, of_pod = self._needs(pod), (self._allocations or {}).get(text(part(pod, "metadata"), "uid"), {})
        has = {key: given.devices for key, given in of_pod.items()}
        for need in needs:
            stock, in_use = self._resources[need.resource].stock, self._in_use(need.resource)
            if not container:
                found[need.resource] = hints.of_pod(need.resource, needs, has, in_use, stock, nodes)
            elif need.container == container:
                found[need.resource] = hints.of_container(need, needs, has, in_use, stock, nodes)
        return found

    async def admit(self, pod: Obj, steps: Iterable[Step] | None = None) -> None:
        """Gives the pod's containers their devices, one after the other; ``steps`` says which and from where. Raises
        Unavailable, and what ``steps`` raises, and then it has none of them."""
        allocations = await self._known()
        uid = text(part(pod, "metadata"), "uid")
        needs = self._needs(pod)
        had = dict(allocations.get(uid, {}))
        try:
            for step in _anywhere(needs) if steps is None else steps:
                for need in needs:
                    if need.container == step.container:
                        await self._give(uid, need, needs, step.affinity)
            await self._save()
        except BaseException:
            allocations[uid] = had
            if not had:
                allocations.pop(uid, None)
            raise

    async def _give(self, uid: str, need: Need, needs: list[Need], affinity: Mask | None) -> None:
        held = self._resources[need.resource]
        async with held.choosing:
            endpoint = held.endpoint
            if endpoint is None:
                raise Unavailable(f"cannot allocate unregistered device {need.resource}")
            of_pod = (await self._known()).setdefault(uid, {})
            has = {key: given.devices for key, given in of_pod.items()}
            already = has.get((need.container, need.resource), ())
            lent = () if already else plan.reusable(needs, need, has)
            choice = plan.choose(need, already, lent, self._in_use(need.resource), held.stock, affinity)
            try:
                preferred = await endpoint.preferred(choice.free, choice.kept, choice.missing)
            except runtime.RuntimeCallError as error:
                raise Unavailable(f"device plugin GetPreferredAllocation rpc failed with err: {error}") from error
            devices = plan.take(choice, preferred)
            before = of_pod.get((need.container, need.resource))
            if before is None:
                # Nobody else is given them while the plug-in is asked.
                of_pod[need.container, need.resource] = Allocation(devices, None)
        if before is not None:
            return
        try:
            answer = await endpoint.allocate(devices)
        except (runtime.RuntimeCallError, ValueError) as error:
            raise Unavailable(str(error)) from error
        of_pod[need.container, need.resource] = Allocation(devices, answer)

    def _in_use(self, resource: str) -> set[str]:
        """By pods that have a part of the node; what others had is forgotten."""
        holders = set(self._holders())
        allocations = self._allocations or {}
        for uid in allocations.keys() - holders:
            del allocations[uid]
        return {
            device
            for of_pod in allocations.values()
            for (_, name), given in of_pod.items()
            if name == resource
            for device in given.devices
        }

    async def container(self, uid: str, name: str) -> Given:
        """What a container of an admitted pod gets. Raises ValueError: it cannot be given."""
        answers = [allocation.answer or b"" for allocation in self._of_container(uid, name).values()]
        names = [name for answer in answers for name in cdi_names(answer)]
        resolved = await asyncio.to_thread(cdi.resolve, names, self._cdi) if names else Given()
        return cdi.merged(*map(given, answers), resolved)

    async def pre_start(self, uid: str, name: str) -> None:
        """Lets plug-ins that want it make the container's devices ready. Raises ValueError."""
        for resource, allocation in self._of_container(uid, name).items():
            held = self._resources.get(resource)
            if held is None or self._is_long_gone(held):
                raise ValueError(f"endpoint not found in cache for a registered resource: {resource}")
            if held.endpoint is None:
                if held.wants_pre_start:
                    text = f"endpoint of {resource} has been stopped"
                    raise ValueError(f"device plugin PreStartContainer rpc failed with err: {text}")
                continue
            try:
                await held.endpoint.pre_start(allocation.devices)
            except runtime.RuntimeCallError as error:
                raise ValueError(f"device plugin PreStartContainer rpc failed with err: {error}") from error

    def lent(self, uid: str, name: str) -> dict[str, tuple[str, ...]]:
        """What a container has, by resource."""
        return {resource: given.devices for resource, given in self._of_container(uid, name).items()}

    def stock(self) -> dict[str, frozenset[str]]:
        """Devices that work, by resource."""
        return {name: held.stock.healthy for name, held in self._resources.items()}

    def nodes(self) -> dict[str, Mapping[str, tuple[int, ...]]]:
        """By resource and device: on which NUMA nodes it is, where its plug-in says so."""
        return {name: held.stock.nodes for name, held in self._resources.items()}

    def _of_container(self, uid: str, name: str) -> dict[str, Allocation]:
        of_pod = (self._allocations or {}).get(uid, {})
        return {resource: given for (container, resource), given in sorted(of_pod.items()) if container == name}

    # The record.

    async def _known(self) -> checkpoint.Allocations:
        if self._allocations is None:
            try:
                read = await asyncio.to_thread(checkpoint.read, self._record)
            except OSError as error:
                raise Unavailable(f"the record of devices cannot be read: {error.strerror}") from error
            if self._allocations is None:
                self._allocations = read
                # Pods of before hold devices of plug-ins that have not come back yet: the Node has none to give.
                for resource in {resource for of_pod in read.values() for _, resource in of_pod}:
                    self._resources.setdefault(resource, _Resource(gone_at=asyncio.get_running_loop().time()))
        return self._allocations

    async def _save(self) -> None:
        async with self._writing:
            snapshot: Mapping[str, Mapping[tuple[str, str], Allocation]] = {
                uid: dict(of_pod) for uid, of_pod in (self._allocations or {}).items()
            }
            try:
                await asyncio.to_thread(checkpoint.write, self._record, snapshot)
            except OSError as error:
                raise Unavailable(f"the record of devices cannot be written: {error.strerror}") from error
            except ValueError as error:
                raise Unavailable(str(error)) from error


class _Placing:
    """The topology manager's view; ``nodes``: of the machine."""

    def __init__(self, devices: DeviceManager, nodes: Sequence[int]) -> None:
        self._devices, self._nodes = devices, nodes

    def hints(self, pod: Obj, container: Obj) -> Hints:
        return self._devices.hints(pod, self._nodes, text(container, "name"))

    def pod_hints(self, pod: Obj) -> Hints:
        return self._devices.hints(pod, self._nodes)


def _anywhere(needs: Iterable[Need]) -> list[Step]:
    return [Step(name, None) for name in dict.fromkeys(need.container for need in needs)]
