"""``Runtime`` on containerd (or another CRI v1 runtime) behind a unix socket.

Used through the ``Runtime`` protocol only. Every method is one or two gRPC calls; nothing is cached or retried here.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.node import runtime
from sampan.node.cri import convert, events, netns, rpc, streaming, tasks
from sampan.node.cri.pb import cri_pb2 as pb

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGES = "/runtime.v1.ImageService/"


class CriRuntime:
    """Implements ``sampan.node.runtime.Runtime``."""

    def __init__(self, socket_path: str) -> None:
        self._channel = rpc.Channel(socket_path)
        self._tasks = tasks.TaskService(self._channel, Path(socket_path).parent / "commands")

    async def _call(self, method: str, request: Any, response_type: Any, timeout_seconds: float | None = 120) -> Any:
        return await self._channel.call(_RUNTIME + method, request, response_type, timeout_seconds)

    async def _image_call(self, method: str, request: Any, response_type: Any, timeout: float | None = 120) -> Any:
        return await self._channel.call(_IMAGES + method, request, response_type, timeout)

    async def run_sandbox(self, config: runtime.SandboxConfig, runtime_handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(config=convert.sandbox_config(config), runtime_handler=runtime_handler)
        answer = await self._call("RunPodSandbox", request, pb.RunPodSandboxResponse, 240)
        return str(answer.pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        try:
            await self._call("StopPodSandbox", request, pb.StopPodSandboxResponse)
        except runtime.RuntimeNotFound:
            return

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        try:
            await self._call("RemovePodSandbox", request, pb.RemovePodSandboxResponse)
        except runtime.RuntimeNotFound:
            return

    async def sandbox_status(self, sandbox_id: str) -> runtime.Sandbox:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        answer = await self._call("PodSandboxStatus", request, pb.PodSandboxStatusResponse)
        return convert.sandbox(answer.status, answer.status.network)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[runtime.Sandbox]:
        request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=dict(labels or {})))
        answer = await self._call("ListPodSandbox", request, pb.ListPodSandboxResponse)
        return [convert.sandbox(item) for item in answer.items]

    async def create_container(
        self, sandbox_id: str, config: runtime.ContainerConfig, sandbox: runtime.SandboxConfig
    ) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=convert.container_config(config),
            sandbox_config=convert.sandbox_config(sandbox),
        )
        return str((await self._call("CreateContainer", request, pb.CreateContainerResponse)).container_id)

    async def start_container(self, container_id: str) -> None:
        request = pb.StartContainerRequest(container_id=container_id)
        await self._call("StartContainer", request, pb.StartContainerResponse)

    async def stop_container(self, container_id: str, timeout_seconds: int, signal: str = "") -> None:
        if signal and timeout_seconds > 0:
            timeout_seconds = await self._ask_to_end(container_id, timeout_seconds, signal)
        request = pb.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        try:
            # The runtime needs its own time after the grace period to kill and reap.
            await self._call("StopContainer", request, pb.StopContainerResponse, timeout_seconds + 120)
        except runtime.RuntimeNotFound:
            return

    async def _ask_to_end(self, container_id: str, timeout_seconds: int, signal: str) -> int:
        """Sends ``signal`` and waits; returns the seconds left for the runtime's own way of stopping.

        CRI's stopSignal is of version 2.2 of containerd; its task service has always had signals.
        """
        try:
            await self._tasks.end(container_id, convert.signal_number(signal), timeout_seconds)
        except runtime.RuntimeLacks:
            return timeout_seconds  # it got the signal with the container's configuration
        except runtime.RuntimeNotFound:
            pass
        return 0

    async def remove_container(self, container_id: str) -> None:
        request = pb.RemoveContainerRequest(container_id=container_id)
        try:
            await self._call("RemoveContainer", request, pb.RemoveContainerResponse)
        except runtime.RuntimeNotFound:
            return

    async def container_status(self, container_id: str) -> runtime.Container:
        request = pb.ContainerStatusRequest(container_id=container_id)
        answer = await self._call("ContainerStatus", request, pb.ContainerStatusResponse)
        return convert.container_status(answer.status)

    async def list_containers(self, labels: Mapping[str, str] | None = None) -> list[runtime.Container]:
        request = pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=dict(labels or {})))
        answer = await self._call("ListContainers", request, pb.ListContainersResponse)
        return [convert.listed_container(item) for item in answer.containers]

    async def update_resources(self, container_id: str, resources: runtime.Resources) -> None:
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=convert.resources(resources))
        await self._call("UpdateContainerResources", request, pb.UpdateContainerResourcesResponse)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> runtime.ExecResult:
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_seconds)
        # containerd answers DeadlineExceeded by itself; the margin is for a runtime that hangs.
        deadline = timeout_seconds + 120 if timeout_seconds else None
        answer = await self._call("ExecSync", request, pb.ExecSyncResponse, deadline)
        return runtime.ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> runtime.Command:
        stderr = stderr and not tty
        try:
            return await self._tasks.exec(
                container_id, command, tty=tty, stdin=stdin, stdout=stdout or tty, stderr=stderr
            )
        except runtime.RuntimeLacks:
            pass  # not containerd: its streaming server is all there is
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        url = str((await self._call("Exec", request, pb.ExecResponse)).url)
        return await streaming.connect(url, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)

    async def attach(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> runtime.Command:
        stderr = stderr and not tty
        pipe = None
        if stdin:
            try:
                pipe = await self._tasks.stdin_of(container_id)
                stdin = pipe is not None
            except runtime.RuntimeLacks:
                pass  # not containerd: input goes through its streaming server
        try:
            request = pb.AttachRequest(container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
            url = str((await self._call("Attach", request, pb.AttachResponse)).url)
        except BaseException:
            if pipe is not None:
                pipe.close()
            raise
        return await streaming.connect(url, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr, pipe=pipe)

    async def connect_port(self, sandbox_id: str, port: int) -> socket.socket:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        answer = await self._call("PodSandboxStatus", request, pb.PodSandboxStatusResponse)
        return await netns.connect_local(sandbox_id, netns.path_of(dict(answer.info)), port)

    async def reopen_log(self, container_id: str) -> None:
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._call("ReopenContainerLog", request, pb.ReopenContainerLogResponse)

    async def list_stats(self) -> list[runtime.ContainerStats]:
        answer = await self._call("ListContainerStats", pb.ListContainerStatsRequest(), pb.ListContainerStatsResponse)
        return convert.measured(answer)

    def events(self) -> AsyncIterator[runtime.RuntimeEvent]:
        return events.follow(self._channel, self)

    async def pull_image(self, reference: str, auth: runtime.RegistryAuth | None = None) -> str:
        request = pb.PullImageRequest(image=pb.ImageSpec(image=reference))
        if auth is not None:
            request.auth.CopyFrom(
                pb.AuthConfig(
                    username=auth.username,
                    password=auth.password,
                    auth=auth.auth,
                    server_address=auth.server_address,
                    identity_token=auth.identity_token,
                )
            )
        # No deadline: a large image on a slow line takes what it takes; the caller cancels when the pod goes.
        return str((await self._image_call("PullImage", request, pb.PullImageResponse, None)).image_ref)

    async def image_status(self, reference: str) -> runtime.Image | None:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=reference))
        answer = await self._image_call("ImageStatus", request, pb.ImageStatusResponse)
        return convert.image(answer.image) if answer.HasField("image") else None

    async def list_images(self) -> list[runtime.Image]:
        answer = await self._image_call("ListImages", pb.ListImagesRequest(), pb.ListImagesResponse)
        return [convert.image(item) for item in answer.images]

    async def remove_image(self, reference: str) -> None:
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=reference))
        await self._image_call("RemoveImage", request, pb.RemoveImageResponse)

    async def image_filesystem(self) -> tuple[str, int]:
        answer = await self._image_call("ImageFsInfo", pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse)
        if not answer.image_filesystems:
            return "", 0
        first = answer.image_filesystems[0]
        return first.fs_id.mountpoint, first.used_bytes.value

    async def version(self) -> runtime.Version:
        answer = await self._call("Version", pb.VersionRequest(version="0.1.0"), pb.VersionResponse)
        return runtime.Version(answer.runtime_name, answer.runtime_version)

    async def conditions(self) -> list[runtime.RuntimeCondition]:
        answer = await self._call("Status", pb.StatusRequest(), pb.StatusResponse)
        return [
            runtime.RuntimeCondition(item.type, item.status, item.reason, item.message)
            for item in answer.status.conditions
        ]

    async def features(self) -> runtime.Features:
        return convert.features(await self._call("Status", pb.StatusRequest(), pb.StatusResponse))

    async def close(self) -> None:
        await self._tasks.close()
        await self._channel.close()
