"""A whole cluster in one process, for users' tests: API server, controllers, scheduler and simulated nodes.

Clients reach it by HTTPS (``url``, ``kubeconfig``) or without a socket (``client``). No root, no containers, nothing
outside its directory. Nodes are the real node agent over the simulated runtime: pods become Ready, and nothing runs in
them.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sampan.api.clock import Clock, SystemClock
from sampan.api.resources import NODES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection, KubeConfig
from sampan.client.timeline import VirtualTimeline
from sampan.cluster import addons, pki
from sampan.cluster.control_plane import server_config
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers
from sampan.node import shapes as node_shapes
from sampan.node.api.tls import server_context
from sampan.node.hollow import Fault
from sampan.node.hollow_api import HollowApi
from sampan.node.hollow_nodes import HollowNodes
from sampan.node.shapes import Shapes
from sampan.node.simulated import SimulatedRuntime
from sampan.scheduler.records import PATH as ATTEMPTS
from sampan.scheduler.records import Attempts
from sampan.scheduler.scheduler import run_scheduler
from sampan.server.app import Server
from sampan.store.memory import MemoryStore

NODE_GROUPS = ("system:nodes",)
#: a /24 a node: the default of an instance, and a range for more nodes than that has room for
SMALL_CLUSTER_CIDR, LARGE_CLUSTER_CIDR = "10.244.0.0/16", "10.128.0.0/9"
_NODES_OF_A_SMALL_CLUSTER = 256
#: changes that the store remembers
HISTORY = 10_000


class Cluster:
    """``async with Cluster(directory) as cluster``: inside, the nodes are Ready.

    ``runtimes`` steers what containers do, by node name (``SimulatedRuntime``: behaviours, failures, exits).
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 1,
        shapes: Shapes | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        listen: bool = True,
        reproducible: bool = False,
        openapi: bool | None = None,
        node_api_port: int = 0,
    ) -> None:
        """``shapes`` describes nodes of several kinds (``sampan.node.shapes.parse``), in place of so many ``nodes``.
        ``listen`` False: no socket and no OpenAPI, so that it can live in virtual time (``sampan.testing.virtual``,
        with a ``VirtualTimeline`` as its clock). ``reproducible``: keys follow from the seed too, for a cluster that
        nobody has to be kept out of."""
        self._listen = listen
        self._openapi = listen if openapi is None else openapi
        self._node_api_port = node_api_port
        shapes = shapes or node_shapes.of_count(nodes, "node")
        pods = SMALL_CLUSTER_CIDR if shapes.count <= _NODES_OF_A_SMALL_CLUSTER else LARGE_CLUSTER_CIDR
        self._instance = Instance(
            ClusterSettings("testing", pod_cidr=pods),
            directory / "state",
            directory / "run",
            NodeSettings("node-0", address="127.0.0.1", simulated_count=shapes.count),
        )
        self._clock = clock or SystemClock()
        self._random = random.Random(seed)
        self._making = pki.Making(self._random if reproducible else None)
        self._tls: ssl.SSLContext | None = None
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._nodes: dict[str, asyncio.Task[None]] = {}
        self._hollow = HollowNodes(shapes, self._node_client, self._clock, self._random, admin=lambda: self.client)
        #: what containers do, by the name of their node
        self.runtimes: Mapping[str, SimulatedRuntime] = self._hollow.runtimes

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def client(self) -> Client:
        """The cluster's administrator, without a socket; only on the loop that the cluster runs on."""
        return self.client_for("kubernetes-admin", ("system:masters",))

    def client_for(self, user: str, groups: tuple[str, ...] = ()) -> Client:
        """Anybody, without a socket."""
        return Client(self.server.local_transport(user, groups))

    def kubeconfig(self) -> Path:
        """The path of a kubeconfig with the administrator's certificate, for programs of any kind."""
        pki_directory = self._instance.pki
        connection = Connection(
            self.url,
            ca_pem=(pki_directory / "ca.crt").read_bytes(),
            client_certificate_pem=(pki_directory / "admin.crt").read_bytes(),
            client_key_pem=(pki_directory / "admin.key").read_bytes(),
        )
        path = self._instance.state / "kubeconfig"
        KubeConfig.build("sampan-testing", "admin", connection).write(path)
        return path

    def prepare_to_listen(self) -> None:
        """Before a process is copied: what ``listen`` would have to read."""
        self.server.prepare_to_listen()
        if self._hollow.shapes:
            self._node_tls()

    async def listen(self) -> None:
        """Of a cluster that was made without a socket, in the copy of its process: ``url`` tells where."""
        await self.server.listen()
        if self._group is not None and self._hollow.shapes:
            await self._serve_node_apis(self._group)

    def ail(self, node: str, fault: Fault | None) -> None:
        """What ails a node from now on: ``silent``, ``partitioned``, ``slow`` or ``crashing``; None: it is well. An
        annotation of the Node says the same (``sampan.node.hollow``)."""
        self._hollow.ail(node, fault)

    async def stop_node(self, name: str) -> None:
        """The node agent goes silent, as with its machine's power; what runs stays in ``runtimes``."""
        await tasks.cancel_and_wait(self._nodes.pop(name))

    async def start_node(self, name: str) -> None:
        """An agent for a node that was stopped: it adopts what runs."""
        if self._group is None or name in self._nodes:
            raise RuntimeError(f"{name} is running, or the cluster is not")
        self._nodes[name] = tasks.spawn_eternal(self._group, self._hollow.run_node(name), name)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(pki.ensure, self._instance, self._clock, self._making)
        config = replace(
            server_config(self._instance),
            bind_address="127.0.0.1",
            port=0,
            listen=self._listen,
            openapi=self._openapi,
            store="memory",
            data_dir=None,
            clock=self._clock,
            random=self._random,
        )
        if isinstance(self._clock, VirtualTimeline):
            config = replace(config, footprint_interval_seconds=3600.0)
        async with AsyncExitStack() as stack:
            # History is for watches that come back; all that ever was would be many times what is there.
            steady = isinstance(self._clock, VirtualTimeline)
            store = MemoryStore(clock=self._clock, history_limit=HISTORY, steady=steady)
            self.server = await stack.enter_async_context(Server(config, store=store))
            components = asyncio.create_task(self._run(), name="cluster components")
            stack.push_async_callback(tasks.cancel_and_wait, components)
            await addons.ensure(self.client, self._instance.cluster)
            await self._nodes_ready(components)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await self._hollow.close()

    async def _run(self) -> None:
        root_ca = (self._instance.pki / "ca.crt").read_text()
        controllers = ControllersConfig(
            cluster_cidr=self._instance.cluster.pod_cidr,
            root_ca_pem=root_ca,
            signing_certificate=self._instance.pki / "ca.crt",
            signing_key=self._instance.pki / "ca.key",
        )
        async with asyncio.TaskGroup() as group:
            tasks.spawn_eternal(
                group,
                run_controllers(
                    self.client_for("system:kube-controller-manager", ("system:masters",)),
                    clock=self._clock,
                    random=self._random,
                    config=controllers,
                    client_for=lambda name: self.client_for(f"system:serviceaccount:kube-system:{name}"),
                ),
                "controllers",
            )
            scheduler = self.client_for("system:kube-scheduler")
            attempts = Attempts()
            self.server.documents[ATTEMPTS] = attempts.answer
            scheduling = run_scheduler(scheduler, clock=self._clock, random=self._random, attempts=attempts)
            tasks.spawn_eternal(group, scheduling, "scheduler")
            self._group = group
            self._hollow.port = self._node_api_port or self._hollow.port
            for name in self._hollow.shapes:
                self.server.scraper.attach(name, partial(self._hollow.looks, name))
            if self._listen:
                await self._serve_node_apis(group)
            for name in self._hollow.shapes:
                self._nodes[name] = tasks.spawn_eternal(group, self._hollow.run_node(name), name)

    async def _serve_node_apis(self, group: asyncio.TaskGroup) -> None:
        tls = self._node_tls()
        port = self._node_api_port
        api = HollowApi(self._hollow, self.client, tls, self._clock, port=port, shared=bool(port))
        listening = asyncio.Event()
        tasks.spawn_eternal(group, api.run(listening), "node APIs")
        await listening.wait()
        self._hollow.port = api.port

    def _node_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            directory = self._instance.pki
            certificate, key = directory / "simulated.crt", directory / "simulated.key"
            self._tls = server_context(certificate, key, directory / "ca.crt")
        return self._tls

    def _node_client(self, name: str) -> Client:
        return self.client_for(f"system:node:{name}", NODE_GROUPS)

    async def _nodes_ready(self, components: asyncio.Task[None]) -> None:
        """Until every node is Ready and may be scheduled to. Raises what ended the components."""
        ready: set[str] = set()
        watching = asyncio.create_task(self._watch_nodes(ready), name="nodes ready")
        await asyncio.wait([components, watching], return_when=asyncio.FIRST_COMPLETED)
        if components.done():
            await tasks.cancel_and_wait(watching)
            components.result()
        await watching

    def _taints_of(self, name: str) -> Iterable[Mapping[str, str]]:
        shape = self._hollow.shapes.get(name)
        return shape.taints if shape is not None else ()

    async def _watch_nodes(self, ready: set[str]) -> None:
        if not self._hollow.shapes:
            return
        async with self.client.watch(NODES) as events:
            async for event in events:
                if event.type not in ("ADDED", "MODIFIED"):
                    continue
                node = event.object
                conditions = node.get("status", {}).get("conditions", ())
                is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
                own = {(taint["key"], taint["effect"]) for taint in self._taints_of(node["metadata"]["name"])}
                taints = {(taint["key"], taint["effect"]) for taint in node.get("spec", {}).get("taints") or ()}
                if is_ready and taints <= own:
                    ready.add(node["metadata"]["name"])
                if len(ready) == len(self._hollow.shapes):
                    return
