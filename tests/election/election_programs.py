"""An API server alone, with sockets, and ``sampan controller-manager`` and ``scheduler`` as processes of their own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sampan.api.clock import SystemClock
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection, KubeConfig
from sampan.cluster import addons, pki
from sampan.cluster.control_plane import server_config
from sampan.cluster.instance import Instance, NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.server.app import Server

#: Shorter than upstream's, in proportion: the tests wait for the real world.
DURATIONS = (
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=1s",
)
_MAIN = "from sampan.cli.entry import main; main()"


@dataclass
class Api:
    server: Server
    instance: Instance
    directory: Path
    programs: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def admin(self) -> Client:
        return Client(self.server.local_transport())

    def connection(self) -> Connection:
        folder = self.instance.pki
        return Connection(
            self.server.url,
            ca_pem=(folder / "ca.crt").read_bytes(),
            client_certificate_pem=(folder / "admin.crt").read_bytes(),
            client_key_pem=(folder / "admin.key").read_bytes(),
        )

    def kubeconfig(self, user: str = "") -> Path:
        """The administrator's, who acts as somebody else."""
        config = KubeConfig.build("c", "u", self.connection())
        if user:
            config.content["users"][0]["user"]["as"] = user
        path = self.directory / f"{user or 'admin'}.conf"
        config.write(path)
        return path

    async def start(self, command: str, *options: str) -> asyncio.subprocess.Process:
        user = {"controller-manager": "system:kube-controller-manager", "scheduler": "system:kube-scheduler"}[command]
        given = ["--kubeconfig", str(self.kubeconfig(user)), "--secure-port", "0", *DURATIONS, *options]
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _MAIN, command, *given, stderr=asyncio.subprocess.PIPE
        )
        self.programs.append(program)
        return program

    async def until(self, resource: Resource, namespace: str, name: str, true: Callable[[Obj], bool]) -> Obj:
        """The object, once it is so."""
        async with self.admin.watch(resource, namespace or None) as events:
            async for event in events:
                if event.type not in ("ADDED", "MODIFIED"):
                    continue
                if event.object["metadata"]["name"] == name and true(event.object):
                    return event.object
        raise AssertionError("the watch ended")


@asynccontextmanager
async def api(directory: Path) -> AsyncIterator[Api]:
    """Ends whatever was started."""
    instance = Instance(
        ClusterSettings("election"), directory / "state", directory / "run", NodeSettings("host", address="127.0.0.1")
    )
    await asyncio.to_thread(pki.ensure, instance, SystemClock())
    config = replace(
        server_config(instance), bind_address="127.0.0.1", port=0, openapi=False, store="memory", data_dir=None
    )
    async with Server(config) as server:
        made = Api(server, instance, directory)
        await addons.ensure(made.admin, instance.cluster)  # the administrator's role
        try:
            yield made
        finally:
            for program in made.programs:
                if program.returncode is None:
                    program.send_signal(signal.SIGCONT)
                    program.kill()
                await program.communicate()
