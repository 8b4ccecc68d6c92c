"""Private registries before one node agent on a real containerd."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import registry_bench as registries

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import EVENTS, PODS, SECRETS, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.cluster.mounts import unmount_below
from sampan.node.agent import NodeAgent
from sampan.node.cgroups.manager import remove_all
from sampan.node.config import NodeConfig
from sampan.node.images.build import File, ImageConfig, build_image, go_architecture
from sampan.node.images.hosts import Endpoint, render
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import free

LAYER_BYTES = 300_000


def can_run() -> bool:
    needed = ("containerd", "ctr", "runc", "docker-registry")
    return os.geteuid() == 0 and all(shutil.which(name) for name in needed)


@dataclass
class World:
    """``said``: the records of every logger of this process, as text."""

    admin: Client
    runtime: Any
    base: Path
    addresses: dict[str, str] = field(default_factory=dict)
    proxies: dict[str, registries.Proxy] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    tokens: Any = None
    said: list[str] = field(default_factory=list)

    async def secret(self, name: str, server: str, password: str = registries.PASSWORD, *, old: bool = False) -> None:
        auth = base64.b64encode(f"{registries.USER}:{password}".encode()).decode()
        entry = {server: {"auth": auth}}
        content = entry if old else {"auths": entry}
        kind = "dockercfg" if old else "dockerconfigjson"
        data = {f".{kind}": base64.b64encode(orjson.dumps(content)).decode()}
        await self.admin.create(
            SECRETS,
            {
                "kind": "Secret",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "type": f"kubernetes.io/{kind}",
                "data": data,
            },
            "default",
        )

    async def account(self, name: str, *secrets: str) -> None:
        body = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}}
        await self.admin.create(
            SERVICE_ACCOUNTS, {**body, "imagePullSecrets": [{"name": each} for each in secrets]}, "default"
        )

    async def pod(self, name: str, image: str, *secrets: str, **spec: Any) -> None:
        container = {"name": "main", "image": image, **spec.pop("container", {})}
        body = {
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": "n1", "automountServiceAccountToken": False, "restartPolicy": "Never",
                "containers": [container], "imagePullSecrets": [{"name": each} for each in secrets], **spec,
            },
        }  # fmt: skip
        await self.admin.create(PODS, body)

    async def until(self, name: str, true: Callable[[Any], Any]) -> Any:
        async with asyncio.timeout(120):
            while True:
                pod = await self.admin.get(PODS, name, "default")
                if true(pod):
                    return pod
                await asyncio.sleep(0.02)

    async def ran(self, name: str) -> Any:
        """Its container's status, once it has run to its end."""
        pod = await self.until(name, lambda pod: (pod.get("status") or {}).get("phase") == "Succeeded")
        return pod["status"]["containerStatuses"][0]

    async def waits(self, name: str, reason: str = "") -> tuple[str, str]:
        """Why its container waits for its image."""

        def waiting(pod: Any) -> Any:
            statuses = (pod.get("status") or {}).get("containerStatuses") or [{"state": {}}]
            found = statuses[0]["state"].get("waiting") or {}
            told = found.get("reason", "")
            return found if told == reason or (not reason and told not in ("", "ContainerCreating")) else None

        found = waiting(await self.until(name, waiting))
        return found["reason"], found.get("message", "")

    async def event(self, pod: str, reason: str) -> str:
        """The message of an event of a pod, once it is there."""
        async with asyncio.timeout(60):
            while True:
                for item in (await self.admin.list(EVENTS, "default"))["items"]:
                    if item["involvedObject"]["name"] == pod and item["reason"] == reason:
                        return str(item["message"])
                await asyncio.sleep(0.02)

    def views(self) -> list[str]:
        """Snapshots that image volumes are made of."""
        words = ["ctr", "--address", str(self.base / "containerd/run/containerd.sock"), "--namespace", "k8s.io"]
        said = subprocess.run([*words, "snapshots", "list"], capture_output=True, text=True, check=True).stdout
        return [line for line in said.splitlines() if line.startswith("sampan-image-volume-")]

    def reach(self, host: str, *endpoints: Endpoint) -> None:
        folder = self.base / "containerd/registries" / host
        folder.mkdir(parents=True)
        *mirrors, server = endpoints
        (folder / "hosts.toml").write_text(render(server, mirrors))


class Said(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record.getMessage() + (str(record.exc_info[1]) if record.exc_info else ""))


