"""The HTTPS server of the node API: routes, authentication and authorization, errors as the kubelet writes them.

The node agent runs ``NodeApi.run`` in its TaskGroup and calls ``container_stopped`` on each exit, so that followed
logs end at once. Requests come from the API server (logs, exec, attach, port-forward), metrics collectors and people.
The node's logs directory, profiling and checkpoints are not served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, field, replace
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from sampan.api.clock import Clock
from sampan.api.errors import ApiError, BadRequest, InternalError, NotFound, Unauthorized
from sampan.api.types import Obj
from sampan.client.tasks import forever
from sampan.node.api import containers, options, stats, streams
from sampan.node.api.auth import DelegatedAuth, request_attributes
from sampan.node.api.machine import MachineUsage, read_machine
from sampan.node.api.programs import metrics_of
from sampan.node.api.remote.commands import Work, serve_command
from sampan.node.api.remote.ports import Forwarding, serve_ports
from sampan.node.api.tls import peer_subject
from sampan.node.eviction.meter import Measured
from sampan.node.logs.inotify import DirectoryWatches
from sampan.node.logs.reader import Ending, LogOptions, read_log
from sampan.node.logs.segments import open_segment
from sampan.node.runtime import (
    CONTAINER_NAME_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    Command,
    Runtime,
    RuntimeCallError,
    RuntimeDeadline,
)
from sampan.node.safepath import UnsafePath
from sampan.node.volumes.localpath import LocalVolumes
from sampan.node.volumes.usage import Measurements
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: how often a follower makes sure that its container still runs, should the agent's exit event be lost
_STATE_CHECK_SECONDS = 5.0
_RUN_SECONDS = 60
_SAMPLE_SECONDS = 1.0
#: as the API server takes them, and upstream's kubelet: a command to run is part of the request's first line
_LINE_BYTES = 1 << 20
_SHUTDOWN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeApiConfig:
    node_name: str
    #: None is every address of both families
    address: str | None = "0.0.0.0"
    #: 0: any free one; ``NodeApi.port`` tells
    port: int = 10250
    #: what ``/configz`` shows; no secrets belong in it
    configz: Obj = field(default_factory=dict)
    #: socket of the program that serves Ingresses; None: there is none
    ingress_metrics: Path | None = None
    #: socket of the node's DNS process; None: there is none
    dns_metrics: Path | None = None


class _Log(logging.Logger):
    """Of the HTTP library: what is no HTTP is the sender's fault, who may be anybody, and no fault of this node."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.parent = logging.getLogger()

    def exception(self, *arguments: object, exc_info: object = True, **named: object) -> None:
        if isinstance(exc_info, HttpProcessingError):
            log.debug("node API: a request cannot be read: %s", type(exc_info).__name__)
        else:
            super().exception(*arguments, exc_info=exc_info, **named)  # type: ignore[arg-type]  # passed on


