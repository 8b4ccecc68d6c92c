"""How each operation of the pod machine is carried out, with the node's collaborators: runtime, images, volumes, API.

Made by the pod's worker, one a pod. ``carry_out`` gives what ``events.Done`` says, or raises: ``OperationFailed`` with
the words for a waiting container, otherwise what the collaborator raised. It decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from sampan.api.errors import Conflict, NotFound
from sampan.api.faults import fault
from sampan.api.resources import PODS, RUNTIME_CLASSES
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups.held import Held
from sampan.node.devices.interface import ClaimsUnready
from sampan.node.images.credentials import pull_secrets
from sampan.node.images.manager import ImageError
from sampan.node.pods import (
    bandwidth,
    operations,
    render,
    resizing,
    resizing_steps,
    resources,
    security,
    spec,
    starting,
)
from sampan.node.pods.context import NodeContext
from sampan.node.pods.events import Resized, Result
from sampan.node.pods.files import PodFiles
from sampan.node.pods.record import PodRecord, hook_of
from sampan.node.pods.resizing_checkpoint import Checkpoint
from sampan.node.pods.resizing_steps import Change, WritePod
from sampan.node.pods.state import observe
from sampan.node.pods.teller import PodTeller
from sampan.node.probes.check import Target, check
from sampan.node.volumes.errors import ImageVolumeError


class OperationFailed(Exception):
    """``reason`` is the container's waiting reason; None: the machine's own back-off."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class PodActions:
    """Invariant: what it keeps (images, volumes, the sandbox's configuration) are results of operations that ended."""

    __slots__ = ("_context", "_images", "_mounted", "_record", "_sandbox_config", "_teller", "_uid", "files")

    def __init__(self, context: NodeContext, record: PodRecord, teller: PodTeller) -> None:
        self._context = context
        self._record = record
        self._teller = teller
        self._uid: str = record.pod["metadata"]["uid"]
        self.files = PodFiles(context.host, context.config, record.pod)
        self._images: dict[str, runtime.Image] = {}
        self._mounted: Mapping[str, Any] = {}
        #: by the sandbox's attempt
        self._sandbox_config: tuple[int, runtime.SandboxConfig] | None = None

    async def carry_out(self, operation: operations.Operation) -> Result:
        return await _HANDLERS[type(operation)](self, operation)

    @property
    def _pod(self) -> Obj:
        return self._record.pod

    @property
    def _promised_pod(self) -> Obj:
        """With the resources that the node has promised, which may not be those that are wished for."""
        return resizing.with_allocated(self._record.pod, self._record.allocated)

    def target(self, container_id: str, container: Obj) -> Target:
        return Target(container_id, container, self._record.pod_ip() or self._context.config.host_ip)

    # Looking.

    async def _observe(self, operation: operations.Observe) -> Result:
        return await observe(self._context.runtime, self._uid)

    async def _look(self, operation: operations.Look) -> Result:
        if operation.subject in self._record.state.sandboxes:
            return await self._sandbox(operation.subject)
        return await self._container(operation.subject)

    async def _sandbox(self, sandbox_id: str) -> runtime.Sandbox | None:
        try:
            return await self._context.runtime.sandbox_status(sandbox_id)
        except runtime.RuntimeNotFound:
            return None

    async def _container(self, container_id: str) -> runtime.Container | None:
        try:
            return await self._context.runtime.container_status(container_id)
        except runtime.RuntimeNotFound:
            return None

    # Starting.

    async def _mount_volumes(self, operation: operations.MountVolumes) -> Result:
        try:
            self._mounted = await self._context.volumes.mount_pod(self._pod, self._context.facts())
        except ImageVolumeError as error:
            raise OperationFailed(error.reason, str(error), error.retry_after_seconds) from error
        return None

    async def _run_sandbox(self, operation: operations.RunSandbox) -> Result:
        context, pod = self._context, self._pod
        handler = await self._runtime_handler()
        security.verify_sandbox(pod, context.features(), handler)
        bandwidth.verify(pod)
        try:
            await context.devices.prepare(pod)
        except ClaimsUnready as error:
            self._teller.tell(
                "Warning", "FailedPrepareDynamicResources", f"Failed to prepare dynamic resources: {error}"
            )
            raise
        async with context.starts:
            promise = Checkpoint(self._record.allocated, self._record.allocated, {})
            await asyncio.gather(
                self.files.make_logs(), self.files.keep(promise), context.host.create_cgroup(self._promised_pod)
            )
            config = self._config_of_sandbox(operation.attempt)
            sandbox_id = await context.runtime.run_sandbox(config, handler)
            return await context.runtime.sandbox_status(sandbox_id)

    def _config_of_sandbox(self, attempt: int) -> runtime.SandboxConfig:
        if self._sandbox_config is None or self._sandbox_config[0] != attempt:
            context, pod = self._context, self._pod
            parent = context.host.cgroup_path(pod)
            config = render.sandbox_config(pod, context.config, context.host_dns, attempt, parent)
            self._sandbox_config = attempt, config
        return self._sandbox_config[1]

    async def _runtime_handler(self) -> str:
        """The handler that the pod's RuntimeClass names; "" is the runtime's default."""
        name = self._pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        return str((await self._context.client.get(RUNTIME_CLASSES, name)).get("handler", ""))

    async def _pull_image(self, operation: operations.PullImage) -> Result:
        name, context = operation.subject, self._context
        container = self._spec_of(name)

        def report(kind: Any, reason: str, message: str) -> None:
            self._teller.tell(kind, reason, message, name)

        try:
            secrets = await pull_secrets(self._pod, context.objects)
            if secrets.missing:
                self._teller.tell("Warning", "FailedToRetrieveImagePullSecret", secrets.complaint)
            self._images[name] = await context.images.ensure(self._pod, container, report, secrets)
        except ImageError as error:
            self._teller.tell("Warning", "Failed", f"Error: {error.reason}", name)
            raise OperationFailed(error.reason, error.message, error.retry_after_seconds) from error
        except runtime.RuntimeCallError as error:
            raise OperationFailed("ImageInspectError", str(error)) from error
        return None

    async def _start_container(self, operation: operations.StartContainer) -> Result:
        context, sandbox = self._context, self._record.state.ready_sandbox
        container = {**self._spec_of(operation.subject), "resources": operation.resources}
        if sandbox is None:
            raise OperationFailed("RunContainerError", "the pod's sandbox is gone", 0)
        around = starting.Surroundings(
            pod=self._promised_pod,
            files=self.files,
            teller=self._teller,
            sandbox=sandbox,
            sandbox_config=self._config_of_sandbox(sandbox.attempt),
            mounted=self._mounted,
            target_id=self._target_id(container),
        )
        image = self._images.pop(operation.subject)
        try:
            container_id = await starting.start_container(context, around, operation, container, image)
        except starting.StartError as error:
            raise OperationFailed(error.reason, error.message) from error
        # It runs; that its status cannot be read must not look like a failed start.
        found = await self._container(container_id)
        if found is None:
            raise OperationFailed("RunContainerError", f"container {operation.subject} is gone", 0)
        return replace(found, sandbox_id=sandbox.id)

    def _target_id(self, container: Obj) -> str:
        """Of an ephemeral container: whose processes it sees."""
        name = container.get("targetContainerName")
        target = self._record.state.latest(name) if name else None
        return target.id if target is not None else ""

    async def _run_hook(self, operation: operations.RunHook) -> Result:
        """True when it succeeded, or a preStop hook's time was over: then nothing is told, as upstream."""
        container = self._spec_of(operation.name)
        handler = hook_of(container, operation.hook)
        if handler is None:
            return True
        target = self.target(operation.subject, container)
        try:
            async with asyncio.timeout(operation.timeout_seconds):
                outcome = await check(handler, target, self._context.runtime, operation.timeout_seconds, "lifecycle")
        except TimeoutError:
            return operation.hook == "preStop"
        return outcome.result == "success"

    async def _weigh_resize(self, operation: operations.WeighResize) -> Result:
        """None when the pod has been promised what it wants. A promise outlives the agent before anything is done."""
        verdict = self._context.weigh_resize(resizing.with_allocated(self._pod, operation.wish))
        if verdict is None:
            await self.files.keep(Checkpoint(operation.wish, self._record.cgroup, dict(self._record.applied)))
        return verdict

    async def _resize_pod(self, operation: operations.ResizePod) -> Result:
        record, host = self._record, self._context.host
        before = resizing.with_allocated(record.pod, record.cgroup)
        after = resizing.with_allocated(record.pod, operation.allocated)
        changes = [
            Change(
                container_id,
                name,
                self._resources(before, name, record.applied[container_id]),
                self._resources(after, name, operation.allocated[name]),
            )
            for container_id, name in operation.containers.items()
        ]
        if error := resizing_steps.too_low(before, after, changes, self.held(operation.containers)):
            return Resized(error=error)
        changed = [change for change in changes if change.before != change.after]
        applied = {change.container_id for change in changes if change not in changed}
        for step in resizing_steps.plan_steps(before, after, changed):
            try:
                if isinstance(step, WritePod):
                    await host.rewrite_cgroup(after, step.part)
                    continue
                await self._context.runtime.update_resources(step.container_id, step.resources)
            except (runtime.RuntimeCallError, OSError) as error:
                text = fault(error, step.part) if isinstance(error, OSError) and isinstance(step, WritePod) else error
                return Resized(frozenset(applied), str(text))
            if step.last:
                applied.add(step.container_id)
        has = {**record.applied, **{key: operation.allocated[operation.containers[key]] for key in applied}}
        await self.files.keep(Checkpoint(operation.allocated, operation.allocated, has))
        return Resized(frozenset(applied))

    def _resources(self, pod: Obj, name: str, given: Obj) -> runtime.Resources:
        context, container = self._context, {**self._spec_of(name), "resources": given}
        capacity_bytes = context.memory_capacity_bytes
        return resources.container_resources(
            pod, container, capacity_bytes, unified=context.unified_cgroups, swap=context.swap
        )

    def held(self, container_ids: Iterable[str]) -> dict[str, Held]:
        """What the kernel holds these and the pod itself to, as far as it can be told."""
        known = {each: self._context.host.held(self._pod, each) for each in (resizing.WHOLE, *container_ids)}
        return {each: found for each, found in known.items() if found is not None}

    # Stopping and clearing up.

    async def _stop_container(self, operation: operations.StopContainer) -> Result:
        found = spec.find_container(self._pod, operation.name)
        signal = security.stop_signal(found[1]) if found else ""
        await self._context.runtime.stop_container(operation.subject, operation.grace_seconds, signal)
        return await self._container(operation.subject)

    async def _remove_container(self, operation: operations.RemoveContainer) -> Result:
        await self._context.runtime.remove_container(operation.subject)
        return None

    async def _stop_sandbox(self, operation: operations.StopSandbox) -> Result:
        await self._context.runtime.stop_sandbox(operation.subject)
        return await self._sandbox(operation.subject)

    async def _remove_sandbox(self, operation: operations.RemoveSandbox) -> Result:
        await self._context.runtime.remove_sandbox(operation.subject)
        return None

    async def _unmount_volumes(self, operation: operations.UnmountVolumes) -> Result:
        await self._context.volumes.unmount_pod(self._uid)
        self._mounted = {}
        await self._context.devices.unprepare(self._uid)
        return None

    async def _remove_cgroup(self, operation: operations.RemoveCgroup) -> Result:
        await self._context.host.remove_cgroup(self._pod)
        return None

    async def _delete_object(self, operation: operations.DeleteObject) -> Result:
        """True when there is no such object (any more)."""
        meta = self._pod["metadata"]
        try:
            await self._context.client.delete(
                PODS, meta["name"], meta["namespace"], uid=self._uid, grace_period_seconds=0
            )
        except (NotFound, Conflict):
            return True
        return False

    async def _remove_logs(self, operation: operations.RemoveLogs) -> Result:
        await self.files.remove_logs()
        return None

    def _spec_of(self, name: str) -> Obj:
        found = spec.find_container(self._pod, name)
        if found is None:
            raise OperationFailed("", f"container {name} is not in the pod's specification any more")
        return found[1]


#: one table for all pods of a process
_HANDLERS: Final[Mapping[type[Any], Callable[[PodActions, Any], Awaitable[Result]]]] = {
    operations.Observe: PodActions._observe,
    operations.Look: PodActions._look,
    operations.MountVolumes: PodActions._mount_volumes,
    operations.RunSandbox: PodActions._run_sandbox,
    operations.PullImage: PodActions._pull_image,
    operations.StartContainer: PodActions._start_container,
    operations.RunHook: PodActions._run_hook,
    operations.WeighResize: PodActions._weigh_resize,
    operations.ResizePod: PodActions._resize_pod,
    operations.StopContainer: PodActions._stop_container,
    operations.RemoveContainer: PodActions._remove_container,
    operations.StopSandbox: PodActions._stop_sandbox,
    operations.RemoveSandbox: PodActions._remove_sandbox,
    operations.UnmountVolumes: PodActions._unmount_volumes,
    operations.RemoveCgroup: PodActions._remove_cgroup,
    operations.DeleteObject: PodActions._delete_object,
    operations.RemoveLogs: PodActions._remove_logs,
}