def provider(folder: Path, address: str) -> tuple[Path, Path]:
    """A credential provider for images below ``robots/`` of a registry: its configuration, and its directory."""
    answer = {
        "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Image", "auth": {address: {"username": registries.USER, "password": registries.PASSWORD}},
    }  # fmt: skip
    (folder / "programs").mkdir()
    (folder / "answer.json").write_bytes(orjson.dumps(answer))
    program = folder / "programs/robots"
    program.write_text(f"#!/bin/sh\ncat >>{folder}/asked\ncat {folder}/answer.json\n")
    program.chmod(0o755)
    entry = {
        "name": "robots", "matchImages": [f"{address}/robots"], "defaultCacheDuration": "1h",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
    }  # fmt: skip
    config = {"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": [entry]}
    (folder / "providers.yaml").write_bytes(orjson.dumps(config))
    return folder / "providers.yaml", folder / "programs"


def app(said: bytes, more_bytes: int = 0, architecture: str | None = None) -> bytes:
    """An image that runs: it says something and ends."""
    busybox = next(path for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if path.is_file())
    layers = [{"bin/busybox": File(busybox.read_bytes(), 0o755)}, {"said": File(said)}]
    if more_bytes:
        import hashlib

        layers.append({"more": File(hashlib.shake_256(said).digest(more_bytes))})
    return build_image("x/y:1", layers, ImageConfig(cmd=["/bin/busybox", "cat", "/said"]), architecture)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    if not can_run():
        pytest.skip("needs root, containerd, runc and docker-registry")
    from sampan.testing.containerd import private_containerd

    base = tmp_path_factory.mktemp("registries")
    cgroup = f"/sampan-registry-{os.getpid()}"
    async with AsyncExitStack() as stack:
        (base / "containerd").mkdir()
        node = await stack.enter_async_context(
            private_containerd(
                base / "containerd",
                f"rg{os.getpid()}",
                free.node_range("registry"),
                bridge=f"srg{os.getpid() % 100000}",
            )
        )
        server = await stack.enter_async_context(Server(ServerConfig(store="memory", listen=False)))
        made = World(Client(server.local_transport()), node.client, base)
        handler = Said(made.said)
        ours = logging.getLogger("sampan")
        before = ours.level
        ours.addHandler(handler)
        ours.setLevel(logging.DEBUG)
        stack.callback(ours.setLevel, before)
        stack.callback(ours.removeHandler, handler)
        await _open_registries(made, stack)
        providers, programs = provider(base, made.addresses["locked"])
        config = NodeConfig(
            node_name="n1", addresses=("192.0.2.1",), root_dir=base / "node", log_dir=base / "podlogs",
            cgroup_root=cgroup, runtime_socket=str(node.config.socket),
            image_credential_providers=providers, image_credential_programs=programs,
        )  # fmt: skip
        client = Client(server.local_transport("system:node:n1", ("system:nodes",)))
        agent = NodeAgent(config, client, node.client, SystemClock(), SystemRandom())
        started = asyncio.Event()
        running = asyncio.create_task(agent.run(started))
        try:
            async with asyncio.timeout(60):
                await started.wait()
            await made.account("default")
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for proxy in made.proxies.values():
                proxy.flowing.set()
            await node.remove_all_pods()
            unmount_below(base / "node")  # what a test that failed has left
            remove_all(cgroup)


async def _open_registries(made: World, stack: AsyncExitStack) -> None:
    """Each with an image ``team/app:1`` of its own; behind ``open`` are ``slow``, ``torn`` and ``spoiled``, too."""
    locked = await stack.enter_async_context(registries.with_password(made.base / "locked"))
    tls = await stack.enter_async_context(registries.with_own_ca(made.base / "tls"))
    token, made.tokens = await stack.enter_async_context(registries.with_tokens(made.base / "token"))
    plain = await stack.enter_async_context(registries.docker_registry(made.base / "open"))
    for name, registry in (("locked", locked), ("tls", tls), ("token", token), ("open", plain)):
        made.addresses[name] = registry.address
        made.digests[name] = await registry.push("team/app:1", app(name.encode()))
    await locked.push("robots/app:1", app(b"robots"))
    many = [app(f"of {name}".encode(), architecture=name) for name in ("s390x", go_architecture(), "ppc64le")]
    made.digests["many"] = await plain.push("team/many:1", *many)
    for name in ("slow", "torn", "spoiled"):
        await plain.push(f"team/{name}:1", app(name.encode(), LAYER_BYTES))
        proxy = made.proxies[name] = registries.Proxy(plain.address)
        made.addresses[name] = await stack.enter_async_context(registries.served(proxy.answer))
    made.reach(tls.address, tls.endpoint)
    made.reach("mirrored.example", Endpoint("http://127.0.0.1:1"), plain.endpoint, Endpoint("https://mirrored.invalid"))