class NodeApi:
    def __init__(
        self,
        config: NodeApiConfig,
        pods: containers.PodSource,
        runtime: Runtime,
        auth: DelegatedAuth,
        tls: ssl.SSLContext,
        clock: Clock,
        *,
        machine: Callable[[], MachineUsage] = read_machine,
        components: Callable[[], str] = str,
        local_volumes: LocalVolumes | None = None,
        measured: Callable[[], Measured] = Measured,
        claimed: Callable[[], Measurements] = dict,
        policies: Callable[[], Awaitable[Obj]] | None = None,
    ) -> None:
        """``components`` gives further lines for ``/metrics``: of the process's kept components. ``local_volumes``:
        what the provisioner of local paths asks to remove. ``measured``: what the node's protection measured last,
        ``claimed``: what volumes of claims were measured to use.
        ``policies``: whom network policies restrict here, and what they dropped; raises ApiError."""
        self._policies = policies
        self._local_volumes = local_volumes
        self._measured, self._claimed = measured, claimed
        self.port = config.port
        self._config = config
        self._pods = pods
        self._runtime = runtime
        self._auth = auth
        self._tls = tls
        self._clock = clock
        self._machine = machine
        self._components = components
        self._watches = DirectoryWatches()
        self._endings: dict[str, list[Ending]] = {}
        self._sampler = stats.Sampler()
        self._sampling = asyncio.Lock()
        #: the last sample, and when it was taken, in the loop's time
        self._sampled: tuple[float, stats.Sample] | None = None

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled. Raises OSError when the address is taken."""
        runner = await self.prepare()
        if runner.server is None:
            raise InternalError("the HTTP server did not start")
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                runner.server, self._config.address, self._config.port, ssl=self._tls, backlog=128
            )
            self.port = listener.sockets[0].getsockname()[1]
            started.set()
            try:
                await forever()
            finally:
                listener.close()
        finally:
            await runner.cleanup()

    async def prepare(self) -> web.AppRunner:
        """What serves connections that somebody else takes; he cleans it up."""
        # A client that leaves cancels its handler: a follower of a silent log would stay for ever otherwise.
        runner = web.AppRunner(
            self._application(), handler_cancellation=True, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS,
            max_line_size=_LINE_BYTES, max_field_size=_LINE_BYTES, logger=_Log("sampan.node.api.http"),
        )  # fmt: skip
        await runner.setup()
        return runner

    def container_stopped(self, container_id: str) -> None:
        """Ends the followers of this container's log, after what is written."""
        for ending in self._endings.get(container_id, ()):
            ending.end()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard()])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/healthz/{check}", self._healthz)
        app.router.add_get("/pods", self._list_pods)
        app.router.add_get("/runningpods/", self._running_pods)
        app.router.add_get("/runningpods", self._running_pods)
        app.router.add_get("/configz", self._configz)
        if self._policies is not None:
            app.router.add_get("/networkpolicy", self._network_policy)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/metrics/cadvisor", self._cadvisor_metrics)
        app.router.add_get("/metrics/resource", self._resource_metrics)
        app.router.add_get("/metrics/ingress", self._ingress_metrics)
        app.router.add_get("/metrics/dns", self._dns_metrics)
        app.router.add_get("/stats/summary", self._summary)
        app.router.add_delete("/localvolumes/{name}", self._remove_volume)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._container_logs)
        for name, handler in (("exec", self._exec), ("attach", self._attach), ("run", self._run_command)):
            for path in ("{namespace}/{pod}/{container}", "{namespace}/{pod}/{uid}/{container}"):
                app.router.add_post(f"/{name}/{path}", handler)
                if name != "run":
                    app.router.add_get(f"/{name}/{path}", handler)
        for path in ("{namespace}/{pod}", "{namespace}/{pod}/{uid}"):
            app.router.add_post(f"/portForward/{path}", self._port_forward)
            app.router.add_get(f"/portForward/{path}", self._port_forward)
        return app

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                await self._admit(request)
                return await handler(request)
            except ApiError as error:
                return _plain(error.code, error.message)
            except RuntimeCallError as error:
                return _plain(500, str(error))

        return guard

    async def _admit(self, request: web.Request) -> None:
        transport = request.transport
        subject = peer_subject(transport.get_extra_info("ssl_object")) if transport is not None else None
        try:
            user = await self._auth.authenticate(subject, request.headers.get("Authorization", ""))
            await self._auth.authorize(user, request_attributes(request.method, request.path))
        except (OSError, TimeoutError) as error:
            log.warning("node API: cannot ask the API server about a request: %s", error)
            raise InternalError("Authentication or authorization error: the API server cannot be asked") from error
        except ApiError as error:
            if error.code not in (401, 403):
                log.warning("node API: the API server refused to decide: %s", error.message)
                raise InternalError(f"Authorization error: {error.message}") from error
            if error.code == 401:
                raise Unauthorized("Unauthorized") from error
            raise

    def _pod(self, request: web.Request) -> Obj:
        """Raises NotFound in the words of the streaming handlers."""
        pod = self._pods.get_pod(request.match_info["namespace"], request.match_info["pod"])
        uid = request.match_info.get("uid")
        if pod is None or (uid and pod["metadata"]["uid"] != uid):
            raise NotFound("pod does not exist")
        return pod

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return _plain(200, "ok")

    async def _remove_volume(self, request: web.Request) -> web.StreamResponse:
        if self._local_volumes is None:
            raise NotFound("this node has no local volumes")
        await self._local_volumes.remove(request.match_info["name"])
        return _plain(200, "removed")

    async def _list_pods(self, request: web.Request) -> web.StreamResponse:
        return _json(_pod_list(self._pods.pods()))

    async def _running_pods(self, request: web.Request) -> web.StreamResponse:
        pods: dict[str, Obj] = {}
        for each in await self._runtime.list_containers():
            labels = each.labels
            if each.state != "running" or POD_UID_LABEL not in labels:
                continue
            meta = {
                "name": labels.get(POD_NAME_LABEL, ""),
                "namespace": labels.get(POD_NAMESPACE_LABEL, ""),
                "uid": labels[POD_UID_LABEL],
            }
            pod = pods.setdefault(meta["uid"], {"metadata": meta, "spec": {"containers": []}, "status": {}})
            name = labels.get(CONTAINER_NAME_LABEL, each.name)
            pod["spec"]["containers"].append({"name": name, "image": each.image, "resources": {}})
        return _json(_pod_list(list(pods.values())))

    async def _configz(self, request: web.Request) -> web.StreamResponse:
        return _json({"kubeletconfig": self._config.configz})

    async def _network_policy(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._policies() if self._policies is not None else {})

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        import prometheus_client  # late: few clusters are scraped, and it brings an HTTP server with it

        return _text(prometheus_client.generate_latest().decode() + self._components())

    async def _resource_metrics(self, request: web.Request) -> web.StreamResponse:
        return _text(stats.render_resource_metrics(await self._sample()))

    async def _ingress_metrics(self, request: web.Request) -> web.StreamResponse:
        return await _metrics_at(self._config.ingress_metrics, b"no program serves Ingresses here\n")

    async def _dns_metrics(self, request: web.Request) -> web.StreamResponse:
        return await _metrics_at(self._config.dns_metrics, b"no DNS process answers here\n")

    async def _cadvisor_metrics(self, request: web.Request) -> web.StreamResponse:
        return _text(stats.render_cadvisor_metrics(await self._sample(), os.cpu_count() or 1))

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        starts = {
            pod["metadata"]["uid"]: start
            for pod in self._pods.pods()
            if (start := (pod.get("status") or {}).get("startTime"))
        }
        sample, measured = await self._sample(), self._measured()
        return _json(stats.render_summary(sample, self._config.node_name, starts, measured, self._claimed()))

    async def _sample(self) -> stats.Sample:
        """One for all who ask within a second: the runtime reads many files for it. Raises RuntimeCallError."""
        loop = asyncio.get_running_loop()
        async with self._sampling:
            if self._sampled is None or loop.time() - self._sampled[0] >= _SAMPLE_SECONDS:
                measured = await self._runtime.list_stats()
                started = stats.running_since(self._pods.pods())
                sample = self._sampler.sample(self._clock.now(), self._machine(), measured, started)
                self._sampled = loop.time(), sample
            return self._sampled[1]

    async def _container_logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        container = request.match_info["container"]
        pod = self._pods.get_pod(namespace, name)
        if pod is None:
            raise NotFound(f'pod "{name}" does not exist\n')
        containers.find_container(pod, container)
        wanted = options.parse_log_options(request.query, self._clock.now())
        container_id = containers.log_container_id(pod, container, wanted.previous)
        try:
            found = await self._runtime.container_status(container_id)
            path = Path(found.log_path)
            # Tried before the answer begins: afterwards an error could not be told any more.
            open_segment(path.parent, path.name).close()
        except (RuntimeCallError, OSError, UnsafePath) as error:
            log.info("log of container %s: %s", container_id, error)
            raise BadRequest(f"unable to retrieve container logs for {container_id}") from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        with self._ending(container_id, found.state == "running") as ending:
            await self._send_log(path, wanted, ending, container_id, response)
        return response

    async def _send_log(
        self, path: Path, wanted: LogOptions, ending: Ending, container_id: str, response: web.StreamResponse
    ) -> None:
        async with asyncio.TaskGroup() as group:
            check = group.create_task(self._watch_end(container_id, ending), name=f"end of log {container_id}")
            try:
                async with aclosing(read_log(path, wanted, ending, self._watches)) as chunks:
                    async for chunk in chunks:
                        await response.write(chunk)
                await response.write_eof()
            except ConnectionError:
                log.debug("the reader of the log of %s has gone", container_id)
            finally:
                check.cancel()

    @contextmanager
    def _ending(self, container_id: str, running: bool) -> Iterator[Ending]:
        ending = Ending(ended=not running)
        followers = self._endings.setdefault(container_id, [])
        followers.append(ending)
        try:
            yield ending
        finally:
            followers.remove(ending)
            if not followers:
                self._endings.pop(container_id, None)

    async def _watch_end(self, container_id: str, ending: Ending) -> None:
        while not ending.ended:
            await asyncio.sleep(_STATE_CHECK_SECONDS)
            try:
                state = (await self._runtime.container_status(container_id)).state
            except RuntimeCallError:
                state = (
                    "unknown"  # removed, or the runtime is away: either way nothing more comes that we could know of
                )
            if state != "running":
                ending.end()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        pod, container = self._pod(request), request.match_info["container"]
        wanted = options.parse_stream_options(request.query)
        streams.check_upgrade(request)
        command = request.query.getall("command", [])
        if not command:
            raise BadRequest("you must specify at least one command argument")
        container_id = await containers.running_container(self._runtime, pod, container)

        async def start() -> Command:
            try:
                return await self._runtime.exec(
                    container_id,
                    command,
                    tty=wanted.tty,
                    stdin=wanted.stdin,
                    stdout=wanted.stdout,
                    stderr=wanted.stderr,
                )
            except OSError as error:
                raise RuntimeCallError(f"cannot make the command's pipes: {error.strerror}") from error

        shown = f"[{' '.join(command)}]"
        return await serve_command(request, Work(wanted, start, "executing command in container", shown))

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        pod, container = self._pod(request), request.match_info["container"]
        wanted = options.parse_stream_options(request.query)
        streams.check_upgrade(request)
        container_id = await containers.running_container(self._runtime, pod, container)
        # Whether there is a terminal was decided when the container was created.
        tty = bool(containers.find_container(pod, container).get("tty"))
        wanted = replace(wanted, tty=tty, stderr=wanted.stderr and not tty)

        async def start() -> Command:
            return await self._runtime.attach(container_id, **asdict(wanted))

        return await serve_command(request, Work(wanted, start, "attaching to container"))

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        ports = options.parse_ports(request.query.getall("port", []))
        streams.check_upgrade(request)
        sandbox_id = await containers.ready_sandbox(self._runtime, pod)

        async def connect(port: int) -> socket.socket:
            return await self._runtime.connect_port(sandbox_id, port)

        return await serve_ports(request, Forwarding(sandbox_id, ports, connect))

    async def _run_command(self, request: web.Request) -> web.StreamResponse:
        pod, container = self._pod(request), request.match_info["container"]
        command = request.query.getall("cmd", [])
        if not command:
            raise BadRequest("you must specify at least one command argument")
        container_id = await containers.running_container(self._runtime, pod, container)
        try:
            result = await self._runtime.exec_sync(container_id, command[0].split(" "), _RUN_SECONDS)
        except RuntimeDeadline as error:
            raise InternalError(str(error)) from error
        return _plain(200, (result.stdout + result.stderr).decode(errors="replace"))


def _pod_list(pods: list[Obj]) -> Obj:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}


def _json(value: Obj) -> web.Response:
    return _answer(200, orjson.dumps(value), "application/json")


def _plain(status: int, text: str) -> web.Response:
    return _answer(status, text.encode(), "text/plain")


def _text(metrics: str) -> web.Response:
    return _answer(200, metrics.encode(), "text/plain; version=0.0.4")


async def _metrics_at(socket: Path | None, nobody: bytes) -> web.StreamResponse:
    found = await metrics_of(socket) if socket is not None else None
    if found is None:
        return _answer(404, nobody, "text/plain; charset=utf-8")
    return _answer(200, found, "text/plain; version=0.0.4")


def _answer(status: int, body: bytes, content_type: str) -> web.Response:
    headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, headers=headers)
